//! Keyed digests of a configuration and of the secrets that it resolves to. They show whether a part differs from the
//! configuration that runs.
//!
//! With the digests, a reload can compare secrets without storing or printing them. The key is random, is made once
//! per process, and never leaves it. So a digest says nothing about a value (HMAC-SHA256, RFC 2104).

use std::{collections::BTreeMap, fmt::Debug, fs::File, io::Read as _, path::Path, sync::LazyLock};

use aws_lc_rs::hmac;
use secrecy::ExposeSecret as _;

use super::fields::ROOT;
use super::model::{Config, Hook, Plugin, Server};
use super::node::Node;
use super::table::{Kind, Shape};
use super::walk;
use crate::secrets::Secrets;

/// How much of a file of `server.tls` counts, in bytes: more than any chain of certificates has.
const MAX_FILE: u64 = 1 << 20;

/// The key of all digests of this process.
static KEY: LazyLock<hmac::Key> =
    LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()));

type Digest = [u8; 32];

/// The digests of all that takes effect at the start of the hub only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprints {
    /// By the key of the file, such as `server`. Lists hold the names of their entries, in their order.
    parts: BTreeMap<&'static str, Digest>,
    /// By part and name of the entry.
    entries: BTreeMap<(&'static str, String), Digest>,
}

/// What differs between two configurations, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Keys of the file, such as `mcps`.
    pub parts: Vec<&'static str>,
    /// Entries of these parts, such as `mcps/stripe`: new ones, removed ones, and ones whose text, files or secrets
    /// are others.
    pub entries: Vec<String>,
}

impl Fingerprints {
    /// The digests of a file that was read into `config`.
    pub(crate) fn of(root: &Node, config: &Config, secrets: &Secrets) -> Self {
        let mut all = Self::default();
        let mut part = |name, feed: &dyn Fn(&mut DigestBuilder)| {
            let mut digest = DigestBuilder::new(name);
            feed(&mut digest);
            all.parts.insert(name, digest.finish());
        };
        part("name", &|digest| digest.add("name", config.name.as_bytes()));
        part("server", &|digest| server(digest, &config.server));
        part("store", &|digest| {
            digest.add("url", config.store.url.expose_secret().as_bytes());
        });
        let list = |path: &[&str]| list_at(root, path);
        all.list(
            "mcps",
            &config.mcps.external,
            list(&["mcps", "external"]),
            secrets,
            |mcp| (&mcp.name, Vec::new()),
        );
        all.list(
            "mcps",
            &config.mcps.local,
            list(&["mcps", "local"]),
            secrets,
            |mcp| (&mcp.name, Vec::new()),
        );
        all.list(
            "plugins",
            &config.plugins,
            list(&["plugins"]),
            secrets,
            |plugin: &Plugin| (&plugin.name, plugin.grants.secrets.iter().collect()),
        );
        all.list(
            "hooks",
            &config.hooks,
            list(&["hooks"]),
            secrets,
            |hook: &Hook| {
                let webhook = hook.webhook.iter().map(|webhook| &webhook.secret);
                (&hook.name, hook.grants.secrets.iter().chain(webhook).collect())
            },
        );
        all
    }

    /// One list of entries. `about` gives an entry's name and the variables whose values it may read.
    fn list<T: Debug>(
        &mut self,
        part: &'static str,
        models: &[T],
        (nodes, kind): (&[Node], Option<&'static Kind>),
        secrets: &Secrets,
        about: impl Fn(&T) -> (&String, Vec<&String>),
    ) {
        let mut order = DigestBuilder::new(part);
        // A part of several lists, such as `mcps`, is all of them.
        if let Some(before) = self.parts.get(part) {
            order.add("before", before);
        }
        for (index, model) in models.iter().enumerate() {
            let (name, variables) = about(model);
            order.add("entry", name.as_bytes());
            let mut digest = DigestBuilder::new(part);
            // Secrets are left out of this text, so their values follow.
            digest.add("said", format!("{model:?}").as_bytes());
            if let (Some(node), Some(kind)) = (nodes.get(index), kind) {
                resolved(node, kind, secrets, &mut digest);
            }
            for variable in variables {
                let value = secrets.peek(variable);
                digest.add("variable", variable.as_bytes());
                digest.value(value.as_ref().map(|value| value.expose_secret()));
            }
            self.entries.insert((part, name.clone()), digest.finish());
        }
        self.parts.insert(part, order.finish());
    }

    /// What is different in `new`.
    pub fn differences(&self, new: &Self) -> Differences {
        let entries = differing(&self.entries, &new.entries);
        let mut parts = differing(&self.parts, &new.parts);
        parts.extend(entries.iter().map(|(part, _)| part));
        parts.sort_unstable();
        parts.dedup();
        Differences {
            parts,
            entries: entries
                .into_iter()
                .map(|(part, name)| format!("{part}/{name}"))
                .collect(),
        }
    }
}

/// The keys that are in one map only, or with different digests, in their order.
fn differing<K: Ord + Clone>(old: &BTreeMap<K, Digest>, new: &BTreeMap<K, Digest>) -> Vec<K> {
    let changed = old.iter().filter(|(key, digest)| new.get(key) != Some(digest));
    let added = new.iter().filter(|(key, _)| !old.contains_key(key));
    let mut keys: Vec<K> = changed.chain(added).map(|(key, _)| key.clone()).collect();
    keys.sort_unstable();
    keys
}

/// `server`, with what is in its files: a renewed certificate is read at the start only.
fn server(digest: &mut DigestBuilder, server: &Server) {
    digest.add("said", format!("{server:?}").as_bytes());
    for path in server.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]) {
        digest.value(contents(path).as_deref());
    }
}

/// What is in a file, up to [`MAX_FILE`]; `None` where it cannot be read.
fn contents(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_FILE)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

/// The items of a list of the file, and their kind in the table.
fn list_at<'n>(root: &'n Node, path: &[&str]) -> (&'n [Node], Option<&'static Kind>) {
    let (mut node, mut shape, mut kind) = (Some(root), Some(&ROOT), None);
    for key in path {
        node = node.and_then(|node| node.get(key));
        let field =
            shape.and_then(|shape: &'static Shape| shape.fields.iter().find(|field| field.key == *key));
        kind = field.map(|field| field.kind);
        shape = match kind {
            Some(Kind::Object(shape)) => Some(shape),
            _ => None,
        };
    }
    match kind {
        Some(Kind::List(inner)) => (node.map(Node::items).unwrap_or_default(), Some(inner)),
        _ => (&[], None),
    }
}

/// Adds the values of all texts below `node` that may hold variables, by their paths: another order of keys in the file
/// is not a difference.
fn resolved(node: &Node, kind: &Kind, secrets: &Secrets, digest: &mut DigestBuilder) {
    let mut texts = BTreeMap::new();
    walk::below(node, kind, "", &mut |visited| {
        if let (Kind::Form(form), Some(text)) = (visited.kind, visited.node.text())
            && form.template
        {
            texts.insert(visited.path.to_owned(), text);
        }
        true
    });
    for (path, text) in texts {
        digest.add("at", path.as_bytes());
        let value = secrets.resolve(text).ok();
        digest.value(value.as_ref().map(|value| value.expose_secret()));
    }
}

/// A digest in the making. Each piece goes in with its length, so that no two sequences of pieces are alike.
struct DigestBuilder(hmac::Context);

impl DigestBuilder {
    fn new(part: &str) -> Self {
        let mut feed = Self(hmac::Context::with_key(&KEY));
        feed.add("part", part.as_bytes());
        feed
    }

    fn add(&mut self, label: &str, bytes: &[u8]) {
        for piece in [label.as_bytes(), bytes] {
            self.0
                .update(&u64::try_from(piece.len()).unwrap_or(u64::MAX).to_le_bytes());
            self.0.update(piece);
        }
    }

    /// A value that may be missing.
    fn value(&mut self, value: Option<impl AsRef<[u8]>>) {
        match value {
            Some(value) => self.add("value", value.as_ref()),
            None => self.add("missing", &[]),
        }
    }

    fn finish(self) -> Digest {
        let tag = self.0.sign();
        // HMAC-SHA256 has 32 bytes.
        tag.as_ref().try_into().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LoadedConfig};

    const FILE: &str = r#"
name: n
server: { listen: "127.0.0.1:${PORT}" }
store: { url: "sqlite://${DB:-data/aih.db}" }
mcps:
  external:
    - { name: web, url: "http://${HOST}/mcp", headers: { X-A: "${HEADER}" }, auth: { type: bearer, token: "${TOKEN}" } }
    - { name: keyed, url: "http://h/mcp", instances: ["http://h/${SECOND}"], auth: { type: header, name: X-K, value: "${MAPPED}" } }
  local:
    - { name: child, command: "${COMMAND}", args: ["${ARG}"], env: { A: "${ENV}" }, cwd: "${CWD:-.}" }
plugins: [{ name: p, file: p.wasm, grants: { secrets: [GRANTED], env: [SEEN] } }]
hooks: [{ name: h, trigger: http, action: h.wasm, grants: { secrets: [OTHER] }, webhook: { secret: HOOK } }]
secrets: { mappings: { MAPPED: "x-${UNDER}" } }
"#;
    const VARIABLES: [&str; 16] = [
        "PORT", "DB", "HOST", "HEADER", "TOKEN", "SECOND", "UNDER", "COMMAND", "ARG", "ENV", "CWD",
        "GRANTED", "OTHER", "HOOK", "SEEN", "UNUSED",
    ];

    fn load(text: &str, changed: Option<&str>) -> LoadedConfig {
        let value = |name: &str| match (name == "PORT", Some(name) == changed) {
            (true, again) => if again { "8080" } else { "8081" }.to_owned(),
            (_, again) => format!(
                "value-of-{}{}",
                name.to_lowercase(),
                if again { "-two" } else { "" }
            ),
        };
        let secrets = Secrets::from_pairs(VARIABLES.map(|name| (name, value(name))));
        let path = Path::new("/nowhere/aih-config.yaml");
        Config::from_text(&format!("version: \"1.0\"\n{text}"), path, secrets).unwrap()
    }

    fn differences(old: &LoadedConfig, new: &LoadedConfig) -> (Vec<&'static str>, Vec<String>) {
        let found = old.fingerprints.differences(&new.fingerprints);
        (found.parts, found.entries)
    }

    #[test]
    fn the_value_of_any_variable_counts_where_it_is_used() {
        let old = load(FILE, None);
        for variable in VARIABLES {
            let (part, entry) = match variable {
                "PORT" => ("server", None),
                "DB" => ("store", None),
                "HOST" | "HEADER" | "TOKEN" => ("mcps", Some("mcps/web")),
                "SECOND" | "UNDER" => ("mcps", Some("mcps/keyed")),
                "COMMAND" | "ARG" | "ENV" | "CWD" => ("mcps", Some("mcps/child")),
                "GRANTED" => ("plugins", Some("plugins/p")),
                "OTHER" | "HOOK" => ("hooks", Some("hooks/h")),
                // The process's own environment, which does not change; and nobody's.
                _ => ("", None),
            };
            let found = differences(&old, &load(FILE, Some(variable)));
            let parts: Vec<&str> = Some(part).filter(|part| !part.is_empty()).into_iter().collect();
            let entries: Vec<String> = entry.into_iter().map(str::to_owned).collect();
            assert_eq!(found, (parts, entries), "{variable}");
        }
    }

    #[test]
    fn the_same_values_in_other_words_are_no_difference() {
        let old = load(FILE, None);
        let other = FILE
            .replace("\"${ARG}\"", "value-of-arg")
            .replace(
                "{ name: child, command: \"${COMMAND}\",",
                "{ command: \"${COMMAND}\", timeout: 1m, name: child,",
            )
            .replace("name: n\n", "name: \"n\"\n");
        let again = load(&other, None);
        // A text from a variable is a secret, and one that is written is not: it is shown, so it counts as another.
        assert_eq!(
            differences(&old, &again),
            (vec!["mcps"], vec!["mcps/child".to_owned()])
        );
        assert_eq!(differences(&old, &load(FILE, None)), (vec![], vec![]));
        let other = FILE.replace("name: child,", "name: child, timeout: 60s,");
        assert_eq!(differences(&old, &load(&other, None)), (vec![], vec![]));
    }

    #[test]
    fn entries_that_come_go_or_change_places_are_named() {
        let old = load(
            "plugins: [{name: a, file: a.wasm}, {name: b, file: b.wasm}]\n",
            None,
        );
        let new = load(
            "plugins: [{name: b, file: b.wasm}, {name: c, file: c.wasm}]\n",
            None,
        );
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            differences(&old, &new),
            (vec!["plugins"], names(&["plugins/a", "plugins/c"]))
        );
        let turned = load(
            "plugins: [{name: b, file: b.wasm}, {name: a, file: a.wasm}]\n",
            None,
        );
        assert_eq!(differences(&old, &turned), (vec!["plugins"], names(&[])));
        let gone = load("name: x\n", None);
        assert_eq!(
            differences(&old, &gone),
            (vec!["name", "plugins"], names(&["plugins/a", "plugins/b"]))
        );
    }

    #[test]
    fn what_does_nothing_and_what_counts_at_once_is_no_difference() {
        let old = load("name: n\n", None);
        let new = load(
            "name: n\nrate_limits: {per_ip: {requests: 1}}\naudit: {keep: 1d}\ncache: {url: \"redis://h\"}\n\
             git: {branch: b}\nskills: [{name: s, file: s.md}]\n",
            None,
        );
        assert_eq!(differences(&old, &new), (vec![], vec![]));
    }

    #[test]
    fn a_renewed_certificate_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["cert.pem", "key.pem"] {
            std::fs::write(at(name), "first").unwrap();
        }
        let text = format!(
            "server: {{ tls: {{ cert: {}, key: {} }} }}\n",
            at("cert.pem").display(),
            at("key.pem").display()
        );
        for name in ["cert.pem", "key.pem"] {
            let old = load(&text, None);
            std::fs::write(at(name), "other").unwrap();
            assert_eq!(
                differences(&old, &load(&text, None)),
                (vec!["server"], vec![]),
                "{name}"
            );
        }
    }

    #[test]
    fn nothing_of_a_value_is_printed() {
        let loaded = load(FILE, None);
        let text = format!("{:?}", loaded.fingerprints);
        assert!(!text.contains("value-of"), "{text}");
    }
}

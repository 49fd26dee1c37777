//! What each server listed when the hub last read its lists, kept in the data folder for the next start of the hub.
//!
//! A client that lists while a server starts gets these lists, so it sees the tools of a server that needs long to
//! start. They count for one entry of the configuration only: a file has a mark (see [`aih_seal`]) over the address, the
//! command, the arguments, the environment and the headers, secrets included, so an entry that was changed has no
//! lists. Everything here is best effort: without the folder a server is listed once it is up.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use aih_mcp::RawJson;
use aih_seal::Seal;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::spec::{ServerAddress, UpstreamSpec};
use crate::provider::Offers;

/// The largest file, in bytes; a server that lists more is not remembered.
const MAX_FILE: usize = 8 * 1024 * 1024;
/// The name of the file with the key of the marks. No entry has a name like it.
const KEY: &str = ".key";
/// Counts the forms of these files; another form is another mark.
const FORM: &[u8] = b"lists 1";

/// The folder of remembered lists. Reading and writing block.
pub struct KnownLists {
    folder: PathBuf,
    seal: Seal,
}

/// The lists as they are written.
#[derive(Serialize, Deserialize)]
struct Written {
    tools: Vec<Box<RawValue>>,
    prompts: Vec<Box<RawValue>>,
    resources: Vec<Box<RawValue>>,
    templates: Vec<Box<RawValue>>,
    capabilities: Option<Box<RawValue>>,
    server_info: Option<Box<RawValue>>,
    instructions: Option<String>,
}

impl KnownLists {
    /// The lists in `data`, which are kept for the servers `names` alone: those of others are removed. `None` where
    /// the folder cannot be used.
    pub fn open(data: &Path, names: &[&str]) -> Option<Arc<Self>> {
        let folder = data.join("lists");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let opened = made.and_then(|()| Seal::open(&folder.join(KEY)));
        let seal = match opened {
            Ok(seal) => seal,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), "lists of servers cannot be kept: {error}");
                return None;
            }
        };
        let known = Self { folder, seal };
        known.remove_others(names);
        Some(Arc::new(known))
    }

    fn remove_others(&self, names: &[&str]) {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return;
        };
        for file in files.flatten() {
            let path = file.path();
            let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            let is_ours = path
                .extension()
                .is_some_and(|kind| kind == "json" || kind == "mark");
            if is_ours && !names.contains(&stem) {
                // What stays is not read, and is removed at the next start.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn file(&self, spec: &UpstreamSpec) -> PathBuf {
        self.folder.join(file_name(&spec.name))
    }

    /// What the server of this entry listed last.
    pub fn recall(&self, spec: &UpstreamSpec) -> Option<Offers> {
        let file = self.file(spec);
        let about = about(spec);
        let about: Vec<&[u8]> = about.iter().map(Vec::as_slice).collect();
        match self.seal.check(&file, &about) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                tracing::debug!(
                    server = spec.name,
                    error,
                    "the remembered lists are of another entry"
                );
                return None;
            }
        }
        let text = fs::read(&file).ok().filter(|text| text.len() <= MAX_FILE)?;
        let written: Written = serde_json::from_slice(&text).ok()?;
        Some(Offers {
            tools: read(written.tools)?,
            prompts: read(written.prompts)?,
            resources: read(written.resources)?,
            templates: read(written.templates)?,
            capabilities: one(written.capabilities)?,
            server_info: one(written.server_info)?,
            instructions: written.instructions,
            ..Offers::default()
        })
    }

    /// Remembers what the server of this entry lists now.
    pub fn keep(&self, spec: &UpstreamSpec, offers: &Offers) {
        let written = Written {
            tools: write(&offers.tools),
            prompts: write(&offers.prompts),
            resources: write(&offers.resources),
            templates: write(&offers.templates),
            capabilities: offers.capabilities.as_ref().and_then(raw),
            server_info: offers.server_info.as_ref().and_then(raw),
            instructions: offers.instructions.clone(),
        };
        let Ok(text) = serde_json::to_vec(&written) else {
            return;
        };
        let file = self.file(spec);
        if text.len() > MAX_FILE {
            let _ = fs::remove_file(&file);
            return;
        }
        let about = about(spec);
        let about: Vec<&[u8]> = about.iter().map(Vec::as_slice).collect();
        if let Err(error) = self.seal.keep(&file, &about, &text) {
            tracing::debug!(server = spec.name, %error, "the lists cannot be remembered");
        }
    }
}

fn file_name(name: &str) -> String {
    format!("{name}.json")
}

fn raw(json: &RawJson) -> Option<Box<RawValue>> {
    RawValue::from_string(json.text().into_owned()).ok()
}

fn write(items: &[RawJson]) -> Vec<Box<RawValue>> {
    items.iter().filter_map(raw).collect()
}

fn read(items: Vec<Box<RawValue>>) -> Option<Vec<RawJson>> {
    let parse = |item: Box<RawValue>| RawJson::parse(item.get().to_owned()).ok();
    items.into_iter().map(parse).collect()
}

fn one(item: Option<Box<RawValue>>) -> Option<Option<RawJson>> {
    item.map(|item| RawJson::parse(item.get().to_owned()))
        .transpose()
        .ok()
}

/// All of an entry that decides what its server lists, secrets included.
fn about(spec: &UpstreamSpec) -> Vec<Vec<u8>> {
    // Secrets are left out of the text, so they follow.
    let mut about = vec![
        FORM.to_vec(),
        format!("{:?} {:?}", spec.kind, spec.tools).into_bytes(),
    ];
    let mut add = |text: &str| about.push(text.as_bytes().to_vec());
    match &spec.kind {
        ServerAddress::Http {
            endpoints, headers, ..
        } => {
            endpoints
                .iter()
                .for_each(|endpoint| add(endpoint.expose().as_str()));
            headers.iter().for_each(|(_, value)| add(value.expose_secret()));
        }
        ServerAddress::Stdio {
            command, args, env, ..
        } => {
            add(command.expose());
            args.iter().for_each(|arg| add(arg.expose()));
            env.iter().for_each(|(_, value)| add(value.expose()));
        }
    }
    about
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Text,
        upstream::testing::{http_spec, stdio_spec},
    };

    fn offers() -> Offers {
        let item = |text: &str| RawJson::parse(text.to_owned()).unwrap();
        Offers {
            tools: vec![item(r#"{"name":"a","n":1.0,"_meta":{"b":12345678901234567890}}"#)],
            resources: vec![item(r#"{"uri":"x://y"}"#)],
            capabilities: Some(item(r#"{"tools":{}}"#)),
            instructions: Some("how".to_owned()),
            ..Offers::default()
        }
    }

    fn with_secret(secret: &str) -> UpstreamSpec {
        let mut spec = stdio_spec();
        if let ServerAddress::Stdio { env, .. } = &mut spec.kind {
            env.push(("TOKEN".to_owned(), Text::Secret(secret.to_owned().into())));
        }
        spec
    }

    #[test]
    fn lists_come_back_byte_for_byte_for_the_same_entry_alone() {
        let data = tempfile::tempdir().unwrap();
        let known = KnownLists::open(data.path(), &["up"]).unwrap();
        let spec = with_secret("one");
        assert!(known.recall(&spec).is_none());
        known.keep(&spec, &offers());
        let again = KnownLists::open(data.path(), &["up"]).unwrap();
        let back = again.recall(&spec).unwrap();
        let texts = |offers: &Offers| {
            let all = offers
                .tools
                .iter()
                .chain(&offers.resources)
                .chain(&offers.capabilities);
            all.map(|item| item.text().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&back), texts(&offers()));
        assert_eq!(back.instructions.as_deref(), Some("how"));
        // Another secret, another address, other rules: another entry.
        let mut renamed = with_secret("one");
        renamed.tools.deny.push("a".to_owned());
        for other in [with_secret("two"), stdio_spec(), http_spec(), renamed] {
            assert!(again.recall(&other).is_none());
        }
        let file = std::fs::read_to_string(data.path().join("lists/up.json")).unwrap();
        assert!(!file.contains("TOKEN"));
        // A file that somebody changed does not count.
        std::fs::write(
            data.path().join("lists/up.json"),
            file.replace("\"how\"", "\"other\""),
        )
        .unwrap();
        assert!(again.recall(&spec).is_none());
    }

    #[test]
    fn lists_of_servers_that_are_gone_are_removed_and_large_ones_are_not_kept() {
        let data = tempfile::tempdir().unwrap();
        let known = KnownLists::open(data.path(), &["up"]).unwrap();
        known.keep(&stdio_spec(), &offers());
        let files = || std::fs::read_dir(data.path().join("lists")).unwrap().count();
        assert!(files() > 1);
        KnownLists::open(data.path(), &["other"]).unwrap();
        assert_eq!(files(), 1, "the key alone");
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(MAX_FILE));
        known.keep(&stdio_spec(), &offers());
        known.keep(
            &stdio_spec(),
            &Offers {
                tools: vec![RawJson::parse(long).unwrap()],
                ..Offers::default()
            },
        );
        assert!(known.recall(&stdio_spec()).is_none());
    }
}

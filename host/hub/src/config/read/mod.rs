//! A checked tree to the model: variables put in, paths made absolute, entries that cannot serve marked.
//!
//! It must never fail on a tree with problems: it takes the default and continues, so that problems of meaning are
//! reported together with problems of form.

mod entries;
mod mcps;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::{
    Problem,
    cursor::At,
    files::GrantPosition,
    model::{Config, DisabledReason, EntryState, Text},
    node::SourcePosition,
    table::Form,
};
use crate::{
    names::{BUILTIN, Namespace, RESERVED},
    secrets::{self, FileError, MissingVar, Provider, Secrets},
};

/// Reads one file.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a Path,
    pub(crate) base_dir: &'a Path,
    pub(crate) secrets: &'a Secrets,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// Where each entry of `grants.files` stands.
    pub(crate) grants: Vec<GrantPosition>,
}

/// The file's `secrets`, needed before anything else is read.
#[derive(Default)]
pub(crate) struct SecretsSettings {
    pub(crate) provider: Provider,
    pub(crate) mappings: BTreeMap<String, String>,
    /// As it is written.
    pub(crate) path: Option<String>,
}

/// Reads [`SecretsSettings`].
pub(crate) fn secrets_settings(root: &At<'_>) -> SecretsSettings {
    let Some(at) = root.get("secrets") else {
        return SecretsSettings::default();
    };
    let words = [
        ("env", Provider::Env),
        ("file", Provider::File),
        ("vault", Provider::Vault),
        ("doppler", Provider::Doppler),
    ];
    let mappings = at.map("mappings").into_iter();
    SecretsSettings {
        provider: at.word("provider", &words).unwrap_or_default(),
        mappings: mappings
            .filter_map(|(name, value)| Some((name.to_owned(), value.text()?.to_owned())))
            .collect(),
        path: at.get_text("path").map(str::to_owned),
    }
}

impl Reader<'_> {
    /// Reads the whole file. `files` says how it went with the files of `secrets.path`.
    pub(crate) fn config(
        &mut self,
        root: &At<'_>,
        provider: Provider,
        files: Result<Vec<FileError>, FileError>,
    ) -> Config {
        if matches!(provider, Provider::Vault | Provider::Doppler)
            && let Some(at) = root.get("secrets").and_then(|s| s.get("provider"))
        {
            let what = format!(
                "provider `{}` is not available yet",
                at.text().unwrap_or_default()
            );
            self.warn(&at, what, "the environment and .env are used");
        }
        self.secret_files(root, provider, files);
        self.namespaces(root);
        Config {
            name: root.string("name").unwrap_or_else(|| "ai-hub".to_owned()),
            server: self.server(root.get("server").as_ref()),
            store: self.store(root),
            cache: self.cache(root),
            auth: self.auth(root),
            mcps: self.mcps(root),
            skills: self.skills(root),
            plugins: self.plugins(root),
            hooks: self.hooks(root),
            configs: self.configs(root),
            secrets_provider: provider,
            secrets_path: root
                .get("secrets")
                .and_then(|at| Some(self.path(at.get_text("path")?))),
            rate_limits: self.rate_limits(root),
            audit: self.audit(root),
            git: self.git(root),
        }
    }

    /// What is to be said of `secrets.path`.
    fn secret_files(&mut self, root: &At<'_>, provider: Provider, files: Result<Vec<FileError>, FileError>) {
        let Some(at) = root.get("secrets") else { return };
        const HELP: &str = "write a folder with a file for each variable, or a file of NAME=value lines";
        match (at.get("path"), provider) {
            (None, Provider::File) => {
                self.problem(&at, "provider `file` needs `path`".to_owned(), HELP);
            }
            (Some(path), Provider::File) => match files {
                Ok(errors) => {
                    for error in errors {
                        self.warn(&path, error.to_string(), "");
                    }
                }
                Err(error) => self.problem(&path, error.to_string(), HELP),
            },
            (Some(path), _) => {
                let what = "`path` is for provider `file` only".to_owned();
                self.warn(&path, what, "write `provider: file`, or remove it");
            }
            (None, _) => {}
        }
    }

    fn entry(&self, position: SourcePosition, key: &str, what: String, instead: &str) -> Problem {
        Problem {
            file: self.file.to_owned(),
            line: position.line,
            column: position.column,
            key: key.to_owned(),
            what,
            instead: instead.to_owned(),
        }
    }

    fn problem(&mut self, at: &At<'_>, what: String, instead: &str) {
        let problem = self.entry(at.position(), &at.path, what, instead);
        self.problems.push(problem);
    }

    fn warn(&mut self, at: &At<'_>, what: String, instead: &str) {
        let problem = self.entry(at.position(), &at.path, what, instead);
        self.warnings.push(problem);
    }

    /// An absolute path; see [`absolute`].
    fn path(&self, text: &str) -> PathBuf {
        absolute(self.base_dir, text)
    }

    /// Puts variables into a text.
    fn text(&self, template: &str) -> Result<Text, DisabledReason> {
        let resolved = self.secrets.resolve(template).map_err(|missing| match missing {
            MissingVar::NotSet(name) => DisabledReason::MissingVariable { name },
            // Told by the check already, except in a mapping.
            MissingVar::Template(error) => DisabledReason::Broken(error.to_string()),
        })?;
        Ok(if has_variable(template) {
            Text::Secret(resolved)
        } else {
            Text::Plain(resolved.expose_secret().to_owned())
        })
    }

    /// Puts variables into the text at `at` and looks whether the result has the form. `None` when the
    /// entry cannot serve: the first reason is kept in `state` and told.
    fn value(&mut self, at: &At<'_>, form: &Form, what: &str, state: &mut EntryState) -> Option<Text> {
        let template = at.text()?;
        let reason = match self.text(template) {
            Ok(text) if (form.accepts)(text.expose()) => {
                learn(at, &text);
                return Some(text);
            }
            // Written in the file as it is: the check has told it.
            Ok(text) if !text.is_secret() => return None,
            Ok(_) => DisabledReason::Broken(format!(
                "{} is not {} after its variables are filled in",
                at.path, form.name
            )),
            Err(reason) => reason,
        };
        self.disable(at, what, reason, state);
        None
    }

    /// Marks an entry as not serving and tells it once.
    fn disable(&mut self, at: &At<'_>, what: &str, reason: DisabledReason, state: &mut EntryState) {
        if !state.is_enabled() {
            return;
        }
        let (why, instead) = reason_text(&reason);
        self.warn(at, format!("{what} is off: {why}"), instead);
        *state = EntryState::Disabled(reason);
    }

    /// A value outside of any entry: without its variable it is left out, with a warning.
    fn setting(&mut self, at: &At<'_>, form: &Form, otherwise: &str) -> Option<Text> {
        let template = at.text()?;
        let reason = match self.text(template) {
            Ok(text) if (form.accepts)(text.expose()) => {
                learn(at, &text);
                return Some(text);
            }
            // Written in the file as it is: the check has told it.
            Ok(text) if !text.is_secret() => return None,
            Ok(_) => {
                let what = format!("this is not {} after its variables are filled in", form.name);
                self.problem(at, what, form.help);
                return None;
            }
            Err(reason) => reason,
        };
        let (why, instead) = reason_text(&reason);
        self.warn(at, format!("{why}: {otherwise}"), instead);
        None
    }

    /// A file that must be there for the entry to serve.
    fn file(&mut self, at: &At<'_>, key: &str, what: &str, state: &mut EntryState) -> PathBuf {
        let Some(at) = at.get(key) else {
            return PathBuf::new();
        };
        let path = self.path(at.text().unwrap_or_default());
        if !path.is_file() {
            let reason = match path.is_dir() {
                true => DisabledReason::Broken(format!("{} is a folder, not a file", path.display())),
                false => DisabledReason::Broken(format!("{} is not there", path.display())),
            };
            self.disable(&at, what, reason, state);
        }
        path
    }

    /// `enabled`.
    fn state(at: &At<'_>) -> EntryState {
        match at.bool("enabled", true) {
            true => EntryState::Enabled,
            false => EntryState::Disabled(DisabledReason::ByConfig),
        }
    }

    /// Two entries of one kind with one name.
    fn unique_names(&mut self, entries: &[At<'_>], what: &str) {
        let mut seen: HashMap<&str, SourcePosition> = HashMap::new();
        for at in entries.iter().filter_map(|at| at.get("name")) {
            let Some(name) = at.text() else { continue };
            match seen.get(name) {
                Some(first) => {
                    let text = format!("{what} `{name}` is given twice, first in line {}", first.line);
                    self.problem(&at, text, "rename one of them");
                }
                None => {
                    seen.insert(name, at.position());
                }
            }
        }
    }

    /// MCPs and plugins whose tools would get the same prefix, or whose address the hub has taken.
    fn namespaces(&mut self, root: &At<'_>) {
        let mut providers = Vec::new();
        if let Some(mcps) = root.get("mcps") {
            providers.extend(mcps.list("external").into_iter().map(|at| ("mcp", at)));
            providers.extend(mcps.list("local").into_iter().map(|at| ("mcp", at)));
        }
        providers.extend(root.list("plugins").into_iter().map(|at| ("plugin", at)));
        let mut seen: HashMap<Namespace, (&str, String, SourcePosition)> = HashMap::new();
        for (kind, at) in providers {
            let Some(at) = at.get("name") else { continue };
            let Some(name) = at.text() else { continue };
            if RESERVED.contains(&name) {
                let what = format!(
                    "{kind} `{name}` cannot have its own address: /mcp/{name} is the hub's own endpoint"
                );
                self.problem(&at, what, "rename it");
            }
            let space = Namespace::new(name);
            // The name itself has been refused by its form.
            if space.as_str().eq_ignore_ascii_case(BUILTIN) && !name.eq_ignore_ascii_case(BUILTIN) {
                let what = format!(
                    "{kind} `{name}` would give tools named `{space}__…`, and the namespace `{BUILTIN}` is the hub's own"
                );
                self.problem(&at, what, "rename it");
            }
            match seen.get(&space) {
                Some((other_kind, other, position)) => {
                    let what = format!(
                        "{kind} `{name}` and {other_kind} `{other}` in line {} both give tools named `{space}__…`",
                        position.line
                    );
                    self.problem(&at, what, "rename one of them");
                }
                None => {
                    seen.insert(space, (kind, name.to_owned(), at.position()));
                }
            }
        }
    }
}

/// An absolute path: a relative one starts at the file's folder, and `~/` is the home folder of who runs the hub, as in
/// a shell.
pub(crate) fn absolute(base_dir: &Path, text: &str) -> PathBuf {
    let below_home = match text {
        "~" => Some(""),
        text => text.strip_prefix("~/"),
    };
    let path = match (below_home, std::env::home_dir()) {
        (Some(below), Some(home)) => base_dir.join(home).join(below),
        _ => base_dir.join(text),
    };
    // Collecting the components leaves out the `.` of `./skills`.
    path.components().collect()
}

/// Makes a secret that stands in the file as it is known to the filter, by the name of its key or by its look.
/// Commands and their arguments look like many things; see `local` for those.
fn learn(at: &At<'_>, text: &Text) {
    let key = at.path.rsplit('.').next().unwrap_or_default();
    if !["command", "cwd", "args["]
        .iter()
        .any(|other| key.starts_with(other))
    {
        aih_redact::learn_written(key, text.expose());
    }
}

/// Whether a template holds a variable, which makes its value a secret. The file's own folder is none.
fn has_variable(template: &str) -> bool {
    let other = |part: &secrets::Part| match part {
        secrets::Part::Variable { name, .. } => name != secrets::CONFIG_DIR,
        secrets::Part::Literal(_) => false,
    };
    secrets::parse(template).is_ok_and(|parts| parts.iter().any(other))
}

/// What is wrong and what to do, for a message.
fn reason_text(reason: &DisabledReason) -> (String, &'static str) {
    match reason {
        DisabledReason::MissingVariable { name } => (
            format!("${{{name}}} is not set"),
            "put it in .env or the environment",
        ),
        other => (other.to_string(), ""),
    }
}

/// The text as a secret.
fn secret(text: Text) -> SecretString {
    text.into_secret()
}

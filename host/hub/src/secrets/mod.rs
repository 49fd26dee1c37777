//! Values of `${VAR}`: from the environment and from `.env` beside the config file, or from files.
//!
//! It exists so that no secret is ever written into `aih-config.yaml`. It must never log, print or list a
//! value; only names are spoken of.
//!
//! [`template`] reads `${VAR}`, [`file`](self::file) reads `.env` and `secrets.path` with [`dotenv`], and [`environment`]
//! says which variables are not secrets.

mod dotenv;
mod environment;
mod file;
mod template;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

pub(crate) use environment::is_inherited;
pub use file::FileError;
pub(crate) use template::is_variable_name;
pub use template::{Part, TemplateError, parse};

/// The variable that holds the config file's own folder, an absolute path. For programs that read a relative
/// path in another way than the hub does.
pub const CONFIG_DIR: &str = "AIH_CONFIG_DIR";

/// `secrets.provider`: where variables are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// `env`: the process environment, then `.env` beside the config file.
    #[default]
    Env,
    /// `file`: the files of `secrets.path`, then as with `env`.
    File,
    /// `vault`: not available yet; the environment is used.
    Vault,
    /// `doppler`: not available yet; the environment is used.
    Doppler,
}

/// A variable that a template needs and nothing gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MissingVar {
    /// The variable is not set, or set to nothing.
    #[error("${{{0}}} is not set; put it in .env or the environment")]
    NotSet(String),
    /// The template itself cannot be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// Looks up variables. An empty value counts as not set, because compose files hand on unset variables as
/// empty ones.
#[derive(Clone, Default)]
pub struct Secrets {
    values: HashMap<String, SecretString>,
    mappings: BTreeMap<String, String>,
}

impl Secrets {
    /// Variables given as they are, without looking at the environment.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let values = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), SecretString::from(value.into())))
            .filter(|(_, value)| !value.expose_secret().is_empty())
            .collect();
        Self {
            values,
            mappings: BTreeMap::new(),
        }
    }

    /// The process environment, over `.env` in `base_dir` if there is one. Variables that are not UTF-8 are
    /// left out. What cannot be read of a `.env` is reported with the result and does not stop anything.
    #[must_use]
    pub fn from_environment(base_dir: &Path) -> (Self, Vec<FileError>) {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let (mut pairs, errors) = file::lines(&base_dir.join(".env"));
        // An empty variable of the environment must not hide the one of the file: from_pairs drops both kinds
        // of empties, so the order alone decides.
        pairs.extend(environment.filter(|(_, value)| !value.is_empty()));
        (Self::from_pairs(pairs), errors)
    }

    /// The same variables under those of `path`: a folder with a file for each, or a file of NAME=value lines.
    /// What cannot be used of it is reported with the result and does not stop anything.
    ///
    /// # Errors
    /// Nothing is there, or it cannot be listed.
    pub fn with_files(mut self, path: &Path) -> Result<(Self, Vec<FileError>), FileError> {
        let (pairs, errors) = file::read(path)?;
        self.values.extend(Self::from_pairs(pairs).values);
        Ok((self, errors))
    }

    /// The same variables with `secrets.mappings`: names that stand for templates.
    #[must_use]
    pub fn with_mappings(mut self, mappings: BTreeMap<String, String>) -> Self {
        self.mappings = mappings;
        self
    }

    /// The same variables with [`CONFIG_DIR`], whatever the environment says.
    #[must_use]
    pub fn with_config_dir(mut self, base_dir: &Path) -> Self {
        let value = SecretString::from(base_dir.to_string_lossy().into_owned());
        self.values.insert(CONFIG_DIR.to_owned(), value);
        self
    }

    /// The value of one variable or mapping; `None` when it is not set or empty. Whatever is handed out here is kept
    /// out of the texts that come back from outside; see [`aih_redact`].
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SecretString> {
        self.lookup(name).ok().flatten()
    }

    /// Replaces every `${VAR}` and `${VAR:-default}` of `template`; `$$` stands for one `$`.
    ///
    /// # Errors
    /// The first variable that is not set and has no default, or a template that cannot be read.
    pub fn resolve(&self, template: &str) -> Result<SecretString, MissingVar> {
        self.expand(template, |name| self.lookup(name))
            .map(SecretString::from)
    }

    /// The same as [`get`](Self::get) for code that compares values and passes none on. Such values need no filter.
    pub(crate) fn peek(&self, name: &str) -> Option<SecretString> {
        let plain = |name: &str| self.values.get(name).cloned();
        let Some(template) = self.mappings.get(name) else {
            return plain(name);
        };
        let value = self.expand(template, |inner| Ok(plain(inner))).ok()?;
        Some(SecretString::from(value)).filter(|value| !value.expose_secret().is_empty())
    }

    /// A mapping is expanded with the plain variables only, so that `A: ${A}` is A and no chain can loop.
    fn lookup(&self, name: &str) -> Result<Option<SecretString>, MissingVar> {
        let Some(template) = self.mappings.get(name) else {
            return Ok(self.variable(name));
        };
        let value = self.expand(template, |inner| Ok(self.variable(inner)))?;
        if value.is_empty() {
            return Ok(None);
        }
        aih_redact::learn(name, &value);
        Ok(Some(SecretString::from(value)))
    }

    /// The value of a variable, which is a secret from now on.
    fn variable(&self, name: &str) -> Option<SecretString> {
        let value = self.values.get(name)?;
        // Those are known to every child.
        if name != CONFIG_DIR && !is_inherited(name) {
            aih_redact::learn(name, value.expose_secret());
        }
        Some(value.clone())
    }

    fn expand(
        &self,
        template: &str,
        lookup: impl Fn(&str) -> Result<Option<SecretString>, MissingVar>,
    ) -> Result<String, MissingVar> {
        let mut out = String::new();
        write_parts(parse(template)?, &lookup, &mut out)?;
        Ok(out)
    }
}

/// Writes the values of the parts. A default is looked at only where it is needed.
fn write_parts(
    parts: Vec<Part>,
    lookup: &impl Fn(&str) -> Result<Option<SecretString>, MissingVar>,
    out: &mut String,
) -> Result<(), MissingVar> {
    for part in parts {
        match part {
            Part::Literal(text) => out.push_str(&text),
            Part::Variable { name, default } => match (lookup(&name), default) {
                (Ok(Some(value)), _) => out.push_str(value.expose_secret()),
                (_, Some(default)) => write_parts(default, lookup, out)?,
                (Err(missing), None) => return Err(missing),
                (Ok(None), None) => return Err(MissingVar::NotSet(name)),
            },
        }
    }
    Ok(())
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} variables)", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(secrets: &Secrets, template: &str) -> Result<String, MissingVar> {
        secrets.resolve(template).map(|s| s.expose_secret().to_owned())
    }

    #[test]
    fn variables_defaults_and_dollars() {
        let secrets = Secrets::from_pairs([("A", "1"), ("EMPTY", "")]);
        assert_eq!(resolve(&secrets, "x${A}y${B:-2}$$z").unwrap(), "x1y2$z");
        assert_eq!(resolve(&secrets, "${EMPTY:-d}").unwrap(), "d");
        assert_eq!(
            resolve(&secrets, "${EMPTY}"),
            Err(MissingVar::NotSet("EMPTY".into()))
        );
        assert_eq!(resolve(&secrets, "${B:-}").unwrap(), "");
        assert_eq!(resolve(&secrets, "${B:-${A:-2}}").unwrap(), "1");
        assert_eq!(resolve(&secrets, "${B:-${C:-x${D:-2}}}y").unwrap(), "x2y");
        assert_eq!(resolve(&secrets, "${A:-${B}}").unwrap(), "1");
        assert_eq!(
            resolve(&secrets, "${B:-${C}}"),
            Err(MissingVar::NotSet("C".into()))
        );
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        let secrets = Secrets::from_pairs([("A", "${B}"), ("B", "secret")]);
        assert_eq!(resolve(&secrets, "${A}").unwrap(), "${B}");
    }

    #[test]
    fn mappings_give_names_and_cannot_loop() {
        let mappings = BTreeMap::from([
            ("A".to_owned(), "${A}".to_owned()),
            ("TOKEN".to_owned(), "pre-${REAL}".to_owned()),
            ("X".to_owned(), "${Y}".to_owned()),
            ("Y".to_owned(), "${X}".to_owned()),
        ]);
        let secrets = Secrets::from_pairs([("A", "1"), ("REAL", "r")]).with_mappings(mappings);
        assert_eq!(resolve(&secrets, "${A}${TOKEN}").unwrap(), "1pre-r");
        assert_eq!(resolve(&secrets, "${X}"), Err(MissingVar::NotSet("Y".into())));
    }

    #[test]
    fn nothing_of_a_value_is_printed() {
        let secrets = Secrets::from_pairs([("A", "hunter2")]);
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn dotenv_is_read_and_the_environment_wins() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), "AIH_TEST_ONLY_HERE=1\nPATH=/nowhere\n").unwrap();
        let (secrets, errors) = Secrets::from_environment(dir.path());
        assert_eq!(errors, []);
        assert_eq!(resolve(&secrets, "${AIH_TEST_ONLY_HERE}").unwrap(), "1");
        assert_ne!(resolve(&secrets, "${PATH}").unwrap(), "/nowhere");
    }

    #[test]
    fn a_broken_dotenv_is_reported_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(".env"),
            "GOOD=1\nhunter2 is my password\nMORE=2\n",
        )
        .unwrap();
        let (secrets, errors) = Secrets::from_environment(dir.path());
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].line, Some(2));
        assert!(!errors[0].to_string().contains("hunter2"), "{}", errors[0]);
        assert_eq!(resolve(&secrets, "${GOOD}${MORE}").unwrap(), "12");
        for bytes in [&b"\xff\xfeA\0=\x001\0"[..], &vec![b'x'; 2 << 20]] {
            std::fs::write(dir.path().join(".env"), bytes).unwrap();
            let (_, errors) = Secrets::from_environment(dir.path());
            assert_eq!((errors.len(), errors[0].line), (1, None), "{errors:?}");
        }
        std::fs::write(dir.path().join(".env"), "odd line\n".repeat(1000)).unwrap();
        let (_, errors) = Secrets::from_environment(dir.path());
        assert!(
            errors.last().unwrap().to_string().contains("980 more"),
            "{errors:?}"
        );
    }
}

//! Reads the file and puts the parts together.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::check;
use super::cursor::At;
use super::fields::ROOT;
use super::node::{self, MAX_BYTES, SourcePosition};
use super::read::{Reader, absolute, secrets_settings};
use super::without_effect::{INSTEAD, without_effect};
use super::{Config, Fingerprints, LoadedConfig, Problem, Problems, files};
use crate::secrets::{Provider, Secrets};

impl Config {
    /// Reads, checks and resolves the file at `path`, at most 1 MiB of UTF-8. Variables come from the process
    /// environment, then from `.env` in the file's folder, or from where its `secrets` say; `${AIH_CONFIG_DIR}` is that folder.
    ///
    /// # Errors
    /// Every problem of the file at once, in the order of the file.
    pub fn load(path: impl AsRef<Path>) -> Result<LoadedConfig, Problems> {
        let path = path.as_ref();
        let unreadable = |error: std::io::Error| {
            let instead = match error.kind() {
                std::io::ErrorKind::NotFound => "give the path of an aih-config.yaml",
                _ => "",
            };
            Problems::of_file(path, format!("cannot be read: {error}"), instead)
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let position = end_of(error.as_bytes().get(..good).unwrap_or_default());
            Problems(vec![Problem {
                line: position.line,
                column: position.column,
                ..Problem::of_file(
                    path,
                    "this is not UTF-8 text".to_owned(),
                    "save the file as UTF-8",
                )
            }])
        })?;
        let (secrets, dotenv) = Secrets::from_environment(&folder_of(path));
        let mut loaded = Self::from_text(&text, path, secrets)?;
        let warnings = dotenv.into_iter().map(|error| Problem {
            file: error.path,
            line: error.line.unwrap_or(0),
            column: usize::from(error.line.is_some()),
            key: String::new(),
            what: error.what,
            instead: String::new(),
        });
        loaded.warnings.splice(0..0, warnings);
        Ok(loaded)
    }

    /// Checks and resolves `text` as if it stood in the file at `path`, with the variables of `secrets`.
    ///
    /// # Errors
    /// Every problem of the text at once, in its order.
    pub fn from_text(text: &str, path: &Path, secrets: Secrets) -> Result<LoadedConfig, Problems> {
        let problem = |position: node::SourcePosition, key: String, what: String, instead: String| Problem {
            file: path.to_owned(),
            line: position.line,
            column: position.column,
            key,
            what,
            instead,
        };
        let mut duplicates = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let root = node::parse(text, &mut duplicates).map_err(|e| {
            Problems(vec![problem(
                e.position,
                String::new(),
                e.what,
                e.instead.to_owned(),
            )])
        })?;
        let at = At::root(&root);
        let settings = secrets_settings(&at);
        let base_dir = folder_of(path);
        let (secrets, files) = match &settings.path {
            Some(path) if settings.provider == Provider::File => {
                match secrets.clone().with_files(&absolute(&base_dir, path)) {
                    Ok((secrets, unusable)) => (secrets, Ok(unusable)),
                    Err(error) => (secrets, Err(error)),
                }
            }
            _ => (secrets, Ok(Vec::new())),
        };
        let secrets = secrets
            .with_mappings(settings.mappings)
            .with_config_dir(&base_dir);
        let mut reader = Reader {
            file: path,
            base_dir: &base_dir,
            secrets: &secrets,
            problems: Vec::new(),
            warnings: Vec::new(),
            grants: Vec::new(),
        };
        reader.problems.extend(
            duplicates
                .into_iter()
                .map(|e| problem(e.position, String::new(), e.what, e.instead.to_owned())),
        );
        reader.problems.extend(
            check(&root, &ROOT)
                .into_iter()
                .map(|f| problem(f.position, f.key, f.what, f.instead)),
        );
        let config = reader.config(&at, settings.provider, files);
        let (mut problems, mut warnings, grants) = (reader.problems, reader.warnings, reader.grants);
        warnings.extend(
            without_effect(&root, &ROOT)
                .into_iter()
                .map(|found| problem(found.position, found.key, found.what, INSTEAD.to_owned())),
        );
        problems.sort_by_key(|p| (p.line, p.column));
        warnings.sort_by_key(|p| (p.line, p.column));
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let fingerprints = Fingerprints::of(&root, &config, &secrets);
        let mut loaded = LoadedConfig {
            path: path.to_owned(),
            base_dir,
            config,
            warnings,
            refused: Vec::new(),
            fingerprints,
            secrets: Arc::new(secrets),
        };
        loaded.refused = files::refused(&loaded, &grants);
        Ok(loaded)
    }
}

/// The place behind the last character of a text.
fn end_of(text: &[u8]) -> SourcePosition {
    let text = String::from_utf8_lossy(text);
    let last = text.rsplit('\n').next().unwrap_or_default();
    SourcePosition {
        line: text.matches('\n').count() + 1,
        column: last.chars().count() + 1,
    }
}

/// The absolute folder that `path` is in, symbolic links left as they are: a mounted config is often one.
fn folder_of(path: &Path) -> PathBuf {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

//! What the operator lets one component reach. Empty grants nothing.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use secrecy::SecretString;

use crate::egress::{Rule, RuleError};

/// The grants of one component, checked.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Where its HTTP requests may go.
    pub http: Vec<Rule>,
    /// Names of secrets it may read.
    pub secrets: BTreeSet<String>,
    /// Environment variables it sees, with their values.
    pub env: Vec<(String, SecretString)>,
    /// Patterns `SERVER/TOOL` of what it may call through the hub. The hub matches them.
    pub mcps: Vec<String>,
    /// Folders it sees.
    pub files: Vec<FileGrant>,
    /// Bytes of state it may keep; `None` grants no state.
    pub state: Option<u64>,
    /// What it may ask of the client.
    pub client: BTreeSet<ClientFeature>,
}

/// A folder that a component sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGrant {
    /// Absolute path in the hub's file system.
    pub path: PathBuf,
    /// Absolute path that the component sees.
    pub seen_as: String,
    /// What it may do there.
    pub mode: FileMode,
}

/// What a component may do in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// Read.
    ReadOnly,
    /// Read, write, make and remove.
    ReadWrite,
}

/// A feature of the client that a component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientFeature {
    /// `elicit`.
    Elicit,
    /// `sample`.
    Sample,
    /// `roots`.
    Roots,
}

impl ClientFeature {
    /// Reads the word of the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "elicit" => Some(Self::Elicit),
            "sample" => Some(Self::Sample),
            "roots" => Some(Self::Roots),
            _ => None,
        }
    }
}

/// Why a grant cannot be given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GrantError {
    /// `grants.http`.
    #[error("grants.http: {0}")]
    Http(#[from] RuleError),
    /// `grants.files`: the folder.
    #[error("grants.files: {path}: {why}")]
    File {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
}

impl Grants {
    /// Checks the folders: each is there, none lies in another one with another mode, and none reaches into a
    /// path of `reserved` (what is the hub's own) or holds one. One that is granted for writing holds no path of
    /// `code` either: the files of plugins and hooks, which run with grants of their own.
    ///
    /// # Errors
    /// The first folder that cannot be granted.
    pub fn check_files(&self, reserved: &[PathBuf], code: &[PathBuf]) -> Result<(), GrantError> {
        let mut real: Vec<(PathBuf, FileMode)> = Vec::new();
        for grant in &self.files {
            let fault = |why: String| GrantError::File {
                path: grant.path.clone(),
                why,
            };
            let path = grant
                .path
                .canonicalize()
                .map_err(|error| fault(format!("{error}; make the folder, or take the grant away")))?;
            if !path.is_dir() {
                return Err(fault("is no folder; only folders can be granted".to_owned()));
            }
            if !is_plain_absolute(&grant.seen_as) {
                return Err(fault(format!(
                    "`as: {}` must be an absolute path without `..`",
                    grant.seen_as
                )));
            }
            for reserved in reserved {
                let reserved = real_path(reserved);
                if overlap(&path, &reserved) {
                    return Err(fault(format!(
                        "overlaps the hub's own {}; grant another folder",
                        reserved.display()
                    )));
                }
            }
            let written = code.iter().filter(|_| grant.mode == FileMode::ReadWrite);
            for code in written.map(|code| real_path(code)) {
                if code.starts_with(&path) {
                    return Err(fault(format!(
                        "holds {}, which the hub runs; grant it read-only, or grant another folder",
                        code.display()
                    )));
                }
            }
            for (other, mode) in &real {
                if *mode != grant.mode && overlap(&path, other) {
                    return Err(fault(format!(
                        "overlaps {} which is granted with another mode; grant one tree with one mode",
                        other.display()
                    )));
                }
            }
            real.push((path, grant.mode));
        }
        Ok(())
    }
}

/// A path without links, as far as it is there already.
fn real_path(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            };
        }
    }
    path.to_owned()
}

fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn is_plain_absolute(path: &str) -> bool {
    let path = Path::new(path);
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(path: &Path, mode: FileMode) -> FileGrant {
        FileGrant {
            path: path.to_owned(),
            seen_as: "/files".to_owned(),
            mode,
        }
    }

    #[test]
    fn overlapping_modes_and_reserved_folders_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let outer = root.path().join("a");
        let check = |files: Vec<FileGrant>, reserved: &[PathBuf]| {
            Grants {
                files,
                ..Grants::default()
            }
            .check_files(reserved, &[])
        };
        assert!(check(vec![grant(&outer, FileMode::ReadOnly)], &[]).is_ok());
        assert!(
            check(
                vec![
                    grant(&outer, FileMode::ReadOnly),
                    grant(&inner, FileMode::ReadWrite)
                ],
                &[]
            )
            .is_err()
        );
        assert!(
            check(
                vec![grant(&outer, FileMode::ReadOnly)],
                std::slice::from_ref(&inner)
            )
            .is_err()
        );
        assert!(check(vec![grant(&inner, FileMode::ReadOnly)], &[outer]).is_err());
        assert!(check(vec![grant(&root.path().join("none"), FileMode::ReadOnly)], &[]).is_err());
    }

    #[test]
    fn a_link_counts_as_what_it_points_to() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let check = |path: &Path, mode, reserved: PathBuf| {
            let grants = Grants {
                files: vec![grant(path, mode)],
                ..Grants::default()
            };
            grants.check_files(&[reserved], &[])
        };
        assert!(check(&link, FileMode::ReadWrite, real.clone()).is_err());
        // What is not there yet is reserved too.
        assert!(check(&real, FileMode::ReadOnly, link.join("data/keys.json")).is_err());
    }

    #[test]
    fn what_the_hub_runs_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        let plugins = root.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        let file = plugins.join("x.js");
        std::fs::write(&file, "").unwrap();
        let check = |path: &Path, mode| {
            let grants = Grants {
                files: vec![grant(path, mode)],
                ..Grants::default()
            };
            grants.check_files(&[], std::slice::from_ref(&file))
        };
        assert!(check(&plugins, FileMode::ReadOnly).is_ok());
        assert!(check(&plugins, FileMode::ReadWrite).is_err());
        assert!(check(root.path(), FileMode::ReadWrite).is_err());
        let other = root.path().join("other");
        std::fs::create_dir(&other).unwrap();
        assert!(check(&other, FileMode::ReadWrite).is_ok());
    }
}

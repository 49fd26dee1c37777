//! What the operator lets one component reach. Empty grants nothing.

use std::{collections::BTreeSet, path::PathBuf};

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
    /// How far the folder may grow, where it can be written.
    pub quota: Quota,
}

/// How far a folder may grow. Components that share a folder share what is in it, each with its own bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all files together; a file with gaps counts by its length.
    pub bytes: u64,
    /// Files, folders and links.
    pub files: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            files: 10_000,
        }
    }
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

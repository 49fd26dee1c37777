//! Files that the hub hands out.

use std::path::PathBuf;

use super::EntryState;

/// One entry of `skills`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// `name`: unique among skills.
    pub name: String,
    /// `description`; `None` takes the one of the file's front matter.
    pub description: Option<String>,
    /// `file`: absolute path of the markdown file. A file called `SKILL.md` stands for its whole folder.
    pub file: PathBuf,
    /// `tags`; empty takes those of the file's front matter.
    pub tags: Vec<String>,
    /// Whether the file was there.
    pub state: EntryState,
}

/// One entry of `configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// The key in the map.
    pub name: String,
    /// `file`: absolute path.
    pub file: PathBuf,
    /// Whether the file was there.
    pub state: EntryState,
}

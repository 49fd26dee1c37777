//! Messages between the two processes: a job on the child's standard input, and messages on its output, one line of
//! JSON each.
//!
//! Do not trust what the child sends: the source that it builds may control it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{BuildError, Language, Protections, World};

/// What the child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// A component of a source.
    Build(Job),
    /// Code for this machine of a component.
    Compile(Compile),
}

impl Task {
    /// The child's own folder: all that it may write.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Build(job) => &job.folder,
            Self::Compile(job) => &job.folder,
        }
    }
}

/// A component to compile: [`COMPONENT`] in the folder, which becomes [`CODE`] beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Compile {
    pub(crate) folder: PathBuf,
    /// Most code, in bytes.
    pub(crate) max_code: u64,
    /// Most memory, in bytes.
    pub(crate) max_memory: u64,
    /// The process that the child must not outlive.
    pub(crate) parent: u32,
}

/// A source to build.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The entry file.
    pub(crate) file: PathBuf,
    /// The only folder beside the build folder that the child may read, before the source runs.
    pub(crate) root: PathBuf,
    pub(crate) language: Language,
    pub(crate) world: World,
    /// The child's own folder: all that it may write.
    pub(crate) folder: PathBuf,
    /// Only tell what would go in.
    pub(crate) scan: bool,
    /// Largest component, in bytes.
    pub(crate) max_component: u64,
    /// Most memory, in bytes.
    pub(crate) max_memory: u64,
    /// The process that the child must not outlive.
    pub(crate) parent: u32,
}

/// Where a component lies in the child's folder.
pub(crate) const COMPONENT: &str = "component.wasm";
/// Where the child leaves compiled code, in its folder.
pub(crate) const CODE: &str = "component.cwasm";

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    Confined(Protections),
    Progress(Progress),
    Inputs(Vec<Input>),
    Done,
    Failed(BuildError),
}

/// A file that went in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Input {
    /// Below the root.
    pub(crate) path: PathBuf,
    /// SHA-256 of what was read, in hex.
    pub(crate) hash: String,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Progress {
    /// Imports are followed.
    Reading,
    /// The engine is linked, the source runs once and is snapshotted.
    Building,
    /// The component is there.
    Done,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reading => "reading the source",
            Self::Building => "building the component",
            Self::Done => "done",
        })
    }
}

//! `aih-config.yaml`: model, `${VAR}`, validation, JSON Schema.
//!
//! It exists so that one file says all that the hub does, and so that a mistake in it is named with its
//! line and with what to write instead, all mistakes at once. It must never panic on any text, never take
//! an unknown key in silence, and never print a value that came from a variable.
//!
//! [`load`] goes through the file: [`node`] is its text as a tree with places, [`check`] compares that with the table of
//! keys ([`fields`], [`forms`], [`table`], [`units`]), and [`read`] makes the [`model`] of it, with [`cursor`]. What is
//! wrong becomes a [`problem`]. [`schema`](self::schema()) shows the table as JSON Schema, and [`files`] lists the files
//! that plugins and hooks are not granted. [`paste`] knows the words of AI clients, [`without_effect`] names the keys that this version does not act on, and
//! [`fingerprint`] says which parts of two configurations differ; both go through the tree with [`walk`].

mod check;
mod cursor;
mod fields;
pub(crate) mod files;
pub(crate) mod fingerprint;
mod forms;
mod load;
mod model;
mod node;
mod paste;
mod problem;
mod read;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod units;
mod walk;
mod without_effect;

use std::path::PathBuf;
use std::sync::Arc;

pub use fingerprint::{Differences, Fingerprints};
pub use model::*;
pub use problem::{Problem, Problems};
pub use schema::{reference, schema};
pub use units::{ByteSize, HumanDuration, UnitError};

use crate::secrets::Secrets;

/// The events that a hook can wait for.
pub const TRIGGERS: &[&str] = &[
    "conversation.start",
    "conversation.end",
    "tool.before",
    "tool.after",
    "tool.error",
    "resource.read",
    "prompt.get",
    "list.tools",
    "auth.failure",
    "upstream.up",
    "upstream.down",
    "config.reloaded",
    "config.rejected",
    "schedule",
    "http",
    "manual",
];

/// Whether an event of this trigger can wait for its hooks. The others have happened when their hooks run.
pub fn can_block(trigger: &str) -> bool {
    matches!(
        trigger,
        "conversation.start"
            | "tool.before"
            | "tool.after"
            | "tool.error"
            | "resource.read"
            | "prompt.get"
            | "list.tools"
            | "http"
            | "manual"
    )
}

/// Whether hooks of this trigger stand before an access and can refuse it. One that fails refuses, where the file says
/// nothing else.
pub fn guards(trigger: &str) -> bool {
    matches!(trigger, "tool.before" | "resource.read" | "prompt.get")
}

/// A config file that can be used.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The file's folder, absolute: relative paths of the file start here.
    pub base_dir: PathBuf,
    /// What the file says.
    pub config: Config,
    /// What should be looked at, in the order of the file.
    pub warnings: Vec<Problem>,
    /// Grants that cannot be given: the hub runs, and the entries of these do not serve.
    pub refused: Vec<Problem>,
    /// Digests of what takes effect at the start only, for telling what a reload cannot change.
    pub fingerprints: Fingerprints,
    /// Where `${VAR}` values come from.
    pub secrets: Arc<Secrets>,
}

impl LoadedConfig {
    /// The folder of the hub's own files.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.base_dir.join("data")
    }
}

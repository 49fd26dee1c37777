//! Why a build failed: one readable line each, with what to do.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// The file, relative to the project's folder where it lies in it.
    pub file: String,
    /// From 1; 0 where only the file is known.
    pub line: u32,
    /// From 1, in characters; 0 where only the line is known.
    pub column: u32,
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

/// Why a source did not become a component.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BuildError {
    /// The file itself cannot be built.
    #[error("{}: {why}", file.display())]
    Source {
        /// The file as it was given.
        file: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The source is not valid in its language.
    #[error("{position}: {message}")]
    Syntax {
        /// Where.
        position: SourcePosition,
        /// What the parser says.
        message: String,
    },
    /// An import that is not there.
    #[error("{position}: cannot find `{name}`: {hint}")]
    MissingImport {
        /// The file that imports it.
        position: SourcePosition,
        /// What is imported, as written.
        name: String,
        /// How to install it.
        hint: String,
    },
    /// A module of Node, or a package with native code: a sandbox has neither.
    #[error("{position}: `{name}` cannot be used in a sandbox: {hint}")]
    Unsupported {
        /// The file that imports it.
        position: SourcePosition,
        /// What is imported.
        name: String,
        /// What to use in its place.
        hint: String,
    },
    /// The top level of the source, which runs while it is built, failed.
    #[error("{position}: {message} (while its top level ran, which happens once, when it is built)")]
    TopLevel {
        /// The place nearest to the failure that is known.
        position: SourcePosition,
        /// What was thrown.
        message: String,
    },
    /// It did not come to an end.
    #[error(
        "the build took longer than {} s of processor time: the top level of the source runs while it is built, so move loops and waiting into the tool's function",
        .0.as_secs()
    )]
    TimedOut(Duration),
    /// It wanted more memory than it may have: the limit in bytes.
    #[error(
        "the build needed more than {} MiB of memory: the top level of the source runs while it is built, so load large data in the tool's function",
        .0 / (1024 * 1024)
    )]
    OutOfMemory(u64),
    /// The inputs or the component are larger than allowed.
    #[error("{what} is larger than {} MiB: leave out packages or data that are not needed", limit / (1024 * 1024))]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The building process died. The text is what it wrote last.
    #[error(
        "the build process ended without a result ({0}); this source cannot be built. If you think that it should build, report it with the source"
    )]
    Crashed(String),
    /// The build was given up by who asked for it.
    #[error("the build was cancelled")]
    Cancelled,
    /// The machine failed: the disk, the system, the compiler's process.
    #[error("{what}")]
    Machine {
        /// What could not be done, and with which file.
        what: String,
        /// Why.
        source: MachineError,
    },
    /// The compiler refuses the component.
    #[error(transparent)]
    Refused(MachineError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// An error of the system, or of a library, in a form that passes from the build's process to the hub's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{text}")]
pub struct MachineError {
    /// The system's number of it (`errno`), where it has one.
    pub code: Option<i32>,
    /// What it says, with all its causes.
    pub text: String,
}

impl From<&std::io::Error> for MachineError {
    fn from(error: &std::io::Error) -> Self {
        Self {
            code: error.raw_os_error(),
            text: error.to_string(),
        }
    }
}

impl From<&(dyn std::error::Error + 'static)> for MachineError {
    fn from(error: &(dyn std::error::Error + 'static)) -> Self {
        let texts: Vec<String> = anyhow::Chain::new(error).map(ToString::to_string).collect();
        Self {
            code: None,
            text: texts.join(": "),
        }
    }
}

impl BuildError {
    /// An error of the machine rather than of the source.
    pub(crate) fn io(what: &str, error: &std::io::Error) -> Self {
        Self::Machine {
            what: what.to_owned(),
            source: error.into(),
        }
    }

    /// Whether the same source can be expected to fail again.
    pub fn is_of_the_source(&self) -> bool {
        !matches!(
            self,
            Self::Cancelled | Self::Machine { .. } | Self::Refused(_) | Self::Other(_)
        )
    }
}

/// Why a component did not become code for this machine.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CompileError {
    /// It did not come to an end.
    #[error("it took more than {} s of processor time", .0.as_secs())]
    TimedOut(Duration),
    /// It wanted more memory than it may have: the limit in bytes.
    #[error("it needed more than {} MiB of memory", .0 / (1024 * 1024))]
    OutOfMemory(u64),
    /// The process that compiles died. The text is what it wrote last.
    #[error("the compiler ended without a result ({0})")]
    Crashed(String),
    /// The compiler refuses it, or the machine failed.
    #[error(transparent)]
    Failed(BuildError),
}

impl From<BuildError> for CompileError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::TimedOut(limit) => Self::TimedOut(limit),
            BuildError::OutOfMemory(limit) => Self::OutOfMemory(limit),
            BuildError::Crashed(how) => Self::Crashed(how),
            other => Self::Failed(other),
        }
    }
}

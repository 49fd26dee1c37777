//! What is wrong with a config file, where, and what to write instead.
//!
//! A [`Problem`] must never hold a value that came from a variable.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line, from 1; 0 when the problem is the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 when the problem is the file as a whole.
    pub column: usize,
    /// The key's path such as `mcps.external[1].url`; empty for the file as a whole.
    pub key: String,
    /// What is wrong: a lower-case fragment.
    pub what: String,
    /// What to write or do instead; empty when `what` says it already.
    pub instead: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.what)?;
        if !self.instead.is_empty() {
            write!(f, "; {}", self.instead)?;
        }
        Ok(())
    }
}

/// Everything that keeps a config file from being used, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    /// A problem with the file as a whole.
    pub(crate) fn of_file(file: &Path, what: String, instead: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            what,
            instead: instead.to_owned(),
        }
    }
}

impl Problems {
    /// A single problem with the file as a whole.
    pub(crate) fn of_file(file: &Path, what: String, instead: &str) -> Self {
        Self(vec![Problem::of_file(file, what, instead)])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}

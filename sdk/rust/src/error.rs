//! Why a tool or a hook did not do what it was asked.

use std::fmt;

use crate::{
    output::{Content, Output},
    wit::types::Failure,
};

/// What tools return: see [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a tool or a hook.
///
/// Every `std::error::Error` turns into one with `?`. The model reads its text, and the texts of its sources, as
/// the result of a tool that failed (MCP's `isError`). The constructors below other than [`Error::new`] make
/// failures that the hub reports in the tool's place.
///
/// Like `anyhow::Error` it is not a `std::error::Error` itself: `?` could not take every error otherwise.
pub struct Error {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tool,
    InvalidArguments,
    Denied,
    Unavailable,
    Other,
}

impl Error {
    /// The tool ran and failed: the model reads the message.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::of(Kind::Tool, message)
    }

    /// The arguments fit the schema and make no sense all the same. Say which, and what would.
    pub fn invalid_arguments(message: impl fmt::Display) -> Self {
        Self::of(Kind::InvalidArguments, message)
    }

    /// Whoever calls may not do this.
    pub fn denied(message: impl fmt::Display) -> Self {
        Self::of(Kind::Denied, message)
    }

    /// What the tool needs is not there now; a later call may go well.
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self::of(Kind::Unavailable, message)
    }

    /// The plugin is broken.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::of(Kind::Other, message)
    }

    fn of(kind: Kind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    /// Puts what was being done in front: `reading page 3: the connection was reset`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// What a tool's caller gets.
    pub(crate) fn into_answer(self) -> Result<Output, Failure> {
        match self.kind {
            Kind::Tool => Ok(Output::failed([Content::text(self.message)])),
            _ => Err(self.into_failure()),
        }
    }

    /// For hooks, which have no result that could carry an error.
    pub(crate) fn into_failure(self) -> Failure {
        match self.kind {
            Kind::InvalidArguments => Failure::InvalidArguments(self.message),
            Kind::Denied => Failure::Denied(self.message),
            Kind::Unavailable => Failure::Unavailable(self.message),
            Kind::Tool | Kind::Other => Failure::Other(self.message),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Many errors print their source themselves.
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = error.source();
        }
        Self::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_says_its_sources() {
        let error = Error::from(Outer("x".parse::<u8>().unwrap_err())).context("counting");
        assert_eq!(
            error.to_string(),
            "counting: outer: invalid digit found in string"
        );
        let output = error.into_answer().unwrap();
        assert!(output.is_error);
    }

    #[test]
    fn failures_of_the_hubs_kind_stay_failures() {
        assert_eq!(
            Error::denied("no").into_answer(),
            Err(Failure::Denied("no".into()))
        );
        assert_eq!(Error::new("no").into_failure(), Failure::Other("no".into()));
    }
}

//! Values that may have come from `${VAR}`: usable by the code that needs them, never printed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// A text of the file. What came from a variable counts as a secret and prints as `[secret]`.
#[derive(Clone)]
pub enum Text {
    /// Written in the file as it is.
    Plain(String),
    /// Holds the value of at least one `${VAR}`, or stands where secrets are often written as they are.
    Secret(SecretString),
}

impl Text {
    /// The value itself. Hand it only to the process or the request that it is meant for.
    #[must_use]
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(text) => text.expose_secret(),
        }
    }

    /// True when the value is not to be printed.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    /// The same value as a secret.
    #[must_use]
    pub fn into_secret(self) -> SecretString {
        match self {
            Self::Plain(text) => SecretString::from(text),
            Self::Secret(text) => text,
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Secret(_) => f.write_str("[secret]"),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => fmt::Debug::fmt(text, f),
            Self::Secret(_) => f.write_str("[secret]"),
        }
    }
}

/// The address of an upstream. User, password and query are never printed, and nothing past the scheme
/// when any part of the address came from a variable.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    secret: bool,
}

impl Endpoint {
    /// An address that is written in the file as it is.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self { url, secret: false }
    }

    /// An address of which some part came from a variable.
    #[must_use]
    pub fn from_variable(url: Url) -> Self {
        Self { url, secret: true }
    }

    /// The address itself, to connect to. Print the [`Endpoint`] instead.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret {
            return write!(f, "{}://[secret]", self.url.scheme());
        }
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.url.scheme())?;
        if let Some(port) = self.url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.url.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_prints_no_credentials() {
        let url: Url = "https://me:pw@host.example:8443/mcp?key=1".parse().unwrap();
        assert_eq!(
            Endpoint::new(url.clone()).to_string(),
            "https://host.example:8443/mcp"
        );
        assert_eq!(format!("{:?}", Endpoint::from_variable(url)), "https://[secret]");
    }

    #[test]
    fn a_secret_text_prints_nothing_of_itself() {
        let text = Text::Secret(SecretString::from("hunter2"));
        assert_eq!(format!("{text} {text:?}"), "[secret] [secret]");
        assert_eq!(text.expose(), "hunter2");
    }
}

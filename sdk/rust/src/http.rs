//! Outbound HTTP to the addresses that `grants.http` names.
//!
//! ```no_run
//! # fn page() -> Result<String, aih_plugin::Error> {
//! use std::time::Duration;
//!
//! let response = aih_plugin::http::get("https://example.com/")
//!     .header("accept", "text/html")
//!     .timeout(Duration::from_secs(10))
//!     .send()?
//!     .error_for_status()?;
//! Ok(response.text()?.to_owned())
//! # }
//! ```

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{backend, wit::host::http as wit};

/// Why there is no response, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `grants.http` does not allow this address, or it resolves to one that is not public.
    #[error("not granted: {0}")]
    NotGranted(String),
    /// The request itself is wrong.
    #[error("the request is wrong: {0}")]
    Invalid(String),
    /// The exchange took too long.
    #[error("no response in time")]
    TimedOut,
    /// The response is larger than allowed.
    #[error("the response is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The server could not be reached, or the connection broke.
    #[error("connection: {0}")]
    Connection(String),
    /// The server answered with a status of 400 or more, and the caller wanted none.
    #[error("{url} answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// The address that answered.
        url: String,
    },
    /// The body is not UTF-8.
    #[error("the body is not UTF-8: {0}")]
    NotText(#[from] std::str::Utf8Error),
    /// JSON that cannot be written or read.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else, in the hub's words.
    #[error("{0}")]
    Other(String),
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::NotGranted(text) => Self::NotGranted(text),
            wit::Error::Invalid(text) => Self::Invalid(text),
            wit::Error::TimedOut => Self::TimedOut,
            wit::Error::TooLarge(limit) => Self::TooLarge { limit },
            wit::Error::Connection(text) => Self::Connection(text),
            wit::Error::Other(text) => Self::Other(text),
        }
    }
}

/// A request in the making.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    request: wit::Request,
    error: Option<Error>,
}

/// A GET.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A POST.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// A request of any method to an absolute `http` or `https` address.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request {
        request: wit::Request {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
        },
        error: None,
    }
}

impl Request {
    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.headers.push((name.into(), value.into()));
        self
    }

    /// Adds `authorization: Bearer …`.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.header("authorization", format!("Bearer {}", token.as_ref()))
    }

    /// The body as it is sent.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = Some(body.into());
        self
    }

    /// The body as JSON, and its content type.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => {
                self.error.get_or_insert(error.into());
                self
            }
        }
    }

    /// A limit for the whole exchange, at most about 49 days. The call's own deadline holds besides.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Answers redirects as they are. Otherwise the hub follows them (at most 10) and checks each one.
    pub fn no_redirects(self) -> Self {
        self.header("aih-redirect", "manual")
    }

    /// Sends the request and reads the whole response. A status of 400 or more is not an error here: see
    /// [`Response::error_for_status`].
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn send(self) -> Result<Response, Error> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Response(backend::send(&self.request)?)),
        }
    }
}

/// A whole response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response(wit::Response);

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The address that answered, after redirects.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The headers, in the order in which they came.
    pub fn headers(&self) -> &[(String, String)] {
        &self.0.headers
    }

    /// The first header of a name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.headers.iter();
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.0.body
    }

    /// The body itself.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        Ok(std::str::from_utf8(&self.0.body)?)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not the JSON that was expected.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.0.body)?)
    }

    /// The response, unless its status is 400 or more.
    ///
    /// # Errors
    /// [`Error::Status`].
    pub fn error_for_status(self) -> Result<Self, Error> {
        match self.0.status {
            400.. => Err(Error::Status {
                status: self.0.status,
                url: self.0.url,
            }),
            _ => Ok(self),
        }
    }
}

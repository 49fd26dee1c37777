//! JSON-RPC errors with the codes of MCP.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::RawJson;
use aih_redact as redact;

/// The code of a JSON-RPC error: JSON-RPC 2.0 section 5.1 and the codes of MCP 2026-07-28.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub i64);

impl ErrorCode {
    /// The text was not JSON.
    pub const PARSE_ERROR: Self = Self(-32700);
    /// JSON, but no JSON-RPC request.
    pub const INVALID_REQUEST: Self = Self(-32600);
    /// No such method.
    pub const METHOD_NOT_FOUND: Self = Self(-32601);
    /// The parameters do not fit, or name what is not there.
    pub const INVALID_PARAMS: Self = Self(-32602);
    /// The server's own failure.
    pub const INTERNAL_ERROR: Self = Self(-32603);
    /// No such resource, in revisions before 2026-07-28 (there it is `INVALID_PARAMS`).
    pub const RESOURCE_NOT_FOUND: Self = Self(-32002);
    /// A header says something else than the body (2026-07-28).
    pub const HEADER_MISMATCH: Self = Self(-32020);
    /// The client did not declare a capability that the request needs (2026-07-28).
    pub const MISSING_CAPABILITY: Self = Self(-32021);
    /// The server does not speak that revision (2026-07-28).
    pub const UNSUPPORTED_VERSION: Self = Self(-32022);
    /// The client has to open an address first; `data.elicitations` says which (2025-11-25).
    pub const URL_ELICITATION_REQUIRED: Self = Self(-32042);
    /// The hub: what stands behind a name cannot be reached.
    pub const UPSTREAM_UNAVAILABLE: Self = Self(-32050);
    /// The hub: no answer within the configured time.
    pub const TIMED_OUT: Self = Self(-32001);
    /// The request was cancelled by who sent it.
    pub const CANCELLED: Self = Self(-32800);
}

/// The `error` member of a JSON-RPC response. One that came from an upstream goes on unchanged,
/// unknown members of `data` included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({})", code.0)]
pub struct ErrorObject {
    /// What kind of failure.
    pub code: ErrorCode,
    /// One sentence for people.
    #[serde(default)]
    pub message: String,
    /// More, in a form that the code defines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RawJson>,
}

impl ErrorObject {
    /// An error of the hub's own, without data. Its message may hold words from outside: secrets are left out.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Cow::Owned(clean) = redact::text(&message) {
            message = clean;
        }
        Self {
            code,
            message,
            data: None,
        }
    }

    /// The same error with data.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = Some(RawJson::of(data).without_secrets());
        self
    }

    /// Whether it says that the server was not reached, or did not answer in time.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.code, ErrorCode::UPSTREAM_UNAVAILABLE | ErrorCode::TIMED_OUT)
    }

    /// `-32601` for `method`.
    pub fn method_not_found(method: &str) -> Self {
        Self::new(ErrorCode::METHOD_NOT_FOUND, format!("method not found: {method}"))
    }

    /// `-32602`.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_PARAMS, message)
    }

    /// `-32603`.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INTERNAL_ERROR, message)
    }

    /// A resource that is not there; the code is the one of the client's era.
    pub fn resource_not_found(uri: &str, era: super::Era) -> Self {
        let code = match era {
            super::Era::Legacy => ErrorCode::RESOURCE_NOT_FOUND,
            super::Era::Modern => ErrorCode::INVALID_PARAMS,
        };
        Self::new(code, "resource not found").with_data(&serde_json::json!({ "uri": uri }))
    }
}

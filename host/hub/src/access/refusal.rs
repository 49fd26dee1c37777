//! How a request is refused: the status, and a JSON-RPC error at the MCP endpoints or an RFC 9457 problem elsewhere.
//!
//! What the caller may read says what to do; it must never repeat what the caller sent.

use std::time::Duration;

use aih_mcp::{ErrorCode, ErrorObject, Id, Message};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::guard::Rejection;
use super::key::AuthError;

/// Longest message of a refused request that is read for its id, in bytes.
const REFUSED_MESSAGE: usize = 8 * 1024;
/// How long such a message may take.
const REFUSED_MESSAGE_TIME: Duration = Duration::from_secs(1);

/// Why a request does not get to its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Guard(#[from] Rejection),
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The key got other permissions or another name while the request was under way.
    #[error(
        "this API key was changed while the request was under way, so the request was ended; send it again"
    )]
    Changed,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Guard(_) => StatusCode::FORBIDDEN,
            Self::Changed => StatusCode::SERVICE_UNAVAILABLE,
            // RFC 6750, section 3.1: a request that contradicts itself is a bad one, not an unknown caller.
            Self::Auth(AuthError::Repeated | AuthError::Conflict) => StatusCode::BAD_REQUEST,
            Self::Auth(_) => StatusCode::UNAUTHORIZED,
        }
    }

    /// The RFC 6750 challenge; without a key there is no error to name.
    fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Guard(_) | Self::Changed => None,
            Self::Auth(AuthError::Missing | AuthError::Scheme) => Some(r#"Bearer realm="aih""#),
            Self::Auth(AuthError::Malformed | AuthError::Unknown) => {
                Some(r#"Bearer realm="aih", error="invalid_token""#)
            }
            Self::Auth(AuthError::Repeated | AuthError::Conflict) => {
                Some(r#"Bearer realm="aih", error="invalid_request""#)
            }
        }
    }
}

impl Refusal {
    /// The refusal of `request`. At an MCP endpoint it is a JSON-RPC error with the id of the message, where that can be
    /// read: clients show its text. Elsewhere it is a problem document.
    pub(super) async fn answer(self, request: Request) -> Response {
        match is_mcp(request.uri().path()) {
            true => self.json_rpc(id_of(request).await),
            false => self.into_response(),
        }
    }

    /// The refusal for a request to `path` whose message is not at hand any more.
    pub(super) fn at(self, path: &str) -> Response {
        match is_mcp(path) {
            true => self.json_rpc(None),
            false => self.into_response(),
        }
    }

    fn json_rpc(self, id: Option<Id>) -> Response {
        let outcome = Err(ErrorObject::new(ErrorCode::INVALID_REQUEST, self.to_string()));
        let body = Message::Response { id, outcome }.to_bytes();
        self.respond("application/json", body)
    }

    fn respond(self, content_type: &'static str, body: impl Into<Body>) -> Response {
        let mut response = (self.status(), body.into()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, Self::Changed) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("0"));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Whether this is the path of an MCP endpoint.
fn is_mcp(path: &str) -> bool {
    path.strip_prefix("/mcp")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The id of the message in a request that is refused. The sender is a stranger, so only a short message that comes at
/// once is read.
async fn id_of(request: Request) -> Option<Id> {
    let length = request.headers().get(CONTENT_LENGTH)?.to_str().ok()?;
    let length: usize = length.parse().ok()?;
    if length > REFUSED_MESSAGE {
        return None;
    }
    let body = axum::body::to_bytes(request.into_body(), REFUSED_MESSAGE);
    let body = tokio::time::timeout(REFUSED_MESSAGE_TIME, body)
        .await
        .ok()?
        .ok()?;
    match Message::parse(&body) {
        Ok(Message::Request { id, .. }) => Some(id),
        _ => None,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Refused"),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        self.respond("application/problem+json", problem.to_string())
    }
}

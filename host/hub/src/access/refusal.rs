//! How a request is refused: the status, the RFC 9457 problem and the row in the log.
//!
//! What the caller may read says what to do; it must never repeat what the caller sent.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::guard::Rejection;
use super::key::AuthError;

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

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Refused"),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        let mut response = (status, problem.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
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

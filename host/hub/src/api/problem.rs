//! Errors of the REST API: RFC 9457 problem documents, for the API's own answers and for what the router and
//! its extractors refuse.
//!
//! The detail says what to do. It must never tell what the caller may not see from what is not there.

use aih_redact::OutsideText;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::{access::Principal, listener::body::BodyError};

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not answered (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says the kind.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What is wrong with this request and what to do.
    #[schema(value_type = String)]
    detail: OutsideText,
}

impl Problem {
    /// A problem with `status`; `detail` is one sentence for the caller.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: OutsideText::from(detail.into()),
        }
    }

    /// 404: there is no `what` called `name` that this key may see.
    pub fn none(what: &str, name: &str) -> Self {
        let name: String = name.chars().take(100).collect();
        Self::new(StatusCode::NOT_FOUND, format!("no such {what} `{name}`"))
    }
}

/// 403 where the key lacks a permission that the request needs.
pub(super) fn require(who: &Principal, permission: &str) -> Result<(), Problem> {
    if who.permissions().allows(permission) {
        return Ok(());
    }
    let detail = format!("this key lacks the permission `{permission}`");
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A struct of texts and a number can always be written.
        let mut response = (status, serde_json::to_vec(&self).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

/// Parts of the path, decoded once. What cannot be decoded names nothing: 404.
pub(super) struct Path<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "the path is not UTF-8 text, so nothing has this name",
            )),
        }
    }
}

/// The query; what does not fit is a 400 that says what.
pub(super) struct Query<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())),
        }
    }
}

/// 404 for a path that no route serves: a problem where it is one of the API, else plain text.
pub(super) async fn no_such_path(uri: Uri) -> Response {
    if !(uri.path() == "/api" || uri.path().starts_with("/api/")) {
        let text = "There is nothing at this path. MCP is at /mcp, and the REST API is at /api/v1.\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("nothing is at `{path}`; /api/v1/openapi.json lists what there is"),
    )
    .into_response()
}

/// 405; the router adds `Allow`.
pub(super) async fn wrong_method(method: Method) -> Problem {
    let method: String = method.as_str().chars().take(20).collect();
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not allowed here; the Allow header lists what is"),
    )
}

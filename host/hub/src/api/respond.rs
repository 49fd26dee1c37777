//! Answers that a client can cache and revalidate with `If-None-Match` (RFC 9110, section 13).
//!
//! An answer depends on the key, so no shared cache may store it.

use aih_redact as redact;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::problem::Problem;
use crate::catalogue::files::sha256_hex;

/// The media type of lists and reports.
pub(super) const JSON: &str = "application/json";

/// The body, or 304 where the caller has it already. `etag` is strong, with quotes.
pub(super) fn entity(request: &HeaderMap, content_type: &str, etag: &str, body: Bytes) -> Response {
    let mut response = if matches(request, etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = body.into_response();
        set(response.headers_mut(), CONTENT_TYPE, content_type);
        response
    };
    let headers = response.headers_mut();
    set(headers, ETAG, etag);
    set(headers, CACHE_CONTROL, "private, no-cache");
    set(headers, VARY, "authorization, x-api-key, accept");
    guard(headers);
    response
}

/// `value` as JSON, with the hash of its text as `ETag`.
pub(super) fn json<T: Serialize>(request: &HeaderMap, value: &T) -> Result<Response, Problem> {
    let body = written(value)?;
    let etag = format!("\"{}\"", sha256_hex(&body));
    Ok(entity(request, JSON, &etag, body))
}

/// [`json`] for a text of the operator's own: as it is.
pub(super) fn document<T: Serialize>(request: &HeaderMap, value: &T) -> Result<Response, Problem> {
    let body = to_json(value)?;
    let etag = format!("\"{}\"", sha256_hex(&body));
    Ok(entity(request, JSON, &etag, body))
}

/// `value` as JSON that is true only now.
pub(super) fn fresh<T: Serialize>(value: &T) -> Result<Response, Problem> {
    Ok(now(JSON, written(value)?))
}

/// A body that is true only now.
pub(super) fn now(content_type: &str, body: Bytes) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    set(headers, CONTENT_TYPE, content_type);
    set(headers, CACHE_CONTROL, "no-store");
    guard(headers);
    response
}

/// What the hub says of itself, which may hold words from outside: without secrets.
fn written<T: Serialize>(value: &T) -> Result<Bytes, Problem> {
    Ok(redact::own_json(to_json(value)?))
}

fn to_json<T: Serialize>(value: &T) -> Result<Bytes, Problem> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot be written: {error}"),
        )
    })
}

/// Files are the operator's text, not pages of this origin: a browser must neither guess nor run them.
fn guard(headers: &mut HeaderMap) {
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Media types come from a table and tags are hex, so the value is always legal.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whether `If-None-Match` names `etag`, compared weakly as RFC 9110 wants it.
fn matches(request: &HeaderMap, etag: &str) -> bool {
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Whether `Accept` wants JSON more than markdown. Without a wish, or with both equal, it is markdown.
pub(super) fn prefers_json(request: &HeaderMap) -> bool {
    prefers(request, JSON, "text/markdown")
}

/// Whether `Accept` wants the first media type more than the second (RFC 9110, section 12.5.1).
pub(super) fn prefers(request: &HeaderMap, first: &str, second: &str) -> bool {
    let ranges: Vec<(String, f32)> = request
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(range)
        .collect();
    let quality = |media_type: &str| {
        let group = media_type.split('/').next().unwrap_or_default();
        let steps = [media_type, &format!("{group}/*"), "*/*"];
        let found = steps
            .iter()
            .find_map(|step| ranges.iter().find(|(range, _)| range == step));
        found.map_or(0.0, |(_, quality)| *quality)
    };
    quality(first) > quality(second)
}

fn range(written: &str) -> Option<(String, f32)> {
    let mut parts = written.split(';').map(str::trim);
    let range = parts.next()?.to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = quality.map_or(Some(1.0), |q| q.trim().parse::<f32>().ok())?;
    Some((range, quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn tags_are_compared_weakly() {
        for (header, same) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(matches(&with(IF_NONE_MATCH, header), "\"a\""), same, "{header}");
        }
    }

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        for (header, json) in [
            ("application/json", true),
            ("Application/JSON; q=0.5", true),
            ("*/*", false),
            ("application/json, text/plain, */*", false),
            ("text/markdown, application/json;q=0.9", false),
            ("text/markdown;q=0.1, application/json", true),
            ("text/html", false),
            ("application/json;q=x", false),
        ] {
            assert_eq!(
                prefers_json(&with(http::header::ACCEPT, header)),
                json,
                "{header}"
            );
        }
        assert!(!prefers_json(&HeaderMap::new()));
    }

    #[test]
    fn the_format_of_metrics_is_chosen_by_weight() {
        for (header, first) in [
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                true,
            ),
            (
                "text/plain;version=1.0.0;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5",
                false,
            ),
            ("application/openmetrics-text;q=0, text/plain", false),
            ("*/*", false),
        ] {
            let accept = with(http::header::ACCEPT, header);
            assert_eq!(
                prefers(&accept, "application/openmetrics-text", "text/plain"),
                first,
                "{header}"
            );
        }
    }
}

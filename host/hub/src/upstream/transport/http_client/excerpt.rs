//! Shortens what a server sent for an error message: on one line, and without secrets.

use aih_redact as redact;
use http::HeaderMap;
use url::Url;

/// Bytes of a body that are looked at.
const READ: usize = 4096;
/// A larger body is not read as JSON, in bytes.
const MAX_JSON: usize = 64 * 1024;

/// The start of a body as it may stand in an error: one line, at most 200 characters.
pub(in crate::upstream) fn excerpt(body: &[u8]) -> String {
    start(&filtered(body))
}

/// The first 4 KiB without what is known to be secret; a secret at the cut goes as a whole.
fn filtered(body: &[u8]) -> String {
    let more = body.get(..READ + redact::SLACK).unwrap_or(body);
    redact::start(&String::from_utf8_lossy(more), READ)
}

fn start(text: &str) -> String {
    let chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    chars.take(200).collect()
}

/// [`excerpt`] without what is marked as secret in `headers` and without keys in `url`, should the server
/// have sent them back.
pub(in crate::upstream::transport) fn excerpt_without(body: &[u8], headers: &HeaderMap, url: &Url) -> String {
    let mut text = filtered(body);
    let keys = url
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|s| s.len() >= 16);
    for key in keys.chain(url.query().filter(|q| !q.is_empty())) {
        text = text.replace(key, "***");
    }
    let secrets = headers.values().filter(|v| v.is_sensitive());
    for secret in secrets.filter_map(|v| v.to_str().ok()) {
        let (_, bare) = secret.split_once(' ').unwrap_or(("", secret));
        for secret in [secret, bare].into_iter().filter(|s| s.len() >= 4) {
            text = text.replace(secret, "***");
        }
    }
    start(&text)
}

/// What the body of a refusal says to people, as [`excerpt_without`] gives it: the message in it where it is JSON of a
/// usual form, else its start.
pub(super) fn words_without(body: &[u8], headers: &HeaderMap, url: &Url) -> String {
    let json = body.get(..MAX_JSON.min(body.len()));
    let message = json
        .filter(|json| json.len() == body.len())
        .and_then(|json| message(serde_json::from_slice(json).ok()?));
    excerpt_without(message.as_deref().map_or(body, str::as_bytes), headers, url)
}

/// The text of JSON-RPC, of OAuth (RFC 6750), of problem documents (RFC 9457), and of most frameworks.
fn message(json: serde_json::Value) -> Option<String> {
    ["error_description", "message", "detail", "error", "title"]
        .iter()
        .find_map(|name| match json.get(name)? {
            serde_json::Value::String(text) if !text.is_empty() => Some(text.clone()),
            object @ serde_json::Value::Object(_) => message(object.clone()),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn no_secret_stands_in_an_error() {
        let mut headers = HeaderMap::new();
        let mut secret = HeaderValue::from_static("Bearer tok-12345");
        secret.set_sensitive(true);
        headers.insert(http::header::AUTHORIZATION, secret);
        let url = Url::parse("http://h.test/s/0123456789abcdef/mcp?key=k-1").unwrap();
        let text = excerpt_without(b"got Bearer tok-12345,\ntok-12345 is unknown", &headers, &url);
        assert_eq!(text, "got ***, *** is unknown");
        let text = excerpt_without(b"Cannot POST /s/0123456789abcdef/mcp?key=k-1", &headers, &url);
        assert_eq!(text, "Cannot POST /s/***/mcp?***");
        assert_eq!(excerpt_without(&[b'a'; 500], &headers, &url).len(), 200);
        for (body, said) in [
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"bad \u0074ok-12345"}}"#,
                "bad ***",
            ),
            (
                r#"{"error":"invalid_token","error_description":"it ended\nyesterday"}"#,
                "it ended yesterday",
            ),
            (
                r#"{"type":"about:blank","title":"Forbidden","detail":"only from inside"}"#,
                "only from inside",
            ),
            (r#"{"error":"nope"}"#, "nope"),
            (
                "Access is only allowed at localhost:8931",
                "Access is only allowed at localhost:8931",
            ),
            (r#"{"message":5}"#, r#"{"message":5}"#),
            ("", ""),
        ] {
            assert_eq!(words_without(body.as_bytes(), &headers, &url), said);
        }
    }
}

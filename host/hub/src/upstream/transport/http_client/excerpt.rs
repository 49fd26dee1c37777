//! Shortens what a server sent for an error message: on one line, and without secrets.

use aih_redact as redact;
use http::HeaderMap;
use url::Url;

/// Bytes of a body that are looked at.
const READ: usize = 4096;

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
    }
}

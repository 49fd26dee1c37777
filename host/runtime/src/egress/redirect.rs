//! What becomes of a request that is redirected, by the Fetch standard (HTTP-redirect fetch, steps 11 to 14), and stricter
//! for headers: a server that a guest did not name gets none of the headers that the guest set, whatever their name, but
//! for those that say which representation is sent and wanted.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use url::Url;

use super::HttpError;

/// Headers that speak of a body, which go with it (Fetch: request-body-header names).
const OF_THE_BODY: [HeaderName; 4] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_TYPE,
];
/// Headers that another origin may see: Fetch sends them to any server without asking (CORS-safelisted request-headers),
/// and a body cannot be read without its encoding.
const FOR_ANYBODY: [HeaderName; 5] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
];
/// Bytes of a header that another origin may see, as in Fetch: what is longer may carry something.
const SHORT: usize = 128;

/// A request, as it is sent next.
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Those that the guest set.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Sent {
    /// The same request at the address that a response with this status sends on to.
    pub(super) fn follow(&mut self, status: StatusCode, target: Url) {
        let becomes_get = match status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            StatusCode::SEE_OTHER => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            for name in OF_THE_BODY {
                self.headers.remove(name);
            }
        }
        if target.origin() != self.url.origin() {
            // For good: a server that was redirected to does not get them by redirecting back.
            self.headers = std::mem::take(&mut self.headers)
                .iter()
                .filter(|(name, value)| FOR_ANYBODY.contains(name) && value.len() <= SHORT)
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
        }
        self.url = target;
    }
}

/// Where a response sends on to, if it does.
pub(super) fn target<B>(response: &Response<B>, from: &Url) -> Option<Result<Url, HttpError>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let target = response.headers().get(header::LOCATION)?;
    let target = String::from_utf8_lossy(target.as_bytes());
    Some(
        from.join(&target)
            .map_err(|error| HttpError::Other(format!("{from} redirects to `{target}`: {error}"))),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SECRETS: [&str; 8] = [
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-api-key",
        "private-token",
        "user-agent",
        "referer",
        "x-anything-else",
    ];

    fn sent(method: &Method, url: &str) -> Sent {
        let mut headers = HeaderMap::new();
        for name in SECRETS {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("one"));
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("two"));
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let long = HeaderValue::from_str(&"x".repeat(SHORT + 1)).unwrap();
        headers.insert(header::ACCEPT_LANGUAGE, long);
        Sent {
            method: method.clone(),
            url: Url::parse(url).unwrap(),
            headers,
            body: Bytes::from_static(b"body"),
        }
    }

    fn follow(mut sent: Sent, status: u16, target: &str) -> Sent {
        sent.follow(StatusCode::from_u16(status).unwrap(), Url::parse(target).unwrap());
        sent
    }

    #[test]
    fn method_and_body_change_as_the_status_says() {
        let same = [
            (301, "GET"),
            (301, "HEAD"),
            (301, "PUT"),
            (302, "DELETE"),
            (302, "PATCH"),
            (303, "GET"),
            (303, "HEAD"),
            (307, "POST"),
            (307, "PUT"),
            (308, "POST"),
            (308, "DELETE"),
            (308, "PATCH"),
        ];
        let get = [
            (301, "POST"),
            (302, "POST"),
            (303, "POST"),
            (303, "PUT"),
            (303, "DELETE"),
            (303, "PATCH"),
        ];
        let all = same
            .map(|case| (case, false))
            .into_iter()
            .chain(get.map(|case| (case, true)));
        for ((status, method), becomes_get) in all {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let next = follow(
                sent(&method, "https://a.example/x"),
                status,
                "https://a.example/y",
            );
            assert_eq!(next.url.path(), "/y");
            if becomes_get {
                assert_eq!(next.method, Method::GET, "{status} {method}");
                assert!(next.body.is_empty(), "{status} {method}");
            } else {
                assert_eq!(next.method, method, "{status}");
                assert_eq!(&*next.body, b"body", "{status} {method}");
            }
            assert_eq!(next.headers.contains_key(header::CONTENT_TYPE), !becomes_get);
            // The origin is the same.
            assert_eq!(next.headers.get_all("x-api-key").iter().count(), 2);
            assert!(next.headers.contains_key(header::AUTHORIZATION));
        }
    }

    #[test]
    fn what_a_guest_set_stays_with_the_origin() {
        let other = [
            ("https://a.example/x", "https://b.example/x"),
            ("https://a.example/x", "https://sub.a.example/x"),
            ("https://a.example/x", "https://a.example:8443/x"),
            ("https://a.example/x", "http://a.example/x"),
            ("http://127.0.0.1:8000/x", "http://127.0.0.1:8001/x"),
            ("http://127.0.0.1:8000/x", "http://localhost:8000/x"),
        ];
        for (from, to) in other {
            for status in [301, 302, 303, 307, 308] {
                let next = follow(sent(&Method::PUT, from), status, to);
                for name in SECRETS {
                    assert!(!next.headers.contains_key(name), "{status} {from} {to} {name}");
                }
                assert!(!next.headers.contains_key(header::ACCEPT_LANGUAGE), "{from} {to}");
                assert!(next.headers.contains_key(header::ACCEPT), "{from} {to}");
                assert_eq!(next.headers.contains_key(header::CONTENT_TYPE), status != 303);
                // And does not come back.
                let back = follow(next, status, from);
                for name in SECRETS {
                    assert!(!back.headers.contains_key(name), "{status} {from} {to} {name}");
                }
            }
        }
        for (from, to) in [
            ("https://a.example/x", "https://a.example:443/y"),
            ("http://a.example/x", "http://A.EXAMPLE/y"),
        ] {
            let next = follow(sent(&Method::GET, from), 302, to);
            assert!(
                SECRETS.iter().all(|name| next.headers.contains_key(*name)),
                "{from} {to}"
            );
        }
    }

    #[test]
    fn only_redirects_with_a_target_are_followed() {
        let from = Url::parse("https://a.example/one/two?q").unwrap();
        for (status, location, to) in [
            (301, Some("three"), Some("https://a.example/one/three")),
            (302, Some("/three"), Some("https://a.example/three")),
            (303, Some("//b.example"), Some("https://b.example/")),
            (307, Some("?r"), Some("https://a.example/one/two?r")),
            (308, Some("http://c.example/"), Some("http://c.example/")),
            (302, None, None),
            (300, Some("/x"), None),
            (304, Some("/x"), None),
            (201, Some("/x"), None),
        ] {
            let mut response = Response::builder().status(status);
            if let Some(location) = location {
                response = response.header(header::LOCATION, location);
            }
            let found = target(&response.body(()).unwrap(), &from).map(|url| url.unwrap().to_string());
            assert_eq!(found.as_deref(), to, "{status} {location:?}");
        }
        let wrong = Response::builder()
            .status(302)
            .header(header::LOCATION, "http://[");
        assert!(target(&wrong.body(()).unwrap(), &from).unwrap().is_err());
    }
}

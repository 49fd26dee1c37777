//! Compression of answers, for clients that ask for it with `Accept-Encoding`.
//!
//! Only answers that a handler marks as [`Compressible`] are compressed: lists and what REST says, which are texts that
//! repeat themselves. Streams of events never are, since each event has to leave at once; results of calls are not,
//! since they are on the way of every call and are often images or short.

use axum::{Router, body::HttpBody, middleware::map_response, response::Response};
use http::{HeaderValue, header as h};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, Predicate},
};

/// Shorter answers are not worth it, in bytes.
const SHORTEST: u64 = 1_024;

/// Marks a response, in its extensions: it may be compressed.
#[derive(Clone, Copy, Debug)]
pub struct Compressible;

/// Marks every response of `router` as [`Compressible`].
pub fn all<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(map_response(async |mut response: Response| {
        response.extensions_mut().insert(Compressible);
        response
    }))
}

#[derive(Clone, Copy, Debug)]
struct Marked;

impl Predicate for Marked {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        response.extensions().get::<Compressible>().is_some()
            && response.body().size_hint().lower() >= SHORTEST
    }
}

/// Compresses what `router` answers where it is marked and the client takes gzip, brotli or zstd.
pub fn compressed(router: Router) -> Router {
    let layer = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(Marked);
    router.layer(layer).layer(map_response(weakened))
}

/// A strong tag is of the exact bytes (RFC 9110, section 8.8.1), and these are others now.
async fn weakened(mut response: Response) -> Response {
    if !response.headers().contains_key(h::CONTENT_ENCODING) {
        return response;
    }
    let tag = response.headers().get(h::ETAG).and_then(|tag| tag.to_str().ok());
    let weak = tag
        .filter(|tag| !tag.starts_with("W/"))
        .map(|tag| format!("W/{tag}"));
    if let Some(weak) = weak.and_then(|weak| HeaderValue::from_str(&weak).ok()) {
        response.headers_mut().insert(h::ETAG, weak);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str, accepts: Option<&str>) -> (Option<String>, http::HeaderMap, usize) {
        let text = || "all work and no play ".repeat(200);
        let marked = Router::new()
            .route(
                "/long",
                get(move || async move { ([(h::ETAG, "\"tag\"")], text()) }),
            )
            .route("/short", get(|| async { "a".repeat(1_000) }))
            .route("/nothing", get(|| async { StatusCode::NOT_MODIFIED }));
        let router = Router::new()
            .route("/unmarked", get(move || async move { text() }))
            .merge(all(marked));
        let mut request = Request::builder().uri(path);
        if let Some(accepts) = accepts {
            request = request.header("accept-encoding", accepts);
        }
        let response = compressed(router)
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let encoding = parts.headers.get(h::CONTENT_ENCODING);
        let encoding = encoding.map(|encoding| encoding.to_str().unwrap().to_owned());
        let length = body.collect().await.unwrap().to_bytes().len();
        (encoding, parts.headers, length)
    }

    #[tokio::test]
    async fn marked_answers_are_compressed_for_clients_that_ask() {
        for (accepts, encoding) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("zstd", "zstd"),
            ("deflate, gzip;q=0.5", "gzip"),
            ("gzip;q=0, br", "br"),
        ] {
            let (found, headers, length) = ask("/long", Some(accepts)).await;
            assert_eq!(found.as_deref(), Some(encoding), "{accepts}");
            assert!(length < 1_000, "{length}");
            assert_eq!(headers[h::ETAG], "W/\"tag\"");
            assert_eq!(headers[h::VARY], "accept-encoding");
            assert!(!headers.contains_key(h::CONTENT_LENGTH));
        }
        for accepts in [
            None,
            Some("identity"),
            Some("deflate"),
            Some("gzip;q=0"),
            Some(""),
        ] {
            let (found, headers, length) = ask("/long", accepts).await;
            assert_eq!((found, length), (None, 4_200), "{accepts:?}");
            assert_eq!(headers[h::ETAG], "\"tag\"");
        }
        for path in ["/short", "/nothing", "/unmarked"] {
            assert_eq!(ask(path, Some("gzip, br, zstd")).await.0, None, "{path}");
        }
    }
}

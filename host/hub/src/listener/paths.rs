//! One form for the paths of requests, before a route is looked for.

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{Request, Uri, uri::PathAndQuery};
use tower::util::MapRequest;

/// The path of `server.public_url`, without a slash at the end, in the extensions of each request. A hub behind a reverse
/// proxy that serves it below a path tells clients addresses below that path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPath(pub Arc<str>);

/// Serves `router` with paths in one form: without a slash at the end, and without the path of `server.public_url` in
/// front, whether the reverse proxy takes that off or not.
pub fn normalized(router: Router, public_path: &str) -> Router {
    let public: Arc<str> = public_path.trim_end_matches('/').into();
    let to_one_form = move |mut request: Request<Body>| {
        if let Some(uri) = one_form(request.uri(), &public) {
            *request.uri_mut() = uri;
        }
        if !public.is_empty() {
            request.extensions_mut().insert(PublicPath(public.clone()));
        }
        request
    };
    // In front of the router: within it, the route is chosen already.
    Router::new().fallback_service(MapRequest::new(router, to_one_form))
}

/// The address to look for, where it is not the one that was asked for.
fn one_form(asked: &Uri, public: &str) -> Option<Uri> {
    let path = asked.path();
    let below = path.strip_prefix(public).filter(|rest| {
        let first = rest.strip_prefix('/').and_then(|rest| rest.split('/').next());
        !public.is_empty() && matches!(first, Some("mcp" | "api"))
    });
    let found = below.unwrap_or(path).trim_end_matches('/');
    // The root stays the root.
    let found = if found.is_empty() { "/" } else { found };
    if found == path {
        return None;
    }
    let written = match asked.query() {
        Some(query) => format!("{found}?{query}"),
        None => found.to_owned(),
    };
    let mut parts = asked.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(written).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_and_the_public_path_in_front_do_not_count() {
        for (public, asked, found) in [
            ("", "/mcp", None),
            ("", "/mcp/", Some("/mcp")),
            ("", "/mcp//", Some("/mcp")),
            ("", "/mcp/one/?a=b%2F", Some("/mcp/one?a=b%2F")),
            ("", "/mcp/one/sse/", Some("/mcp/one/sse")),
            ("", "/api/v1/health/", Some("/api/v1/health")),
            ("", "/", None),
            ("", "//", Some("/")),
            ("/hub", "/hub/mcp", Some("/mcp")),
            ("/hub", "/hub/mcp/", Some("/mcp")),
            (
                "/hub",
                "/hub/mcp/one/messages?sessionId=1",
                Some("/mcp/one/messages?sessionId=1"),
            ),
            ("/hub", "/hub/api/v1/health", Some("/api/v1/health")),
            ("/hub", "/mcp", None),
            ("/hub", "/mcp/hub/", Some("/mcp/hub")),
            ("/hub", "/hub", None),
            ("/hub", "/hub/x", None),
            ("/hub", "/hubs/mcp", None),
            ("/a/b", "/a/b/mcp/sse", Some("/mcp/sse")),
            ("/mcp", "/mcp", None),
            ("/mcp", "/mcp/mcp", Some("/mcp")),
        ] {
            let uri = one_form(&asked.parse().unwrap(), public);
            assert_eq!(
                uri.as_ref().map(ToString::to_string).as_deref(),
                found,
                "{asked} below {public}"
            );
        }
        // HTTP/2 has an authority in front.
        let whole: Uri = "https://hub.example.com/mcp/?x".parse().unwrap();
        assert_eq!(one_form(&whole, "").unwrap(), "https://hub.example.com/mcp?x");
    }
}

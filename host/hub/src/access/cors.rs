//! Cross-origin requests (WHATWG Fetch, section 3.3) of pages that `server.allowed_origins` names.
//!
//! Pages of other origins get no header of CORS, also those that the guard lets through because they are on this
//! machine: a hub without keys would answer every page on it.

use std::time::Duration;

use aih_mcp::method::header;
use http::header::{ALLOW, CONTENT_ENCODING, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::guard::Guard;

/// How long a browser may keep the answer to a preflight.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// The layer that answers preflights, which carry no key, and adds the headers of CORS to all answers. `None` where no
/// origin is allowed.
pub(super) fn layer(guard: &Guard) -> Option<CorsLayer> {
    let origins = guard.cross_origins();
    if origins.is_empty() {
        return None;
    }
    let own = |name: &'static str| HeaderName::from_static(name);
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| {
            origin.to_str().is_ok_and(|origin| origins.name(origin))
        }))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        // MCP has headers whose names the servers choose (`Mcp-Param-…`). Which ones a page may send, the hub need not
        // restrict: without a key none of them does anything.
        .allow_headers(AllowHeaders::mirror_request())
        .allow_private_network(true)
        .expose_headers([
            own(header::SESSION_ID),
            own(header::PROTOCOL_VERSION),
            WWW_AUTHENTICATE,
            RETRY_AFTER,
            ALLOW,
            ETAG,
            CONTENT_ENCODING,
        ])
        .max_age(MAX_AGE);
    Some(layer)
}

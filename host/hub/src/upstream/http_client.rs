//! The HTTP client that all upstream connections share.

use std::time::Duration;

use reqwest::redirect::Policy;

use super::transport::TransportError;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections that are kept per upstream.
const POOL: usize = 256;

/// A pooling client. It follows a redirect only to the same origin: the credentials of one server must
/// never reach another. No overall timeout: a stream may stay open for days.
///
/// # Errors
/// TLS could not be set up.
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    let same_origin = Policy::custom(|attempt| {
        let first = attempt.previous().first().map(|u| {
            (
                u.scheme().to_owned(),
                u.host_str().map(str::to_owned),
                u.port_or_known_default(),
            )
        });
        let next = attempt.url();
        let next = (
            next.scheme().to_owned(),
            next.host_str().map(str::to_owned),
            next.port_or_known_default(),
        );
        if first == Some(next) && attempt.previous().len() < 5 {
            attempt.follow()
        } else {
            attempt.stop()
        }
    });
    reqwest::Client::builder()
        .user_agent(concat!("aih/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(POOL)
        .tcp_nodelay(true)
        .redirect(same_origin)
        .build()
}

/// What went wrong, without the URL: it may hold a secret.
pub(super) fn failed(error: reqwest::Error) -> TransportError {
    let connect = error.is_connect() || error.is_timeout();
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    if connect {
        TransportError::Connect(text)
    } else {
        TransportError::Closed(text)
    }
}

/// The start of a body as it may stand in an error: one line, at most 200 characters.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect()
}

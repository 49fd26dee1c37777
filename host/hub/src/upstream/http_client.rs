//! The HTTP client that all upstream connections share, and what its failures are called.
//!
//! It must never carry the credentials of one server to another, nor put them into an error.

use std::time::Duration;

use http::HeaderMap;
use reqwest::{ClientBuilder, NoProxy, Proxy, redirect::Policy};
use url::Url;

use super::transport::TransportError;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections that are kept per upstream.
const POOL: usize = 256;

/// What is never reached through a proxy, whatever `NO_PROXY` says.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// A pooling client. It follows a redirect only to the same origin: the credentials of one server must
/// never reach another. No overall timeout: a stream may stay open for days. `HTTP_PROXY`, `HTTPS_PROXY`,
/// `ALL_PROXY` and `NO_PROXY` count, but never for loopback addresses.
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
    let builder = reqwest::Client::builder()
        .user_agent(concat!("aih/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(POOL)
        .tcp_nodelay(true)
        .redirect(same_origin);
    proxies(builder, |name| {
        let lower = name.to_ascii_lowercase();
        std::env::var(name).or_else(|_| std::env::var(lower)).ok()
    })
    .build()
}

/// Sets the proxies that the environment names.
fn proxies(mut builder: ClientBuilder, env: impl Fn(&str) -> Option<String>) -> ClientBuilder {
    type Make = fn(String) -> reqwest::Result<Proxy>;

    // Without this reqwest would read the environment by itself.
    builder = builder.no_proxy();
    let listed = env("NO_PROXY").unwrap_or_default();
    if listed.split(',').any(|entry| entry.trim() == "*") {
        return builder;
    }
    let exempt = NoProxy::from_string(&format!("{LOOPBACK},{listed}"));
    let kinds: [(&str, Make); 3] = [
        ("HTTP_PROXY", Proxy::http),
        ("HTTPS_PROXY", Proxy::https),
        ("ALL_PROXY", Proxy::all),
    ];
    for (name, kind) in kinds {
        let Some(address) = env(name).filter(|v| !v.trim().is_empty()) else {
            continue;
        };
        match kind(address) {
            Ok(proxy) => builder = builder.proxy(proxy.no_proxy(exempt.clone())),
            // The value may hold a password.
            Err(_) => tracing::warn!(target: "aih::upstream", "{name} holds no proxy address and is ignored"),
        }
    }
    builder
}

/// What went wrong, without the URL: it may hold a secret.
pub(super) fn failed(error: reqwest::Error) -> TransportError {
    // Only what failed before anything was sent: who gets `Connect` may send the request once more. A
    // connection that times out later is `Closed`.
    let connect = error.is_connect();
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
    start(&String::from_utf8_lossy(body.get(..4096).unwrap_or(body)))
}

fn start(text: &str) -> String {
    let chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    chars.take(200).collect()
}

/// [`excerpt`] without what is marked as secret in `headers` and without keys in `url`, should the server
/// have sent them back.
pub(super) fn excerpt_without(body: &[u8], headers: &HeaderMap, url: &Url) -> String {
    let mut text = String::from_utf8_lossy(body.get(..4096).unwrap_or(body)).into_owned();
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
#[path = "http_fixture.rs"]
pub(super) mod fixture;

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

    #[tokio::test]
    async fn a_proxy_gets_other_hosts_and_never_loopback() {
        let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", proxy.local_addr().unwrap());
        let builder = reqwest::Client::builder().connect_timeout(CONNECT);
        let client = proxies(builder, |name| (name == "HTTP_PROXY").then(|| address.clone()))
            .build()
            .unwrap();
        // Nothing listens on port 1: were it asked through the proxy, it would hang instead.
        for host in ["127.0.0.1", "localhost"] {
            let direct = client.get(format!("http://{host}:1/")).send().await;
            assert!(direct.unwrap_err().is_connect(), "{host}");
        }
        let other = tokio::spawn(client.get("http://mcp.invalid/").send());
        proxy.accept().await.unwrap();
        other.abort();
    }
}

//! Chooses the proxy for an address from the usual environment variables.

use hyper_util::client::proxy::matcher::Matcher;

/// What is never reached through a proxy, whatever `NO_PROXY` says.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that the environment names.
pub(super) fn matcher(env: impl Fn(&str) -> Option<String>) -> Matcher {
    let listed = env("NO_PROXY").unwrap_or_default();
    if listed.split(',').any(|entry| entry.trim() == "*") {
        return Matcher::builder().build();
    }
    let value = |name: &str| {
        let value = env(name).filter(|v| !v.trim().is_empty())?;
        if understood(&value) {
            return Some(value);
        }
        // The value may hold a password.
        tracing::warn!(target: "aih::upstream", "{name} is not the address of an http or https proxy, so the hub ignores it");
        None
    };
    let [http, https, all] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|n| value(n).unwrap_or_default());
    Matcher::builder()
        .http(http)
        .https(https)
        .all(all)
        .no(format!("{LOOPBACK},{listed}"))
        .build()
}

fn understood(value: &str) -> bool {
    let matcher = Matcher::builder().all(value.to_owned()).build();
    let anywhere = http::Uri::from_static("http://mcp.invalid/");
    matcher
        .intercept(&anywhere)
        .is_some_and(|proxy| matches!(proxy.uri().scheme_str(), Some("http" | "https")))
}

//! `grants.http`: where requests may go.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use url::{Host, Url};

use super::address::canonical;

/// One origin, or several by a `*` in the host.
///
/// Written as `https://example.com`, `https://*.example.com:8443`, `http://10.0.0.5:8080`, `https://*`. The
/// port is the scheme's own where it is not written. A rule for a name reaches public addresses only; a rule
/// for an address reaches this address, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    scheme: Scheme,
    host: HostRule,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostRule {
    Name(String),
    /// Text with `*`, each of which stands for any text.
    Pattern(String),
    Address(IpAddr),
}

/// Why a rule cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}`: {why}; write an origin such as https://example.com:443")]
pub struct RuleError {
    /// The rule as written.
    pub rule: String,
    /// What is wrong.
    pub why: &'static str,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fault = |why| RuleError {
            rule: text.to_owned(),
            why,
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fault("has no scheme"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(fault("the scheme is neither http nor https")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@', '\\']) {
            return Err(fault("is more than scheme, host and port"));
        }
        // A `*` is not a character of a host name; a letter stands in for it while the URL is parsed.
        let starred = rest.contains('*');
        if starred && rest.contains(STAND_IN) {
            return Err(fault("the host cannot be read"));
        }
        let parsed = format!("{}://{}/", scheme.as_str(), rest.replace('*', STAND_IN));
        let parsed = Url::parse(&parsed).map_err(|_| fault("the host cannot be read"))?;
        let port = parsed
            .port_or_known_default()
            .ok_or_else(|| fault("the port cannot be read"))?;
        let host = match parsed.host() {
            None => return Err(fault("has no host")),
            Some(Host::Ipv4(address)) => HostRule::Address(address.into()),
            Some(Host::Ipv6(address)) => HostRule::Address(canonical(address.into())),
            Some(Host::Domain(name)) if starred => {
                let pattern = name.trim_end_matches('.').replace(STAND_IN, "*");
                HostRule::Pattern(pattern)
            }
            Some(Host::Domain(name)) => HostRule::Name(name.trim_end_matches('.').to_owned()),
        };
        Ok(Self { scheme, host, port })
    }
}

/// Stands for `*` inside a host; long enough that no host holds it by chance.
const STAND_IN: &str = "xqzstarzqx";

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Rule {
    /// Whether the rule allows this URL.
    pub fn allows(&self, url: &Url) -> bool {
        if url.scheme() != self.scheme.as_str() || url.port_or_known_default() != Some(self.port) {
            return false;
        }
        match (&self.host, url.host()) {
            (HostRule::Name(name), Some(Host::Domain(host))) => host.trim_end_matches('.') == name,
            (HostRule::Pattern(pattern), Some(Host::Domain(host))) => {
                matches(pattern.as_bytes(), host.trim_end_matches('.').as_bytes())
            }
            // `https://*` is every public host, also one that is written as an address.
            (HostRule::Pattern(pattern), Some(Host::Ipv4(_) | Host::Ipv6(_))) => pattern == "*",
            (HostRule::Address(granted), Some(Host::Ipv4(host))) => *granted == IpAddr::V4(host),
            (HostRule::Address(granted), Some(Host::Ipv6(host))) => *granted == canonical(IpAddr::V6(host)),
            _ => false,
        }
    }

    /// Whether the rule grants this very address, so that it need not be a public one.
    pub(super) fn grants_address(&self, address: SocketAddr) -> bool {
        matches!(self.host, HostRule::Address(granted) if granted == canonical(address.ip()))
            && self.port == address.port()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        match &self.host {
            HostRule::Name(host) | HostRule::Pattern(host) => {
                write!(f, "{scheme}://{host}:{}", self.port)
            }
            HostRule::Address(address) => {
                write!(f, "{scheme}://{}", SocketAddr::new(*address, self.port))
            }
        }
    }
}

/// Whether a text fits a pattern in which `*` stands for any text. Linear in the text for each star.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if text.get(t) == Some(byte) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rule: &str, url: &str) -> bool {
        rule.parse::<Rule>().unwrap().allows(&Url::parse(url).unwrap())
    }

    #[test]
    fn origins_match_by_scheme_host_and_port() {
        for (rule, url, expected) in [
            ("https://example.com", "https://example.com/a?b", true),
            ("https://example.com:443", "https://EXAMPLE.com./a", true),
            ("https://example.com", "http://example.com/", false),
            ("https://example.com", "https://example.com:8443/", false),
            ("https://example.com", "https://example.com.evil.net/", false),
            (
                "https://example.com",
                "https://evil.net/?https://example.com",
                false,
            ),
            ("https://example.com", "https://example.com@evil.net/", false),
            ("https://*.example.com", "https://a.b.example.com/", true),
            ("https://*.example.com", "https://example.com/", false),
            ("https://*.example.com", "https://evilexample.com/", false),
            ("https://*", "https://anything.net/", true),
            ("https://*", "https://8.8.8.8/", true),
            ("https://*", "https://anything.net:444/", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", true),
            ("http://127.0.0.1:8080", "http://0x7f.1:8080/", true),
            ("http://127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080/", true),
            ("http://127.0.0.1:8080", "http://localhost:8080/", false),
            ("http://[::1]:80", "http://[::1]/", true),
            ("https://bücher.example", "https://xn--bcher-kva.example/", true),
        ] {
            assert_eq!(allows(rule, url), expected, "{rule} {url}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for rule in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://example.com/path",
            "https://user@example.com",
            "https://example.com:port",
            "https://example.com:70000",
            "https://a b",
        ] {
            assert!(rule.parse::<Rule>().is_err(), "{rule}");
        }
    }
}

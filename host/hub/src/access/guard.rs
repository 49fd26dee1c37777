//! Which addresses, Host names and Origins may talk to the hub at all.
//!
//! A web page can point its own name at 127.0.0.1 and have a browser send requests there (DNS
//! rebinding); the Host and Origin headers give it away. The peer address is that of the connection:
//! this module must never believe a forwarding header, and must never let a request pass whose Host,
//! Origin or address it cannot read.
//!
//! Allowed Hosts: loopback names, the listen address, the host of `server.public_url`, and
//! `server.allowed_hosts`. Allowed Origins: none at all (no browser), loopback ones while the hub
//! listens on loopback, that of `server.public_url`, and `server.allowed_origins`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};
use ipnet::IpNet;

/// What a guard is made of: the `server` part of the configuration.
#[derive(Debug, Clone)]
pub struct GuardConfig {
    /// `server.listen`.
    pub listen: SocketAddr,
    /// `server.public_url`.
    pub public_url: Option<String>,
    /// `server.allowed_hosts`: see [`HostRule`].
    pub allowed_hosts: Vec<String>,
    /// `server.allowed_origins`: see [`OriginRule`].
    pub allowed_origins: Vec<String>,
    /// `server.ip_allowlist`: see [`Network`]. Empty lets every address in.
    pub ip_allowlist: Vec<String>,
}

/// A rule that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value:?} {kind}")]
pub struct GuardError {
    /// The key of the configuration.
    pub key: &'static str,
    /// The value as written.
    pub value: String,
    /// What is wrong with it.
    pub kind: RuleError,
}

/// What is wrong with a rule, and what to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not a host or host:port.
    #[error(
        "is not a host; write a name or address with or without a port, such as \"hub.example.com\" or \"10.0.0.5:8787\""
    )]
    Host,
    /// Not an origin.
    #[error(
        "is not an origin; write scheme and host without a path, such as \"https://app.example.com\" or \"http://localhost:*\""
    )]
    Origin,
    /// Not an address range.
    #[error("is not an address range; write one such as \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"")]
    Network,
    /// Not an absolute http or https URL.
    #[error("is not the address of a hub; write one such as \"https://hub.example.com\"")]
    PublicUrl,
}

/// Why a request is turned away before anyone looks at its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The peer's address is in no range of `server.ip_allowlist`, or is not known.
    #[error("this address may not use the hub; its operator can add it to server.ip_allowlist")]
    Address,
    /// There is no Host, or more than one.
    #[error("the request must name exactly one Host")]
    HostMissing,
    /// The Host is not one of the hub's.
    #[error(
        "this Host is not one of the hub's; its operator can set server.public_url or add it to server.allowed_hosts"
    )]
    Host,
    /// The Origin is not an allowed one.
    #[error("pages of this Origin may not use the hub; its operator can add it to server.allowed_origins")]
    Origin,
}

/// A host as compared: names without regard to case and a last dot, addresses by value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host<S> {
    Address(IpAddr),
    Name(S),
}

impl<S: AsRef<str>> Host<S> {
    fn is<T: AsRef<str>>(&self, other: &Host<T>) -> bool {
        match (self, other) {
            (Self::Address(one), Host::Address(other)) => one == other,
            (Self::Name(one), Host::Name(other)) => one.as_ref().eq_ignore_ascii_case(other.as_ref()),
            _ => false,
        }
    }

    fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name.as_ref().eq_ignore_ascii_case("localhost"),
        }
    }
}

impl<'a> Host<&'a str> {
    /// Splits `host[:port]`. Nothing for what is not exactly that.
    fn split(authority: &'a str) -> Option<(Self, Option<&'a str>)> {
        if let Some(rest) = authority.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let address = IpAddr::V6(address.parse::<Ipv6Addr>().ok()?).to_canonical();
            let port = if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':')?)
            };
            return Some((Self::Address(address), port));
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(fits) {
            return None;
        }
        Some((name.parse().map_or(Self::Name(name), Self::Address), port))
    }

    fn to_owned(&self) -> Host<Box<str>> {
        match self {
            Self::Address(address) => Host::Address(*address),
            Self::Name(name) => Host::Name((*name).into()),
        }
    }
}

/// Reads a port; an empty one ("host:") counts as none, as RFC 3986 has it.
fn port_of(written: Option<&str>) -> Option<Option<u16>> {
    match written {
        None | Some("") => Some(None),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        Some(_) => None,
    }
}

/// One entry of `server.allowed_hosts`: a host, with any port; or host:port, with just that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    host: Host<Box<str>>,
    port: Option<u16>,
}

impl FromStr for HostRule {
    type Err = RuleError;

    fn from_str(written: &str) -> Result<Self, RuleError> {
        let bare = written.parse::<Ipv6Addr>().ok().map(|address| Self {
            host: Host::Address(IpAddr::V6(address).to_canonical()),
            port: None,
        });
        bare.or_else(|| {
            let (host, port) = Host::split(written)?;
            Some(Self {
                host: host.to_owned(),
                port: port_of(port)?,
            })
        })
        .ok_or(RuleError::Host)
    }
}

/// One entry of `server.allowed_origins`: `https://app.example.com`, `http://localhost:*` (any port),
/// another scheme (`vscode-webview://…`), or `null` (sandboxed pages and files: any page can be one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule(Rule);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Null,
    Site {
        scheme: Box<str>,
        host: Host<Box<str>>,
        port: Port,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    Is(Option<u16>),
}

impl FromStr for OriginRule {
    type Err = RuleError;

    fn from_str(written: &str) -> Result<Self, RuleError> {
        if written == "null" {
            return Ok(Self(Rule::Null));
        }
        let (text, any_port) = written
            .strip_suffix(":*")
            .map_or((written, false), |text| (text, true));
        let site = Site::parse(text.strip_suffix('/').unwrap_or(text)).ok_or(RuleError::Origin)?;
        let port = if any_port { Port::Any } else { Port::Is(site.port) };
        Ok(Self(Rule::Site {
            scheme: site.scheme.into(),
            host: site.host.to_owned(),
            port,
        }))
    }
}

impl OriginRule {
    fn allows(&self, origin: &Origin<'_>) -> bool {
        match (&self.0, origin) {
            (Rule::Null, Origin::Null) => true,
            (Rule::Site { scheme, host, port }, Origin::Site(site)) => {
                scheme.eq_ignore_ascii_case(site.scheme)
                    && host.is(&site.host)
                    && (*port == Port::Any || *port == Port::Is(site.port))
            }
            _ => false,
        }
    }
}

/// The value of an Origin header.
enum Origin<'a> {
    Null,
    Site(Site<'a>),
}

impl<'a> Origin<'a> {
    fn parse(written: &'a str) -> Option<Self> {
        match written {
            "null" => Some(Self::Null),
            text => Site::parse(text).map(Self::Site),
        }
    }
}

/// Scheme, host and port; the port of http and https is filled in.
struct Site<'a> {
    scheme: &'a str,
    host: Host<&'a str>,
    port: Option<u16>,
}

impl<'a> Site<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(fits) {
            return None;
        }
        let (host, port) = Host::split(authority)?;
        let usual = if scheme.eq_ignore_ascii_case("https") {
            Some(443)
        } else if scheme.eq_ignore_ascii_case("http") {
            Some(80)
        } else {
            None
        };
        Some(Self {
            scheme,
            host,
            port: port_of(port)?.or(usual),
        })
    }

    fn is_web(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("http") || self.scheme.eq_ignore_ascii_case("https")
    }
}

/// One entry of `server.ip_allowlist`: an address, or a range in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = RuleError;

    fn from_str(written: &str) -> Result<Self, RuleError> {
        if let Ok(address) = written.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(address.to_canonical())));
        }
        let network: IpNet = written.parse().map_err(|_| RuleError::Network)?;
        // A range of IPv4-mapped addresses is meant as the IPv4 range: peers are compared in that form.
        Ok(Self(match network {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
                .addr()
                .to_ipv4_mapped()
                .and_then(|v4| IpNet::new(IpAddr::V4(v4), v6.prefix_len() - 96).ok())
                .unwrap_or(network),
            _ => network,
        }))
    }
}

/// Decides which requests get as far as their key being looked at. Immutable.
#[derive(Clone)]
pub struct Guard {
    hosts: Box<[HostRule]>,
    /// Those of `server.allowed_origins`.
    origins: OriginRules,
    /// That of `server.public_url`.
    own_origin: Option<OriginRule>,
    networks: Box<[Network]>,
    on_loopback: bool,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            hosts,
            origins,
            own_origin,
            networks,
            on_loopback,
        } = self;
        write!(
            f,
            "Guard({hosts:?}, {origins:?}, {own_origin:?}, {networks:?}, on_loopback: {on_loopback})"
        )
    }
}

impl Guard {
    /// Makes a guard of the `server` part of the configuration.
    ///
    /// # Errors
    /// The first rule that cannot be understood. To report every bad one, parse each as [`HostRule`],
    /// [`OriginRule`] or [`Network`].
    pub fn new(config: &GuardConfig) -> Result<Self, GuardError> {
        let listen = config.listen.ip().to_canonical();
        let mut hosts: Vec<HostRule> = parse_all("server.allowed_hosts", &config.allowed_hosts)?;
        let origins: Vec<OriginRule> = parse_all("server.allowed_origins", &config.allowed_origins)?;
        let mut own_origin = None;
        hosts.push(HostRule {
            host: Host::Address(listen),
            port: None,
        });
        if let Some(written) = &config.public_url {
            let (host, origin) = public_site(written).ok_or_else(|| GuardError {
                key: "server.public_url",
                value: written.clone(),
                kind: RuleError::PublicUrl,
            })?;
            hosts.push(host);
            own_origin = Some(origin);
        }
        Ok(Self {
            hosts: hosts.into(),
            origins: OriginRules(origins.into()),
            own_origin,
            networks: parse_all("server.ip_allowlist", &config.ip_allowlist)?.into(),
            on_loopback: listen.is_loopback(),
        })
    }

    /// Whether the hub listens on a loopback address, where only this machine reaches it.
    #[must_use]
    pub fn on_loopback(&self) -> bool {
        self.on_loopback
    }

    /// Checks the peer's address, the Host (and the authority of the URI, which HTTP/2 has in its
    /// place) and the Origin.
    ///
    /// # Errors
    /// What the request is turned away for.
    pub fn check(&self, peer: Option<IpAddr>, uri: &Uri, headers: &HeaderMap) -> Result<(), Rejection> {
        if !self.admits_address(peer) {
            return Err(Rejection::Address);
        }
        let authority = uri.authority().map(http::uri::Authority::as_str);
        let host = single(headers, &HOST).map_err(|()| Rejection::HostMissing)?;
        if authority.is_none() && host.is_none() {
            return Err(Rejection::HostMissing);
        }
        for named in [authority, host].into_iter().flatten() {
            if !self.allows_host(named) {
                return Err(Rejection::Host);
            }
        }
        match single(headers, &ORIGIN) {
            Ok(None) => Ok(()),
            Ok(Some(origin)) if self.allows_origin(origin) => Ok(()),
            _ => Err(Rejection::Origin),
        }
    }

    /// Whether `server.ip_allowlist` lets this address in; one that is not known only where there is no list.
    #[must_use]
    pub fn admits_address(&self, peer: Option<IpAddr>) -> bool {
        self.networks.is_empty()
            || peer.is_some_and(|peer| {
                let peer = peer.to_canonical();
                self.networks.iter().any(|network| network.0.contains(&peer))
            })
    }

    fn allows_host(&self, written: &str) -> bool {
        let Some((host, port)) = Host::split(written).and_then(|(host, port)| Some((host, port_of(port)?)))
        else {
            return false;
        };
        host.is_loopback()
            || self
                .hosts
                .iter()
                .any(|rule| rule.host.is(&host) && (rule.port.is_none() || rule.port == port))
    }

    fn allows_origin(&self, written: &str) -> bool {
        let Some(origin) = Origin::parse(written) else {
            return false;
        };
        let local = matches!(&origin, Origin::Site(site) if site.is_web() && site.host.is_loopback());
        (local && self.on_loopback)
            || self.own_origin.iter().any(|rule| rule.allows(&origin))
            || self.origins.allow(&origin)
    }

    /// The origins whose pages may read what the hub answers: those of `server.allowed_origins`.
    pub(super) fn cross_origins(&self) -> OriginRules {
        self.origins.clone()
    }
}

/// A list of origins.
#[derive(Debug, Clone)]
pub(super) struct OriginRules(Arc<[OriginRule]>);

impl OriginRules {
    /// Whether it allows none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it names the origin of an Origin header.
    pub(super) fn name(&self, written: &str) -> bool {
        Origin::parse(written).is_some_and(|origin| self.allow(&origin))
    }

    fn allow(&self, origin: &Origin<'_>) -> bool {
        self.0.iter().any(|rule| rule.allows(origin))
    }
}

/// The host, and the origin, of the hub's own address.
fn public_site(written: &str) -> Option<(HostRule, OriginRule)> {
    let url = url::Url::parse(written)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let host = url.host_str()?.parse().ok()?;
    Some((host, url.origin().ascii_serialization().parse().ok()?))
}

fn parse_all<T: FromStr<Err = RuleError>>(
    key: &'static str,
    values: &[String],
) -> Result<Vec<T>, GuardError> {
    let parse = |value: &String| {
        value.parse().map_err(|kind| GuardError {
            key,
            value: value.clone(),
            kind,
        })
    };
    values.iter().map(parse).collect()
}

/// The text of a header that may stand once.
fn single<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values
        .next()
        .map(|value| value.to_str().map_err(|_| ()))
        .transpose();
    if values.next().is_some() { Err(()) } else { first }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;

//! The forms of texts in the file: names, addresses, sizes, hashes.
//!
//! Each says what it accepts in one place; the check, the schema and the reader use the same one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use url::Url;

use super::model::Schedule;
use super::table::Form;
use super::units::{ByteSize, HumanDuration};
use crate::access::KeyHash;
use crate::secrets::is_variable_name;

const fn form(
    name: &'static str,
    help: &'static str,
    pattern: &'static str,
    accepts: fn(&str) -> bool,
) -> Form {
    Form {
        name,
        help,
        pattern,
        template: false,
        number: false,
        accepts,
    }
}

const fn template(name: &'static str, help: &'static str, accepts: fn(&str) -> bool) -> Form {
    Form {
        name,
        help,
        pattern: "",
        template: true,
        number: true,
        accepts,
    }
}

/// Names of providers; see [`is_name`].
pub(crate) static NAME: Form = form(
    "a name",
    "write letters, digits, `.`, `_` and `-`, starting with a letter or a digit, at most 64; `aih` is the hub's own",
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    is_name,
);
/// A value that may come from `${VAR}` and must not be empty.
pub(crate) static VALUE: Form = template("a value", "write a text, or `${VAR}` for a secret", |s| {
    !s.is_empty()
});
/// A value that may come from `${VAR}` and may be empty.
pub(crate) static ANY_VALUE: Form = template("a value", "write a text, or `${VAR}` for a secret", |_| true);
pub(crate) static HTTP_URL: Form = template(
    "an http or https URL",
    "write an address such as https://mcp.example.com/mcp",
    |s| http_url(s).is_some(),
);
pub(crate) static STORE_URL: Form = template(
    "a store URL",
    "write sqlite://data/aih.db or postgres://user:${PASSWORD}@host/db",
    |s| {
        ["sqlite:", "postgres://", "postgresql://"]
            .iter()
            .any(|scheme| s.starts_with(scheme))
    },
);
pub(crate) static CACHE_URL: Form = template("a Redis URL", "write redis://host:6379 or rediss://…", |s| {
    ["redis://", "rediss://"]
        .iter()
        .any(|scheme| s.starts_with(scheme))
});
pub(crate) static LISTEN: Form = template(
    "an address and port",
    "write 127.0.0.1:8787 for this machine only, 0.0.0.0:8787 for every network",
    |s| listen(s).is_some(),
);
pub(crate) static HEADER_NAME: Form = form(
    "a header name",
    "write a name such as X-Api-Key; the headers of the transport itself are the hub's",
    "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
    |s| header_name(s).is_some(),
);
pub(crate) static ENV_NAME: Form = form(
    "a variable name",
    "write letters, digits and `_`, not starting with a digit",
    "^[A-Za-z_][A-Za-z0-9_]*$",
    is_variable_name,
);
pub(crate) static DURATION: Form = Form {
    number: true,
    ..form(
        "a duration",
        "write 500ms, 30s, 2m, 1h, 90d, or a number of seconds; more than nothing",
        "^[0-9]+ *(ms|s|m|min|h|d)?$",
        |s| s.parse::<HumanDuration>().is_ok_and(|d| !d.0.is_zero()),
    )
};
pub(crate) static SIZE: Form = Form {
    number: true,
    ..form(
        "a size",
        "write 512KiB, 64MiB, 1GiB, or a number of bytes",
        "^[0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)?$",
        |s| s.parse::<ByteSize>().is_ok(),
    )
};
pub(crate) static PERMISSION: Form = form(
    "a permission",
    "write a path such as mcps/stripe/*, skills/*, admin/*, or `*` for all; no spaces, at most 256 characters",
    "^\\S{1,256}$",
    is_permission,
);
/// A text in which `*` matches any text.
pub(crate) static CRON: Form = form(
    "a cron expression",
    "write five fields such as `*/5 * * * *`, or `@daily`; `CRON_TZ=Europe/Berlin 0 9 * * *` in another time zone",
    "^(CRON_TZ=\\S+ )?\\S.*$",
    |s| s.parse::<Schedule>().is_ok(),
);
pub(crate) static PATTERN: Form = form(
    "a pattern",
    "write a name in which `*` matches any text; no spaces, at most 256 characters",
    "^\\S{1,256}$",
    is_permission,
);
pub(crate) static TOOL_NAME: Form = form(
    "a tool name",
    "write letters, digits, `_`, `-` and `.`, at most 64",
    "^[A-Za-z0-9_.-]{1,64}$",
    |s| {
        !s.is_empty()
            && s.len() <= 64
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    },
);
/// A key of a map that may be any text but nothing.
pub(crate) static SOME_TEXT: Form = form("a text", "write a text", "^.+$", |s| !s.is_empty());
pub(crate) static PATH: Form = form(
    "a path",
    "write a path; relative ones start at the folder of this file",
    "^.+$",
    |s| !s.is_empty() && !s.contains('\0'),
);
pub(crate) static KEY_HASH: Form = form(
    "a key hash",
    "write sha256: and the 64 digits that `aih key hash` prints",
    "^sha256:([0-9a-fA-F]{64}|[0-9a-fA-F]*(\\.\\.\\.|…))$",
    |s| KeyHash::parse(s).is_ok(),
);
pub(crate) static NETWORK: Form = form(
    "a network",
    "write an address such as 203.0.113.7 or a network such as 10.0.0.0/8 or 2001:db8::/32",
    "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
    |s| network(s).is_some(),
);
pub(crate) static HOST: Form = form(
    "a host",
    "write a host as browsers send it, such as hub.example.com or hub.example.com:8443, without https:// and path",
    "^[^/\\s@]+$",
    |s| host(s).is_some(),
);
pub(crate) static ORIGIN: Form = form(
    "an origin",
    "write scheme, host and port such as https://app.example.com or http://localhost:3000, without a path",
    "^https?://[^/\\s]+/?$",
    |s| origin(s).is_some(),
);
/// An origin in which `*` in the host matches any text, or `*` alone.
pub(crate) static HTTP_GRANT: Form = form(
    "an origin",
    "write scheme, host and port such as https://example.com:443; `*` matches any text in the host",
    "^(\\*|https?://[^/\\s]+/?)$",
    |s| s == "*" || origin(s).is_some(),
);
pub(crate) static GIT_URL: Form = template(
    "a git URL",
    "write https://…, ssh://…, git@host:path or file:///path",
    |s| {
        ["https://", "http://", "ssh://", "git://", "file://"]
            .iter()
            .any(|p| s.starts_with(p))
            || (!s.starts_with('-') && s.split_once(':').is_some_and(|(user, _)| user.contains('@')))
    },
);

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, and not the hub's own `aih`.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.eq_ignore_ascii_case("aih")
}

fn is_permission(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= 256 && !text.contains(char::is_whitespace)
}

/// An address that the hub can call.
pub(crate) fn http_url(text: &str) -> Option<Url> {
    Url::parse(text)
        .ok()
        .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
}

/// An address to listen on; `localhost` is 127.0.0.1.
pub(crate) fn listen(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

/// A header that an operator may set on requests to an upstream: none of those that frame the message or
/// belong to MCP's own transport.
pub(crate) fn header_name(text: &str) -> Option<HeaderName> {
    const OURS: &[&str] = &[
        "accept",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    text.parse::<HeaderName>()
        .ok()
        .filter(|name| !OURS.contains(&name.as_str()))
}

/// Whether a header can have this value.
pub(crate) fn is_header_value(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok()
}

/// A network, or one address as a network of one.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A `Host` value in lower case.
pub(crate) fn host(text: &str) -> Option<String> {
    if text.contains(['/', '@', '?', '#', '\\']) {
        return None;
    }
    let url = Url::parse(&format!("http://{text}")).ok()?;
    url.has_host().then(|| text.to_ascii_lowercase())
}

/// An `Origin` value as browsers send it.
pub(crate) fn origin(text: &str) -> Option<String> {
    let url = http_url(text)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    (bare && url.username().is_empty() && url.password().is_none())
        .then(|| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "stripe", "my-mcp.v2", "0x", &"a".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "aih", "AIH", "a/b", "ä", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn hashes() {
        for good in [
            "sha256:abc123...",
            "sha256:…",
            &format!("sha256:{}0A", "00".repeat(31)),
        ] {
            assert!((KEY_HASH.accepts)(good), "{good}");
        }
        for bad in [
            "",
            "abc",
            "sha256:",
            "sha256:abc",
            "sha256:the-hash...",
            &format!("sha256:{}+1", "00".repeat(31)),
            "md5:abc...",
        ] {
            assert!(!(KEY_HASH.accepts)(bad), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        assert!(listen("localhost:80").is_some() && listen("[::1]:80").is_some());
        assert!(listen(":8787").is_none() && listen("8787").is_none());
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(
            origin("https://App.example:443/").as_deref(),
            Some("https://app.example")
        );
        assert_eq!(origin("https://app.example/x"), None);
        assert_eq!(host("Hub.example:8443").as_deref(), Some("hub.example:8443"));
        assert_eq!(host("https://hub.example"), None);
        assert!(http_url("ftp://x").is_none() && http_url("https://").is_none());
        assert!((HTTP_GRANT.accepts)("https://*.example.com:443"));
    }

    #[test]
    fn the_transports_own_headers_are_refused() {
        assert!(header_name("Host").is_none() && header_name("Mcp-Session-Id").is_none());
        assert!(header_name("a b").is_none());
        assert_eq!(header_name("X-Api-Key").unwrap().as_str(), "x-api-key");
    }
}

//! The normal form of resource URIs, by which permissions decide.
//!
//! One resource has many spellings: `file:///etc/passwd` is also `FILE:///%65tc//./passwd`. A permission must not
//! depend on the spelling, so both the pattern and what is asked for are brought into one form before they are
//! compared. What goes to the server stays as the client wrote it.
//!
//! The normal form is that of RFC 3986, section 6.2.2 and 6.2.3, and a little more, since servers read more than the
//! RFC allows:
//!
//! - scheme and host in lower case; no default port, no empty port, no dot behind the host;
//! - percent-coding in upper case, and only where it is needed: unreserved characters are decoded, what a URI cannot
//!   hold is encoded;
//! - no dot segments and no empty segments in the path;
//! - `file:/a` and `file://localhost/a` are `file:///a` (RFC 8089);
//! - spaces and controls at both ends, tabs and line breaks are left out, and `\` is `/` (WHATWG URL).
//!
//! Two more readings are looked at, because a server may be that lenient: everything decoded (`%2F` as a slash, `%252F`
//! too), and the WHATWG reading of a URL (`http:/a`, international names, addresses such as `0x7f.1`). See
//! [`ResourcePath`]. This module must never look at anything but text.

use percent_encoding::percent_decode;
use url::Url;

/// How often a URI is decoded again until nothing changes; one with more layers of coding is refused.
const MAX_LAYERS: usize = 4;

/// A resource as permissions see it: its permission path in each reading that a server may have of its URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePath {
    /// The path in normal form, for which a grant must stand.
    pub(super) normal: Box<str>,
    /// The paths in other readings. Each must be granted as well; empty for most URIs.
    pub(super) readings: Box<[Box<str>]>,
    /// The paths without fragment, query and user. None of them may be taken away; nothing has to grant them.
    pub(super) shorter: Box<[Box<str>]>,
    /// The URI has so many layers of percent-coding that nobody can say what a server makes of it.
    pub(super) obscure: bool,
}

impl ResourcePath {
    /// The resource `uri` of the server with the permission path `server` (`mcps/files`).
    #[must_use]
    pub fn new(server: &str, uri: &str) -> Self {
        let server = server.trim_end_matches('/');
        let path = |uri: &str| Box::<str>::from(format!("{server}/{uri}"));
        let normal = normal(uri.as_bytes());
        let (readings, obscure) = readings(&normal, Wildcards::Literal);
        let mut shorter: Vec<String> = Vec::new();
        for one in std::iter::once(&normal).chain(&readings) {
            for part in parts(one) {
                if !shorter.contains(&part) {
                    shorter.push(part);
                }
            }
        }
        Self {
            normal: path(&normal),
            readings: readings.iter().map(|one| path(one)).collect(),
            shorter: shorter.iter().map(|one| path(one)).collect(),
            obscure,
        }
    }
}

/// What a `*` in a text is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wildcards {
    /// A wildcard: the text is a pattern.
    Any,
    /// A character like any other.
    Literal,
}

/// The readings of a URI in normal form that differ from it, and whether there may be more of them than are given.
pub(super) fn readings(normal: &str, stars: Wildcards) -> (Vec<String>, bool) {
    let mut all: Vec<String> = Vec::new();
    let mut before = normal.to_owned();
    let mut obscure = true;
    for _ in 0..=MAX_LAYERS {
        for reading in [before.clone(), as_browsers_read(&before)] {
            if reading != normal && !all.contains(&reading) {
                all.push(reading);
            }
        }
        let decoded = decoded(&before, stars);
        if decoded == before {
            obscure = false;
            break;
        }
        before = decoded;
    }
    (all, obscure)
}

/// The URI with all of it decoded once, in normal form. A literal `*` is `%2A`, so that it is not a wildcard in a pattern.
fn decoded(uri: &str, stars: Wildcards) -> String {
    let mut bytes = Vec::with_capacity(uri.len());
    for (at, part) in uri.split("%2A").enumerate() {
        if at > 0 {
            bytes.extend_from_slice(b"%2A");
        }
        bytes.extend(percent_decode(part.as_bytes()));
    }
    let text = normal(&bytes);
    match stars {
        Wildcards::Any => text,
        Wildcards::Literal => text.replace('*', "%2A"),
    }
}

/// The URI as the WHATWG URL standard reads it, in normal form; unchanged where that cannot read it.
fn as_browsers_read(uri: &str) -> String {
    Url::parse(uri).map_or_else(|_| uri.to_owned(), |url| normal(url.as_str().as_bytes()))
}

/// A URI without its fragment, its query, what follows a NUL, and its user: what servers may leave out.
fn parts(uri: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |part: String| {
        if part != uri && !all.contains(&part) {
            all.push(part);
        }
    };
    let bare = uri.split('#').next().unwrap_or_default();
    let path = bare.split('?').next().unwrap_or_default();
    let text_of_c = path.split("%00").next().unwrap_or_default();
    for text in [uri, bare, path, text_of_c] {
        add(text.to_owned());
        let split = UriParts::of(text.as_bytes());
        let user = split.authority.and_then(|authority| {
            let at = authority.iter().rposition(|byte| *byte == b'@')?;
            authority.get(at + 1..)
        });
        if let Some(host) = user {
            let whole = UriParts {
                authority: Some(host),
                ..split
            };
            add(whole.written());
        }
    }
    all
}

/// The parts of a URI (RFC 3986, appendix B), without the marks between them.
#[derive(Clone, Copy)]
struct UriParts<'a> {
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
    fragment: Option<&'a [u8]>,
}

/// Cuts at the first byte for which `mark` is true; the mark is left out.
fn cut(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == mark) {
        Some(at) => {
            let (before, behind) = text.split_at(at);
            (before, behind.get(1..))
        }
        None => (text, None),
    }
}

/// Whether this may be a scheme; in a pattern, `*` may stand in it.
fn is_scheme(text: &[u8]) -> bool {
    text.first()
        .is_some_and(|first| first.is_ascii_alphabetic() || *first == b'*')
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'*'))
}

impl<'a> UriParts<'a> {
    fn of(uri: &'a [u8]) -> Self {
        let (rest, fragment) = cut(uri, b'#');
        let (rest, query) = cut(rest, b'?');
        let (scheme, rest) = match cut(rest, b':') {
            (scheme, Some(behind)) if is_scheme(scheme) => (Some(scheme), behind),
            _ => (None, rest),
        };
        let (authority, path) = match rest.strip_prefix(b"//") {
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                (Some(authority), path)
            }
            None => (None, rest),
        };
        Self {
            scheme,
            authority,
            path,
            query,
            fragment,
        }
    }

    /// The URI of these parts, which are in normal form.
    fn written(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut out = String::new();
        if let Some(scheme) = self.scheme {
            out.push_str(&text(scheme));
            out.push(':');
        }
        if let Some(authority) = self.authority {
            out.push_str("//");
            out.push_str(&text(authority));
        }
        out.push_str(&text(self.path));
        for (mark, part) in [('?', self.query), ('#', self.fragment)] {
            if let Some(part) = part {
                out.push(mark);
                out.push_str(&text(part));
            }
        }
        out
    }
}

/// The normal form of a URI; see the module. In a pattern a `*` stays what it is. The result is ASCII.
pub(super) fn normal(uri: &[u8]) -> String {
    let outside = |byte: &u8| *byte <= b' ';
    let from = uri.iter().position(|byte| !outside(byte)).unwrap_or(uri.len());
    let to = uri
        .iter()
        .rposition(|byte| !outside(byte))
        .map_or(from, |last| last + 1);
    let inside = uri.get(from..to).unwrap_or_default().iter();
    let read: Vec<u8> = inside
        .filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n'))
        .map(|byte| if *byte == b'\\' { b'/' } else { *byte })
        .collect();
    let split = UriParts::of(&read);
    let scheme = split.scheme.map(<[u8]>::to_ascii_lowercase);
    let scheme_name = scheme.as_deref().unwrap_or_default();
    let mut path = without_dots(&percent(split.path));
    if scheme.is_none() && split.authority.is_none() {
        // Behind dots or percent-coding it is not a scheme, and must not become one.
        let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        path = format!("{}{rest}", first.replace(':', "%3A"));
    }
    let path = match (split.authority, scheme_name) {
        (Some(_), b"http" | b"https" | b"ws" | b"wss" | b"ftp") if path.is_empty() => "/".to_owned(),
        _ => path,
    };
    let mut authority = split
        .authority
        .map(|authority| authority_of(authority, scheme_name));
    if scheme_name == b"file" {
        match &authority {
            None if path.starts_with('/') => authority = Some(String::new()),
            Some(host) if host == "localhost" => authority = Some(String::new()),
            _ => {}
        }
    }
    let (query, fragment) = (split.query.map(percent), split.fragment.map(percent));
    UriParts {
        scheme: scheme.as_deref(),
        authority: authority.as_deref().map(str::as_bytes),
        path: path.as_bytes(),
        query: query.as_deref().map(str::as_bytes),
        fragment: fragment.as_deref().map(str::as_bytes),
    }
    .written()
}

/// The percent-coding of a text in normal form: decoded where it can be, in upper case where not, and added where a URI
/// cannot hold the byte.
pub(super) fn percent(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let coded = (byte == b'%')
            .then(|| {
                let (digits, after) = behind.split_at_checked(2)?;
                let digits = std::str::from_utf8(digits).ok()?;
                let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let value = u8::from_str_radix(digits, 16).ok().filter(|_| plain)?;
                Some((value, after))
            })
            .flatten();
        match coded {
            Some((value, after)) => {
                rest = after;
                if is_unreserved(value) {
                    out.push(char::from(value));
                } else {
                    out.push_str(&format!("%{value:02X}"));
                }
            }
            None if is_unreserved(byte) || is_reserved(byte) => out.push(char::from(byte)),
            None => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986, section 2.2.
fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=".contains(&byte)
}

/// A path without dot segments (RFC 3986, section 5.2.4) and without empty ones.
fn without_dots(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    let mut folder = false;
    for segment in path.split('/') {
        folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    if rooted {
        out.push('/');
    }
    out.push_str(&kept.join("/"));
    if folder && !kept.is_empty() {
        out.push('/');
    }
    out
}

/// User, host and port.
fn authority_of(authority: &[u8], scheme: &[u8]) -> String {
    let text = percent(authority);
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, &*text),
    };
    // The colons of an IPv6 address stand in brackets.
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (place, ""),
    };
    let host = match host.trim_end_matches('.') {
        "" => host,
        host => host,
    };
    let port = match port.trim_start_matches('0') {
        "" if !port.is_empty() => "0",
        port => port,
    };
    let default = match scheme {
        b"http" | b"ws" => "80",
        b"https" | b"wss" => "443",
        b"ftp" => "21",
        _ => "",
    };
    let mut out = String::with_capacity(text.len());
    if let Some(user) = user {
        out.push_str(user);
        out.push('@');
    }
    // What stays coded is in upper case everywhere.
    out.push_str(&percent(host.to_ascii_lowercase().as_bytes()));
    if !port.is_empty() && port != default {
        out.push(':');
        out.push_str(port);
    }
    out
}

/// Where in a permission pattern a URI begins: at the first scheme that stands at the beginning of a segment.
pub(super) fn begins_at(glob: &str) -> Option<usize> {
    let bytes = glob.as_bytes();
    let behind = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    std::iter::once(0)
        .chain(behind.map(|(at, _)| at + 1))
        .find(|start| {
            let rest = bytes.get(*start..).unwrap_or_default();
            let (scheme, behind) = cut(rest, b':');
            behind.is_some() && is_scheme(scheme)
        })
}

/// Whether a pattern of a URI goes up (`..`) behind a wildcard: it cannot be said what that names.
pub(super) fn goes_up_behind_a_wildcard(glob: &str) -> bool {
    let coded = percent(glob.as_bytes());
    let mut wild = false;
    for segment in coded.split('/') {
        if wild && segment == ".." {
            return true;
        }
        wild |= segment.contains('*');
    }
    false
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;

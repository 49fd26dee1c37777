//! Resource URIs behind the aggregated endpoint: an upstream's URI with its namespace in it. The address of something
//! that a client gets without the hub ([`is_open`]) stays what it is.
//!
//! The mapping is stable (it does not depend on who else lists what) and reversible without a table, also
//! for URIs that a client made from a template, and for those that stand in results only.

use crate::names::Namespace;

/// Schemes that a client must still recognise: the namespace becomes their first segment.
const KEPT_SCHEMES: [&str; 2] = ["ui://", "skill://"];
const WRAPPED: &str = "aih://";
/// Schemes of what a client fetches by itself: a server should use them for nothing else (2026-07-28, Resources, Common
/// URI Schemes).
const OPEN_SCHEMES: [&str; 3] = ["http:", "https:", "data:"];

/// Whether a client gets what `uri` names without the hub, from the web or out of the URI itself.
pub fn is_open(uri: &str) -> bool {
    OPEN_SCHEMES.iter().any(|scheme| {
        uri.get(..scheme.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    })
}

/// `uri` of the provider behind `namespace`, as the aggregated endpoint shows it: `aih://{ns}/{uri}`, and
/// `ui://{ns}/{rest}` for MCP Apps, `skill://{ns}/{rest}` for skills. Template expressions stay as they are, and so does
/// an open URI.
pub fn expose(namespace: &Namespace, uri: &str) -> String {
    if is_open(uri) {
        return uri.to_owned();
    }
    for scheme in KEPT_SCHEMES {
        if let Some(rest) = uri.strip_prefix(scheme) {
            return format!("{scheme}{namespace}/{rest}", namespace = namespace.as_str());
        }
    }
    format!("{WRAPPED}{}/{uri}", namespace.as_str())
}

/// The namespace and the provider's own URI in an exposed one; `None` for a URI without a namespace.
pub fn parse(exposed: &str) -> Option<(&str, String)> {
    if let Some(rest) = exposed.strip_prefix(WRAPPED) {
        let (namespace, uri) = rest.split_once('/')?;
        return Some((namespace, uri.to_owned()));
    }
    KEPT_SCHEMES.iter().find_map(|scheme| {
        let (namespace, rest) = exposed.strip_prefix(scheme)?.split_once('/')?;
        Some((namespace, format!("{scheme}{rest}")))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mcp_apps_keep_their_scheme() {
        let ns = Namespace::new("my-app");
        assert_eq!(expose(&ns, "ui://panel/main"), "ui://my_app/panel/main");
        assert_eq!(expose(&ns, "test://t/{id}"), "aih://my_app/test://t/{id}");
    }

    #[test]
    fn links_to_the_web_stay_what_they_are() {
        let ns = Namespace::new("s");
        for uri in [
            "https://a.test/b?c#d",
            "HTTP://a.test",
            "https://a.test/{x}",
            "data:,x",
        ] {
            assert!(is_open(uri));
            assert_eq!(expose(&ns, uri), uri);
        }
        for uri in ["", "http", "httpx://a", "é:x", "file:///https://a.test"] {
            assert!(!is_open(uri));
            assert_eq!(expose(&ns, uri), format!("aih://s/{uri}"));
        }
    }

    proptest! {
        #[test]
        fn what_is_exposed_comes_back(name in "[a-zA-Z0-9._-]{1,40}", uri in "(ui://|skill://|file:///|x:)?.{0,60}") {
            let ns = Namespace::new(&name);
            let exposed = expose(&ns, &uri);
            prop_assert_eq!(parse(&exposed), Some((ns.as_str(), uri)));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}

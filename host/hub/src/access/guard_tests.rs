use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn config(listen: &str) -> GuardConfig {
    GuardConfig {
        listen: listen.parse().unwrap(),
        public_url: None,
        allowed_hosts: vec![],
        allowed_origins: vec![],
        ip_allowlist: vec![],
    }
}

fn public() -> Guard {
    Guard::new(&GuardConfig {
        public_url: Some("https://Hub.example.com/".into()),
        allowed_hosts: vec![
            "lan.example:8787".into(),
            "any.example".into(),
            "10.0.0.5".into(),
            "2001:db8::5".into(),
        ],
        allowed_origins: vec![
            "https://app.example.com".into(),
            "http://localhost:*".into(),
            "vscode-webview://abc".into(),
        ],
        ..config("0.0.0.0:8787")
    })
    .unwrap()
}

fn check(guard: &Guard, pairs: &[(http::HeaderName, &str)]) -> Result<(), Rejection> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    guard.check(None, &Uri::from_static("/mcp"), &headers)
}

/// Each of these hosts gets this answer.
fn hosts(guard: &Guard, expected: Result<(), Rejection>, hosts: &[&str]) {
    for host in hosts {
        assert_eq!(check(guard, &[(HOST, host)]), expected, "{host}");
    }
}

#[test]
fn loopback_names_are_hosts_with_any_port() {
    let guard = Guard::new(&config("127.0.0.1:8787")).unwrap();
    hosts(
        &guard,
        Ok(()),
        &[
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "localhost:",
            "127.0.0.1",
            "127.0.0.1:9",
            "[::1]",
            "[::1]:8787",
            "[::ffff:127.0.0.1]",
        ],
    );
    hosts(
        &guard,
        Err(Rejection::Host),
        &[
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:8787",
            "localhost@evil.example",
            "evil@localhost",
            "localhost:80:80",
            "localhost:x",
            "localhost:+80",
            "localhost:99999",
            "[::1",
            "[::1]x",
            "::1",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "10.0.0.5",
            "localhost/",
            "local host",
            ".",
        ],
    );
}

#[test]
fn configured_hosts_are_exact() {
    let guard = public();
    hosts(
        &guard,
        Ok(()),
        &[
            "hub.example.com",
            "HUB.example.com:443",
            "hub.example.com.",
            "lan.example:8787",
            "any.example",
            "any.example:1",
            "10.0.0.5:80",
            "[2001:db8::5]:1",
            "0.0.0.0:8787",
            "localhost:8787",
        ],
    );
    hosts(
        &guard,
        Err(Rejection::Host),
        &[
            "lan.example",
            "lan.example:80",
            "x.hub.example.com",
            "hub.example.com.evil.example",
            "10.0.0.6",
            "example.com",
        ],
    );
}

#[test]
fn exactly_one_host_is_named_and_an_authority_counts_too() {
    let guard = public();
    assert_eq!(check(&guard, &[]), Err(Rejection::HostMissing));
    assert_eq!(
        check(&guard, &[(HOST, "any.example"), (HOST, "any.example")]),
        Err(Rejection::HostMissing)
    );
    let (good, evil) = (
        Uri::from_static("https://any.example/mcp"),
        Uri::from_static("https://evil.example/mcp"),
    );
    let mut headers = HeaderMap::new();
    assert_eq!(guard.check(None, &good, &headers), Ok(()));
    assert_eq!(guard.check(None, &evil, &headers), Err(Rejection::Host));
    headers.insert(HOST, HeaderValue::from_static("any.example"));
    assert_eq!(guard.check(None, &evil, &headers), Err(Rejection::Host));
    headers.insert(HOST, HeaderValue::from_static("evil.example"));
    assert_eq!(guard.check(None, &good, &headers), Err(Rejection::Host));
    headers.insert(HOST, HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap());
    assert_eq!(guard.check(None, &good, &headers), Err(Rejection::HostMissing));
}

#[test]
fn on_loopback_pages_of_this_machine_are_allowed() {
    let guard = Guard::new(&config("[::1]:8787")).unwrap();
    assert!(guard.on_loopback());
    for origin in [
        "http://localhost",
        "https://localhost:3000",
        "http://127.0.0.1:6274",
        "http://[::1]:1",
    ] {
        assert_eq!(
            check(&guard, &[(HOST, "localhost"), (ORIGIN, origin)]),
            Ok(()),
            "{origin}"
        );
    }
    for origin in [
        "null",
        "http://evil.example",
        "http://localhost.evil.example",
        "",
        "localhost",
        "http://",
        "file://",
        "ftp://localhost",
        "http://localhost/x",
        "http://a@localhost",
        "//localhost",
    ] {
        assert_eq!(
            check(&guard, &[(HOST, "localhost"), (ORIGIN, origin)]),
            Err(Rejection::Origin),
            "{origin:?}"
        );
    }
    let twice = [
        (HOST, "localhost"),
        (ORIGIN, "http://localhost"),
        (ORIGIN, "http://localhost"),
    ];
    assert_eq!(check(&guard, &twice), Err(Rejection::Origin));
}

#[test]
fn elsewhere_only_listed_origins_are_allowed() {
    let guard = public();
    assert!(!guard.on_loopback());
    for origin in [
        "https://hub.example.com",
        "https://hub.example.com:443",
        "HTTPS://APP.example.com",
        "http://localhost:3000",
        "http://localhost",
        "vscode-webview://abc",
    ] {
        assert_eq!(
            check(&guard, &[(HOST, "localhost"), (ORIGIN, origin)]),
            Ok(()),
            "{origin}"
        );
    }
    for origin in [
        "null",
        "http://hub.example.com",
        "https://app.example.com:8443",
        "https://localhost",
        "http://127.0.0.1",
        "vscode-webview://abd",
        "https://any.example",
    ] {
        assert_eq!(
            check(&guard, &[(HOST, "localhost"), (ORIGIN, origin)]),
            Err(Rejection::Origin),
            "{origin}"
        );
    }
    let guard = Guard::new(&GuardConfig {
        allowed_origins: vec!["null".into()],
        ..config("0.0.0.0:1")
    })
    .unwrap();
    assert_eq!(check(&guard, &[(HOST, "localhost"), (ORIGIN, "null")]), Ok(()));
}

#[test]
fn addresses_are_compared_in_canonical_form() {
    let ranges = [
        "10.0.0.0/8",
        "192.0.2.7",
        "2001:db8::/32",
        "::ffff:172.16.0.0/108",
    ]
    .map(String::from);
    let guard = Guard::new(&GuardConfig {
        ip_allowlist: ranges.into(),
        ..config("0.0.0.0:1")
    })
    .unwrap();
    let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
    let check =
        |peer: Option<&str>| guard.check(peer.map(|p| p.parse().unwrap()), &Uri::from_static("/"), &headers);
    for peer in [
        "10.255.0.1",
        "::ffff:10.1.2.3",
        "192.0.2.7",
        "2001:db8::1",
        "172.31.0.1",
    ] {
        assert_eq!(check(Some(peer)), Ok(()), "{peer}");
    }
    for peer in [
        "11.0.0.1",
        "192.0.2.8",
        "2001:db9::1",
        "::ffff:11.0.0.1",
        "127.0.0.1",
        "172.32.0.1",
    ] {
        assert_eq!(check(Some(peer)), Err(Rejection::Address), "{peer}");
    }
    assert_eq!(check(None), Err(Rejection::Address));
}

#[test]
fn bad_rules_name_their_key() {
    let error = |change: fn(&mut GuardConfig)| {
        let mut config = config("127.0.0.1:1");
        change(&mut config);
        let error = Guard::new(&config).unwrap_err();
        (error.key, error.kind)
    };
    assert_eq!(
        error(|c| c.allowed_hosts = vec!["https://a".into()]),
        ("server.allowed_hosts", RuleError::Host)
    );
    assert_eq!(
        error(|c| c.allowed_hosts = vec!["*".into()]),
        ("server.allowed_hosts", RuleError::Host)
    );
    for bad in [
        "*",
        "app.example.com",
        "https://a/b",
        "https://*.example.com",
        "http://a:*:1",
        "",
    ] {
        assert_eq!(bad.parse::<OriginRule>(), Err(RuleError::Origin), "{bad}");
    }
    assert_eq!(
        error(|c| c.allowed_origins = vec!["*".into()]),
        ("server.allowed_origins", RuleError::Origin)
    );
    assert_eq!(
        error(|c| c.ip_allowlist = vec!["10.0.0.0/33".into()]),
        ("server.ip_allowlist", RuleError::Network)
    );
    for bad in [
        "hub.example.com",
        "ftp://hub.example.com",
        "https://",
        "mailto:a@b",
    ] {
        let config = GuardConfig {
            public_url: Some(bad.into()),
            ..config("127.0.0.1:1")
        };
        assert_eq!(
            Guard::new(&config).unwrap_err().kind,
            RuleError::PublicUrl,
            "{bad}"
        );
    }
    let v6 = GuardConfig {
        public_url: Some("https://[2001:db8::1]:8443/hub".into()),
        ..config("0.0.0.0:1")
    };
    let guard = Guard::new(&v6).unwrap();
    let sent = [
        (HOST, "[2001:db8:0::1]:8443"),
        (ORIGIN, "https://[2001:db8::1]:8443"),
    ];
    assert_eq!(check(&guard, &sent), Ok(()));
    assert!(
        Guard::new(&GuardConfig {
            allowed_hosts: vec!["a b".into()],
            ..config("0.0.0.0:1")
        })
        .unwrap_err()
        .to_string()
        .starts_with("server.allowed_hosts: \"a b\" is not a host")
    );
}

proptest! {
    #[test]
    fn any_header_is_answered(host in "[ -~]{0,40}", origin in "[ -~]{0,40}") {
        let _ = check(&public(), &[(HOST, &host), (ORIGIN, &origin)]);
    }

    #[test]
    fn a_foreign_name_never_passes(name in "[a-z]{1,8}(\\.[a-z]{1,8}){1,3}", port in any::<u16>()) {
        let guard = Guard::new(&config("127.0.0.1:8787")).unwrap();
        let host = format!("{name}:{port}");
        prop_assert_eq!(check(&guard, &[(HOST, &host)]), Err(Rejection::Host));
    }
}

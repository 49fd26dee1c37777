use proptest::prelude::*;

use super::*;
use crate::access::PermissionSet;

fn form(uri: &str) -> String {
    normal(uri.as_bytes())
}

fn allows(permissions: &[&str], uri: &str) -> bool {
    let set = PermissionSet::parse(permissions).unwrap();
    set.allows_resource(&ResourcePath::new("mcps/files", uri))
}

#[test]
fn spellings_of_one_uri_have_one_form() {
    for (form_of_all, spellings) in [
        (
            "file:///etc/passwd",
            &[
                "file:///etc/passwd",
                "FILE:///etc/passwd",
                "file:///%65tc/p%61sswd",
                "file:///./etc/../etc/passwd",
                "file:///%2e/x/%2E%2e/etc/passwd",
                "file:////etc//passwd",
                "file:/etc/passwd",
                "file://localhost/etc/passwd",
                "file://LocalHost./etc/passwd",
                "file:\\\\\\etc\\passwd",
                " fi\tle:///etc/pass\nwd ",
            ][..],
        ),
        (
            "https://example.com/a?Q=%2F",
            &[
                "https://example.com/a?Q=%2f",
                "HTTPS://EXAMPLE.com:443/a?Q=%2F",
                "https://example.com.:0443//b/../a?%51=%2F",
                "https://example.com:/a?Q=%2F",
                "https://%65xample.com/a?Q=%2F",
            ],
        ),
        (
            "http://h/",
            &["http://h", "http://h:80", "http://h/.", "http://h/x/.."],
        ),
        ("http://h/?x", &["http://h?x"]),
        ("http://h:81/", &["http://h:81", "http://h:081/"]),
        (
            "http://[::1]:8080/",
            &["http://[::1]:8080", "http://[::1]:08080/."],
        ),
        (
            "note:a%20%C3%A4%7B%7D",
            &["note:a ä{}", "NOTE:%61%20%c3%a4%7b%7d"],
        ),
        ("x:100%25", &["x:100%", "x:100%25"]),
        ("x:a/b/", &["x:a//b/", "x:a/./b/c/..", "x:a/b/."]),
        ("x:*%2A", &["x:*%2a"]),
        ("A%3Ab", &["./A:b", "%41:b"]),
    ] {
        for spelling in spellings {
            assert_eq!(form(spelling), form_of_all, "{spelling:?}");
        }
    }
    // What is not the same stays apart.
    for (one, other) in [
        ("x:a%2Fb", "x:a/b"),
        ("x:a?b", "x:a"),
        ("x:/A", "x:/a"),
        ("http://h:81/", "http://h/"),
        ("https://h:80/", "https://h/"),
        ("x://h:80/", "x://h/"),
    ] {
        assert_ne!(form(one), form(other));
    }
}

#[test]
fn a_deny_rule_holds_in_every_spelling() {
    for rule in [
        "!mcps/files/file:///etc",
        "!mcps/files/file:///etc/*",
        "!mcps/files/FILE:///%65tc/",
        "!mcps/files/file:/etc",
        "!mcps/files/file://localhost//etc/./",
        "!mcps/*/file:///etc",
        "!*/file:///etc",
        "!*file:///etc",
        "!mcps/files/*://*/etc",
    ] {
        let rules = ["mcps/files", rule];
        for uri in [
            "file:///etc/passwd",
            "File:///etc/passwd",
            "file:///%65%74%63/passwd",
            "file:////etc/passwd",
            "file:///tmp/../etc/passwd",
            "file:///tmp/%2e%2e/etc/passwd",
            "file:///tmp/%2E./etc/passwd",
            "file:/etc/passwd",
            "file://localhost/etc/passwd",
            "file:\\etc\\passwd",
            "f\tile:///etc/passwd",
            "file:///etc%2Fpasswd",
            "file:///etc%5Cpasswd",
            "file:///tmp%2F..%2Fetc/passwd",
            "file:///%2565tc/passwd",
            "file:///tmp/%252e%252e%252fetc/passwd",
            "file:///etc/passwd?x",
            "file:///etc/passwd#x",
            "file:///etc#x",
            "file:///etc%3Fx",
            "file:///etc%00x",
            "file:///etc%2500x?y",
        ] {
            assert!(!allows(&rules, uri), "{rule}: {uri}");
        }
        for uri in [
            "file:///tmp/x",
            "file:///tmp/etc2",
            "file:///etcetera",
            "note:etc",
        ] {
            assert!(allows(&rules, uri), "{rule}: {uri}");
        }
    }
    let rules = ["mcps/files", "!mcps/files/https://internal.example/*"];
    for uri in [
        "https://internal.example/",
        "https://INTERNAL.example:443",
        "https://internal.example./a",
        "https://someone@internal.example/a",
        "https://a:b@internal.example:443/a?b#c",
        "https:internal.example/a",
        "https:\\\\internal.example/a",
        "https://%69nternal.example/",
        "https://internal%2Eexample/",
    ] {
        assert!(!allows(&rules, uri), "{uri}");
    }
    assert!(allows(&rules, "https://internal.example.org/"));
    assert!(allows(&rules, "https://internal.example:8443/"));
    let rules = [
        "mcps/files",
        "!mcps/files/http://bücher.example/",
        "!mcps/files/http://127.0.0.1",
    ];
    for uri in [
        "http://xn--bcher-kva.example/a",
        "http://B%C3%BCcher.example/",
        "http://0x7f.1/",
        "http://2130706433/a",
    ] {
        assert!(!allows(&rules, uri), "{uri}");
    }
}

#[test]
fn a_grant_is_left_in_no_spelling() {
    let rules = ["mcps/files/file:///home/a/*", "mcps/files/x:1%2F2"];
    for uri in [
        "file:///home/a/notes",
        "FILE:///home/%61/notes",
        "file:///home/a/b/../notes",
        "file:///home/a/what%3F.txt",
        "file:///home/a/b%2Fc",
        "file:///home/a",
        "x:1%2F2",
        "x:1%2f2",
    ] {
        assert!(allows(&rules, uri), "{uri}");
    }
    for uri in [
        "file:///home/a/../b/notes",
        "file:///home/a/%2e%2e/b",
        "file:///home/a/..%2Fb",
        "file:///home/a/%2e%2e%2fb",
        "file:///home/a%252F..%252F..%252Fb",
        "file:///home/a\\..\\b",
        "file:///home/ab",
        "x:1/2",
    ] {
        assert!(!allows(&rules, uri), "{uri}");
    }
    // So many layers that nobody follows them.
    let deep = format!("file:///home/a/%{}41", "25".repeat(MAX_LAYERS + 1));
    assert!(!allows(&rules, &deep));
    assert!(allows(&["*"], &deep), "whoever may do all may do this");
}

#[test]
fn patterns_that_cannot_be_compared_are_refused() {
    for pattern in ["mcps/a/file:///x*/../b", "mcps/a/file:///*/%2e%2E"] {
        let error = PermissionSet::parse([pattern]).unwrap_err().to_string();
        assert!(error.contains("after a \"*\""), "{error}");
    }
    assert!(PermissionSet::parse(["mcps/a/file:///x/../b/*", "mcps/a/..*"]).is_ok());
}

/// Another spelling of a URI in normal form; `dice` chooses.
fn respelled(uri: &str, dice: &[u8]) -> String {
    let mut dice = dice.iter().cycle();
    let mut roll = |sides: u8| dice.next().map_or(0, |die| die % sides);
    let (scheme, rest) = uri.split_once("://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let mut out = String::new();
    let any_case = |text: &str, roll: &mut dyn FnMut(u8) -> u8| -> String {
        let letters = text.chars().map(|letter| match roll(2) {
            0 => letter,
            _ => letter.to_ascii_uppercase(),
        });
        letters.collect()
    };
    out += &any_case(scheme, &mut roll);
    out += "://";
    out += &any_case(host, &mut roll);
    if roll(2) == 1 {
        out += match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
    }
    for segment in path.split('/').skip(1) {
        out += match roll(5) {
            0 => "//",
            1 => "/./",
            2 => "/no/../",
            3 => "/%2e/%6Eo/.%2E/",
            _ => "/",
        };
        for letter in segment.bytes() {
            match roll(3) {
                0 => out += &format!("%{letter:02x}"),
                1 => out += &format!("%{letter:02X}"),
                _ => out.push(char::from(letter)),
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn any_text_has_a_form_that_is_its_own(uri in any::<String>()) {
        let once = form(&uri);
        prop_assert!(once.is_ascii());
        prop_assert_eq!(&form(&once), &once);
    }

    #[test]
    fn texts_like_uris_have_a_form_that_is_their_own(uri in "[a-cA-C%2356/.:@?#*\\\\ ]{0,24}") {
        let once = form(&uri);
        prop_assert_eq!(&form(&once), &once, "{:?}", uri);
    }

    #[test]
    fn a_spelling_decides_nothing(
        uri in "(file|http|https|note)://[a-c]{1,3}(/[a-c]{1,3}){1,4}",
        dice in prop::collection::vec(any::<u8>(), 1..64),
        rules in prop::collection::vec("!?mcps/files(/|/(file|http|note)://[a-c*]{1,2}(/[a-c*]{1,2}){0,3})", 1..5),
    ) {
        let other = respelled(&uri, &dice);
        prop_assert_eq!(form(&other), form(&uri), "{}", other);
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        prop_assert_eq!(allows(&rules, &other), allows(&rules, &uri), "{} {:?}", other, rules);
    }

    #[test]
    fn a_rule_holds_in_the_spelling_of_its_pattern(
        uri in "(file|http|https|note)://[a-c]{1,3}(/[a-c]{1,3}){1,4}",
        dice in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let written = format!("mcps/files/{}", respelled(&uri, &dice));
        prop_assert!(allows(&[&written], &uri), "{}", written);
        let taken = format!("!{written}");
        prop_assert!(!allows(&["mcps/files", &taken], &uri), "{}", written);
    }

    #[test]
    fn no_text_makes_the_decision_panic(uri in any::<String>(), rule in any::<String>()) {
        if PermissionSet::parse([&rule]).is_ok() {
            let _ = allows(&[&rule], &uri);
        }
    }
}

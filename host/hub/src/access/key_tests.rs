use http::{HeaderName, HeaderValue};

use super::*;

fn ring(keys: &[(&str, &ApiKey)]) -> KeyRing {
    KeyRing::new(keys.iter().map(|(name, key)| KeyEntry {
        name: (*name).into(),
        hash: key.hash(),
        permissions: PermissionSet::all(),
        compat: None,
    }))
    .unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    map
}

#[test]
fn a_key_has_the_documented_form() {
    let key = ApiKey::generate().unwrap();
    let body = key.expose().strip_prefix("aih_").unwrap();
    assert_eq!(body.len(), 43);
    assert!(
        body.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    );
    assert_ne!(key.expose(), ApiKey::generate().unwrap().expose());
    assert!(!format!("{key:?}").contains(body));
}

#[test]
fn a_hash_reads_back_and_matches_the_published_digest() {
    // FIPS 180-2, appendix B.1: the digest of "abc".
    let written = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(KeyHash::of(b"abc").to_string(), written);
    assert_eq!(KeyHash::parse(written).unwrap(), KeyHash::of(b"abc"));
    let upper = format!("sha256:{}", written[7..].to_uppercase());
    assert_eq!(KeyHash::parse(&upper).unwrap(), KeyHash::of(b"abc"));
    assert!(!format!("{:?}", KeyHash::of(b"abc")).contains("ba78"));
}

#[test]
fn a_bad_hash_is_refused_without_repeating_it() {
    assert_eq!(KeyHash::parse("aih_secret"), Err(KeyHashError::Algorithm));
    assert_eq!(KeyHash::parse("md5:00"), Err(KeyHashError::Algorithm));
    assert_eq!(
        KeyHash::parse("sha256:00"),
        Err(KeyHashError::Digits { length: 2 })
    );
    assert_eq!(
        KeyHash::parse(&format!("sha256:{}", "g".repeat(64))),
        Err(KeyHashError::Digits { length: 64 })
    );
    assert_eq!(
        KeyHash::parse(&format!("sha256:{}", "é".repeat(32))),
        Err(KeyHashError::Digits { length: 32 })
    );
    assert!(!KeyHashError::Algorithm.to_string().contains("secret"));
}

#[test]
fn a_placeholder_parses_and_never_matches() {
    let hash = KeyHash::parse("sha256:abc123...").unwrap();
    assert!(hash.is_placeholder());
    assert_eq!(hash.to_string(), "sha256:abc123...");
    let entry = |name: &str| KeyEntry {
        name: name.into(),
        hash: hash.clone(),
        permissions: PermissionSet::all(),
        compat: None,
    };
    let ring = KeyRing::new([entry("a"), entry("b")]).unwrap();
    assert!(ring.is_empty());
    for key in ["sha256:abc123...", "abc123...", "abc123", "x"] {
        assert_eq!(
            ring.authenticate(&headers(&[("x-api-key", key)])),
            Err(AuthError::Unknown)
        );
    }
}

#[test]
fn each_key_finds_its_own_principal() {
    let keys: Vec<_> = (0..5).map(|_| ApiKey::generate().unwrap()).collect();
    let names: Vec<_> = (0..5).map(|i| format!("key {i}")).collect();
    let ring = ring(&names.iter().map(String::as_str).zip(&keys).collect::<Vec<_>>());
    assert_eq!(ring.len(), 5);
    for (name, key) in names.iter().zip(&keys) {
        let plain = key.expose();
        for sent in [
            headers(&[("authorization", &format!("Bearer {plain}"))]),
            headers(&[("authorization", &format!("bEARER   {plain} "))]),
            headers(&[("x-api-key", plain)]),
            headers(&[
                ("x-api-key", plain),
                ("authorization", &format!("bearer {plain}")),
            ]),
            headers(&[("x-api-key", plain), ("authorization", "Basic dXNlcjpwYXNz")]),
        ] {
            let who = ring.authenticate(&sent).unwrap();
            assert_eq!(&*who.name, name);
            assert_eq!(ring.principal(who.id), Some(&who));
        }
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let (one, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
    let ring = ring(&[("one", &one), ("other", &other)]);
    let (one, other) = (one.expose(), other.expose());
    let bearer = format!("Bearer {one}");
    let cases: Vec<(Vec<(&str, &str)>, AuthError)> = vec![
        (vec![], AuthError::Missing),
        (vec![("authorization", "Basic dXNlcjpwYXNz")], AuthError::Scheme),
        (vec![("authorization", one)], AuthError::Scheme),
        (vec![("authorization", "Bearerx")], AuthError::Scheme),
        (vec![("authorization", "")], AuthError::Scheme),
        (vec![("authorization", "Bearer")], AuthError::Malformed),
        (vec![("authorization", "Bearer  ")], AuthError::Malformed),
        (vec![("x-api-key", "")], AuthError::Malformed),
        (
            vec![("authorization", &bearer), ("authorization", &bearer)],
            AuthError::Repeated,
        ),
        (
            vec![("x-api-key", one), ("x-api-key", other)],
            AuthError::Repeated,
        ),
        (
            vec![("authorization", &bearer), ("x-api-key", other)],
            AuthError::Conflict,
        ),
        (
            vec![("authorization", &bearer), ("x-api-key", "")],
            AuthError::Conflict,
        ),
        (vec![("authorization", "Bearer aih_wrong")], AuthError::Unknown),
        (vec![("x-api-key", &one[..46])], AuthError::Unknown),
    ];
    for (sent, error) in cases {
        assert_eq!(ring.authenticate(&headers(&sent)), Err(error), "{sent:?}");
    }
    let long = "a".repeat(MAX_KEY_LENGTH + 1);
    assert_eq!(
        ring.authenticate(&headers(&[("x-api-key", &long)])),
        Err(AuthError::Malformed)
    );
    assert_eq!(
        KeyRing::default().authenticate(&headers(&[("x-api-key", "a")])),
        Err(AuthError::Unknown)
    );
}

#[test]
fn an_id_outlives_a_new_ring_and_differs_between_keys() {
    let (one, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
    let id = |ring: &KeyRing, key: &ApiKey| {
        ring.authenticate(&headers(&[("x-api-key", key.expose())]))
            .unwrap()
            .id
    };
    let (before, after) = (
        ring(&[("a", &one), ("b", &other)]),
        ring(&[("b", &other), ("renamed", &one)]),
    );
    assert_eq!(id(&before, &one), id(&after, &one));
    assert_ne!(id(&before, &one), id(&before, &other));
    assert_ne!(id(&before, &one), Principal::anonymous_admin().id);
    assert!(before.principal(KeyId::ANONYMOUS).is_none());
}

#[test]
fn a_ring_that_contradicts_itself_is_refused() {
    let entry = |name: &str, key: &[u8]| KeyEntry {
        name: name.into(),
        hash: KeyHash::of(key),
        permissions: PermissionSet::all(),
        compat: None,
    };
    assert_eq!(
        KeyRing::new([entry("a", b"1"), entry("a", b"2")]).unwrap_err(),
        KeyRingError::Name { name: "a".into() }
    );
    assert_eq!(
        KeyRing::new([entry("a", b"1"), entry("b", b"1")]).unwrap_err(),
        KeyRingError::Hash {
            first: "a".into(),
            second: "b".into()
        }
    );
}

#[test]
fn nothing_printable_holds_a_key() {
    let key = ApiKey::generate().unwrap();
    let ring = ring(&[("a", &key)]);
    let printed = format!("{ring:?} {:?} {:?}", ring.principals().next(), key.hash());
    assert!(!printed.contains(key.expose()) && !printed.contains(&key.hash().to_string()[7..]));
    assert_eq!(&*Principal::anonymous_admin().name, "anonymous");
    assert!(Principal::anonymous_admin().permissions.is_all());
}

use proptest::prelude::*;

use super::*;

fn exposed(provider: &str, tool: &str) -> String {
    ExposedName::new(&Namespace::new(provider), tool).to_string()
}

#[test]
fn namespaces_follow_the_brief() {
    for (provider, namespace) in [
        ("stripe", "stripe"),
        ("example-mcp", "example_mcp"),
        ("GitHub", "GitHub"),
        ("my--odd__.name-", "my_odd_name"),
        ("-lead", "lead"),
        ("naïve", "na_ve"),
    ] {
        assert_eq!(Namespace::new(provider).as_str(), namespace, "{provider}");
    }
    assert!(Namespace::new("日本").as_str().starts_with("mcp_"));
    assert_ne!(Namespace::new("日本"), Namespace::new("中国"));
}

#[test]
fn legal_tools_keep_their_names() {
    assert_eq!(
        exposed("stripe", "create_payment_link"),
        "stripe__create_payment_link"
    );
    assert_eq!(
        exposed("example-mcp", "example_tool"),
        "example_mcp__example_tool"
    );
    assert_eq!(exposed("fs", "read-file"), "fs__read-file");
    assert_eq!(exposed("fs", "_private"), "fs___private");
}

#[test]
fn altered_and_long_tools_carry_a_hash_and_stay_apart() {
    let names = ["a.b", "a/b", "a_b", "a b", ""].map(|tool| exposed("x", tool));
    assert_eq!(
        names.iter().collect::<std::collections::HashSet<_>>().len(),
        names.len(),
        "{names:?}"
    );
    // Golden: these are in clients' memories; they must never change.
    assert_eq!(exposed("x", "a.b"), "x__a_b_d191bf19");
    let long = "t".repeat(200);
    assert_eq!(exposed("x", &long), format!("x__{}_5d248b31", "t".repeat(52)));
    assert_ne!(exposed("x", &long), exposed("x", &"t".repeat(201)));
    assert_eq!(exposed("x", &"t".repeat(61)).len(), 64);
}

proptest! {
    #[test]
    fn every_name_is_legal_and_deterministic(provider in ".{0,80}", tool in ".{0,120}") {
        let ns = Namespace::new(&provider);
        let space = ns.as_str();
        prop_assert!((1..=MAX_NAMESPACE).contains(&space.len()), "{}", space);
        prop_assert!(space.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        prop_assert!(!space.contains(SEPARATOR) && !space.starts_with('_') && !space.ends_with('_'));
        prop_assert_eq!(Namespace::new(space), ns.clone());
        let name = ExposedName::new(&ns, &tool);
        prop_assert!((1..=MAX_NAME).contains(&name.as_str().len()));
        prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        prop_assert_eq!(&name, &ExposedName::new(&Namespace::new(&provider), &tool));
        let (front, _) = name.as_str().split_once(SEPARATOR).unwrap();
        prop_assert_eq!(front, ns.as_str());
    }

    #[test]
    fn different_tools_have_different_names(a in "[a-c./_]{0,6}|t{50,90}", b in "[a-c./_]{0,6}|t{50,90}") {
        prop_assume!(a != b);
        prop_assert_ne!(exposed("x", &a), exposed("x", &b));
    }
}

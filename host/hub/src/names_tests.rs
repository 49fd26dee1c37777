use proptest::prelude::*;

use super::*;

fn exposed(provider: &str, tool: &str) -> String {
    ExposedName::new(&Namespace::new(provider), tool, NameLimit::DEFAULT).to_string()
}

fn limit() -> impl Strategy<Value = NameLimit> {
    NameLimit::RANGE.prop_map(|limit| NameLimit::new(limit).unwrap())
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
    assert_eq!(
        exposed("x", &long),
        format!("x__{}_5d248b31_{}", "t".repeat(25), "t".repeat(12))
    );
    assert_ne!(exposed("x", &long), exposed("x", &"t".repeat(201)));
    assert_eq!(exposed("x", &"t".repeat(47)), format!("x__{}", "t".repeat(47)));
    assert_eq!(exposed("x", &"t".repeat(48)).len(), 50);
    // 40 characters are not too long by themselves, but with the hash.
    assert_eq!(exposed("x", &format!("{}.", "t".repeat(39))).len(), 50);
}

#[test]
fn a_name_that_a_client_cuts_again_keeps_its_hash() {
    // Copilot puts seven characters in front and cuts at 64; others have longer prefixes.
    let names = |limit: usize| {
        let limit = NameLimit::new(limit).unwrap();
        let ns = Namespace::new("odd");
        (0..100).map(move |n| {
            let tool = format!("list_all_of_the_things_that_there_are_in_the_folder_{n}_and_below_that_one");
            ExposedName::new(&ns, &tool, limit).to_string()
        })
    };
    for limit in [50, 64] {
        let kept = 64 - "mcp__ai-hub__".len();
        let cut: std::collections::HashSet<_> = names(limit)
            .map(|name| name.chars().take(kept).collect::<String>())
            .collect();
        assert_eq!(cut.len(), 100, "{limit}");
    }
}

#[test]
fn limits_have_a_range() {
    for (limit, allowed) in [(19, false), (20, true), (50, true), (128, true), (129, false)] {
        assert_eq!(NameLimit::new(limit).is_some(), allowed, "{limit}");
    }
    let whole = NameLimit::new(128).unwrap();
    let tool = "t".repeat(100);
    assert_eq!(
        ExposedName::new(&Namespace::new("x"), &tool, whole).as_str(),
        format!("x__{tool}")
    );
}

proptest! {
    #[test]
    fn every_name_is_legal_and_deterministic(
        provider in ".{0,80}", tool in ".{0,120}", limit in limit(),
    ) {
        let ns = Namespace::new(&provider);
        let space = ns.as_str();
        prop_assert!((1..=MAX_NAMESPACE).contains(&space.len()), "{}", space);
        prop_assert!(space.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        prop_assert!(!space.contains(SEPARATOR) && !space.starts_with('_') && !space.ends_with('_'));
        prop_assert_eq!(Namespace::new(space), ns.clone());
        let name = ExposedName::new(&ns, &tool, limit);
        prop_assert!((1..=limit.get()).contains(&name.as_str().len()));
        prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        prop_assert_eq!(&name, &ExposedName::new(&Namespace::new(&provider), &tool, limit));
        if limit.get() >= NameLimit::DEFAULT.get() && space.len() <= 26 {
            let (front, _) = name.as_str().split_once(SEPARATOR).unwrap();
            prop_assert_eq!(front, ns.as_str());
        }
    }

    #[test]
    fn different_tools_have_different_names(
        a in "[a-c./_]{0,6}|t{10,140}", b in "[a-c./_]{0,6}|t{10,140}", limit in limit(),
    ) {
        prop_assume!(a != b);
        let ns = Namespace::new("x");
        prop_assert_ne!(ExposedName::new(&ns, &a, limit), ExposedName::new(&ns, &b, limit));
    }
}

use proptest::prelude::*;

use super::*;

fn set(written: &[&str]) -> PermissionSet {
    PermissionSet::parse(written).unwrap()
}

fn kind(written: &str) -> PermissionErrorKind {
    PermissionSet::parse([written]).unwrap_err().kind
}

#[test]
fn a_named_path_grants_itself_and_all_below() {
    for written in ["mcps/stripe", "mcps/stripe/", "mcps/stripe/*", "mcps/stripe/**"] {
        let one = set(&[written]);
        assert!(one.allows("mcps/stripe"), "{written}");
        assert!(one.allows("mcps/stripe/create_link"), "{written}");
        assert!(one.allows("mcps/stripe/a/b"), "{written}");
        assert!(!one.allows("mcps/stripe2"), "{written}");
        assert!(!one.allows("mcps/stripe2/create_link"), "{written}");
        assert!(!one.allows("mcps"), "{written}");
        assert!(!one.allows("xmcps/stripe"), "{written}");
    }
}

#[test]
fn a_wildcard_matches_any_text_with_slashes() {
    let one = set(&["mcps/stripe/create_*"]);
    assert!(one.allows("mcps/stripe/create_"));
    assert!(one.allows("mcps/stripe/create_a/b"));
    assert!(!one.allows("mcps/stripe/delete_a"));
    assert!(!one.allows("mcps/stripe"));

    let one = set(&["*/read_*_file"]);
    assert!(one.allows("mcps/fs/read_text_file"));
    assert!(one.allows("mcps/fs/read_a_read_b_file"));
    assert!(one.allows("mcps/fs/read_text_file/below"));
    assert!(!one.allows("mcps/fs/read_text_files"));
    assert!(!one.allows("mcps/fs/read_file"));

    assert!(set(&["mcps/*/*"]).allows("mcps/stripe"));
    assert!(set(&["*/*"]).allows("skills/a"));
}

#[test]
fn taking_away_wins_in_either_order() {
    for one in [
        set(&["mcps/*", "!mcps/stripe/delete_*"]),
        set(&["!mcps/stripe/delete_*", "mcps/*"]),
    ] {
        assert!(one.allows("mcps/stripe/create"));
        assert!(!one.allows("mcps/stripe/delete_all"));
        assert!(!one.is_all());
    }
    let one = set(&["*", "!admin"]);
    assert!(one.allows("mcps/a") && !one.allows("admin/logs") && !one.allows("admin"));
    assert!(!set(&["*", "!*"]).allows("mcps/a"));
    assert!(!set(&["!admin/*"]).allows("mcps/a"));
    assert!(!set(&[]).allows("mcps/a"));
    assert!(!PermissionSet::default().allows(""));
}

#[test]
fn a_server_is_shown_when_something_of_it_could_be_allowed() {
    for folder in ["mcps/stripe", "mcps/stripe/"] {
        let any = |written: &[&str]| set(written).allows_any_under(folder);
        for yes in [
            "*",
            "mcps",
            "mcps/*",
            "mcps/stripe",
            "mcps/stripe/create_*",
            "mcps/stripe/x",
            "mcps/str*",
            "*/create",
            "mcps/*/create",
            "mcps/stripe*x",
        ] {
            assert!(any(&[yes]), "{yes}");
        }
        for no in [
            "skills/*",
            "mcps/stripe2",
            "mcps/strip",
            "mcps/stripe_*",
            "mcps/stri/*",
            "!mcps/stripe",
        ] {
            assert!(!any(&[no]), "{no}");
        }
        assert!(any(&["*", "!mcps/stripe/create_*"]));
        assert!(!any(&["*", "!mcps/stripe"]));
        assert!(!any(&["*", "!mcps/stripe/*"]));
        assert!(!any(&["*", "!mcps/*"]));
        assert!(!any(&["mcps/stripe/create_link", "!mcps/*/create_*"]));
        assert!(!any(&["mcps/stripe/create_*", "!*/create_*"]));
    }
    assert!(set(&["skills/a"]).allows_any_under(""));
    assert!(set(&["mcps/stripe/x"]).allows_any_under("mcps"));
    assert!(!PermissionSet::default().allows_any_under(""));
}

#[test]
fn errors_say_what_is_wrong() {
    use PermissionErrorKind as Kind;
    assert_eq!(kind(""), Kind::Empty);
    assert_eq!(kind("!"), Kind::NothingTakenAway);
    assert_eq!(kind("mcps/a\nb"), Kind::ControlCharacter);
    assert_eq!(
        kind(&format!("mcps/{}", "x".repeat(252))),
        Kind::TooLong { length: 257 }
    );
    assert!(PermissionSet::parse([format!("mcps/{}", "x".repeat(251))]).is_ok());
    assert_eq!(kind(&"*a".repeat(17)), Kind::TooManyWildcards { count: 17 });
    assert!(PermissionSet::parse(["*a".repeat(16)]).is_ok());
    assert_eq!(
        kind("mcp/stripe"),
        Kind::UnknownKind {
            segment: "mcp".into(),
            nearest: Some("mcps")
        }
    );
    assert_eq!(
        kind("!Skill"),
        Kind::UnknownKind {
            segment: "Skill".into(),
            nearest: Some("skills")
        }
    );
    assert_eq!(
        kind("/mcps"),
        Kind::UnknownKind {
            segment: String::new(),
            nearest: None
        }
    );
    assert_eq!(
        kind("mcpx*"),
        Kind::UnknownKind {
            segment: "mcpx*".into(),
            nearest: Some("mcps")
        }
    );
    assert_eq!(
        PermissionSet::parse(["mcps/*", "confgs/*"])
            .unwrap_err()
            .to_string(),
        "permission \"confgs/*\": starts with \"confgs\", which is not one of mcps, plugins, skills, configs, hooks, admin; \
         did you mean \"configs\"?"
    );
}

#[test]
fn all_is_all() {
    assert!(PermissionSet::all().is_all());
    assert_eq!(PermissionSet::all(), set(&["*"]));
    assert_eq!(
        set(&["!admin", "mcps/a/"]).iter().collect::<Vec<_>>(),
        ["mcps/a/", "!admin"]
    );
}

/// The plainest way to say what a glob means, to compare with: dynamic programming over both texts.
fn reference(glob: &str, path: &str) -> bool {
    let path: Vec<char> = path.chars().collect();
    let mut row = vec![false; path.len() + 1];
    row[0] = true;
    for g in glob.chars() {
        let mut next = vec![false; path.len() + 1];
        for i in 0..=path.len() {
            next[i] = if g == '*' {
                row[i] || (i > 0 && next[i - 1])
            } else {
                i > 0 && row[i - 1] && path[i - 1] == g
            };
        }
        row = next;
    }
    row[path.len()]
}

/// What the module head promises for one pattern.
fn reference_pattern(written: &str, path: &str) -> bool {
    let mut glob = written.trim_end_matches('/').to_owned();
    while glob.contains("**") {
        glob = glob.replace("**", "*");
    }
    let base = glob.strip_suffix("/*").unwrap_or(&glob);
    reference(base, path) || reference(&format!("{base}/*"), path)
}

fn pattern() -> impl Strategy<Value = String> {
    ("(mcps|skills|\\*)", "[ab/*]{0,8}").prop_map(|(head, rest)| format!("{head}/{rest}"))
}

fn path() -> impl Strategy<Value = String> {
    ("(mcps|skills)", "[ab/]{0,10}").prop_map(|(head, rest)| format!("{head}/{rest}"))
}

proptest! {
    #[test]
    fn star_allows_every_text(path in any::<String>()) {
        prop_assert!(set(&["*"]).allows(&path));
        prop_assert!(set(&["*", "skills/a"]).allows_any_under(&path));
        prop_assert!(set(&["**"]).allows(&path));
    }

    #[test]
    fn any_text_parses_or_errs_and_never_panics(written in any::<String>(), path in any::<String>()) {
        if let Ok(one) = PermissionSet::parse([&written]) {
            let _ = one.allows(&path);
            let _ = one.allows_any_under(&path);
        }
    }

    #[test]
    fn one_pattern_matches_what_the_rules_say(written in pattern(), path in path()) {
        prop_assert_eq!(set(&[&written]).allows(&path), reference_pattern(&written, &path));
    }

    #[test]
    fn taking_away_always_wins(mut written in prop::collection::vec(pattern(), 0..5), away in pattern(), at in any::<prop::sample::Index>(), path in path()) {
        let granted = PermissionSet::parse(&written).unwrap().allows(&path);
        let taken = set(&[&away]).allows(&path);
        written.insert(at.index(written.len() + 1), format!("!{away}"));
        prop_assert_eq!(PermissionSet::parse(&written).unwrap().allows(&path), granted && !taken);
    }

    #[test]
    fn a_grant_reaches_below(written in pattern(), path in path(), below in "[ab/]{0,4}") {
        let one = set(&[&written]);
        let deeper = format!("{path}/{below}");
        prop_assert!(!one.allows(&path) || one.allows(&deeper));
    }

    #[test]
    fn a_folder_with_something_allowed_is_shown(written in prop::collection::vec((any::<bool>(), pattern()), 1..5), path in path()) {
        let written = written.into_iter().map(|(away, one)| if away { format!("!{one}") } else { one });
        let one = PermissionSet::parse(written).unwrap();
        if one.allows(&path) {
            for (at, _) in path.match_indices('/') {
                prop_assert!(one.allows_any_under(&path[..at]), "{:?} {}", one, &path[..at]);
            }
        }
    }
}

/// A matcher that backtracks would need longer than the age of the universe for this one.
#[test]
fn hard_patterns_end() {
    let one = set(&[&format!("mcps/{}b", "*a".repeat(16))]);
    assert!(!one.allows(&format!("mcps/{}", "a".repeat(1_000_000))));
    let one = set(&[&format!("*{}b", "a".repeat(250))]);
    assert!(!one.allows(&"a".repeat(1_000_000)));
}

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::{
    catalogue::{ListStyle, Offering, Scope, Snapshot},
    provider::Offers,
    testing::{ListingProvider, principal, tools},
};

const STYLE: ListStyle = ListStyle::DEFAULT;

/// A snapshot of servers that list tools of these names, in this order.
fn snapshot(servers: &[(&'static str, Vec<String>)]) -> Snapshot {
    let offering = |(name, names): &(&'static str, Vec<String>)| {
        let offers = Offers {
            tools: tools(names),
            ..Offers::default()
        };
        Arc::new(Offering::new(
            ListingProvider::new(name, offers),
            crate::names::NameLimit::DEFAULT,
        ))
    };
    Snapshot::new(servers.iter().map(offering).collect())
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("t{n:05}")).collect()
}

fn names(page: &Page) -> Vec<String> {
    let items = page.items.to_value();
    let name = |item: &serde_json::Value| item["name"].as_str().unwrap().to_owned();
    items.as_array().unwrap().iter().map(name).collect()
}

/// Reads a list through its cursors; before each page but the first the next snapshot takes over.
fn read(scope: &Scope, snapshots: &[Snapshot]) -> Vec<String> {
    let all = principal(&["*"]);
    let mut page = snapshots[0].list(scope, ListKind::Tools, &all, STYLE)[0].clone();
    let mut seen = names(&page);
    for round in 1.. {
        let Some(end) = &page.end else { return seen };
        let cursor = cursor(ListKind::Tools, end);
        let end = read_cursor(ListKind::Tools, &cursor).unwrap();
        let now = &snapshots[round.min(snapshots.len() - 1)];
        page = now.list_after(scope, ListKind::Tools, &all, STYLE, &end);
        seen.extend(names(&page));
    }
    seen
}

#[test]
fn one_page_keeps_the_servers_order() {
    let listed = ["z", "a", "m"].map(str::to_owned).to_vec();
    let snapshot = snapshot(&[("x", listed.clone()), ("b", vec!["c".to_owned()])]);
    assert_eq!(read(&Scope::All, &[snapshot]), ["x__z", "x__a", "x__m", "b__c"]);
    assert_eq!(
        names(&super::all(Vec::new(), &|item| item.listed.clone())[0]),
        [] as [String; 0],
        "an empty list has one empty page"
    );
}

#[test]
fn pages_hold_everything_once() {
    let count = 2 * PAGE_SIZE + 1;
    let mut shuffled = numbered(0..count);
    shuffled.reverse();
    for scope in [Scope::All, Scope::One("x".into())] {
        let snapshot = snapshot(&[("x", shuffled.clone())]);
        let pages = snapshot.list(&scope, ListKind::Tools, &principal(&["*"]), STYLE);
        assert_eq!(pages.len(), 3);
        let seen = read(&scope, &[snapshot]);
        assert_eq!(seen.len(), count);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), count);
    }
    let exact = snapshot(&[("x", numbered(0..PAGE_SIZE))]);
    assert_eq!(
        exact
            .list(&Scope::All, ListKind::Tools, &principal(&["*"]), STYLE)
            .len(),
        1
    );
}

#[test]
fn what_stays_is_neither_skipped_nor_repeated() {
    let before = || snapshot(&[("m", numbered(0..5_000)), ("z", numbered(0..10))]);
    let stays = |seen: &[String], server: &str, range: std::ops::Range<usize>| {
        for name in numbered(range) {
            let name = format!("{server}__{name}");
            assert_eq!(
                seen.iter().filter(|n| **n == name).count(),
                1,
                "{name} is to be seen once"
            );
        }
    };
    // Servers come in front and behind, and the order of the servers changes.
    let more = snapshot(&[
        ("z", numbered(0..10)),
        ("zz", numbered(0..3_000)),
        ("a", numbered(0..3_000)),
        ("m", numbered(0..5_000)),
    ]);
    let seen = read(&Scope::All, &[before(), more]);
    stays(&seen, "m", 0..5_000);
    stays(&seen, "z", 0..10);
    stays(&seen, "zz", 0..3_000);
    // The item of the cursor and those around it go; what is left fits on one page.
    let fewer = snapshot(&[("m", numbered(0..500)), ("z", numbered(0..10))]);
    let seen = read(&Scope::All, &[before(), fewer]);
    stays(&seen, "m", 0..500);
    stays(&seen, "z", 0..10);
    assert_eq!(seen.len(), PAGE_SIZE + 10);
    // All goes: the next page is empty and the last.
    assert_eq!(read(&Scope::All, &[before(), snapshot(&[])]).len(), PAGE_SIZE);
    // It goes and comes again.
    let seen = read(
        &Scope::One("m".into()),
        &[before(), snapshot(&[("m", numbered(1_000..5_000))]), before()],
    );
    assert_eq!(seen, numbered(0..5_000));
}

#[test]
fn a_long_list_keeps_the_order_of_the_servers() {
    let servers = [("zoo", 1_500), ("ant", 3_000), ("mouse", 1), ("bee", 700)];
    let listed: Vec<_> = servers
        .iter()
        .map(|(name, count)| (*name, numbered(0..*count)))
        .collect();
    let seen = read(&Scope::All, &[snapshot(&listed)]);
    let expected: Vec<String> = listed
        .iter()
        .flat_map(|(server, names)| names.iter().map(move |name| format!("{server}__{name}")))
        .collect();
    assert_eq!(seen, expected);
    // Between two pages the servers get another order, and new ones come.
    let mut other = listed.clone();
    other.reverse();
    other.insert(0, ("new", numbered(0..10)));
    let seen = read(&Scope::All, &[snapshot(&listed), snapshot(&other)]);
    let stays: Vec<_> = seen.iter().filter(|name| !name.starts_with("new__")).collect();
    assert_eq!(stays.len(), expected.len());
    assert_eq!(stays.iter().collect::<BTreeSet<_>>().len(), expected.len());
}

#[test]
fn a_cursor_is_for_one_kind_of_list() {
    let position = Position {
        server: "one".into(),
        key: "file:///ä\n\"b\"".into(),
        done: vec!["a".into(), "b_c".into()],
    };
    let made = cursor(ListKind::Resources, &position);
    assert!(
        made.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    );
    assert_eq!(read_cursor(ListKind::Resources, &made).as_ref(), Some(&position));
    let first = Position {
        done: Vec::new(),
        ..position
    };
    let made_first = cursor(ListKind::Resources, &first);
    assert_eq!(
        read_cursor(ListKind::Resources, &made_first).as_ref(),
        Some(&first)
    );
    assert_eq!(read_cursor(ListKind::Templates, &made), None);
    for wrong in [
        "",
        "1",
        "no-such-cursor",
        "dG9vbHM",
        "_w",
        &"A".repeat(MAX_CURSOR + 1),
    ] {
        assert_eq!(read_cursor(ListKind::Tools, wrong), None, "{wrong:.20}");
    }
}

#[test]
fn a_key_with_other_permissions_never_gets_the_list_that_is_kept() {
    let snapshot = snapshot(&[("x", vec!["a".to_owned(), "b".to_owned()])]);
    for scope in [Scope::All, Scope::One("x".into())] {
        let list = |of: &crate::access::Principal| {
            let pages = snapshot.list(&scope, ListKind::Tools, of, STYLE);
            names(&pages[0]).len()
        };
        // The id and the name of the two are the same.
        let (before, after) = (principal(&["mcps/x/*"]), principal(&["mcps/x/a"]));
        assert_eq!((before.id, &before.name), (after.id, &after.name));
        assert_eq!((list(&before), list(&before)), (2, 2));
        assert_eq!((list(&after), list(&before)), (1, 2));
    }
}

//! Pages of lists, and the cursors between them.
//!
//! A cursor is not a number: servers come and go between two pages. It has the last item that the client was given, its
//! server, and the servers that the client has had before. The servers of a list keep their order. A list that fits on
//! one page keeps the order of each server's items too. In a longer one the items of a server are in order of keys, the
//! only order that is the same before and after any change; so what stays in the list is neither skipped nor given
//! twice, also where the item of the cursor itself is gone or the servers have another order.

use aih_mcp::RawJson;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::listed::{Item, ListKind};

/// How many items one page of a list holds. Larger than any list that a person uses, since some clients
/// never ask for a second page.
pub const PAGE_SIZE: usize = 2_000;

/// Longest cursor that is read, in bytes. A longer one is from nobody's page.
const MAX_CURSOR: usize = 64 * 1024;

/// The items of one server that a list shows, in the server's order.
pub(super) struct Group<'s> {
    /// The server's namespace.
    pub(super) server: &'s str,
    /// Its items.
    pub(super) items: Vec<&'s Item>,
}

/// How far a client has come in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The namespace of the server of the last item.
    server: Box<str>,
    /// The key of the last item.
    key: Box<str>,
    /// The namespaces of the servers before it.
    done: Vec<Box<str>>,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The items as a JSON array.
    pub items: RawJson,
    /// Where it ends, where more items follow.
    pub end: Option<Position>,
}

/// Writes out all pages of a list; at least one, which may be empty.
pub(super) fn all(mut groups: Vec<Group<'_>>, write: &dyn Fn(&Item) -> RawJson) -> Vec<Page> {
    if groups.iter().map(|group| group.items.len()).sum::<usize>() > PAGE_SIZE {
        sort(&mut groups);
    }
    let items = flat(&groups);
    let mut pages = Vec::new();
    let mut done = Vec::new();
    let mut rest = &*items;
    loop {
        let page = written(rest, &mut done, write);
        pages.push(page);
        match rest.get(PAGE_SIZE..) {
            Some(more) if !more.is_empty() => rest = more,
            _ => return pages,
        }
    }
}

/// The page that follows `position`, whose item and whose server may be gone.
pub(super) fn after(
    mut groups: Vec<Group<'_>>,
    position: &Position,
    write: &dyn Fn(&Item) -> RawJson,
) -> Page {
    groups.retain(|group| !position.done.iter().any(|done| **done == *group.server));
    if let Some(at) = groups.iter().position(|group| *group.server == *position.server) {
        let mut begun = groups.remove(at);
        begun.items.retain(|item| *item.exposed > *position.key);
        groups.insert(0, begun);
    }
    sort(&mut groups);
    let mut done = position.done.clone();
    done.push(position.server.clone());
    written(&flat(&groups), &mut done, write)
}

/// The exposed name or URI is the key on every endpoint: unique for its server, and the same from start to start.
fn sort(groups: &mut [Group<'_>]) {
    for group in groups {
        group.items.sort_unstable_by(|a, b| a.exposed.cmp(&b.exposed));
    }
}

fn flat<'s>(groups: &[Group<'s>]) -> Vec<(&'s str, &'s Item)> {
    let of = |group: &Group<'s>| {
        let server = group.server;
        group.items.iter().map(|item| (server, *item)).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of).collect()
}

/// The first page of `items`. `done` has the servers before it, and gets those of this page.
fn written(items: &[(&str, &Item)], done: &mut Vec<Box<str>>, write: &dyn Fn(&Item) -> RawJson) -> Page {
    let (page, more) = items.split_at(items.len().min(PAGE_SIZE));
    let length: usize = page.iter().map(|(_, item)| item.listed.len() + 1).sum();
    let mut out = Vec::with_capacity(length + 2);
    out.push(b'[');
    for (i, (server, item)) in page.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(write(item).bytes());
        if done.last().is_none_or(|last| **last != **server) {
            done.push((*server).into());
        }
    }
    out.push(b']');
    Page {
        items: RawJson::trusted(out),
        end: page
            .last()
            .filter(|_| !more.is_empty())
            .map(|(server, item)| Position {
                server: (*server).into(),
                key: item.exposed.clone(),
                done: done.iter().filter(|done| ***done != **server).cloned().collect(),
            }),
    }
}

/// The cursor behind a position in a list of this kind. Clients must not read it.
pub fn cursor(kind: ListKind, position: &Position) -> String {
    let Position { server, key, done } = position;
    URL_SAFE_NO_PAD.encode(format!("{}\n{server}\n{}\n{key}", kind.member(), done.join(" ")))
}

/// The position in a cursor of a list of this kind; `None` for a text that [`cursor`] never made.
pub fn read_cursor(kind: ListKind, cursor: &str) -> Option<Position> {
    if cursor.len() > MAX_CURSOR {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let mut parts = text.splitn(4, '\n');
    let (member, server, done) = (parts.next()?, parts.next()?, parts.next()?);
    (member == kind.member()).then_some(Position {
        server: server.into(),
        key: parts.next()?.into(),
        done: done.split_whitespace().map(Into::into).collect(),
    })
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;

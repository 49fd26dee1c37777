//! Pages of lists, and the cursors between them.
//!
//! A cursor is the key of the last item that the client was given, not a number: servers come and go between
//! two pages. A list that fits on one page keeps the servers' own order. A longer one is in order of keys, the
//! only order that is the same before and after any change; so what stays in the list is neither skipped nor
//! given twice, also where the item of the cursor itself is gone.

use aih_mcp::RawJson;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::snapshot::{Item, ListKind};

/// How many items one page of a list holds. Larger than any list that a person uses, since some clients
/// never ask for a second page.
pub const PAGE_SIZE: usize = 2_000;

/// Longest cursor that is read, in bytes. A longer one is from nobody's page.
const MAX_CURSOR: usize = 64 * 1024;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The items as a JSON array.
    pub items: RawJson,
    /// The key of the last item, where more items follow.
    pub last: Option<Box<str>>,
}

/// Writes out all pages of a list; at least one, which may be empty.
pub(super) fn all(mut items: Vec<&Item>, direct: bool) -> Vec<Page> {
    if items.len() > PAGE_SIZE {
        sort(&mut items);
    }
    let mut pages = Vec::new();
    let mut rest = &*items;
    loop {
        let (page, more) = rest.split_at(rest.len().min(PAGE_SIZE));
        pages.push(written(page, !more.is_empty(), direct));
        if more.is_empty() {
            return pages;
        }
        rest = more;
    }
}

/// The page that follows the item with the key `last`, which may be gone.
pub(super) fn after(mut items: Vec<&Item>, last: &str, direct: bool) -> Page {
    items.retain(|item| *item.exposed > *last);
    sort(&mut items);
    let more = items.len() > PAGE_SIZE;
    items.truncate(PAGE_SIZE);
    written(&items, more, direct)
}

/// The exposed name or URI is the key on every endpoint: unique, and the same from start to start.
fn sort(items: &mut [&Item]) {
    items.sort_unstable_by(|a, b| a.exposed.cmp(&b.exposed));
}

fn written<'i>(items: &[&'i Item], more: bool, direct: bool) -> Page {
    let json = |item: &&'i Item| if direct { &item.direct } else { &item.listed };
    let length: usize = items.iter().map(|item| json(item).len() + 1).sum();
    let mut out = Vec::with_capacity(length + 2);
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(json(item).bytes());
    }
    out.push(b']');
    Page {
        items: RawJson::trusted(out),
        last: items.last().filter(|_| more).map(|item| item.exposed.clone()),
    }
}

/// The cursor behind the item with the key `last` of a list of this kind. Clients must not read it.
pub fn cursor(kind: ListKind, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}\n{last}", kind.member()))
}

/// The key in a cursor of a list of this kind; `None` for a text that [`cursor`] never made.
pub fn read_cursor(kind: ListKind, cursor: &str) -> Option<String> {
    if cursor.len() > MAX_CURSOR {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (member, last) = text.split_once('\n')?;
    (member == kind.member()).then(|| last.to_owned())
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;

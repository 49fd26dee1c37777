//! Checks one item of a list, and repairs it.
//!
//! The official SDKs check a list as a whole: one tool with `"title": null` makes a client lose all tools of the list.
//! So each item is checked when the hub reads the list. The tables of [`shape`] say what each member must be. They have
//! what the protocol's schemas of 2025-11-25 and of 2026-07-28 and the official SDKs for TypeScript (1.32, 2.4) and
//! Python (2.3) ask for, each time the strictest of them. [`schema`] has the same for the JSON Schemas of tools.
//!
//! A member that does not have its shape is taken away, and a required one gets a value where one can be made. An item
//! that cannot be repaired is left out. Everything else keeps the bytes that arrived, and a good item is not copied.
//! [`legacy`] has what a good item may have for modern clients only, and [`greeting`] does the same for what a server says
//! of itself. [`compat`] has what single clients cannot read.

mod compat;
mod ecma;
mod greeting;
mod legacy;
mod refs;
mod schema;
mod shape;
mod text;

pub use compat::{with_definitions_in_place, with_known_blocks, without_root_choice};
pub use greeting::{capabilities, implementation};
pub use legacy::{legacy_tool, structured_for_legacy};

use super::RawJson;

/// Deepest nesting of an item: the parser of Python clients refuses a message that nests deeper than 200, and the
/// item lies in three values of its message.
const MAX_NESTING: usize = 100;
/// Longest description of a problem, in characters: it has names in it that the server wrote.
const MAX_PROBLEM: usize = 200;

/// What kind of item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// Of `tools/list`.
    Tool,
    /// Of `prompts/list`.
    Prompt,
    /// Of `resources/list`.
    Resource,
    /// Of `resources/templates/list`.
    Template,
}

/// What was wrong with an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The first problem: a sentence about one member.
    first: Option<String>,
    /// How many there were.
    count: usize,
}

impl Problems {
    fn note(&mut self, at: Path<'_>, what: &str) {
        self.count += 1;
        if self.first.is_none() {
            let text = format!("`{at}` {what}");
            let end = text.char_indices().nth(MAX_PROBLEM).map(|(end, _)| end);
            self.first = Some(match end {
                Some(end) => format!("{}…", text.get(..end).unwrap_or_default()),
                None => text,
            });
        }
    }

    fn of_item(what: &str) -> Self {
        Self {
            first: Some(what.to_owned()),
            count: 1,
        }
    }
}

/// An item after the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedItem {
    /// Nothing was wrong. The JSON is the one that came, or has another spelling of the same schema.
    Good(RawJson),
    /// Something was wrong, and was taken away or replaced.
    Repaired {
        /// The item without it.
        json: RawJson,
        /// What it was: one sentence.
        problem: String,
    },
    /// It cannot be listed.
    LeftOut {
        /// Why: one sentence.
        problem: String,
    },
}

/// Checks an item of a list, and repairs it. Takes time linear in its length for each level of its schemas.
pub fn check(kind: ItemKind, item: &RawJson) -> CheckedItem {
    let mut problems = Problems::default();
    match checked(kind, item, &mut problems) {
        Some(json) => match sentence(problems) {
            None => CheckedItem::Good(json),
            Some(problem) => CheckedItem::Repaired { json, problem },
        },
        None => CheckedItem::LeftOut {
            problem: sentence(problems).unwrap_or_default(),
        },
    }
}

fn sentence(problems: Problems) -> Option<String> {
    let first = problems.first?;
    Some(match problems.count {
        0 | 1 => first,
        2 => format!("{first}, and 1 more problem"),
        more => format!("{first}, and {} more problems", more - 1),
    })
}

fn checked(kind: ItemKind, item: &RawJson, problems: &mut Problems) -> Option<RawJson> {
    if text::nesting(item.bytes()) > MAX_NESTING {
        *problems = Problems::of_item("it nests too deep");
        return None;
    }
    let whole = match text::without_lone_surrogates(item) {
        None => item.clone(),
        Some(mended) => {
            *problems = Problems::of_item("a text in it has half of a surrogate pair");
            mended
        }
    };
    match shape::check(kind, &whole, problems) {
        shape::Fix::Keep => Some(whole),
        shape::Fix::Set(json) => Some(json),
        shape::Fix::Remove | shape::Fix::Refuse => None,
    }
}

/// Where something lies in an item: `inputSchema.properties.x`.
#[derive(Clone, Copy)]
struct Path<'p> {
    up: Option<&'p Path<'p>>,
    name: &'p str,
}

impl<'p> Path<'p> {
    const ITEM: Path<'static> = Path { up: None, name: "" };

    fn to(&'p self, name: &'p str) -> Path<'p> {
        Path { up: Some(self), name }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(up) = self.up {
            up.fmt(f)?;
            if up.up.is_some() {
                f.write_str(".")?;
            }
        }
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod sdk_checks;
#[cfg(test)]
mod tests;

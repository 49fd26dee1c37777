//! The check of a provider's list: each item by itself, so that one bad item costs no client the others.

use aih_mcp::{
    RawJson, RawObject,
    item::{self, CheckedItem, ItemKind},
};
use aih_redact::OutsideText;

use super::listed::ListKind;
use crate::provider::ItemFlaw;

/// Flaws of one list that are kept for status answers.
const MAX_FLAWS: usize = 50;
/// Longest name of an item in a flaw, in characters.
const MAX_NAME: usize = 200;

/// A list that every client can read.
#[derive(Clone, Debug, Default)]
pub struct CheckedList {
    /// What clients get, in the provider's order.
    pub items: Vec<RawJson>,
    /// What was wrong, at most [`MAX_FLAWS`].
    pub flaws: Vec<ItemFlaw>,
}

/// Checks the list of a provider, repairs its items, leaves out those that cannot be repaired, and writes one warning for
/// all of them.
pub fn check(provider: &str, kind: ListKind, items: Vec<RawJson>) -> CheckedList {
    let mut list = CheckedList {
        items: Vec::with_capacity(items.len()),
        flaws: Vec::new(),
    };
    let (mut repaired, mut left_out) = (0_usize, 0_usize);
    for (at, json) in items.into_iter().enumerate() {
        let (kept, problem) = match item::check(item_kind(kind), &json) {
            CheckedItem::Good(json) => {
                list.items.push(json);
                continue;
            }
            CheckedItem::Repaired { json, problem } => (Some(json), problem),
            CheckedItem::LeftOut { problem } => (None, problem),
        };
        if list.flaws.len() < MAX_FLAWS {
            list.flaws.push(ItemFlaw {
                list: kind.member().to_owned(),
                item: name(kind, &json, at).into(),
                left_out: kept.is_none(),
                problem: OutsideText::from(problem),
            });
        }
        match kept {
            Some(json) => {
                repaired += 1;
                list.items.push(json);
            }
            None => left_out += 1,
        }
    }
    if let Some(first) = list.flaws.first() {
        tracing::warn!(
            target: "aih::catalogue", server = provider, list = kind.member(), repaired, left_out,
            item = %first.item, problem = %first.problem,
            "items of the list do not follow MCP; `item` is the first of them, and health shows the others"
        );
    }
    list
}

const fn item_kind(kind: ListKind) -> ItemKind {
    match kind {
        ListKind::Tools => ItemKind::Tool,
        ListKind::Prompts => ItemKind::Prompt,
        ListKind::Resources => ItemKind::Resource,
        ListKind::Templates => ItemKind::Template,
    }
}

/// The name of the item that came as number `at` of the list.
fn name(kind: ListKind, item: &RawJson, at: usize) -> String {
    let named = RawObject::parse(item).ok();
    let named = named.and_then(|item| item.str(kind.key()).map(|name| name.into_owned()));
    match named {
        Some(name) if name.chars().nth(MAX_NAME).is_none() => name,
        _ => format!("#{}", at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_good_items_and_tells_of_the_others() {
        let raw = |text: &str| RawJson::parse(text.to_owned()).unwrap();
        let good = r#"{"name":"good", "inputSchema":{"type":"object","properties":{}}}"#;
        let items = vec![
            raw(good),
            raw(
                r#"{"name":"hints","inputSchema":{"type":"object","properties":{}},"annotations":{"readOnlyHint":"yes"}}"#,
            ),
            raw("7"),
            raw(r#"{"name":"list","inputSchema":{"type":"array"}}"#),
        ];
        let list = check("one", ListKind::Tools, items);
        let texts: Vec<_> = list.items.iter().map(|item| item.text().into_owned()).collect();
        assert_eq!(
            texts,
            [
                good,
                r#"{"name":"hints","inputSchema":{"type":"object","properties":{}},"annotations":{}}"#
            ]
        );
        let flaws: Vec<_> = list
            .flaws
            .iter()
            .map(|flaw| (&*flaw.item, flaw.left_out))
            .collect();
        assert_eq!(flaws, [("hints", false), ("#3", true), ("list", true)]);
    }

    #[test]
    fn a_list_of_bad_items_keeps_few_flaws() {
        let items = vec![RawJson::NULL; 10_000];
        assert_eq!(check("one", ListKind::Resources, items).flaws.len(), MAX_FLAWS);
    }
}

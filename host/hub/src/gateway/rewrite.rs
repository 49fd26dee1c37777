//! Translates names inside of payloads between a provider's own names and those of the aggregated endpoint.
//!
//! Only names change. Everything else keeps the bytes that arrived. On the endpoint of one MCP nothing changes.

use aih_mcp::{RawJson, RawObject};
use serde_json::value::RawValue;

use crate::{catalogue::uri, names::Namespace};

/// The resource URIs in a result of `tools/call`, `prompts/get` or `resources/read`, exposed.
pub fn expose_result(result: RawJson, namespace: &Namespace) -> RawJson {
    // Neither member can stand in a result that does not hold its name: spare the others the parse.
    if !contains(result.bytes(), b"\"uri\"") {
        return result;
    }
    let Ok(mut object) = RawObject::parse(&result) else {
        return result;
    };
    for member in ["content", "contents", "messages"] {
        if let Some(items) = object.get(member)
            && let Some(items) = map_array(items, |item| expose_block(item, namespace))
        {
            object.set(member, &items);
        }
    }
    object.to_json()
}

/// `params` with its `uri` exposed: `notifications/resources/updated`.
pub fn expose_uri(params: &RawJson, namespace: &Namespace) -> RawJson {
    set_str(params, "uri", |u| uri::expose(namespace, u)).unwrap_or_else(|| params.clone())
}

/// `object` with the string member `key` replaced; `None` when it has no such member.
pub fn set_str(json: &RawJson, key: &'static str, new: impl FnOnce(&str) -> String) -> Option<RawJson> {
    let mut object = RawObject::parse(json).ok()?;
    let replaced = RawJson::of(&new(&object.str(key)?));
    object.set(key, &replaced);
    Some(object.to_json())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// One content block, prompt message or resource content.
fn expose_block(item: &RawJson, namespace: &Namespace) -> Option<RawJson> {
    let mut object = RawObject::parse(item).ok()?;
    let mut changed = false;
    if object.get("uri").is_some()
        && let Some(new) = set_str(item, "uri", |u| uri::expose(namespace, u)).and_then(|j| member(&j, "uri"))
    {
        object.set("uri", &new);
        changed = true;
    }
    for inner in ["resource", "content"] {
        if let Some(new) = object.raw(inner).and_then(|json| expose_block(&json, namespace)) {
            object.set(inner, &new);
            changed = true;
        }
    }
    changed.then(|| object.to_json())
}

fn member(json: &RawJson, key: &str) -> Option<RawJson> {
    RawObject::parse(json).ok()?.raw(key)
}

fn map_array(array: &RawValue, change: impl Fn(&RawJson) -> Option<RawJson>) -> Option<RawJson> {
    let items: Vec<RawJson> = serde_json::from_str(array.get()).ok()?;
    let items: Vec<RawJson> = items
        .into_iter()
        .map(|item| change(&item).unwrap_or(item))
        .collect();
    Some(RawJson::of(&items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_named_and_the_rest_is_left_alone() {
        let ns = Namespace::new("s");
        let result = RawJson::parse(
            r#"{"content":[{"type":"resource_link","uri":"file:///a","x":1.0},{"type":"resource","resource":{"uri":"u","text":"t"}},{"type":"hologram","q":[1.50]}],"y":2.0}"#,
        )
        .unwrap();
        assert_eq!(
            expose_result(result, &ns).text(),
            r#"{"content":[{"type":"resource_link","uri":"aih://s/file:///a","x":1.0},{"type":"resource","resource":{"uri":"aih://s/u","text":"t"}},{"type":"hologram","q":[1.50]}],"y":2.0}"#
        );
        let prompt = RawJson::parse(
            r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"u"}}}]}"#,
        )
        .unwrap();
        assert!(expose_result(prompt, &ns).text().contains("aih://s/u"));
    }
}

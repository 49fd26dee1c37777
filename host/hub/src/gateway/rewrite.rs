//! Translates names inside of payloads between a provider's own names and those of the aggregated endpoint.
//!
//! Only names change. Everything else keeps the bytes that arrived. On the endpoint of one MCP nothing changes but the
//! views that a key may not read.

use aih_mcp::{RawJson, RawObject};
use serde_json::value::RawValue;

use crate::{
    catalogue::{ui, uri},
    names::Namespace,
};

/// What a result of `tools/call`, `prompts/get` or `resources/read` names, as the client may see it: on the aggregated
/// endpoint resource URIs are exposed with the `namespace`, and on every endpoint a view (MCP Apps) for which `may_read`
/// says no is not named. `may_read` gets the provider's own URI.
pub fn shown_result(
    result: RawJson,
    namespace: Option<&Namespace>,
    may_read: &dyn Fn(&str) -> bool,
) -> RawJson {
    // None of the members can stand in a result that does not hold its name: spare the others the parse.
    let views = contains(result.bytes(), b"esourceUri\"");
    if !views && (namespace.is_none() || !contains(result.bytes(), b"\"uri\"")) {
        return result;
    }
    let Ok(mut object) = RawObject::parse(&result) else {
        return result;
    };
    let view = |uri: &str| {
        may_read(uri)
            .then(|| namespace.map_or_else(|| uri.to_owned(), |namespace| uri::expose(namespace, uri)))
    };
    let mut changed = ui::rewrite(&mut object, &view);
    for member in ["content", "contents", "messages"] {
        if let Some(items) = object.get(member)
            && let Some(items) = map_array(items, |item| shown_block(item, namespace, &view))
        {
            object.set(member, &items);
            changed = true;
        }
    }
    match changed {
        true => object.to_json(),
        false => result,
    }
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

/// One content block, prompt message or resource content; `None` where nothing changes.
fn shown_block(
    item: &RawJson,
    namespace: Option<&Namespace>,
    view: &dyn Fn(&str) -> Option<String>,
) -> Option<RawJson> {
    let mut object = RawObject::parse(item).ok()?;
    let mut changed = ui::rewrite(&mut object, view);
    if let Some(namespace) = namespace
        && let Some(own) = object.str("uri")
    {
        let shown = uri::expose(namespace, &own);
        if *shown != *own {
            let shown = RawJson::of(&shown);
            object.set("uri", &shown);
            changed = true;
        }
    }
    for inner in ["resource", "content"] {
        let inner_json = object.raw(inner);
        if let Some(new) = inner_json.and_then(|json| shown_block(&json, namespace, view)) {
            object.set(inner, &new);
            changed = true;
        }
    }
    changed.then(|| object.to_json())
}

/// The array with what `change` makes of its elements; `None` where nothing changes.
fn map_array(array: &RawValue, change: impl Fn(&RawJson) -> Option<RawJson>) -> Option<RawJson> {
    let items: Vec<RawJson> = serde_json::from_str(array.get()).ok()?;
    let mut changed = false;
    let items: Vec<RawJson> = items
        .into_iter()
        .map(|item| match change(&item) {
            Some(new) => {
                changed = true;
                new
            }
            None => item,
        })
        .collect();
    changed.then(|| RawJson::of(&items))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(result: &str, namespace: Option<&Namespace>, may_read: &dyn Fn(&str) -> bool) -> String {
        let result = RawJson::parse(result.to_owned()).unwrap();
        shown_result(result, namespace, may_read).text().into_owned()
    }

    #[test]
    fn links_are_named_and_the_rest_is_left_alone() {
        let ns = Namespace::new("s");
        let exposed = |result: &str| shown(result, Some(&ns), &|_| true);
        assert_eq!(
            exposed(
                r#"{"content":[{"type":"resource_link","uri":"file:///a","x":1.0},{"type":"resource","resource":{"uri":"u","text":"t"}},{"type":"hologram","q":[1.50]}],"y":2.0}"#
            ),
            r#"{"content":[{"type":"resource_link","uri":"aih://s/file:///a","x":1.0},{"type":"resource","resource":{"uri":"aih://s/u","text":"t"}},{"type":"hologram","q":[1.50]}],"y":2.0}"#
        );
        let prompt = r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"u"}}}]}"#;
        assert!(exposed(prompt).contains("aih://s/u"));
    }

    #[test]
    fn what_a_client_fetches_by_itself_keeps_its_address() {
        let ns = Namespace::new("s");
        for uri in [
            "https://files.test/a.pdf",
            "HTTP://files.test/",
            "data:text/plain,x",
        ] {
            for result in [
                format!(r#"{{"content": [{{"type":"resource_link","uri":"{uri}","name":"a"}}] }}"#),
                format!(r#"{{"content": [{{"type":"resource","resource":{{"uri":"{uri}","text":""}}}}] }}"#),
                format!(r#"{{"contents": [{{"uri":"{uri}","text":""}}] }}"#),
                format!(
                    r#"{{"messages": [{{"role":"user","content":{{"type":"resource_link","uri":"{uri}","name":"a"}}}}] }}"#
                ),
            ] {
                assert_eq!(shown(&result, Some(&ns), &|_| true), result);
            }
        }
    }

    #[test]
    fn views_are_named_where_they_may_be_read() {
        let ns = Namespace::new("s");
        let result = r#"{"content":[{"type":"text","text":"t","_meta":{"ui/resourceUri":"ui://b"}}],"_meta":{"n":1.0,"ui":{"resourceUri":"ui://a","x":2.0}}}"#;
        assert_eq!(
            shown(result, Some(&ns), &|_| true),
            r#"{"content":[{"type":"text","text":"t","_meta":{"ui/resourceUri":"ui://s/b"}}],"_meta":{"n":1.0,"ui":{"resourceUri":"ui://s/a","x":2.0}}}"#
        );
        assert_eq!(
            shown(result, None, &|uri| uri == "ui://a"),
            r#"{"content":[{"type":"text","text":"t","_meta":{}}],"_meta":{"n":1.0,"ui":{"resourceUri":"ui://a","x":2.0}}}"#
        );
        assert_eq!(shown(result, None, &|_| true), result);
    }
}

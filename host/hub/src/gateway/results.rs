//! What a result of a tool must be for its client.
//!
//! A server may answer what a client cannot read or does not show. Up to 2025-11-25 `structuredContent` is an object;
//! every revision has `content`; and many clients give only `content` to their model. Everything else of a result
//! keeps the bytes that arrived.

use aih_mcp::{Era, RawJson, RawObject, item, task};
use serde_json::value::RawValue;

use super::known_clients::KnownClient;
use crate::{
    access::Compat,
    provider::{Client, ProviderKind},
};

/// The result of `tools/call` as `client` takes it; `kind` is that of the tool's provider.
pub fn of_tool(result: RawJson, client: &Client, kind: ProviderKind, compat: Compat) -> RawJson {
    let result = for_client(result, client.era());
    let known = KnownClient::of(client);
    let result = match kind == ProviderKind::Plugin && known.shows_structured_only {
        true => as_text(result),
        false => result,
    };
    match known.rules(client, compat).refuses_unknown_blocks {
        true => item::with_known_blocks(&result).unwrap_or(result),
        false => result,
    }
}

/// The result of `prompts/get` as `client` takes it.
pub fn of_prompt(result: RawJson, client: &Client, compat: Compat) -> RawJson {
    match KnownClient::of(client)
        .rules(client, compat)
        .refuses_unknown_blocks
    {
        true => item::with_known_blocks(&result).unwrap_or(result),
        false => result,
    }
}

/// The result of `tools/call` as a client of `era` takes it. Where `content` is empty, a text block with the JSON of
/// `structuredContent` is added: the specification asks servers for it (2025-11-25, Tools, Structured Content), and many
/// clients show nothing else to their model.
pub fn for_client(result: RawJson, era: Era) -> RawJson {
    // Most results have content alone: spare them the parse.
    let has = |member: &[u8]| memchr::memmem::find(result.bytes(), member).is_some();
    if !has(b"\"structuredContent\"") && has(b"\"content\"") {
        return result;
    }
    shaped(&result, era).unwrap_or(result)
}

/// The result where it becomes another one.
fn shaped(result: &RawJson, era: Era) -> Option<RawJson> {
    let mut object = RawObject::parse(result).ok()?;
    if is_incomplete(&object, result) {
        return None;
    }
    let structured = object.raw("structuredContent").filter(|s| s.text() != "null");
    let blocks = object
        .get("content")
        .and_then(|content| serde_json::from_str::<Vec<&RawValue>>(content.get()).ok());
    let takes = |structured: &RawJson| {
        era == Era::Modern || structured.read_borrowed().is_ok_and(item::structured_for_legacy)
    };
    let hidden = structured.as_ref().filter(|structured| !takes(structured));
    let mut changed = false;
    // Without `structuredContent` the text has to say what it said.
    let has_text = |blocks: &[&RawValue]| blocks.iter().any(|block| text_of(block).is_some());
    let lacks_text = match &blocks {
        None => true,
        Some(blocks) => blocks.is_empty() || (hidden.is_some() && !has_text(blocks)),
    };
    match &structured {
        Some(structured) if lacks_text => {
            let text = RawJson::of(&serde_json::json!({ "type": "text", "text": structured.text() }));
            let mut all: Vec<RawJson> = blocks.iter().flatten().map(RawJson::of).collect();
            all.push(text);
            object.set("content", &RawJson::of(&all));
            changed = true;
        }
        None if blocks.is_none() => {
            object.set("content", &RawJson::of::<[(); 0]>(&[]));
            changed = true;
        }
        _ => {}
    }
    if hidden.is_some() || (structured.is_none() && object.get("structuredContent").is_some()) {
        object.remove("structuredContent");
        changed = true;
    }
    changed.then(|| object.to_json())
}

/// The result of a tool for a client that shows its model `structuredContent` alone, and would hide the texts beside it:
/// all of it as `content`. The JSON of `structuredContent` becomes a text block, unless a text has it already.
pub fn as_text(result: RawJson) -> RawJson {
    let Ok(mut object) = RawObject::parse(&result) else {
        return result;
    };
    let blocks = object.raw("content").unwrap_or(RawJson::NULL);
    let (Some(structured), Ok(blocks)) = (
        object.raw("structuredContent"),
        blocks.read_borrowed::<Vec<&RawValue>>(),
    ) else {
        return result;
    };
    let texts: Vec<String> = blocks.iter().filter_map(|block| text_of(block)).collect();
    let says_it = |text: &String| {
        *text == structured.text()
            || (text.starts_with(['{', '['])
                && serde_json::from_str(text)
                    .is_ok_and(|value: serde_json::Value| value == structured.to_value()))
    };
    if texts.iter().all(says_it) {
        return result;
    }
    let mut all: Vec<RawJson> = blocks.iter().map(RawJson::of).collect();
    if !texts.iter().any(says_it) {
        let text = serde_json::json!({ "type": "text", "text": structured.text() });
        all.push(RawJson::of(&text));
    }
    object.set("content", &RawJson::of(&all));
    object.remove("structuredContent");
    object.to_json()
}

/// The text of a text block.
fn text_of(block: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Block {
        #[serde(rename = "type")]
        kind: String,
        text: String,
    }
    let block: Block = serde_json::from_str(block.get()).ok()?;
    (block.kind == "text").then_some(block.text)
}

/// Whether the result is of a call that goes on: a question to the client, or a task.
fn is_incomplete(object: &RawObject<'_>, result: &RawJson) -> bool {
    object.str("resultType").is_some_and(|kind| kind != "complete") || task::created(result).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(result: &str, era: Era) -> String {
        for_client(RawJson::parse(result.to_owned()).unwrap(), era)
            .text()
            .into_owned()
    }

    #[test]
    fn structured_content_beside_empty_content_gets_a_text() {
        for era in [Era::Legacy, Era::Modern] {
            for content in [r#""content":[],"#, "", r#""content":null,"#] {
                let result = format!(r#"{{{content}"structuredContent":{{"n":1.50}},"x":2.0}}"#);
                let shown: serde_json::Value = serde_json::from_str(&shown(&result, era)).unwrap();
                assert_eq!(shown["content"][0]["text"], r#"{"n":1.50}"#, "{result}");
                assert_eq!(shown["content"].as_array().unwrap().len(), 1);
                assert_eq!(shown["structuredContent"]["n"], 1.5);
            }
        }
    }

    #[test]
    fn what_has_content_keeps_its_bytes() {
        for result in [
            r#"{"content": [{"type":"text","text":"a"}], "structuredContent":{"n":1.50}, "isError":false}"#,
            r#"{"content": [{"type":"image","data":"","mimeType":"image/png"}], "structuredContent":{"n":1.50}}"#,
            r#"{"content": [ ]}"#,
            r#"{"resultType":"input_required", "inputRequests":{}}"#,
            r#"{"task": {"taskId":"a"} }"#,
            "[]",
        ] {
            for era in [Era::Legacy, Era::Modern] {
                assert_eq!(shown(result, era), result);
            }
        }
        let list = r#"{"content": [{"type":"text","text":"[1.50]"}], "structuredContent":[1.50]}"#;
        assert_eq!(shown(list, Era::Modern), list);
    }

    #[test]
    fn legacy_clients_get_structured_content_that_is_an_object() {
        for structured in ["[1.50]", "7", r#""text""#, "true"] {
            for (content, blocks) in [
                (r#"[{"type":"text","text":"a"}]"#, 1),
                (r#"[{"type":"image","data":"","mimeType":"image/png"}]"#, 2),
                ("[]", 1),
            ] {
                let result = format!(r#"{{"content":{content},"structuredContent":{structured}}}"#);
                let shown: serde_json::Value = serde_json::from_str(&shown(&result, Era::Legacy)).unwrap();
                assert_eq!(shown.get("structuredContent"), None);
                assert_eq!(shown["content"].as_array().unwrap().len(), blocks);
                if content != r#"[{"type":"text","text":"a"}]"# {
                    assert_eq!(shown["content"][blocks - 1]["text"], structured);
                }
            }
        }
        let null = shown(r#"{"content":[],"structuredContent":null}"#, Era::Legacy);
        assert_eq!(null, r#"{"content":[]}"#);
    }

    #[test]
    fn a_result_without_content_gets_an_empty_one() {
        assert_eq!(
            shown(r#"{"isError":false}"#, Era::Modern),
            r#"{"isError":false,"content":[]}"#
        );
        assert_eq!(shown("{}", Era::Legacy), r#"{"content":[]}"#);
    }

    #[test]
    fn a_client_that_shows_one_of_both_gets_all_as_text() {
        let shown = |result: &str| {
            as_text(RawJson::parse(result.to_owned()).unwrap())
                .text()
                .into_owned()
        };
        let all = shown(
            r#"{"content":[{"type":"text","text":"three words"}],"structuredContent":{"n":3.0},"isError":false}"#,
        );
        let all: serde_json::Value = serde_json::from_str(&all).unwrap();
        assert_eq!(
            all,
            serde_json::json!({
                "content": [{ "type": "text", "text": "three words" }, { "type": "text", "text": r#"{"n":3.0}"# }],
                "isError": false,
            })
        );
        assert_eq!(
            shown(
                r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"{\"n\": 3}"}],"structuredContent":{"n":3}}"#
            ),
            r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"{\"n\": 3}"}]}"#
        );
        for whole in [
            r#"{"content": [{"type":"text","text":"{\"n\":3}"}],"structuredContent":{"n":3}}"#,
            r#"{"content": [{"type":"image","data":"","mimeType":"image/png"}],"structuredContent":{"n":3}}"#,
            r#"{"content": [{"type":"text","text":"a"}]}"#,
            "[]",
        ] {
            assert_eq!(shown(whole), whole);
        }
    }
}

//! Tools and results for clients that take less than the protocol allows: each function is one rule, for the clients that
//! are known to need it.

use serde_json::{Map, Value, json, value::RawValue};

use super::{Problems, shape};
use crate::{RawJson, RawObject};

/// The most schemas that a schema may have once its definitions are written in place. A larger one stays as it is.
const MAX_SCHEMAS: usize = 5_000;
/// Longest text of a choice that goes into a description, in characters.
const MAX_CHOICE: usize = 2_000;
/// Keywords at the root of the schema of arguments that a client may not take.
const CHOICES: [&str; 3] = ["oneOf", "anyOf", "allOf"];

/// The tool without a choice (`oneOf`, `anyOf`, `allOf`) at the root of the schema of its arguments; `None` where it has
/// none. The properties of all alternatives become properties of the schema, and its description has the choice as text.
/// The server still refuses what does not fit.
pub fn without_root_choice(tool: &RawJson) -> Option<RawJson> {
    let mut object = RawObject::parse(tool).ok()?;
    let raw = object.raw("inputSchema")?;
    let fields = RawObject::parse(&raw).ok()?;
    CHOICES.iter().find(|key| fields.get(key).is_some())?;
    let mut schema: Map<String, Value> = raw.read().ok()?;
    let mut text = Vec::new();
    for key in CHOICES {
        let Some(Value::Array(alternatives)) = schema.remove(key) else {
            continue;
        };
        let said = json!({ key: alternatives }).to_string();
        if said.chars().count() <= MAX_CHOICE {
            text.push(said);
        }
        for alternative in &alternatives {
            let alternative = referred(alternative, &raw.to_value());
            merge(&mut schema, &alternative, key == "allOf");
        }
    }
    if !text.is_empty() {
        let own = schema.get("description").and_then(Value::as_str);
        let all: Vec<&str> = own.into_iter().chain(text.iter().map(String::as_str)).collect();
        schema.insert("description".to_owned(), json!(all.join("\n")));
    }
    object.set("inputSchema", &RawJson::of(&schema));
    Some(object.to_json())
}

/// What a schema that is only a reference names, otherwise the schema.
fn referred(schema: &Value, root: &Value) -> Value {
    let pointer = schema.get("$ref").and_then(Value::as_str);
    let pointer = pointer.and_then(|reference| reference.strip_prefix('#'));
    pointer
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema)
        .clone()
}

/// Adds the properties of an alternative, and what it requires where all alternatives count.
fn merge(schema: &mut Map<String, Value>, alternative: &Value, all: bool) {
    if let Some(Value::Object(more)) = alternative.get("properties")
        && let Value::Object(properties) = schema.entry("properties").or_insert_with(|| json!({}))
    {
        for (name, property) in more {
            properties
                .entry(name.as_str())
                .or_insert_with(|| property.clone());
        }
    }
    if let Some(Value::Array(more)) = alternative.get("required").filter(|_| all)
        && let Value::Array(required) = schema.entry("required").or_insert_with(|| json!([]))
    {
        required.extend(more.iter().cloned());
    }
}

/// The tool with every definition in the schema of its arguments written where it is referred to; `None` where there is no
/// reference, or the schema would get too large. Where a definition refers to itself, its type has to do.
pub fn with_definitions_in_place(tool: &RawJson) -> Option<RawJson> {
    memchr::memmem::find(tool.bytes(), b"\"$ref\"")?;
    let mut object = RawObject::parse(tool).ok()?;
    let root = object.raw("inputSchema")?.to_value();
    let mut schema = root.clone();
    let mut left = MAX_SCHEMAS;
    in_place(&mut schema, &root, &mut Vec::new(), &mut left)?;
    for key in ["$defs", "definitions"] {
        schema.as_object_mut()?.remove(key);
    }
    object.set("inputSchema", &RawJson::of(&schema));
    Some(object.to_json())
}

fn in_place(schema: &mut Value, root: &Value, open: &mut Vec<String>, left: &mut usize) -> Option<()> {
    *left = left.checked_sub(1)?;
    let object = match schema {
        Value::Object(object) => object,
        Value::Array(items) => {
            return items
                .iter_mut()
                .try_for_each(|item| in_place(item, root, open, left));
        }
        _ => return Some(()),
    };
    let mut entered = false;
    if let Some(Value::String(reference)) = object.get("$ref").cloned() {
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(pointer));
        let again = open.contains(&reference);
        if let Some(Value::Object(target)) = target {
            object.remove("$ref");
            let takes = |key: &str| !again || matches!(key, "type" | "description");
            for (key, value) in target.iter().filter(|(key, _)| takes(key)) {
                object.entry(key.as_str()).or_insert_with(|| value.clone());
            }
            entered = !again;
        }
        if entered {
            open.push(reference);
        }
    }
    for (key, value) in object.iter_mut() {
        // A value that is not a schema may look like one.
        if !matches!(
            key.as_str(),
            "enum" | "const" | "default" | "examples" | "$defs" | "definitions"
        ) {
            in_place(value, root, open, left)?;
        }
    }
    if entered {
        open.pop();
    }
    Some(())
}

/// The members of a result that hold content blocks.
const BLOCKS: [&str; 2] = ["content", "messages"];

/// A result in which every content block is one that the official SDKs take; `None` where each is. A block of another
/// type, or one without what its type needs, becomes a text block with its JSON: clients refuse the whole result otherwise.
pub fn with_known_blocks(result: &RawJson) -> Option<RawJson> {
    let mut object = RawObject::parse(result).ok()?;
    let mut changed = false;
    for member in BLOCKS {
        let Some(items) = object.raw(member) else { continue };
        let Ok(items) = items.read_borrowed::<Vec<&RawValue>>() else {
            continue;
        };
        let mut any = false;
        let items: Vec<RawJson> = items
            .into_iter()
            .map(|item| {
                let json = RawJson::of(item);
                let known = match member {
                    "messages" => known_message(&json),
                    _ => known_block(item),
                };
                any |= known.is_some();
                known.unwrap_or(json)
            })
            .collect();
        if any {
            object.set(member, &RawJson::of(&items));
            changed = true;
        }
    }
    changed.then(|| object.to_json())
}

fn known_message(message: &RawJson) -> Option<RawJson> {
    let mut object = RawObject::parse(message).ok()?;
    let content = known_block(object.get("content")?)?;
    object.set("content", &content);
    Some(object.to_json())
}

/// The block as every client takes it; `None` where it is that already.
fn known_block(block: &RawValue) -> Option<RawJson> {
    match shape::block(block, &mut Problems::default()) {
        shape::Fix::Keep => None,
        shape::Fix::Set(json) => Some(json),
        shape::Fix::Remove | shape::Fix::Refuse => {
            Some(RawJson::of(&json!({ "type": "text", "text": block.get() })))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    fn input(tool: Option<RawJson>) -> Value {
        tool.unwrap().to_value()["inputSchema"].clone()
    }

    #[test]
    fn a_choice_at_the_root_becomes_properties_and_a_text() {
        let tool = raw(
            r##"{"name":"a","inputSchema":{"type":"object","properties":{"x":{"type":"string"}},"oneOf":[{"required":["x"]},{"$ref":"#/$defs/y"}],"allOf":[{"properties":{"z":{}},"required":["z"]}],"$defs":{"y":{"properties":{"y":{"type":"integer"}},"required":["y"]}}},"n":1.50}"##,
        );
        let schema = input(without_root_choice(&tool));
        assert_eq!(
            schema["properties"],
            json!({ "x": { "type": "string" }, "y": { "type": "integer" }, "z": {} })
        );
        assert_eq!(schema["required"], json!(["z"]));
        assert!(CHOICES.iter().all(|key| schema.get(key).is_none()));
        assert!(
            schema["description"]
                .as_str()
                .unwrap()
                .contains(r#""oneOf":[{"required":["x"]}"#)
        );
        assert!(
            without_root_choice(&tool)
                .unwrap()
                .text()
                .ends_with(r#""n":1.50}"#)
        );
        let good = raw(r#"{"name":"a","inputSchema":{"type":"object","properties":{"x":{"oneOf":[]}}}}"#);
        assert_eq!(without_root_choice(&good), None);
    }

    #[test]
    fn definitions_are_written_in_place() {
        let tool = raw(
            r##"{"name":"a","inputSchema":{"type":"object","properties":{"x":{"$ref":"#/$defs/x","description":"own"},"t":{"$ref":"#/$defs/t"}},"$defs":{"x":{"type":"string","description":"of x"},"t":{"type":"object","properties":{"t":{"type":"array","items":{"$ref":"#/$defs/t"}}}}}}}"##,
        );
        assert_eq!(
            input(with_definitions_in_place(&tool)),
            json!({ "type": "object", "properties": {
                "x": { "type": "string", "description": "own" },
                "t": { "type": "object", "properties": { "t": { "type": "array", "items": { "type": "object" } } } },
            } })
        );
        assert_eq!(
            with_definitions_in_place(&raw(r#"{"name":"a","inputSchema":{"type":"object"}}"#)),
            None
        );
    }

    #[test]
    fn a_schema_that_would_grow_without_measure_stays() {
        let definitions: BTreeMap<String, Value> = (0..20)
            .map(|n| {
                let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
                (format!("d{n}"), json!({ "properties": { "a": next, "b": next } }))
            })
            .collect();
        let tool = json!({ "name": "a", "inputSchema": { "type": "object", "properties": { "x": { "$ref": "#/$defs/d0" } }, "$defs": definitions } });
        assert_eq!(with_definitions_in_place(&RawJson::of(&tool)), None);
    }

    #[test]
    fn a_block_that_clients_refuse_becomes_its_json_as_text() {
        let good = r#"{"content": [{"type":"text","text":"a"},{"type":"image","data":"","mimeType":"image/png","n":1.0},{"type":"audio","data":"","mimeType":"audio/wav"},{"type":"resource_link","uri":"a:b","name":"n"},{"type":"resource","resource":{"uri":"a:b","text":""}},{"type":"resource","resource":{"uri":"a:b","blob":""}}]}"#;
        assert_eq!(with_known_blocks(&raw(good)), None);
        for bad in [
            r#"{"type":"hologram","q":1.50}"#,
            r#"{"type":"text"}"#,
            r#"{"type":"image","data":"x"}"#,
            r#"{"type":"resource_link","name":"n"}"#,
            r#"{"type":"resource","resource":{"uri":"a:b"}}"#,
            r#"{"text":"a"}"#,
            "7",
        ] {
            let shown = with_known_blocks(&raw(&format!(
                r#"{{"content":[{{"type":"text","text":"a"}},{bad}],"n":1.50}}"#
            )))
            .unwrap();
            let block = shown.to_value()["content"][1].clone();
            assert_eq!(block, json!({ "type": "text", "text": bad }), "{bad}");
            assert!(shown.text().ends_with(r#""n":1.50}"#));
        }
        let repaired = with_known_blocks(&raw(
            r#"{"content":[{"type":"text","text":"a","annotations":null}]}"#,
        ))
        .unwrap();
        assert_eq!(repaired.text(), r#"{"content":[{"type":"text","text":"a"}]}"#);
        let prompt = r#"{"messages":[{"role":"user","content":{"type":"hologram"}}]}"#;
        assert_eq!(
            with_known_blocks(&raw(prompt)).unwrap().to_value(),
            json!({ "messages": [{
                "role": "user", "content": { "type": "text", "text": r#"{"type":"hologram"}"# },
            }] })
        );
    }
}

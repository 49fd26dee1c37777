//! Shortens events of calls that are too large for the queue of background hooks. It cuts large members, and the event
//! says so. A hook that must see the whole event has to block.
//!
//! A cut member keeps its type. A text keeps its beginning. A list or an object keeps its first small members, down to
//! a few levels. The event has the size and the digest of each cut member.

use std::{borrow::Cow, collections::BTreeMap};

use aih_mcp::{RawJson, RawObject};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer as _, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json, value::RawValue};

use crate::catalogue::files::sha256_hex;

/// Bytes of an event that background hooks get whole.
pub(super) const WHOLE: usize = 1 << 20;
/// Bytes of a member that is left as it is in an event that is not. No event has more than 14 members.
const MEMBER: usize = 64 << 10;
/// Bytes that are kept of a larger member.
const KEPT: usize = 16 << 10;
/// Bytes that are kept of a text, and of any value within a list or an object.
const VALUE: usize = 1 << 10;
/// Levels of lists and objects below a member that are looked into.
const LEVELS: usize = 4;

/// What a member was before it was cut.
#[derive(Debug, Serialize, JsonSchema)]
struct Original {
    /// Bytes of its JSON text.
    bytes: usize,
    /// SHA-256 of its JSON text, in lower-case hexadecimal digits.
    sha256: String,
}

/// The event as the queue takes it: as it is, or cut.
pub(super) fn to_fit(event: RawJson) -> RawJson {
    if event.len() <= WHOLE {
        return event;
    }
    let Ok(members) = RawObject::parse(&event) else {
        return event;
    };
    let mut cut = String::from("{");
    let mut originals = BTreeMap::new();
    for (name, value) in members.iter() {
        let text = value.get();
        if text.len() <= MEMBER {
            push(&mut cut, name, text);
            continue;
        }
        let original = Original {
            bytes: text.len(),
            sha256: sha256_hex(text.as_bytes()),
        };
        originals.insert(name, original);
        push(&mut cut, name, &shortened(text, KEPT, LEVELS));
    }
    push(&mut cut, "truncated", "true");
    push(&mut cut, "original", &RawJson::of(&originals).text());
    cut.push('}');
    RawJson::trusted(cut)
}

/// The members that only events have which were cut, as JSON Schema.
pub(super) fn schema() -> Map<String, Value> {
    let mut original = schemars::schema_for!(Original).to_value();
    if let Some(original) = original.as_object_mut() {
        original.retain(|key, _| !matches!(&**key, "$schema" | "title"));
    }
    let members = json!({
        "truncated": {
            "const": true,
            "description": format!("There where the event had more than {WHOLE} bytes: what was large in it is cut. Only for hooks in the background."),
        },
        "original": {
            "type": "object",
            "description": "What each cut member was before, by its name.",
            "additionalProperties": original,
        },
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Writes a member; `value` is JSON.
fn push(object: &mut String, name: &str, value: &str) {
    if !object.ends_with('{') {
        object.push(',');
    }
    object.push_str(&RawJson::of(name).text());
    object.push(':');
    object.push_str(value);
}

/// A value of the same type, as JSON of some more than `left` bytes at most.
fn shortened(json: &str, left: usize, levels: usize) -> String {
    let mut reader = serde_json::Deserializer::from_str(json);
    let walk = Walk {
        left,
        levels: levels.saturating_sub(1),
    };
    match json.as_bytes().first() {
        Some(b'"') => {
            let text: Cow<'_, str> = serde_json::from_str::<Text<'_>>(json).map_or("".into(), |text| text.0);
            let end = text.floor_char_boundary(VALUE.min(left));
            RawJson::of(text.get(..end).unwrap_or_default())
                .text()
                .into_owned()
        }
        Some(b'{') if levels > 0 => reader.deserialize_map(walk).unwrap_or_else(|_| "{}".to_owned()),
        Some(b'[') if levels > 0 => reader.deserialize_seq(walk).unwrap_or_else(|_| "[]".to_owned()),
        Some(b'{') => "{}".to_owned(),
        Some(b'[') => "[]".to_owned(),
        _ => "null".to_owned(),
    }
}

#[derive(Deserialize)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

/// Goes through a list or an object and keeps what fits. Holds no more of it, however many members it has.
struct Walk {
    /// Bytes that may still be kept.
    left: usize,
    /// Levels that are looked into below this one.
    levels: usize,
}

impl Walk {
    /// What is kept of a value; `None` for nothing. One value gets at most half of what is left, so that those behind it
    /// are seen too.
    fn keep(&mut self, key: usize, json: &str) -> Option<String> {
        // Quotes, a colon and a comma.
        let around = key.saturating_add(4);
        let room = self.left.checked_sub(around)?;
        let kept = if json.len() <= VALUE.min(room) {
            json.to_owned()
        } else {
            shortened(json, room / 2, self.levels)
        };
        self.left = self.left.checked_sub(around.saturating_add(kept.len()))?;
        Some(kept)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<String, A::Error> {
        let mut object = String::from("{");
        while let Some(Text(name)) = members.next_key::<Text<'de>>()? {
            if self.left < name.len() || name.len() > VALUE {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = members.next_value::<&'de RawValue>()?;
            if let Some(kept) = self.keep(name.len(), value.get()) {
                push(&mut object, &name, &kept);
            }
        }
        object.push('}');
        Ok(object)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<String, A::Error> {
        let mut list = String::from("[");
        while let Some(item) = items.next_element::<&'de RawValue>()? {
            let Some(kept) = self.keep(0, item.get()) else {
                // A list is cut at its end only: the places of what is kept stay.
                while items.next_element::<IgnoredAny>()?.is_some() {}
                break;
            };
            if list.len() > 1 {
                list.push(',');
            }
            list.push_str(&kept);
        }
        list.push(']');
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(members: &Value) -> RawJson {
        let mut event = json!({ "version": 1, "trigger": "tool.after", "server": "s", "tool": "t" });
        event
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        RawJson::of(&event)
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let small = event(&json!({ "arguments": { "text": "x".repeat(WHOLE - 200) } }));
        assert_eq!(to_fit(small.clone()), small);
    }

    #[test]
    fn a_large_member_is_cut_and_its_size_and_digest_are_given() {
        let arguments =
            json!({ "path": "/etc/x", "content": "ä".repeat(1 << 20), "mode": 7, "list": vec![0; 1 << 20] });
        let written = RawJson::of(&arguments);
        let cut = to_fit(event(
            &json!({ "arguments": arguments, "result": { "content": [] } }),
        ))
        .to_value();
        assert_eq!(cut["truncated"], true);
        assert_eq!(cut["result"], json!({ "content": [] }));
        assert_eq!((&cut["tool"], &cut["server"]), (&json!("t"), &json!("s")));
        assert_eq!(cut["arguments"]["path"], "/etc/x");
        assert_eq!(cut["arguments"]["mode"], 7);
        assert_eq!(cut["arguments"]["content"], "ä".repeat(512));
        assert!(cut["arguments"]["list"].as_array().unwrap().len() > 1_000);
        let original = json!({ "bytes": written.len(), "sha256": sha256_hex(written.bytes()) });
        assert_eq!(cut["original"], json!({ "arguments": original }));
    }

    #[test]
    fn results_of_tools_keep_their_form() {
        let result = json!({
            "content": [{ "type": "text", "text": "x".repeat(3 << 20) }, { "type": "text", "text": "y" }],
            "isError": true,
        });
        let cut = to_fit(event(&json!({ "arguments": {}, "result": result }))).to_value();
        assert_eq!(
            cut["result"],
            json!({
                "content": [{ "type": "text", "text": "x".repeat(1 << 10) }, { "type": "text", "text": "y" }],
                "isError": true,
            })
        );
    }

    #[test]
    fn nothing_is_too_large_or_too_deep() {
        let many: Map<String, Value> = (0..500_000).map(|n| (n.to_string(), json!(n))).collect();
        let mut deep = json!("x".repeat(2 << 20));
        for _ in 0..100 {
            deep = json!([deep]);
        }
        for large in [
            json!({ "arguments": many }),
            json!({ "arguments": { "deep": deep } }),
            json!({ "arguments": { "x".repeat(2 << 20): 1 } }),
            json!({ "uri": "\u{1}".repeat(2 << 20) }),
            json!({ "tools": vec![json!({ "name": "n", "description": "d".repeat(5_000) }); 10_000] }),
            json!({ "error": { "code": -1, "message": "m".repeat(2 << 20), "data": vec!["x"; 1 << 20] } }),
        ] {
            let cut = to_fit(event(&large));
            assert!(cut.len() < WHOLE / 4, "{}", cut.len());
            let cut = cut.to_value();
            for (name, value) in large.as_object().unwrap() {
                assert_eq!(
                    std::mem::discriminant(&cut[name]),
                    std::mem::discriminant(value),
                    "{name}"
                );
                assert!(cut["original"][name]["bytes"].as_u64().unwrap() > 1 << 20);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_json_of_the_same_type_within_bounds(
            texts in prop::collection::vec("\\PC{0,40}", 0..60),
            left in 0_usize..3_000,
            levels in 0_usize..5,
        ) {
            for value in [
                json!(texts),
                json!({ "a": texts, "b": { "c": [texts] } }),
                json!(texts.concat()),
                json!([[[texts]]]),
            ] {
                let kept = shortened(&value.to_string(), left, levels);
                let read: Value = serde_json::from_str(&kept).unwrap();
                prop_assert_eq!(std::mem::discriminant(&read), std::mem::discriminant(&value));
                // A text's bytes are written with up to six each.
                prop_assert!(kept.len() <= 6 * left + 2, "{} of {left}", kept.len());
            }
        }
    }
}

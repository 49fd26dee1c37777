use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CheckedItem, ItemKind, check, legacy_tool, sdk_checks, text};
use crate::RawJson;

const KINDS: [ItemKind; 4] = [
    ItemKind::Tool,
    ItemKind::Prompt,
    ItemKind::Resource,
    ItemKind::Template,
];

fn raw(text: &str) -> RawJson {
    RawJson::parse(text.to_owned()).unwrap()
}

fn tool(members: &str) -> CheckedItem {
    check(ItemKind::Tool, &raw(members))
}

/// The repaired JSON and the problem.
fn repaired(checked: CheckedItem) -> (String, String) {
    match checked {
        CheckedItem::Repaired { json, problem } => (json.text().into_owned(), problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_items_keep_every_byte() {
    for text in [
        r#"{"name":"a", "inputSchema" : {"type":"object","properties":{"n":{"minimum":1.50,"default":null,"x-odd":[1e2]}}} ,"x":null}"#,
        r##"{"name":"a","title":"","description":"\ud83d\ude00 \\ud800","inputSchema":{"properties":{},"type":"object","additionalProperties":false,"oneOf":[{"required":["a"]}]},"outputSchema":{"type":"array","items":{"$ref":"#/$defs/x"},"$defs":{"x":{"type":["string","null"],"const":null,"enum":[null]}}},"annotations":{"readOnlyHint":true,"odd":7},"execution":{"taskSupport":"optional"},"icons":[{"src":"data:","sizes":["any"],"theme":"dark"}],"_meta":{"big":123456789012345678901234567890,"n":null}}"##,
    ] {
        assert_eq!(tool(text), CheckedItem::Good(raw(text)));
    }
    let resource = r#"{"uri":"a:b","name":"","size":12.0,"annotations":{"audience":["user"],"priority":0.50,"lastModified":"2026-01-31T23:59:59Z"}}"#;
    assert_eq!(
        check(ItemKind::Resource, &raw(resource)),
        CheckedItem::Good(raw(resource))
    );
    let prompt = r#"{"name":"p","arguments":[{"name":"a","required":false,"x":null}]}"#;
    assert_eq!(
        check(ItemKind::Prompt, &raw(prompt)),
        CheckedItem::Good(raw(prompt))
    );
    let template = r#"{"uriTemplate":"a:{b}","name":"t"}"#;
    assert_eq!(
        check(ItemKind::Template, &raw(template)),
        CheckedItem::Good(raw(template))
    );
}

#[test]
fn another_spelling_of_the_same_schema_is_not_a_problem() {
    let CheckedItem::Good(json) = tool(
        r#"{"name":"a","inputSchema":{"type":"object","properties":{"x":true,"y":{"items":false,"additionalProperties":false}}},"z":1.0}"#,
    ) else {
        panic!()
    };
    assert_eq!(
        json.text(),
        r#"{"name":"a","inputSchema":{"type":"object","properties":{"x":{},"y":{"items":{"not":{}},"additionalProperties":false}}},"z":1.0}"#
    );
    let CheckedItem::Good(json) = tool(r#"{"name":"a","inputSchema":{"type":"object"}}"#) else {
        panic!()
    };
    assert_eq!(
        json.text(),
        r#"{"name":"a","inputSchema":{"type":"object","properties":{}}}"#
    );
}

#[test]
fn what_is_wrong_goes_and_is_named() {
    const GOOD: &str = r#""inputSchema":{"type":"object","properties":{}}"#;
    for (member, names) in [
        (r#""title":null"#, "title"),
        (r#""description":7"#, "description"),
        (r#""icons":null"#, "icons"),
        (r#""icons":{}"#, "icons"),
        (r#""annotations":null"#, "annotations"),
        (r#""annotations":[]"#, "annotations"),
        (r#""execution":"x""#, "execution"),
        (r#""outputSchema":null"#, "outputSchema"),
        (r#""outputSchema":true"#, "outputSchema"),
        (r#""_meta":[]"#, "_meta"),
    ] {
        let (json, problem) = repaired(tool(&format!(r#"{{"name":"a",{member},{GOOD}}}"#)));
        assert_eq!(json, format!(r#"{{"name":"a",{GOOD}}}"#), "{member}");
        assert!(problem.starts_with(&format!("`{names}`")), "{problem}");
    }
    for (member, kept) in [
        (
            r#""icons":[{"url":"x"},{"src":"y","theme":"blue"}]"#,
            r#""icons":[{"src":"y"}]"#,
        ),
        (
            r#""annotations":{"readOnlyHint":"yes","title":null,"openWorldHint":false}"#,
            r#""annotations":{"openWorldHint":false}"#,
        ),
        (r#""execution":{"taskSupport":"maybe"}"#, r#""execution":{}"#),
    ] {
        let (json, _) = repaired(tool(&format!(r#"{{"name":"a",{member},{GOOD}}}"#)));
        assert_eq!(json, format!(r#"{{"name":"a",{kept},{GOOD}}}"#));
    }
}

#[test]
fn schemas_of_arguments_become_object_schemas() {
    for (schema, fixed) in [
        ("null", r#"{"type":"object","properties":{}}"#),
        ("[]", r#"{"type":"object","properties":{}}"#),
        ("true", r#"{"type":"object","properties":{}}"#),
        ("{}", r#"{"type":"object","properties":{}}"#),
        (
            r#"{"properties":null,"type":null}"#,
            r#"{"type":"object","properties":{}}"#,
        ),
        (
            r#"{"type":["object","null"],"properties":{"a":null,"b":{"type":"STRING","required":true}},"required":null}"#,
            r#"{"type":"object","properties":{"a":{},"b":{"type":"string"}}}"#,
        ),
        (
            r#"{"type":"object","properties":{"a":{"anyOf":[null,{"type":"x"}],"enum":[]}},"required":["a",7],"$schema":1}"#,
            r#"{"type":"object","properties":{"a":{"anyOf":[{},{}]}},"required":["a"]}"#,
        ),
    ] {
        let (json, _) = repaired(tool(&format!(r#"{{"name":"a","inputSchema":{schema}}}"#)));
        assert_eq!(
            json,
            format!(r#"{{"name":"a","inputSchema":{fixed}}}"#),
            "{schema}"
        );
    }
    let (json, problem) = repaired(tool(r#"{"name":"a"}"#));
    assert_eq!(
        json,
        r#"{"name":"a","inputSchema":{"type":"object","properties":{}}}"#
    );
    assert_eq!(problem, "`inputSchema` is missing");
}

#[test]
fn what_cannot_be_repaired_is_left_out() {
    for item in [
        "7",
        "null",
        "[]",
        "{}",
        r#"{"name":null,"inputSchema":{"type":"object"}}"#,
        r#"{"name":"a","inputSchema":{"type":"string"}}"#,
        r#"{"name":"a","inputSchema":{"type":["array","null"]}}"#,
    ] {
        let CheckedItem::LeftOut { problem } = tool(item) else {
            panic!("{item}")
        };
        assert!(!problem.is_empty(), "{item}");
    }
    let deep = format!(r#"{{"name":"a","x":{}1{}}}"#, "[".repeat(120), "]".repeat(120));
    assert!(matches!(tool(&deep), CheckedItem::LeftOut { .. }));
    let resource = check(ItemKind::Resource, &raw(r#"{"name":"a"}"#));
    assert!(matches!(resource, CheckedItem::LeftOut { .. }));
}

#[test]
fn a_resource_gets_the_name_that_it_lacks() {
    for (item, name) in [
        (r#"{"uri":"a:b"}"#, "a:b"),
        (r#"{"uri":"a:b","name":null,"title":"T"}"#, "T"),
        (r#"{"uri":"a:b","name":7,"title":7}"#, "a:b"),
    ] {
        let (json, _) = repaired(check(ItemKind::Resource, &raw(item)));
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["name"], name);
    }
}

#[test]
fn output_schemas_compile() {
    let fixed = |schema: &str| {
        let (json, _) = repaired(tool(&format!(
            r#"{{"name":"a","inputSchema":{{"type":"object","properties":{{}}}},"outputSchema":{schema}}}"#
        )));
        serde_json::from_str::<Value>(&json).unwrap()["outputSchema"].clone()
    };
    for (schema, expected) in [
        (
            r##"{"properties":{"a":{"$ref":"#/$defs/gone"}}}"##,
            r#"{"properties":{"a":{}}}"#,
        ),
        (
            r#"{"properties":{"a":{"$ref":"https://x.test/y"}}}"#,
            r#"{"properties":{"a":{}}}"#,
        ),
        (
            r#"{"properties":{"a":{"pattern":"(?P<y>x)"}}}"#,
            r#"{"properties":{"a":{}}}"#,
        ),
        (
            r#"{"properties":{"a":{"nullable":true}}}"#,
            r#"{"properties":{"a":{}}}"#,
        ),
        (
            r#"{"properties":{"id":{"id":"x"}}}"#,
            r#"{"properties":{"id":{}}}"#,
        ),
        (
            r#"{"properties":{"a":{"exclusiveMinimum":true,"minimum":1}}}"#,
            r#"{"properties":{"a":{"minimum":1}}}"#,
        ),
        (
            r##"{"$defs":{"x":{"$ref":"#/$defs/x"}},"$ref":"#/$defs/x"}"##,
            r#"{"$defs":{"x":{}}}"#,
        ),
        (
            r##"{"$ref":"#/components/x","components":{"x":{"type":"strin"}}}"##,
            r#"{"components":{"x":{"type":"strin"}}}"#,
        ),
        (
            r#"{"$id":"http://a.test/b","$defs":{"x":{"$id":"http://a.test/b"}}}"#,
            r#"{"$defs":{"x":{}},"$id":"http://a.test/b"}"#,
        ),
    ] {
        assert_eq!(
            fixed(schema),
            serde_json::from_str::<Value>(expected).unwrap(),
            "{schema}"
        );
    }
}

#[test]
fn references_that_lead_somewhere_stay() {
    for schema in [
        r##"{"type":"object","properties":{"a":{"$ref":"#"}}}"##,
        r##"{"type":"object","properties":{"a":{"$ref":"#/properties/b"},"b":{"type":"string"}}}"##,
        r##"{"$defs":{"a b/c":{}},"$ref":"#/$defs/a%20b~1c"}"##,
        r##"{"$defs":{"x":{"$anchor":"here"}},"$ref":"#here"}"##,
        r##"{"$id":"http://a.test/b","$defs":{"x":{}},"$ref":"http://a.test/b#/$defs/x"}"##,
        r##"{"$ref":"#/components/x","components":{"x":{"type":"string","anyOf":[{"$ref":"#/components/x"}]}}}"##,
        r##"{"$ref":"http://json-schema.org/draft-07/schema#"}"##,
    ] {
        let item = format!(
            r#"{{"name":"a","inputSchema":{{"type":"object","properties":{{}}}},"outputSchema":{schema}}}"#
        );
        assert_eq!(tool(&item), CheckedItem::Good(raw(&item)), "{schema}");
    }
}

#[test]
fn many_parts_that_refer_to_each_other_are_checked_once() {
    let parts: serde_json::Map<String, Value> = (0..200)
        .map(|i| {
            let others: Vec<Value> = (0..200).map(|j| json!({ "$ref": format!("#/x/p{j}") })).collect();
            (format!("p{i}"), json!({ "anyOf": others }))
        })
        .collect();
    let item = json!({
        "name": "a",
        "inputSchema": { "type": "object", "properties": {} },
        "outputSchema": { "$ref": "#/x/p0", "x": parts },
    });
    check(ItemKind::Tool, &RawJson::of(&item));
}

#[test]
fn half_a_surrogate_pair_is_replaced() {
    let (json, _) = repaired(check(
        ItemKind::Prompt,
        &raw(r#"{"name":"a","title":"\ud83d\ude00 \ud83d \\ud83d \udE00","x\ud800":1.0}"#),
    ));
    assert_eq!(
        json,
        r#"{"name":"a","title":"\ud83d\ude00 \ufffd \\ud83d \ufffd","x\ufffd":1.0}"#
    );
}

#[test]
fn times_are_those_of_the_sdk() {
    for time in [
        "2026-01-31T00:00:00Z",
        "2024-02-29T23:59:59.123456789+23:59",
        "2000-02-29T12:00:00-00:00",
    ] {
        assert!(text::is_time(time), "{time}");
    }
    for time in [
        "",
        "2026-01-31",
        "2026-01-31T00:00:00",
        "2026-01-31 00:00:00Z",
        "2026-01-31t00:00:00z",
        "2026-01-31T00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T00:00:00.Z",
        "2026-01-31T00:00:00+24:00",
        "2026-01-31T00:00:00+01",
        "2026-01-31T00:00:00+0100",
        "26-01-31T00:00:00Z",
    ] {
        assert!(!text::is_time(time), "{time}");
    }
}

#[test]
fn legacy_clients_see_output_schemas_of_objects_only() {
    let item = |schema: &str| {
        raw(&format!(
            r#"{{"name":"a","outputSchema":{schema},"inputSchema":{{"type":"object"}},"n":1.0}}"#
        ))
    };
    for schema in [
        r#"{"type":"array"}"#,
        "{}",
        r#"{"type":["object"]}"#,
        r#"{"anyOf":[]}"#,
    ] {
        let legacy = legacy_tool(&item(schema)).unwrap();
        assert_eq!(
            legacy.text(),
            r#"{"name":"a","inputSchema":{"type":"object"},"n":1.0}"#
        );
    }
    assert_eq!(legacy_tool(&item(r#"{"type":"object"}"#)), None);
    assert_eq!(
        legacy_tool(&raw(r#"{"name":"a","description":"\"outputSchema\""}"#)),
        None
    );
}

/// Any JSON, with names that the tables know where a name may stand.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "x",
            "object",
            "OBJECT",
            "string",
            "array",
            "light",
            "user",
            "optional",
            "(",
            "#",
            "#/x",
            "2026-01-31T00:00:00Z",
            "https://x.test/",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let name = prop::sample::select(vec![
            "name",
            "title",
            "description",
            "icons",
            "inputSchema",
            "outputSchema",
            "annotations",
            "execution",
            "_meta",
            "arguments",
            "uri",
            "uriTemplate",
            "mimeType",
            "size",
            "src",
            "sizes",
            "theme",
            "readOnlyHint",
            "openWorldHint",
            "taskSupport",
            "required",
            "audience",
            "priority",
            "lastModified",
            "type",
            "properties",
            "items",
            "anyOf",
            "enum",
            "$ref",
            "$defs",
            "$id",
            "id",
            "nullable",
            "minimum",
            "exclusiveMinimum",
            "pattern",
            "additionalProperties",
            "dependencies",
            "patternProperties",
            "$schema",
            "x",
            "not",
            "format",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..9)
                .prop_map(|members| Value::from_iter(members.into_iter().map(|(k, v)| (k.to_owned(), v)))),
        ]
    })
}

/// A good item of each kind with some members replaced.
fn broken_item() -> impl Strategy<Value = Value> {
    let good = json!({
        "name": "n", "uri": "a:b", "uriTemplate": "a:{b}",
        "inputSchema": { "type": "object", "properties": { "x": { "type": "string" } } },
    });
    prop::collection::vec(
        (
            prop::sample::select(vec![
                "title",
                "icons",
                "inputSchema",
                "outputSchema",
                "annotations",
                "execution",
                "_meta",
                "arguments",
                "size",
                "name",
                "description",
                "mimeType",
            ]),
            any_json(),
        ),
        0..6,
    )
    .prop_map(move |members| {
        let mut item = good.clone();
        for (key, value) in members {
            item[key] = value;
        }
        item
    })
}

fn shown(checked: CheckedItem) -> Option<RawJson> {
    match checked {
        CheckedItem::Good(json) | CheckedItem::Repaired { json, .. } => Some(json),
        CheckedItem::LeftOut { .. } => None,
    }
}

fn passes(kind: ItemKind, json: &RawJson) {
    let item = json.to_value();
    assert!(sdk_checks::modern(kind, &item), "{item}");
    if kind == ItemKind::Tool
        && let Some(schema) = item.get("outputSchema")
    {
        assert!(sdk_checks::compiles(schema), "{schema}");
    }
    let legacy = legacy_tool(json).map_or(item, |json| json.to_value());
    assert!(sdk_checks::legacy(kind, &legacy), "{legacy}");
}

proptest! {
    #[test]
    fn whatever_is_shown_passes_the_checks_of_the_sdks(item in prop_oneof![any_json(), broken_item()]) {
        for kind in KINDS {
            let json = RawJson::of(&item);
            if let Some(shown) = shown(check(kind, &json)) {
                passes(kind, &shown);
                // What was repaired has nothing left to repair.
                prop_assert_eq!(check(kind, &shown), CheckedItem::Good(shown.clone()));
            }
        }
    }

    #[test]
    fn what_the_sdks_take_keeps_its_bytes(item in broken_item()) {
        for kind in KINDS {
            let json = RawJson::of(&item);
            let compiles = item.get("outputSchema").is_none();
            let has_properties = item["inputSchema"].get("properties").is_some();
            if compiles && has_properties && item["inputSchema"]["properties"]["x"]["type"] == "string"
                && sdk_checks::legacy(kind, &item)
            {
                prop_assert_eq!(check(kind, &json), CheckedItem::Good(json.clone()));
            }
        }
    }

    #[test]
    fn any_text_that_is_json_is_checked_without_panic(text in r#"[\[{]("[a-z$]{0,4}(\\u[dD][89a-f][0-9a-f]{2}|\\\\)?"[:,\]}]|[0-9e.-]{1,4}[,\]}]|[\[{]){0,12}"#) {
        if let Ok(json) = RawJson::parse(text) {
            for kind in KINDS {
                check(kind, &json);
            }
        }
    }
}

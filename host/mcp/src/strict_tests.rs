use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::{Params, RawJson, method};

fn call(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

fn fault(text: &str) -> Fault {
    check(text, Kind::Known, 128).expect_err(text)
}

#[test]
fn what_clients_send_is_fine() {
    for params in [
        r#"{"name":"a","arguments":{"name":"a","NAME":"b","deep":[{"x":1},{"x":2}]}}"#,
        r#"{"name":"a","x-Name":1,"_meta":{"progressToken":1,"x":{"progresstoken":1}}}"#,
        r#"{"name":"\ud83d\ude00","arguments":{"n":[1e3,-0,123456789012345678901234567890,1e308]}}"#,
        r#"{"ref":{"type":"ref/prompt","name":"a"},"argument":{"name":"a","value":"NAME"}}"#,
        r#"{"name":"{\"name\":1,\"name\":2}\\","arguments":{}}"#,
        "[1,[2]]",
    ] {
        assert_eq!(check(&call(params), Kind::Known, 128), Ok(()), "{params}");
    }
    let custom = r#"{"jsonrpc":"2.0","id":1,"method":"acme/x","params":{"Name":1,"NAME":2}}"#;
    assert_eq!(check(custom, Kind::Unknown, 128), Ok(()));
}

#[test]
fn a_name_stands_once() {
    for params in [
        r#"{"name":"a","name":"b"}"#,
        r#"{"name":"a","n\u0061me":"b"}"#,
        r#"{"name":"a","arguments":{"x":1,"x":1}}"#,
        r#"{"name":"a","arguments":{"x":[[{"y":1,"z":{},"y":2}]]}}"#,
        r#"{"x-new":{"a":1,"\u0061":1}}"#,
        r#"{"_meta":{"progressToken":1,"progressToken":2}}"#,
    ] {
        let fault = fault(&call(params));
        assert!(
            fault.in_params && fault.why.contains("twice"),
            "{params}: {fault:?}"
        );
    }
    let many: Vec<String> = (0..100).map(|n| format!(r#""k{n}":{{"a":{n}}}"#)).collect();
    let many = many.join(",");
    assert_eq!(check(&call(&format!("{{{many}}}")), Kind::Known, 128), Ok(()));
    for again in [0, 7, 15, 16, 17, 99] {
        let params = format!(r#"{{{many},"k{again}":1}}"#);
        assert!(fault(&call(&params)).why.contains("twice"), "{again}");
    }
    let envelope = r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{},"method":"b"}"#;
    assert!(!fault(envelope).in_params);
}

#[test]
fn names_that_the_hub_reads_stand_in_their_own_letters() {
    for params in [
        r#"{"Name":"b"}"#,
        r#"{"name":"a","NAME":"b"}"#,
        r#"{"name":"a","Arguments":{}}"#,
        r#"{"name":"a","argument\u017f":{}}"#,
        r#"{"name":"a","argumentſ":{}}"#,
        r#"{"taskid":"a"}"#,
        r#"{"tasKId":"a"}"#,
        r#"{"URİ":"a"}"#,
        r#"{"urı":"a"}"#,
        r#"{"_META":{}}"#,
        r#"{"_meta":{"ProgressToken":1}}"#,
        r#"{"_meta":{"io.modelcontextprotocol/protocolversion":"x"}}"#,
        r#"{"ref":{"type":"ref/prompt","name":"a","URI":"b"}}"#,
        r#"{"capabilities":{"Sampling":{}}}"#,
        r#"{"notifications":{"ResourceSubscriptions":[]}}"#,
        r#"{"name\u0000":"a"}"#,
        r#"{"name":"a","arguments":{"path\u0000":"a"}}"#,
    ] {
        assert!(fault(&call(params)).in_params, "{params}");
    }
    for envelope in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","paramſ":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1},"ID":2}"#,
    ] {
        assert!(!fault(envelope).in_params, "{envelope}");
    }
    let custom = r#"{"jsonrpc":"2.0","id":1,"method":"acme/x","params":{"_Meta":{}}}"#;
    assert!(check(custom, Kind::Unknown, 128).is_err());
}

#[test]
fn texts_and_numbers_have_one_reading() {
    for params in [
        r#"{"name":"\ud800"}"#,
        r#"{"name":"\udc00\ud800"}"#,
        r#"{"arguments":{"x":"a\ud83dx"}}"#,
        r#"{"arguments":{"\ud83d":1}}"#,
        r#"{"arguments":[1e999]}"#,
        r#"{"arguments":{"n":-1E400}}"#,
    ] {
        assert!(fault(&call(params)).in_params, "{params}");
    }
    let long = format!(r#"{{"arguments":{{"n":{}}}}}"#, "9".repeat(400));
    assert!(fault(&call(&long)).why.contains("number"));
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| call(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(check(&nested(127), Kind::Known, 128), Ok(()));
    assert!(check(&nested(128), Kind::Known, 128).is_err());
}

#[test]
fn of_an_answer_only_the_envelope_is_read() {
    let fine = r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2,"text":"\ud83d","n":1e999,"Result":{}}}"#;
    assert_eq!(check(fine, Kind::Answer, 128), Ok(()));
    for bad in [
        r#"{"jsonrpc":"2.0","id":1,"result":{},"ID":2}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{},"Result":{}}"#,
    ] {
        assert!(!check(bad, Kind::Answer, 128).unwrap_err().in_params, "{bad}");
    }
    assert!(check(r#"{"result":[[[]]]}"#, Kind::Answer, 3).is_err());
}

/// What a reader that keeps the first of two members makes of JSON.
struct FirstWins(Value);

impl<'de> serde::Deserialize<'de> for FirstWins {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
                Ok(v.into())
            }
            fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
                Ok(v.into())
            }
            fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
                Ok(v.into())
            }
            fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
                Ok(v.into())
            }
            fn visit_str<E>(self, v: &str) -> Result<Value, E> {
                Ok(v.into())
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut all = Vec::new();
                while let Some(FirstWins(value)) = seq.next_element()? {
                    all.push(value);
                }
                Ok(all.into())
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut all = Map::new();
                while let Some((name, FirstWins(value))) = map.next_entry::<String, _>()? {
                    all.entry(name).or_insert(value);
                }
                Ok(all.into())
            }
        }
        deserializer.deserialize_any(Visitor).map(Self)
    }
}

/// What a reader that compares names without regard to case makes of a member: the last that fits, as Go's
/// `encoding/json` does.
fn without_case<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let fold = |text: &str| text.to_uppercase().to_lowercase();
    let members = object.as_object()?.iter();
    members
        .filter(|(key, _)| fold(key) == fold(name))
        .map(|(_, v)| v)
        .next_back()
}

/// Names that are, or look like, those that the hub reads, as JSON strings.
fn name() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(vec![
        "name",
        "arguments",
        "uri",
        "_meta",
        "ref",
        "type",
        "taskId",
        "level",
        "cursor",
        "x",
        "progressToken",
    ]);
    (plain, 0..6_u8, any::<prop::sample::Index>()).prop_map(|(name, how, at)| {
        let at = at.index(name.len());
        let (before, rest) = name.split_at(at);
        let (letter, after) = rest.split_at(1);
        let code = u32::from(letter.chars().next().unwrap_or('x'));
        match how {
            0 => format!("\"{before}{}{after}\"", letter.to_uppercase()),
            1 => format!("\"{before}\\u{code:04x}{after}\""),
            2 => format!("\"{}\"", name.replace('s', "ſ").replace('k', "\u{212a}")),
            _ => format!("\"{name}\""),
        }
    })
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        (-5..5_i32).prop_map(|n| n.to_string()),
        "[a-cA-C]{0,3}".prop_map(|text| format!("\"{text}\"")),
        Just("\"\\ud800\"".to_owned()),
        Just("1e999".to_owned()),
        Just("[]".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let member = (name(), inner.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
        prop_oneof![
            prop::collection::vec(member, 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
            prop::collection::vec(inner, 0..3).prop_map(|all| format!("[{}]", all.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whoever reads an accepted message reads what the hub reads.
    #[test]
    fn accepted_messages_have_one_reading(
        members in prop::collection::vec((name(), value()), 0..5),
        method in prop::sample::select(vec!["tools/call", "prompts/get", "resources/read", "completion/complete"]),
    ) {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let params = format!("{{{}}}", members.join(","));
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        if check(&text, Kind::Known, 128).is_err() {
            return Ok(());
        }
        let last: Value = serde_json::from_str(&params).unwrap();
        let FirstWins(first) = serde_json::from_str(&params).unwrap();
        prop_assert_eq!(&last, &first);
        let Ok(hub) = Params::read(method, Some(RawJson::parse(params).unwrap())) else {
            return Ok(());
        };
        let sent = hub.to_json().unwrap().to_value();
        for read in READ_MEMBERS {
            let own = hub.get(read).map(RawJson::to_value);
            prop_assert_eq!(own.as_ref(), sent.get(read));
            prop_assert_eq!(own.as_ref(), without_case(&sent, read));
            // Nothing but a member that is `null` is taken away.
            prop_assert!(own.as_ref() == last.get(read) || last[*read].is_null());
        }
        let empty = Value::Null;
        for (object, names) in [("_meta", META), ("ref", REFERENCE)] {
            let inner = sent.get(object).unwrap_or(&empty);
            for name in names {
                prop_assert_eq!(inner.get(name), without_case(inner, name));
            }
        }
    }

    #[test]
    fn no_text_breaks_the_scan(text in "\\PC*") {
        let _ = check(&text, Kind::Known, 8);
    }

    #[test]
    fn no_broken_json_breaks_the_scan(text in "[{}\\[\\]\",:\\\\u0-9dDeE.+ -]{0,64}") {
        let _ = check(&text, Kind::Unknown, 8);
    }

    #[test]
    fn what_a_map_serialises_is_accepted(keys in prop::collection::hash_set("[a-z\u{e9}\u{df}]{1,3}", 0..40)) {
        let map: Map<String, Value> = keys.into_iter().map(|key| (key, Value::from(1))).collect();
        let text = call(&format!(r#"{{"name":"a","arguments":{}}}"#, Value::Object(map)));
        prop_assert_eq!(check(&text, Kind::Known, 128), Ok(()));
    }
}

#[test]
fn methods_that_the_hub_knows_are_distinguished() {
    assert!(method::is_known(method::TOOLS_CALL) && method::is_known("tasks/get"));
    assert!(!method::is_known("acme/x"));
    for fine in ["acme/x", "tools/call2", "x-$.y:z"] {
        assert_eq!(check_method(fine), Ok(()), "{fine}");
    }
    for bad in [
        "Tools/Call",
        "TOOLS/CALL",
        "toolſ/call",
        "tools/call ",
        "tools/call\0",
        " tools/call",
        "tools/\tcall",
    ] {
        assert!(check_method(bad).is_err(), "{bad:?}");
    }
}

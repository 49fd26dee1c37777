use proptest::prelude::*;

use super::*;

fn all(text: &[u8]) -> Vec<Outcome> {
    read(&Bytes::copy_from_slice(text)).collect()
}

fn one(text: &str) -> Outcome {
    let mut all = all(text.as_bytes());
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

/// What an answer says, as the hub would write it.
fn written(text: &str) -> String {
    let message = one(text).unwrap_or_else(|e| panic!("{text}: {}", e.error));
    String::from_utf8(message.to_bytes().to_vec()).unwrap()
}

#[test]
fn what_one_of_the_sdks_takes_is_taken() {
    let plain = r#"{"jsonrpc":"2.0","id":7,"result":{"x":1.50}}"#;
    for text in [
        plain,
        r#"{"jsonrpc":"2.0","id":"7","result":{"x":1.50}}"#,
        r#"{"jsonrpc":"2.0","id":" 7","result":{"x":1.50}}"#,
        r#"{"jsonrpc":"2.0","id":"7.0","result":{"x":1.50}}"#,
        r#"{"jsonrpc":"2.0","id":7.0,"result":{"x":1.50}}"#,
        r#"{"jsonrpc":"2.0","id":70e-1,"result":{"x":1.50}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"x":1.50},"error":null}"#,
        r#"{"jsonrpc":"2.0","id":"7","error":null,"result":{"x":1.50},"method":null,"params":null}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"x":1.50},"extra":[{}]}"#,
        r#"{"jsonrpc":"2.0","id":9,"result":{"x":1},"id":7,"result":{"x":1.50}}"#,
        // The error cannot be read, the result can.
        r#"{"jsonrpc":"2.0","id":7,"result":{"x":1.50},"error":{}}"#,
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"x\":1.50}}\r",
        " [ {\"jsonrpc\":\"2.0\",\"id\":7.0,\"result\":{\"x\":1.50}} ]\n",
        "\u{feff}[{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"x\":1.50},\"error\":null}]",
    ] {
        assert_eq!(written(text), plain, "{text}");
    }
    let failed = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"m"}}"#;
    for text in [
        failed,
        r#"{"jsonrpc":"2.0","id":"7","error":{"code":-32000.0,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":"-32000","message":"m","data":null}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-3.2e4,"message":"m"},"result":null}"#,
        // Both: the failure counts.
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"m"},"result":{"x":1}}"#,
    ] {
        assert_eq!(written(text), failed, "{text}");
    }
    for text in [
        r#"{"jsonrpc":"2.0","id":7,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":null,"error":null}"#,
    ] {
        assert_eq!(written(text), r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, "{text}");
    }
    // A request of the server gets its answer under the id that it wrote.
    let asked = r#"{"jsonrpc":"2.0","id":"7.0","method":"ping","result":null}"#;
    assert_eq!(written(asked), r#"{"jsonrpc":"2.0","id":"7.0","method":"ping"}"#);
    let note = r#"{"jsonrpc":"2.0","id":null,"method":"notifications/x","params":null}"#;
    assert_eq!(written(note), r#"{"jsonrpc":"2.0","method":"notifications/x"}"#);
}

#[test]
fn a_byte_that_is_not_utf_8_costs_itself_only() {
    for text in [
        b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"x\":\"caf\xe9\"}}".as_slice(),
        b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":\"7\",\"result\":{\"x\":\"caf\xe9\"},\"error\":null}",
        b"[{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"x\":\"caf\xff\"}}]",
    ] {
        let mut all = all(text);
        assert_eq!(all.len(), 1);
        let message = all.remove(0).unwrap().to_bytes();
        assert_eq!(
            message,
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"x\":\"caf\u{fffd}\"}}"
        );
    }
}

#[test]
fn an_array_holds_messages_and_what_is_none_costs_itself_only() {
    let text = br#"[{"jsonrpc":"2.0","method":"n"},1,{"jsonrpc":"2.0","id":"3","error":{}},{"jsonrpc":"2.0","id":4,"result":{}}]"#;
    let all = all(text);
    assert!(matches!(all[0], Ok(Message::Notification { .. })));
    assert!(all[1].as_ref().unwrap_err().id.is_none());
    assert_eq!(all[2].as_ref().unwrap_err().id, Some(Id::number(3)));
    assert!(matches!(&all[3], Ok(Message::Response { id: Some(id), .. }) if *id == Id::number(4)));
    assert!(super::read(&Bytes::from_static(b"[]")).next().is_none());
    let many = format!("[{}1]", "1,".repeat(MAX_MESSAGES));
    let refused = one(&many).unwrap_err();
    assert!(
        refused.error.to_string().contains("too many"),
        "{}",
        refused.error
    );
}

#[test]
fn an_answer_that_cannot_be_read_says_whose_it_is() {
    for text in [
        r#"{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}"#,
        r#"{"jsonrpc":"2.0","id":"7","result":{"x":"a"#,
        "{\"jsonrpc\":\"2.0\",\"id\":7.0,\"result\":{\"x\":\"a\u{1}\"}}",
        r#"{"result":{"x":[Infinity,{"id":1}]},"jsonrpc":"2.0","id":7}"#,
        r#"{"result":{"id":1,"x":"\"}{"},"jsonrpc":"2.0","id":7,}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{}} {"jsonrpc":"2.0","id":8,"result":{}}"#,
        r#"[{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}]"#,
        r#"{"jsonrpc":"2.0","id":7,"result":"pong"}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":[]}"#,
        r#"{"jsonrpc":"2.0","id":"7","error":"boom"}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"message":"boom"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1.5,"message":"boom"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":null}"#,
        r#"{"jsonrpc":"2.0","id":7}"#,
        r#"{"jsonrpc":"1.0","id":7,"result":{}}"#,
        r#"{"jsonrpc":2.0,"id":7,"result":{}}"#,
        r#"{"id":7,"result":{}}"#,
        r#"{"id":7,"error":{"code":1,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","result":{}}"#,
    ] {
        let unreadable = one(text).expect_err(text);
        assert_eq!(unreadable.id, Some(Id::number(7)), "{text}: {}", unreadable.error);
    }
    // What a server prints for people may hold an id too, and is not an answer.
    for text in [
        "Server ready",
        "1",
        "",
        "{",
        "[",
        r#"sending {"jsonrpc":"2.0","id":7,"result":{"x":NaN}}"#,
        r#"{"level":"info","id":7,"msg":"done"}"#,
        r#"{"level":"info","id":7,"error":"no such file"}"#,
        r#"{"level":"info","id":7,"result":"ok"}"#,
        r#"{"level":"info","id":7,"result":"#,
        r#"{"level":"info","id":7,"result":{"rows":3}}"#,
        r#"{"level":"error","id":7,"error":{"code":"ENOENT"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":1}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{"x":NaN}}"#,
        r#"{"jsonrpc":"2.0","id":true,"result":{}}"#,
        r#"{"jsonrpc":"2.0","result":{"id":7,"x":NaN}}"#,
    ] {
        for read in all(text.as_bytes()) {
            assert_eq!(read.expect_err(text).id, None, "{text}");
        }
    }
}

#[test]
fn the_end_of_an_answer_says_whose_it_is() {
    for (text, id) in [
        (r#"aaa"}]},"jsonrpc":"2.0","id":7}"#, Some(7)),
        ("aaa\"}]},\"jsonrpc\":\"2.0\",\"id\":\"7\"} \r", Some(7)),
        (r#"aaa"}]},"id":7,"jsonrpc":"2.0"}"#, Some(7)),
        (r#"aaa"}]},"id":7}"#, None),
        (r#"aaa\"}]},\"jsonrpc\":\"2.0\",\"id\":7}"}]}}"#, None),
        (r#"aaa"}]},"jsonrpc":"2.0","id":{}}"#, None),
        (r#"aaa"}]},"jsonrpc":"2.0","id":7"#, None),
        ("}", None),
        ("", None),
    ] {
        assert_eq!(answered_at_end(text.as_bytes()), id.map(Id::number), "{text}");
    }
}

#[test]
fn whole_numbers_in_any_form() {
    for (text, number) in [
        ("7", Some(7)),
        ("-7", Some(-7)),
        ("7.0", Some(7)),
        ("0.7e1", Some(7)),
        ("\"7\"", Some(7)),
        ("\"+7\"", Some(7)),
        ("\"007\"", Some(7)),
        ("\"\\u0037\"", Some(7)),
        ("7.5", None),
        ("1e300", None),
        ("\"\"", None),
        ("\"inf\"", None),
        ("\"NaN\"", None),
        ("\"seven\"", None),
        ("null", None),
        ("9007199254740993.0", Some(9_007_199_254_740_992)),
        ("9223372036854775807", Some(i64::MAX)),
    ] {
        assert_eq!(whole_number(text), number, "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = all(&bytes);
    }

    #[test]
    fn a_broken_answer_is_found_wherever_it_breaks(at in 40_usize..80, id in 0_u64..1_000_000) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"\\\"}}]{{"}}]}}}}"#);
        let cut = text.floor_char_boundary(at.min(text.len() - 1));
        let unreadable = one(&text[..cut]).unwrap_err();
        prop_assert_eq!(unreadable.id, Some(Id::number(id)));
    }
}

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

fn filter(secrets: &[&str]) -> Filter {
    Filter::new(secrets.iter().copied())
}

/// The ways in which programs write a text that is not ASCII letters and digits alone.
fn spellings(secret: &str) -> Vec<String> {
    use base64::prelude::*;
    const FORM: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'%')
        .add(b'&')
        .add(b'+')
        .add(b'=');
    let json = serde_json::to_string(secret).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let units = |write: fn(u16) -> String| secret.encode_utf16().map(write).collect::<String>();
    let hex = |write: fn(u8) -> String| secret.bytes().map(write).collect::<String>();
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let mut all = vec![
        secret.to_owned(),
        json.clone(),
        json.replace('/', "\\/"),
        // JSON in a string of JSON, as tools answer it.
        {
            let twice = serde_json::to_string(&json).unwrap();
            twice[1..twice.len() - 1].to_owned()
        },
        units(|unit| format!("\\u{unit:04x}")),
        units(|unit| format!("\\u{unit:04X}")),
        {
            let debug = format!("{secret:?}");
            debug[1..debug.len() - 1].to_owned()
        },
        secret.escape_unicode().to_string(),
        hex(|byte| format!("{byte:02x}")),
        hex(|byte| format!("{byte:02X}")),
        hex(|byte| format!("%{byte:02x}")),
        hex(|byte| format!("%{byte:02X}")),
        percent.clone(),
        utf8_percent_encode(secret, FORM).to_string(),
        utf8_percent_encode(secret, FORM).to_string().replace("%20", "+"),
    ];
    // Lower case hexadecimal digits alone.
    let mut lower = String::new();
    let mut rest = 0;
    for c in percent.chars() {
        rest = if c == '%' {
            3
        } else {
            usize::saturating_sub(rest, 1)
        };
        lower.push(if rest > 0 { c.to_ascii_lowercase() } else { c });
    }
    all.push(lower);
    for before in ["", "u", "us", "usr"] {
        for after in ["", ":", ":x", ":xy"] {
            let text = format!("{before}{secret}{after}");
            all.push(BASE64_STANDARD.encode(&text));
            all.push(BASE64_STANDARD_NO_PAD.encode(&text));
            all.push(BASE64_URL_SAFE.encode(&text));
            all.push(BASE64_URL_SAFE_NO_PAD.encode(&text));
        }
    }
    all
}

/// What is left of `text` when the marks are taken out: too little to tell a secret.
fn rest(text: &str) -> String {
    text.replace(MARK, "")
}

#[test]
fn every_spelling_is_found_and_nothing_else_changes() {
    let secrets = [
        "tok-12345",
        "p\u{e4}ss\"w\\rd / + &?",
        "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
        "two words\nand lines",
    ];
    let filter = filter(&secrets);
    for secret in secrets {
        for spelled in spellings(secret) {
            let text = format!("before <{spelled}> after");
            let clean = filter.text(&text);
            assert!(clean.contains(MARK), "{spelled:?} of {secret:?}: {clean}");
            assert!(
                clean.starts_with("before <") && clean.ends_with("> after"),
                "{clean}"
            );
            let left = rest(&clean["before <".len()..clean.len() - "> after".len()]);
            assert!(left.len() <= 12, "{spelled:?} of {secret:?} leaves {left:?}");
        }
    }
    for text in ["", "tok-1234", "before", "\\u00e4 %20 \\\\ %", "tok-\u{e4}12345"] {
        assert!(matches!(filter.text(text), Cow::Borrowed(same) if same == text));
    }
}

#[test]
fn secrets_that_overlap_and_repeat() {
    let filter = filter(&["abcdefgh", "efghijkl", "abcdefghijklmnop"]);
    assert_eq!(filter.text("xabcdefghijklx"), format!("x{MARK}x"));
    assert_eq!(filter.text("abcdefghijklmnop"), MARK);
    assert_eq!(filter.text("abcdefghabcdefgh-abcdefgh"), format!("{MARK}-{MARK}"));
    assert_eq!(filter.text("aabcdefgh"), format!("a{MARK}"));
}

#[test]
fn a_cut_leaves_no_half_of_a_secret() {
    let filter = filter(&["0123456789abcdef"]);
    let text = format!("{}0123456789abcdef tail", "x".repeat(20));
    for keep in 0..text.len() {
        let start = filter.start(&text, keep);
        assert!(!start.contains("01"), "{keep}: {start}");
        assert!(start.starts_with(&text[..keep.min(20)]), "{keep}: {start}");
    }
    assert_eq!(filter.start("a\u{e4}b", 2), "a");
}

#[test]
fn a_wrapped_or_cut_long_secret_is_found_in_parts() {
    use base64::prelude::*;
    let secret: String = (0..40).map(|n| format!("{:02x}Zq", n * 7 % 256)).collect();
    let filter = filter(&[&secret]);
    let encoded = BASE64_STANDARD.encode(&secret);
    for line in encoded.as_bytes().chunks(76).filter(|line| line.len() > 48) {
        let line = std::str::from_utf8(line).unwrap();
        assert!(rest(&filter.text(line)).len() <= 32, "{}", filter.text(line));
    }
    assert!(rest(&filter.text(&secret[..100])).len() < 16);
}

#[test]
fn json_stays_json() {
    let filter = filter(&[
        "12345678",
        "say \"hi\" {\"a\":1}",
        "{\"a\":\"b\",\"c\"",
        "abc\\ndefgh",
        "uabcdefgh",
    ]);
    for (text, clean) in [
        (
            r#"{"id":12345678,"x":-12345678.5e3}"#,
            r#"{"id":"[redacted]","x":"[redacted]"}"#,
        ),
        (r#"{"t":"is 12345678!"}"#, r#"{"t":"is [redacted]!"}"#),
        (r#"{"12345678":1}"#, r#"{"[redacted]":1}"#),
        // The structure of an answer is not a string.
        (r#"{"a":"b","c":1}"#, r#"{"a":"b","c":1}"#),
        (r#"{"t":"{\"a\":\"b\",\"c\":1}"}"#, r#"{"t":"[redacted]:1}"}"#),
        (r#"{"t":"say \"hi\" {\"a\":1}"}"#, r#"{"t":"[redacted]"}"#),
        (
            r#"{"t":"abc\\ndefgh","u":"abc\ndefgh"}"#,
            r#"{"t":"[redacted]","u":"abc\ndefgh"}"#,
        ),
        // An escape is never cut in two.
        (r#"{"t":"\uabcdefgh"}"#, r#"{"t":"\uabcdefgh"}"#),
        (r#"["\u0031\u0032345678"]"#, r#"["[redacted]"]"#),
    ] {
        assert_eq!(filter.json(Bytes::from(text)), clean, "{text}");
    }
}

#[test]
fn without_secrets_nothing_is_copied() {
    let text = Bytes::from_static(b"{\"a\":\"b\"}");
    for filter in [filter(&[]), filter(&["not-in-it"])] {
        assert_eq!(filter.json(text.clone()).as_ptr(), text.as_ptr());
    }
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{8,40}",
        "[ -~]{8,40}",
        "\\PC{8,20}",
        "[a\"\\\\/\n\u{e4}\u{1f600}+ %&]{8,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_spelling_of_any_secret_passes(secret in secret(), before in "[ -~]{0,12}<", after in ">[ -~]{0,12}") {
        let filter = filter(&[&secret]);
        for spelled in spellings(&secret) {
            let text = format!("{before}{spelled}{after}");
            let clean = filter.text(&text);
            prop_assert!(clean.contains(MARK), "{:?} of {:?}", text, secret);
            prop_assert!(!clean.contains(&*secret) || MARK.contains(&*secret), "{:?}", clean);
            let json = serde_json::to_string(&serde_json::json!({ "k": [1, { "text": text }] })).unwrap();
            let clean = filter.json(Bytes::from(json));
            let value: serde_json::Value = serde_json::from_slice(&clean).unwrap();
            prop_assert!(value["k"][1]["text"].as_str().unwrap().contains(MARK), "{:?} of {:?}", text, secret);
        }
    }

    #[test]
    fn any_json_stays_json(secrets in prop::collection::vec("[a0-9\"{}:,\\\\nu]{8}", 1..4), text in "[a0-9\"{}:,\\\\nu\u{e4}]*", number in any::<u64>()) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let filter = filter(&secrets);
        let json = serde_json::json!({ "text": text, "n": number, "deep": [{ text.clone(): [text, number] }] }).to_string();
        let clean = filter.json(Bytes::from(json.clone()));
        let value: serde_json::Value = serde_json::from_slice(&clean).unwrap();
        if clean == json {
            prop_assert!(secrets.iter().all(|secret| !text.contains(secret)));
        } else {
            prop_assert!(value.to_string().contains(MARK));
        }
    }

    #[test]
    fn any_text_can_be_filtered(secret in secret(), text in ".*", keep in 0_usize..200) {
        let filter = filter(&[&secret]);
        let _ = filter.text(&text);
        prop_assert!(filter.start(&text, keep).len() <= keep + MARK.len());
    }
}

//! Attacks by what comes back.

use std::io::Write as _;

use aih_plugin::{
    Content, Error, Output, Result, arguments,
    serde_json::{Value, json},
    tool,
    wit::types,
};

use crate::{Amount, How};

#[arguments]
pub struct Flood {
    /// `result`, `stdout` or `stderr`; `result` if left out.
    to: Option<String>,
    /// 1,024 if left out.
    megabytes: Option<usize>,
}

/// Gives 1 GB back.
#[tool]
pub async fn output_1gb(args: Flood) -> Result<String> {
    let megabytes = args.megabytes.unwrap_or(1024);
    let block = "x".repeat(1 << 20);
    for n in 0..megabytes {
        match args.to.as_deref() {
            Some("stdout") => std::io::stdout().write_all(block.as_bytes()),
            Some("stderr") => std::io::stderr().write_all(block.as_bytes()),
            _ => return Ok(block.repeat(megabytes)),
        }
        .map_err(|error| Error::new(format!("after {n} MB: {error}")))?;
    }
    Ok(format!("{megabytes} MB written"))
}

/// Gives `amount` blocks of content back, 1,000,000 if left out.
#[tool]
pub async fn many_blocks(args: Amount) -> Vec<Content> {
    (0..args.or(1_000_000)).map(|_| Content::text("")).collect()
}

/// Fails with a message of `amount` megabytes, 20 if left out.
#[tool]
pub async fn huge_error(args: Amount) -> Result<()> {
    let megabytes = usize::try_from(args.or(20)).unwrap_or(20);
    Err(Error::internal("error ".repeat(megabytes * 170_000)))
}

/// Gives JSON back that is none. Ways: `resource`, `array` (a block that is no object), `unknown` (a block of an
/// unknown type), `deep` (nested 100,000 times), `nan`, `duplicate` (a key twice).
#[tool]
pub async fn bad_json_output(args: How) -> Raw {
    Raw(match args.or("resource") {
        "array" => "[1, 2]".to_owned(),
        "unknown" => r#"{"type": "unheard-of", "x": 1}"#.to_owned(),
        "deep" => format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        "nan" => r#"{"type": "text", "text": NaN}"#.to_owned(),
        "duplicate" => r#"{"type": "text", "type": "image", "text": "a", "text": "b"}"#.to_owned(),
        _ => r#"{"type": "resource", "resource": "#.to_owned(),
    })
}

/// A block of content as it stands, JSON or not.
pub struct Raw(String);

impl aih_plugin::IntoOutput for Raw {
    fn into_output(self) -> Result<Output> {
        Ok(Output {
            content: vec![types::Content::Other(self.0).into()],
            ..Output::default()
        })
    }
}

/// Gives bytes back as text that are none.
#[tool]
pub async fn invalid_utf8() -> String {
    // SAFETY: there is none, and that is the attack: the host has to look at what it lifts.
    unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, b'x', 0xc0, 0x80]) }
}

/// Gives structured content back that is `amount` levels deep, 200 if left out.
#[tool]
pub async fn huge_structured(args: Amount) -> Output {
    let mut value = json!(1);
    for _ in 0..args.or(200) {
        value = Value::Array(vec![value]);
    }
    Output {
        structured: Some(json!({"deep": value})),
        ..Output::default()
    }
}

/// Gives an image of a type that would break a header.
#[tool]
pub async fn bad_mime() -> Content {
    Content::image("image/png\r\nx-injected: yes", vec![0; 10])
}

/// Gives a link that a client should not open.
#[tool]
pub async fn bad_resource() -> Vec<Content> {
    vec![
        Content::resource_link("file:///etc/passwd", "harmless"),
        Content::resource_link("javascript:alert(1)", "\u{202e}gpj.exe"),
    ]
}

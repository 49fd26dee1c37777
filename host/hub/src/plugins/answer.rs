//! Checks that the answer of a plugin is valid MCP. A strict client drops a whole answer because of one wrong field,
//! and some fields end up in headers and links. So the hub reports what is wrong and does not pass it on.

use serde_json::{Map, Value};

/// Bytes of a URI.
const URI: usize = 8 << 10;
/// Bytes of a MIME type.
const MIME: usize = 255;
/// Values in one JSON text. Each takes up to some hundred bytes once it is read, however short it is written.
const VALUES: usize = 500_000;
/// Objects in one JSON text: of all values the largest ones.
const OBJECTS: usize = 100_000;

/// Reads JSON of a plugin that has to be an object.
///
/// # Errors
/// It is none, or holds too many values.
pub(super) fn object(text: &str, what: &str) -> Result<Map<String, Value>, String> {
    if is_swarm(text) {
        return Err(format!(
            "{what} holds more than {VALUES} values or {OBJECTS} objects"
        ));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(format!("{what} is not a JSON object")),
        Err(error) => Err(format!("{what} is not JSON: {error}")),
    }
}

/// Whether a JSON text has more values than are read. Counts what stands before a value, outside of strings.
fn is_swarm(text: &str) -> bool {
    let (mut values, mut objects) = (0, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => {
                values += 1;
                objects += 1;
            }
            b'[' | b',' => values += 1,
            _ => {}
        }
    }
    values > VALUES || objects > OBJECTS
}

/// Checks a content block of any kind. One of a kind that this hub does not know only needs a plain `type`.
///
/// # Errors
/// What is wrong.
pub(super) fn block(block: &Map<String, Value>) -> Result<(), String> {
    match text_of(block, "type")? {
        "text" => text_of(block, "text").map(drop),
        kind @ ("image" | "audio") => {
            base64(text_of(block, "data")?, "data")?;
            media(kind, text_of(block, "mimeType")?)
        }
        "resource" | "resource_link" => resource(block),
        kind if !kind.is_empty() && kind.len() <= 64 && kind.bytes().all(is_token) => Ok(()),
        kind => Err(format!(
            "`{}` is not a type of a content block",
            kind.escape_debug()
        )),
    }
}

/// Checks a block of type `resource` or `resource_link`.
///
/// # Errors
/// What is wrong.
pub(super) fn resource(block: &Map<String, Value>) -> Result<(), String> {
    match text_of(block, "type")? {
        "resource" => {
            let Some(Value::Object(resource)) = block.get("resource") else {
                return Err("`resource` is not an object".to_owned());
            };
            uri(text_of(resource, "uri")?)?;
            optional_mime(resource)?;
            match (resource.get("text"), resource.get("blob")) {
                (Some(Value::String(_)), None) => Ok(()),
                (None, Some(Value::String(blob))) => base64(blob, "blob"),
                _ => Err("a resource holds either a `text` or a `blob`".to_owned()),
            }
        }
        "resource_link" => {
            link(text_of(block, "uri")?)?;
            optional_mime(block)?;
            label(text_of(block, "name")?, "name")?;
            for key in ["title", "description"] {
                if block.contains_key(key) {
                    label(text_of(block, key)?, key)?;
                }
            }
            match block.get("size") {
                None => Ok(()),
                Some(size) if size.is_u64() => Ok(()),
                Some(_) => Err("`size` is not a number of bytes".to_owned()),
            }
        }
        kind => Err(format!(
            "`{}` is neither `resource` nor `resource_link`",
            kind.escape_debug()
        )),
    }
}

/// Checks the MIME type of an image or of audio.
///
/// # Errors
/// What is wrong.
pub(super) fn media(kind: &str, value: &str) -> Result<(), String> {
    mime(value)?;
    let of_kind = value
        .split_once('/')
        .is_some_and(|(major, _)| major.eq_ignore_ascii_case(kind));
    if of_kind {
        return Ok(());
    }
    Err(format!(
        "`{value}` is not a MIME type for a content block of type `{kind}`"
    ))
}

fn optional_mime(object: &Map<String, Value>) -> Result<(), String> {
    match object.contains_key("mimeType") {
        true => mime(text_of(object, "mimeType")?),
        false => Ok(()),
    }
}

/// `type/subtype` with optional parameters: RFC 9110, 8.3.1.
fn mime(value: &str) -> Result<(), String> {
    let wrong = || {
        let shown: String = value.chars().take(100).collect();
        Err(format!("`{}` is not a MIME type", shown.escape_debug()))
    };
    if value.len() > MIME {
        return wrong();
    }
    let (kind, parameters) = match value.split_once(';') {
        Some((kind, parameters)) => (kind.trim_end_matches([' ', '\t']), Some(parameters)),
        None => (value, None),
    };
    let fits = kind
        .split_once('/')
        .is_some_and(|(major, minor)| is_name(major) && is_name(minor));
    if fits && parameters.is_none_or(are_parameters) {
        Ok(())
    } else {
        wrong()
    }
}

/// `parameters` without its first `;`. An empty one is allowed, as the grammar has it.
fn are_parameters(text: &str) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return true;
        }
        if let Some(next) = rest.strip_prefix(';') {
            rest = next;
            continue;
        }
        let Some((name, value)) = rest.split_once('=') else {
            return false;
        };
        let after = match value.strip_prefix('"') {
            Some(quoted) => after_quoted(quoted),
            None => {
                let end = value.bytes().position(|byte| !is_token(byte));
                let end = end.unwrap_or(value.len());
                value.get(end..).filter(|_| end > 0)
            }
        };
        let Some(after) = after.filter(|_| is_name(name)) else {
            return false;
        };
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(';') {
            return false;
        }
        rest = after;
    }
}

/// What follows a quoted string whose first quote is behind.
fn after_quoted(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\t' | b' '..=b'~' if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return text.get(at + 1..),
            b'\t' | b' '..=b'~' => {}
            _ => return None,
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// `tchar` of RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An absolute URI: RFC 3986.
fn uri(value: &str) -> Result<(), String> {
    let wrong = || {
        let shown: String = value.chars().take(100).collect();
        Err(format!("`{}` is not an absolute URI", shown.escape_debug()))
    };
    let Some((scheme, rest)) = value.split_once(':') else {
        return wrong();
    };
    let scheme_fits = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let rest_fits = rest
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    let escapes_fit = rest.split('%').skip(1).all(|after| {
        let mut digits = after.bytes().take(2);
        digits.len() == 2 && digits.all(|byte| byte.is_ascii_hexdigit())
    });
    if value.len() <= URI && scheme_fits && rest_fits && escapes_fit && !rest.is_empty() {
        Ok(())
    } else {
        wrong()
    }
}

/// A URI that a client may offer to a person: not one that runs when it is opened.
fn link(value: &str) -> Result<(), String> {
    uri(value)?;
    let runs = value.split_once(':').is_some_and(|(scheme, _)| {
        ["javascript", "vbscript"]
            .iter()
            .any(|word| scheme.eq_ignore_ascii_case(word))
    });
    if runs {
        return Err("a link runs a script when it is opened".to_owned());
    }
    Ok(())
}

/// A text that stands beside a link: nothing in it may make it look like another text.
fn label(value: &str, what: &str) -> Result<(), String> {
    let disguised = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if value.contains(disguised) {
        return Err(format!(
            "the `{what}` of a link holds characters that cannot be seen: `{}`",
            value.chars().take(100).collect::<String>().escape_debug()
        ));
    }
    Ok(())
}

fn base64(value: &str, what: &str) -> Result<(), String> {
    let plain = value.trim_end_matches('=');
    let padding = value.len() - plain.len();
    let fits = value.len().is_multiple_of(4)
        && padding <= 2
        && plain
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if fits {
        Ok(())
    } else {
        Err(format!("`{what}` is not base64"))
    }
}

fn text_of<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("`{key}` of a content block is not a string")),
        None => Err(format!("a content block has no `{key}`")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mime_types_are_those_of_rfc_9110() {
        for (value, expected) in [
            ("image/png", true),
            ("text/html; charset=utf-8", true),
            ("text/html;charset=\"utf-8\"", true),
            ("text/html ; a=b ;; c=\"d\\\"e;\"", true),
            ("application/vnd.api+json", true),
            ("text/plain;", true),
            ("", false),
            ("image", false),
            ("image/", false),
            ("/png", false),
            ("image/png/x", false),
            ("image/png\r\nx-injected: yes", false),
            ("image/png; a=\"\r\n\"", false),
            ("image/png; a=\"b", false),
            ("image/png; a", false),
            ("image/png; a=", false),
            ("image/png; a=b c=d", false),
            ("image /png", false),
            (" image/png", false),
            ("bïld/png", false),
        ] {
            assert_eq!(mime(value).is_ok(), expected, "{value:?}");
        }
        assert!(mime(&format!("image/{}", "x".repeat(1000))).is_err());
        assert!(media("image", "IMAGE/png").is_ok());
        assert!(media("image", "text/html").is_err());
    }

    #[test]
    fn uris_are_those_of_rfc_3986() {
        for (value, expected) in [
            ("https://example.com/a?b=%20#c", true),
            ("file:///etc/hosts", true),
            ("urn:isbn:1", true),
            ("note+x://1", true),
            ("", false),
            ("/relative", false),
            ("1http://example.com", false),
            ("https:", false),
            ("https://example.com/a b", false),
            ("https://example.com/\r\nx: y", false),
            ("https://example.com/%zz", false),
            ("https://example.com/%2", false),
            ("https://exämple.com/", false),
        ] {
            assert_eq!(uri(value).is_ok(), expected, "{value:?}");
        }
        assert!(link("JavaScript:alert(1)").is_err());
        assert!(uri(&format!("a:{}", "x".repeat(10_000))).is_err());
    }

    #[test]
    fn blocks_have_what_their_type_asks_for() {
        for (value, expected) in [
            (json!({"type": "text", "text": "a"}), true),
            (json!({"type": "text"}), false),
            (json!({"type": "text", "text": 7}), false),
            (
                json!({"type": "image", "data": "AAAA", "mimeType": "image/png"}),
                true,
            ),
            (
                json!({"type": "image", "data": "AAA", "mimeType": "image/png"}),
                false,
            ),
            (
                json!({"type": "image", "data": "A===", "mimeType": "image/png"}),
                false,
            ),
            (
                json!({"type": "image", "data": "AA_-", "mimeType": "image/png"}),
                false,
            ),
            (
                json!({"type": "audio", "data": "AAAA", "mimeType": "image/png"}),
                false,
            ),
            (
                json!({"type": "resource", "resource": {"uri": "a:b", "text": ""}}),
                true,
            ),
            (
                json!({"type": "resource", "resource": {"uri": "a:b", "text": "", "blob": ""}}),
                false,
            ),
            (json!({"type": "resource", "resource": {"uri": "a:b"}}), false),
            (
                json!({"type": "resource", "resource": {"uri": "b", "text": ""}}),
                false,
            ),
            (
                json!({"type": "resource", "resource": {"uri": "a:b", "text": "", "mimeType": "x"}}),
                false,
            ),
            (
                json!({"type": "resource_link", "uri": "a:b", "name": "n", "size": 3}),
                true,
            ),
            (
                json!({"type": "resource_link", "uri": "a:b", "name": "n", "size": -3}),
                false,
            ),
            (json!({"type": "resource_link", "uri": "a:b"}), false),
            (
                json!({"type": "resource_link", "uri": "a:b", "name": "\u{202e}gpj.exe"}),
                false,
            ),
            (json!({"type": "not-known-yet"}), true),
            (json!({"type": "two words"}), false),
            (json!({"type": null}), false),
            (json!({}), false),
        ] {
            let Value::Object(object) = &value else {
                unreachable!()
            };
            assert_eq!(block(object).is_ok(), expected, "{value}");
        }
    }

    #[test]
    fn a_swarm_of_values_is_not_read() {
        assert!(object(&format!("{{\"a\":[{}0]}}", "0,".repeat(1000)), "x").is_ok());
        assert!(object(&format!("{{\"a\":[{}0]}}", "0,".repeat(VALUES)), "x").is_err());
        assert!(object(&format!("{{\"a\":[{}{{}}]}}", "{},".repeat(OBJECTS)), "x").is_err());
        let commas = ",".repeat(VALUES + 1);
        assert!(object(&format!("{{\"a\":\"\\\"{commas}\"}}"), "x").is_ok());
    }
}

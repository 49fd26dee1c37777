//! What reads bytes of others, one entry each: for the fuzzers in `fuzz/`, and for tests that feed the same entries with
//! generated and changed input on every machine.
//!
//! An entry takes any bytes. It panics where the code does, and where a promise of that code is broken: a fuzzer and a
//! test both see that.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "panics are what the fuzzers look for"
)]

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, path::Path, sync::LazyLock};

use aih_mcp::{Message, RawJson, RawObject, received as of_server, sse};
use aih_runtime::{Content, Output};
use bytes::Bytes;
use serde_json::Value;

use crate::{
    access::{PermissionSet, ResourcePath},
    config::Config,
    plugins,
    secrets::Secrets,
    upstream::transport::http_client::fuzz as answers,
};

/// An entry: its name, which is that of its fuzz target and of its folder in `fuzz/seeds`, and what it runs.
pub type Entry = (&'static str, fn(&[u8]));

/// All entries.
pub const ENTRIES: [Entry; 9] = [
    ("sse", events),
    ("json", json),
    ("message", message),
    ("received", received),
    ("permissions", permissions),
    ("config", config),
    ("component", component),
    ("http_head", http_head),
    ("redact", redact),
];

/// Bytes of one event that the decoder of the entry takes.
const EVENT: usize = 1 << 10;
/// How deep a message may nest in the entry: less than what a parser of JSON reads.
const NESTING: usize = 32;
/// A value that no text holds by chance.
const SECRET: &str = "fuzz-0451-Secret-of-the-hub";

/// The decoder of server-sent events: a stream means the same in whatever pieces it comes, and no event is larger than
/// the limit. The first byte says how large the pieces are.
pub fn events(data: &[u8]) {
    let (piece, stream) = data.split_first().unwrap_or((&0, &[]));
    let read = |pieces: Vec<&[u8]>| {
        let (mut decoder, mut events) = (sse::Decoder::new(EVENT), Vec::new());
        let outcome = pieces
            .into_iter()
            .try_for_each(|piece| decoder.feed(piece, &mut events));
        (events, outcome.is_ok())
    };
    let whole = read(vec![stream]);
    let in_pieces = read(stream.chunks(usize::from(*piece % 16) + 1).collect());
    assert_eq!(whole, in_pieces, "pieces change what a stream means");
    for event in &whole.0 {
        assert!(event.data.len() <= EVENT, "an event is larger than the limit");
    }
}

/// Reading and editing of one JSON object: what is edited is there afterwards, everything else stays as it was.
pub fn json(data: &[u8]) {
    let Ok(text) = RawJson::parse(data.to_vec()) else {
        return;
    };
    // A value that nests too deeply for the parser becomes null, and is passed on unread.
    let before = text.to_value();
    let with_more = text.with_leading_fields("\"lead\":1");
    RawJson::parse(with_more.bytes().clone()).expect("JSON with more members is JSON");
    let Ok(mut object) = RawObject::parse(&text) else {
        assert!(!before.is_object(), "an object is not read as one");
        return;
    };
    let added = RawJson::of(&["added"]);
    object.set("method", &added);
    object.remove("params");
    let after = object.to_json();
    RawJson::parse(after.bytes().clone()).expect("an edited object is JSON");
    let Value::Object(mut expected) = before else {
        return;
    };
    expected.insert("method".to_owned(), added.to_value());
    expected.remove("params");
    assert_eq!(
        after.to_value(),
        Value::Object(expected),
        "editing changed something else"
    );
}

/// The reading of messages of clients: one that is taken has one reading, and is written as a message again.
pub fn message(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(message) = Message::from_client(&bytes, NESTING) else {
        return;
    };
    assert!(
        Message::parse(&message.to_bytes()).is_ok(),
        "what was read is not written again"
    );
    let text = std::str::from_utf8(data).expect("a message is UTF-8");
    // Of an answer to a question the hub reads the envelope alone: the rest goes on as it came.
    if matches!(message, Message::Response { .. }) {
        return;
    }
    let value: Value = serde_json::from_str(text).expect("a message that nests little can be read whole");
    assert!(depth(&value) <= NESTING, "a message nests too deeply");
    // A tree keeps one of two members with the same name; the text has a colon for each.
    assert_eq!(members(&value), colons(text), "a member stands twice: {text}");
}

/// The reading of messages of servers: each one that is taken is written as one that a client takes, and is read again as
/// what it was.
pub fn received(data: &[u8]) {
    for message in of_server::read(&Bytes::copy_from_slice(data)).flatten() {
        let written = message.to_bytes();
        assert!(
            std::str::from_utf8(&written).is_ok(),
            "a message is written in other bytes than UTF-8"
        );
        let again = Message::parse(&written).expect("what was read is not written again");
        assert_eq!(
            again.to_bytes(),
            written,
            "a message changes when it is read again"
        );
        if let Message::Response {
            outcome: Ok(result), ..
        } = again
        {
            assert!(result.is_object(), "a result is not an object");
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        _ => 0,
    }
}

/// The colons of a JSON text outside of strings.
fn colons(text: &str) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Permission patterns: what is taken away is not allowed, and a folder with something allowed in it is shown. The first
/// line is a path, each further one a pattern.
pub fn permissions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let path = lines.next().unwrap_or_default();
    let patterns: Vec<&str> = lines.take(16).collect();
    let Ok(set) = PermissionSet::parse(&patterns) else {
        return;
    };
    let allowed = set.allows(path);
    assert!(
        !(allowed && !set.is_all() && set.takes_away(path)),
        "taken away and allowed"
    );
    assert!(!set.is_all() || allowed, "all is allowed but one");
    if allowed {
        for (at, _) in path.match_indices('/') {
            let folder = path.get(..at).unwrap_or_default();
            assert!(
                set.allows_any_under(folder),
                "{folder} is hidden, and {path} is allowed"
            );
        }
    }
    for pattern in patterns.iter().filter(|pattern| !pattern.starts_with('!')) {
        let away = patterns
            .iter()
            .copied()
            .map(str::to_owned)
            .chain([format!("!{pattern}")]);
        let one = PermissionSet::parse([pattern]).expect("it was read among others");
        if let Ok(less) = PermissionSet::parse(away)
            && one.allows(path)
        {
            assert!(!less.allows(path), "`!{pattern}` does not take {path} away");
        }
    }
    let resource = ResourcePath::new("mcps/files", path);
    if set.allows_resource(&resource) && !set.is_all() {
        let spelled = format!("mcps/files/{path}");
        assert!(
            !set.takes_away(&spelled),
            "{spelled} is taken away and allowed as a resource"
        );
    }
}

/// The text of a configuration: reading it ends with a configuration or with problems, and no text of the hub shows the
/// value of a variable.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.contains(SECRET) {
        return;
    }
    let secrets = Secrets::from_pairs([("A", SECRET), ("TOKEN", SECRET)]);
    let shown = match Config::from_text(&text, Path::new("/nowhere/aih-config.yaml"), secrets) {
        Ok(loaded) => {
            let told = loaded.warnings.iter().chain(&loaded.refused);
            told.map(|problem| format!("{problem}\n")).collect()
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            problems.to_string()
        }
    };
    assert!(!shown.contains(SECRET), "a secret is shown: {shown}");
}

/// What a component answers: it becomes a result of MCP, or is refused with a reason. Zero bytes separate the blocks.
pub fn component(data: &[u8]) {
    let (kinds, rest) = data.split_first().unwrap_or((&0, &[]));
    let text = |piece: &[u8]| String::from_utf8_lossy(piece).into_owned();
    let mut pieces = rest.split(|byte| *byte == 0);
    let structured_json = pieces.next().filter(|piece| !piece.is_empty()).map(text);
    let meta = pieces.next().filter(|piece| !piece.is_empty()).map(text);
    let content = pieces
        .take(64)
        .enumerate()
        .map(|(at, piece)| match (usize::from(*kinds) + at) % 3 {
            0 => Content::Other(text(piece)),
            1 => Content::ResourceJson(text(piece)),
            _ => Content::Text(text(piece)),
        });
    let output = Output {
        content: content.collect(),
        structured_json,
        is_error: *kinds % 2 == 1,
        extras: meta.map(|meta| ("meta".to_owned(), meta)).into_iter().collect(),
    };
    let blocks = output.content.len();
    match plugins::result_json(output) {
        Err(reason) => assert!(!reason.is_empty(), "refused without a reason"),
        Ok(result) => {
            let content = result.get("content").and_then(Value::as_array).map(Vec::len);
            assert_eq!(content, Some(blocks), "a block is missing: {result}");
            for (key, value) in result.as_object().into_iter().flatten() {
                let object = matches!(key.as_str(), "structuredContent" | "_meta");
                assert!(!object || value.is_object(), "`{key}` is not an object: {result}");
            }
        }
    }
}

/// The head and body of an HTTP/1 response: reading ends, and it means the same in whatever pieces it comes. The first
/// byte says how large the pieces are.
pub fn http_head(data: &[u8]) {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    });
    let (piece, sent) = data.split_first().unwrap_or((&0, &[]));
    let whole = RUNTIME.block_on(answers::answer(sent, sent.len()));
    let in_pieces = RUNTIME.block_on(answers::answer(sent, usize::from(*piece % 64) + 1));
    // An answer that breaks off may be seen to do so earlier or later.
    if let (Some(whole), Some(in_pieces)) = (&whole, &in_pieces) {
        assert_eq!(whole, in_pieces, "pieces change what a response means");
    }
    if let Some((status, ..)) = whole {
        assert!((200..1000).contains(&status), "{status} is not a final status");
    }
}

/// The filter of secrets: a known secret does not pass in any spelling of the text, JSON stays JSON with the same
/// structure, and a text without a secret stays as it is.
pub fn redact(data: &[u8]) {
    static LEARNED: LazyLock<()> = LazyLock::new(|| aih_redact::learn("FUZZ_SECRET", SECRET));
    LazyLock::force(&LEARNED);
    let text = String::from_utf8_lossy(data);
    let filtered = aih_redact::for_client(&text);
    assert!(!filtered.contains(SECRET), "the secret passes: {filtered}");
    let again = aih_redact::for_client(&filtered);
    assert_eq!(again, filtered, "a filtered text is filtered once more");
    let bytes = Bytes::copy_from_slice(data);
    let Ok(before) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let filtered = aih_redact::json(&bytes);
    let after: Value =
        serde_json::from_slice(&filtered).unwrap_or_else(|error| panic!("no JSON any more: {error}: {text}"));
    let mut strings = BTreeSet::new();
    same_structure(&before, &after, &mut strings);
    for string in strings {
        assert!(!string.contains(SECRET), "the secret passes in JSON: {string}");
    }
}

/// Compares two trees but for their texts and numbers, and collects the texts of the second.
fn same_structure<'v>(before: &Value, after: &'v Value, strings: &mut BTreeSet<&'v str>) {
    match (before, after) {
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "an item is lost");
            for (before, after) in before.iter().zip(after) {
                same_structure(before, after, strings);
            }
        }
        (Value::Object(before), Value::Object(after)) => {
            // Names may hold a secret too, and two of them may become one.
            assert!(after.len() <= before.len(), "a member is new");
            strings.extend(after.keys().map(String::as_str));
            if before.keys().eq(after.keys()) {
                for (before, after) in before.values().zip(after.values()) {
                    same_structure(before, after, strings);
                }
            }
        }
        (_, Value::String(after)) => {
            strings.insert(after);
        }
        (Value::Null, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_)) => {}
        (before, after) => panic!("{before} became {after}"),
    }
}

//! Messages of servers, read as the official SDKs read them.
//!
//! What the clients of the TypeScript SDK (1.x, 2.x) or the Python SDK take from a server, the hub takes too: a server that
//! works with a client directly must work behind the hub. So an id counts by its value (`7`, `7.0`, `"7"`), a member that
//! is `null` counts as absent, the last of two members with one name counts, an array holds messages, a byte order mark
//! is skipped, and bytes that are not UTF-8 become U+FFFD.
//!
//! Messages of clients never come here: nothing of a server's message decides who may do what, but a client's message
//! must have one reading ([`Message::from_client`]).

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{ErrorCode, ErrorObject, Id, Message, ParseError, RawJson, RawObject};

/// Messages of one array that are read; a longer array is refused as a whole.
const MAX_MESSAGES: usize = 1000;
/// The members of a JSON-RPC message.
const MEMBERS: &[&str] = &["id", "method", "params", "result", "error"];
/// The mark that some programs write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What a server sent that is not a message.
#[derive(Debug)]
pub struct Unreadable {
    /// The request that it seems to answer: who waits for that answer will get no other.
    pub id: Option<Id>,
    /// What is wrong with it.
    pub error: ParseError,
}

/// A message, or why there is none.
type Outcome = Result<Message, Unreadable>;

/// Reads what a server sent as one text: a message, or an array of messages. The payloads share `text`.
pub fn read(text: &Bytes) -> impl Iterator<Item = Result<Message, Unreadable>> + use<> {
    let (one, several) = match Message::parse(text) {
        Ok(message) => (Some(tidy(message)), Vec::new()),
        Err(error) => {
            let text = readable(text);
            match elements(&text) {
                None => (Some(mended(&text, error)), Vec::new()),
                Some(Ok(elements)) => (None, elements.iter().map(element).collect()),
                Some(Err(unreadable)) => (Some(Err(unreadable)), Vec::new()),
            }
        }
    };
    one.into_iter().chain(several)
}

fn element(text: &Bytes) -> Outcome {
    match Message::parse(text) {
        Ok(message) => tidy(message),
        Err(error) => mended(text, error),
    }
}

/// The text without a byte order mark, and in UTF-8.
fn readable(text: &Bytes) -> Bytes {
    let text = match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => text.slice_ref(rest),
        None => text.clone(),
    };
    match String::from_utf8_lossy(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(replaced) => replaced.into(),
    }
}

/// The elements of a text that begins like an array; `None` if it does not.
fn elements(text: &Bytes) -> Option<Result<Vec<Bytes>, Unreadable>> {
    let inside = text.trim_ascii_start().strip_prefix(b"[")?;
    let read = serde_json::from_slice::<Elements<'_>>(text).map_err(|error| Unreadable {
        id: answered(inside),
        error: match error.classify() {
            serde_json::error::Category::Data => ParseError::Shape("it is an array of too many messages"),
            _ => ParseError::Json(error),
        },
    });
    let slice = |element: &RawValue| text.slice_ref(element.get().as_bytes());
    Some(read.map(|Elements(all)| all.into_iter().map(slice).collect()))
}

struct Elements<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> de::Visitor<'de> for Visitor<'a> {
            type Value = Elements<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array of messages")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(element) = elements.next_element::<&'a RawValue>()? {
                    if all.len() == MAX_MESSAGES {
                        return Err(de::Error::custom("too many messages"));
                    }
                    all.push(element);
                }
                Ok(Elements(all))
            }
        }
        deserializer.deserialize_seq(Visitor(std::marker::PhantomData))
    }
}

/// A message that the strict reading took: the id of an answer as the hub writes its own, and a result that is an object.
fn tidy(message: Message) -> Outcome {
    match message {
        Message::Response { id, outcome } => answer(id, outcome),
        other => Ok(other),
    }
}

/// The id as the hub writes it, where it is a number in whatever form.
fn by_value(id: &Id) -> Id {
    match id.value() {
        Some(number) if id.as_u64() != Some(number) => Id::number(number),
        _ => id.clone(),
    }
}

/// An answer.
fn answer(id: Option<Id>, outcome: Result<RawJson, ErrorObject>) -> Outcome {
    let id = id.as_ref().map(by_value);
    let outcome = match outcome {
        // The answer of a function that returns nothing. A result is an object in every revision.
        Ok(result) if result == RawJson::NULL => Ok(RawJson::EMPTY_OBJECT),
        Ok(result) if !result.is_object() => {
            let error = ParseError::Shape("its `result` is not an object");
            return Err(Unreadable { id, error });
        }
        outcome => outcome,
    };
    Ok(Message::Response { id, outcome })
}

/// Reads one message that the strict reading refused because of `refused`.
fn mended(text: &Bytes, refused: ParseError) -> Outcome {
    let json = match RawJson::parse(text.clone()) {
        Ok(json) => json,
        Err(error) => {
            return Err(Unreadable {
                id: answered(text),
                error: ParseError::Json(error),
            });
        }
    };
    let Ok(members) = RawObject::parse(&json) else {
        let error = refused;
        return Err(Unreadable { id: None, error });
    };
    let given = |name: &str| {
        let raw = members.get(name)?;
        Some(RawJson::slice_of(json.bytes(), raw)).filter(|value| *value != RawJson::NULL)
    };
    let id = given("id").and_then(Id::from_json);
    let (result, error) = (given("result"), given("error"));
    let unreadable = |why: &'static str| {
        // A line of a log may have an `id` too.
        let is_object = |value: &Option<RawJson>| value.as_ref().is_some_and(RawJson::is_object);
        let is_message = members.get("jsonrpc").is_some()
            || (is_object(&result) || is_object(&error))
                && members.iter().all(|(name, _)| MEMBERS.contains(&name));
        let is_answer = given("method").is_none() || result.is_some() || error.is_some();
        Unreadable {
            id: id.as_ref().filter(|_| is_message && is_answer).map(by_value),
            error: ParseError::Shape(why),
        }
    };
    if members.str("jsonrpc").as_deref() != Some("2.0") {
        return Err(unreadable("`jsonrpc` must be \"2.0\""));
    }
    if given("method").is_some() {
        let Some(method) = members.str("method") else {
            return Err(unreadable("`method` must be a string"));
        };
        if result.is_some() || error.is_some() {
            return Err(unreadable("it needs one of `method`, `result` and `error`"));
        }
        let params = given("params");
        if let Some(params) = &params
            && !matches!(params.bytes().first(), Some(b'{' | b'['))
        {
            return Err(unreadable("`params` must be an object"));
        }
        let method = method.into();
        return match (&id, given("id")) {
            (Some(id), _) => Ok(Message::Request {
                id: id.clone(),
                method,
                params,
            }),
            (None, None) => Ok(Message::Notification { method, params }),
            (None, Some(_)) => Err(unreadable("`id` must be a string or a number")),
        };
    }
    match (result.clone(), error.as_ref().map(object)) {
        (_, Some(Some(error))) => answer(id.clone(), Err(error)),
        (Some(result), _) if id.is_some() => answer(id.clone(), Ok(result)),
        (Some(_), _) => Err(unreadable("`id` must be a string or a number")),
        (None, Some(_)) => Err(unreadable("`error` has no `code` that is a whole number")),
        // `result: null` and nothing else: the answer of a function that returns nothing.
        (None, None) if members.get("result").is_some() && id.is_some() => {
            answer(id.clone(), Ok(RawJson::NULL))
        }
        (None, None) => Err(unreadable("it needs one of `method`, `result` and `error`")),
    }
}

/// An error, whose code may be written as `-32000.0` or as a text.
fn object(error: &RawJson) -> Option<ErrorObject> {
    #[derive(Deserialize)]
    struct Given<'a> {
        #[serde(borrow)]
        code: &'a RawValue,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        data: Option<RawJson>,
    }
    let given: Given<'_> = error.read_borrowed().ok()?;
    Some(ErrorObject {
        code: ErrorCode(whole_number(given.code.get())?),
        message: given.message.unwrap_or_default(),
        data: given.data,
    })
}

/// The whole number that a number or a text of JSON says: `7`, `7.0`, `7e0`, `"7"`. None beyond what a double keeps.
pub(super) fn whole_number(json: &str) -> Option<i64> {
    if let Ok(number) = json.parse() {
        return Some(number);
    }
    let text;
    let digits = if json.starts_with('"') {
        text = serde_json::from_str::<String>(json).ok()?;
        text.trim()
    } else {
        json
    };
    if let Ok(number) = digits.parse() {
        return Some(number);
    }
    let number: f64 = digits.parse().ok()?;
    let is_whole = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it was checked to be whole and small"
    )]
    is_whole.then_some(number as i64)
}

/// The id that stands in a text which is not JSON but begins like an answer: an object with `id`, and with `jsonrpc` and
/// `result` or `error`. What stands behind the place where the text breaks off counts as far as its brackets tell.
pub fn answered(text: &[u8]) -> Option<Id> {
    let mut at = text.iter().position(|b| !b.is_ascii_whitespace())?;
    if text.get(at) != Some(&b'{') {
        return None;
    }
    let (mut depth, mut name, mut id) = (0_usize, None::<&[u8]>, None);
    let (mut is_message, mut is_answer) = (false, false);
    while let Some(byte) = text.get(at) {
        let from = at;
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => break,
            b'}' | b']' => depth -= 1,
            b'"' => {
                at = end_of_string(text, at);
                if depth == 1 {
                    let string = text.get(from..at).unwrap_or_default();
                    match name.take() {
                        Some(b"\"id\"") => id = std::str::from_utf8(string).ok().and_then(id_of),
                        Some(_) => {}
                        None => name = Some(string),
                    }
                }
            }
            b':' if depth == 1 => match name {
                Some(b"\"jsonrpc\"") => is_message = true,
                Some(b"\"result\"" | b"\"error\"") => is_answer = true,
                Some(b"\"method\"") => return None,
                _ => {}
            },
            b',' if depth == 1 => name = None,
            b'-' | b'0'..=b'9' => {
                let rest = text.get(at..).unwrap_or_default();
                let part_of = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                at += rest.iter().position(|b| !part_of(b)).unwrap_or(rest.len());
                if depth == 1 && name == Some(b"\"id\"") {
                    let number = text.get(from..at).unwrap_or_default();
                    id = std::str::from_utf8(number).ok().and_then(id_of);
                }
            }
            _ => {}
        }
    }
    id.filter(|_| is_message && is_answer)
}

/// The id at the end of a text of which only the end is known, if it ends like an answer: with `jsonrpc` and `id`, in
/// whatever order.
pub fn answered_at_end(text: &[u8]) -> Option<Id> {
    const VERSION: &[u8] = br#","jsonrpc":"2.0""#;
    const ID: &[u8] = br#","id":"#;
    let members = text.trim_ascii_end().strip_suffix(b"}")?;
    let (members, is_last) = match members.strip_suffix(VERSION) {
        Some(before) => (before, true),
        None => (members, false),
    };
    // In a string, the quotes of a member would have a backslash each.
    let at = memchr::memmem::rfind(members, ID)?;
    let (before, id) = members.split_at_checked(at)?;
    if !is_last && !before.ends_with(VERSION) {
        return None;
    }
    id_of(std::str::from_utf8(id.get(ID.len()..)?).ok()?)
}

fn id_of(json: &str) -> Option<Id> {
    let json = RawJson::parse(json.to_owned()).ok()?;
    Id::from_json(json).as_ref().map(by_value)
}

/// Behind the quote that ends the string whose content begins at `at`.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(found) if rest.get(found) == Some(&b'\\') => at += found + 2,
            Some(found) => return at + found + 1,
            None => return text.len(),
        }
    }
}

#[cfg(test)]
#[path = "received_tests.rs"]
mod tests;

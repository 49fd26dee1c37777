//! Whether a message of a client has one reading only.
//!
//! Who may what is decided on parsed values: by the hub's permissions, by hooks, and by the server in the end. Parsers
//! differ in what they make of a member that is given twice, of a name in other letters (`Name`), of half a
//! surrogate pair, and of a number beyond the range of a double. So that all who decide see the same call, a
//! message with such a thing is refused before anybody reads it. What remains is I-JSON (RFC 7493, sections 2.1 to
//! 2.3), save that numbers may have more digits than a double keeps.
//!
//! One pass over text that is known to be JSON; nothing is allocated for a value, and two small tables for the
//! whole message.

use std::{borrow::Cow, collections::HashSet};

use super::{
    method::{self, meta},
    params::READ_MEMBERS,
};

/// Up to this number of members a name is compared with each one before it; beyond that they are hashed.
const COMPARED: usize = 16;

/// The members of a JSON-RPC message.
const ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
/// The members of `params` that the hub reads where it does not know the method.
const OF_UNKNOWN_METHODS: &[&str] = &["_meta"];
/// The members of `ref` (`completion/complete`).
const REFERENCE: &[&str] = &["type", "name", "uri"];
/// The members of `argument` (`completion/complete`).
const ARGUMENT: &[&str] = &["name", "value"];
/// The members of `notifications` (`subscriptions/listen`).
const NOTIFICATIONS: &[&str] = &[
    "toolsListChanged",
    "promptsListChanged",
    "resourcesListChanged",
    "resourceSubscriptions",
];
/// The members of `_meta` that the hub reads.
const META: &[&str] = &[
    meta::PROTOCOL_VERSION,
    meta::CLIENT_INFO,
    meta::CLIENT_CAPABILITIES,
    meta::LOG_LEVEL,
    meta::SUBSCRIPTION_ID,
    meta::PROGRESS_TOKEN,
];
/// The capabilities that the hub asks for.
const CAPABILITIES: &[&str] = &["sampling", "elicitation", "roots"];

/// Why a message has more than one reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Whether it lies in `params`, and not in the envelope around them.
    pub(crate) in_params: bool,
    /// One sentence.
    pub(crate) why: String,
}

/// What kind of message is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request or notification of a method that the hub knows.
    Known,
    /// One of another method: of its `params` the hub reads only `_meta`.
    Unknown,
    /// An answer to a question of a server. The hub reads only its envelope; nothing is decided on the rest.
    Answer,
}

/// Where an object stands, as far as the hub reads its members.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ObjectContext {
    Envelope,
    Params,
    Reference,
    Argument,
    Notifications,
    Meta,
    Capabilities,
    /// Its members are none of the hub's.
    Elsewhere,
}

struct Frame {
    context: ObjectContext,
    is_object: bool,
    /// Where its names begin in the table of all open objects.
    names_from: usize,
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    kind: Kind,
    max_nesting: usize,
    frames: Vec<Frame>,
    /// The names of all open objects, outermost first.
    names: Vec<Cow<'t, str>>,
    /// The names of open objects with many members, with the depth of each.
    many: Vec<(usize, HashSet<Cow<'t, str>>)>,
    /// Where the object would stand that may begin next.
    next: ObjectContext,
    in_params: bool,
}

/// Checks a method that the hub does not know: it is passed on, and must be none that the hub knows in other letters, which
/// a server may take for that one.
pub(crate) fn check_method(method: &str) -> Result<(), String> {
    if !method.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("`method` must be visible ASCII characters".to_owned());
    }
    match method::KNOWN
        .iter()
        .find(|known| differs_in_case_only(method, known))
    {
        Some(known) => Err(format!("`method` must be written `{known}`")),
        None => Ok(()),
    }
}

/// Checks a message. `text` is known to be one JSON object.
pub(crate) fn check(text: &str, kind: Kind, max_nesting: usize) -> Result<(), Fault> {
    let mut scan = Scan {
        text,
        at: 0,
        kind,
        max_nesting,
        frames: Vec::with_capacity(16),
        names: Vec::with_capacity(32),
        many: Vec::new(),
        next: ObjectContext::Envelope,
        in_params: false,
    };
    scan.run().map_err(|why| Fault {
        in_params: scan.in_params,
        why,
    })
}

impl<'t> Scan<'t> {
    fn run(&mut self) -> Result<(), String> {
        let text = self.text;
        let bytes = text.as_bytes();
        let mut expects_name = false;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'{' | b'[' => {
                    let is_object = *byte == b'{';
                    self.open(is_object)?;
                    expects_name = is_object;
                    self.at += 1;
                }
                b'}' | b']' => {
                    self.close();
                    expects_name = false;
                    self.at += 1;
                }
                b',' => {
                    expects_name = self.frames.last().is_some_and(|frame| frame.is_object);
                    if self.frames.len() == 1 {
                        self.in_params = false;
                    }
                    self.at += 1;
                }
                b'"' => {
                    let raw = self.string()?;
                    if expects_name {
                        self.name(raw)?;
                        expects_name = false;
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn open(&mut self, is_object: bool) -> Result<(), String> {
        if self.frames.len() >= self.max_nesting {
            // The message as a whole is at fault, wherever it is deepest.
            self.in_params = false;
            return Err(format!("it nests deeper than {} levels", self.max_nesting));
        }
        let context = if is_object {
            self.next
        } else {
            ObjectContext::Elsewhere
        };
        self.frames.push(Frame {
            context,
            is_object,
            names_from: self.names.len(),
        });
        self.next = ObjectContext::Elsewhere;
        Ok(())
    }

    fn close(&mut self) {
        let depth = self.frames.len();
        if let Some(frame) = self.frames.pop() {
            self.names.truncate(frame.names_from);
        }
        if self.many.last().is_some_and(|(of, _)| *of == depth) {
            self.many.pop();
        }
        self.next = ObjectContext::Elsewhere;
    }

    /// Steps over a string; answers what stands between its quotes.
    fn string(&mut self) -> Result<&'t str, String> {
        let (text, from) = (self.text, self.at + 1);
        let bytes = text.as_bytes();
        let mut at = from;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = bytes.len();
                return Ok("");
            };
            at += found;
            if bytes.get(at) == Some(&b'"') {
                self.at = at + 1;
                return Ok(text.get(from..at).unwrap_or_default());
            }
            at += match bytes.get(at + 1) {
                Some(b'u') if self.kind != Kind::Answer => match unit(bytes, at) {
                    Some(0xD800..=0xDBFF) => match unit(bytes, at + 6) {
                        Some(0xDC00..=0xDFFF) => 12,
                        _ => return Err(half_pair()),
                    },
                    Some(0xDC00..=0xDFFF) => return Err(half_pair()),
                    _ => 6,
                },
                _ => 2,
            };
        }
    }

    /// Steps over a number.
    fn number(&mut self) -> Result<(), String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let part_of = |c: char| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
        let end = rest.find(|c| !part_of(c)).unwrap_or(rest.len());
        let number = rest.get(..end).unwrap_or_default();
        self.at += end.max(1);
        let may_be_large = number.len() > 308 || number.contains(['e', 'E']);
        if may_be_large && self.kind != Kind::Answer && !number.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err("it holds a number that is larger than a double can be".to_owned());
        }
        Ok(())
    }

    /// Takes the name of a member of the innermost object.
    fn name(&mut self, raw: &'t str) -> Result<(), String> {
        if self.kind == Kind::Answer && self.frames.len() > 1 {
            return Ok(());
        }
        let name = if raw.contains('\\') {
            let decoded: String = serde_json::from_str(&format!("\"{raw}\"")).map_err(|_| half_pair())?;
            Cow::Owned(decoded)
        } else {
            Cow::Borrowed(raw)
        };
        let Some(frame) = self.frames.last() else {
            return Ok(());
        };
        let (context, from) = (frame.context, frame.names_from);
        if context == ObjectContext::Envelope {
            self.in_params = name == "params";
        }
        if name.contains('\0') {
            return Err("the name of a member holds the character U+0000".to_owned());
        }
        let read: &[&str] = match context {
            ObjectContext::Envelope => ENVELOPE,
            ObjectContext::Params if self.kind == Kind::Known => READ_MEMBERS,
            ObjectContext::Params => OF_UNKNOWN_METHODS,
            ObjectContext::Reference => REFERENCE,
            ObjectContext::Argument => ARGUMENT,
            ObjectContext::Notifications => NOTIFICATIONS,
            ObjectContext::Meta => META,
            ObjectContext::Capabilities => CAPABILITIES,
            ObjectContext::Elsewhere => &[],
        };
        if !read.contains(&&*name)
            && let Some(like) = read.iter().find(|known| differs_in_case_only(&name, known))
        {
            return Err(format!(
                "the member {} must be written `{like}`",
                serde_json::Value::from(&*name)
            ));
        }
        self.once(&name, from)?;
        self.next = match (context, &*name) {
            (ObjectContext::Envelope, "params") => ObjectContext::Params,
            (ObjectContext::Params, "_meta") => ObjectContext::Meta,
            (ObjectContext::Params, "ref") => ObjectContext::Reference,
            (ObjectContext::Params, "argument") => ObjectContext::Argument,
            (ObjectContext::Params, "notifications") => ObjectContext::Notifications,
            (ObjectContext::Params, "capabilities") => ObjectContext::Capabilities,
            (ObjectContext::Meta, meta::CLIENT_CAPABILITIES) => ObjectContext::Capabilities,
            _ => ObjectContext::Elsewhere,
        };
        self.names.push(name);
        Ok(())
    }

    /// Checks that the innermost object, whose names begin at `from`, does not have the name yet.
    #[expect(
        clippy::ptr_arg,
        reason = "the name is kept where there are many, and most are borrowed"
    )]
    fn once(&mut self, name: &Cow<'t, str>, from: usize) -> Result<(), String> {
        let depth = self.frames.len();
        let before = self.names.get(from..).unwrap_or_default();
        let repeated = if before.len() < COMPARED {
            before.contains(name)
        } else {
            if self.many.last().is_none_or(|(of, _)| *of != depth) {
                self.many.push((depth, before.iter().cloned().collect()));
            }
            let many = self.many.last_mut();
            many.is_some_and(|(_, names)| !names.insert(name.clone()))
        };
        if !repeated {
            return Ok(());
        }
        let cut = name.floor_char_boundary(100);
        let shown = serde_json::Value::from(name.get(..cut).unwrap_or_default());
        Err(format!("the member {shown} is given twice in one object"))
    }
}

/// The code unit of the escape `\uXXXX` at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn half_pair() -> String {
    "a string holds half of a surrogate pair".to_owned()
}

/// Whether `name` would be `known` for somebody who compares without regard to case: by ASCII, by Unicode's case
/// folding (`ſ`, `K`, `ß`), or with the dotted and dotless i of Turkish.
fn differs_in_case_only(name: &str, known: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(known);
    }
    let folded = name
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    // What is left of `İ` besides its `i`.
    let folded = folded.filter(|c| *c != '\u{307}');
    folded.eq(known.chars().flat_map(char::to_lowercase))
}

#[cfg(test)]
#[path = "strict_tests.rs"]
mod tests;

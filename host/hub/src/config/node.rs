//! YAML text to a tree in which every value and every key knows its line and column.
//!
//! It must never recurse into the parser, and never copy what an alias points to: the parser's events are
//! read one by one, depth and size are bounded, aliases are refused.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// Larger files are refused.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Deeper nesting is refused.
pub(crate) const MAX_DEPTH: usize = 64;

/// A place in the file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct SourcePosition {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl From<&Marker> for SourcePosition {
    fn from(marker: &Marker) -> Self {
        // saphyr counts lines from 1 and columns from 0.
        Self {
            line: marker.line().max(1),
            column: marker.col().saturating_add(1),
        }
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) position: SourcePosition,
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A scalar as it is written. `quoted` ones are always text.
    Scalar { text: String, quoted: bool },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a map with its place.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) position: SourcePosition,
}

/// A text that is not a tree.
#[derive(Debug, Clone)]
pub(crate) struct NodeError {
    pub(crate) position: SourcePosition,
    pub(crate) what: String,
    pub(crate) instead: &'static str,
}

impl Node {
    /// True for `~`, `null` and nothing at all.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The scalar's text, unless it is null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The value of `key` in a map, unless it is null.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|(k, v)| k.text == key && !v.is_null())
            .map(|(_, v)| v)
    }

    /// The entries of a map; nothing for anything else.
    pub(crate) fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; nothing for anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The node as JSON, scalars by YAML's core schema.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(k, v)| (k.text.clone(), v.to_json()))
                    .collect(),
            ),
            Value::Scalar { text, quoted: true } => Json::String(text.clone()),
            Value::Scalar { text, quoted: false } => match text.as_str() {
                _ if self.is_null() => Json::Null,
                "true" | "True" | "TRUE" => Json::Bool(true),
                "false" | "False" | "FALSE" => Json::Bool(false),
                other => number(other).map_or_else(|| Json::String(other.to_owned()), Json::Number),
            },
        }
    }
}

/// A number of the core schema, without its rarer spellings (`0o7`, `.inf`).
fn number(text: &str) -> Option<serde_json::Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(integer.into());
    }
    serde_json::Number::from_f64(text.parse().ok()?)
}

/// An open list or map.
enum Open {
    List {
        position: SourcePosition,
        items: Vec<Node>,
    },
    Map {
        position: SourcePosition,
        entries: Vec<(Key, Node)>,
        /// The line of every key so far, so that a file of many keys costs no more than its length.
        lines: HashMap<String, usize>,
        key: Option<Key>,
    },
}

/// Reads one YAML document. Duplicate keys go to `errors`, the first one stays.
///
/// # Errors
/// The first place at which the text is not YAML, or is more than the bounds of this module.
pub(crate) fn parse(text: &str, errors: &mut Vec<NodeError>) -> Result<Node, NodeError> {
    let fail = |position, what: &str, instead| NodeError {
        position,
        what: what.to_owned(),
        instead,
    };
    let empty = Node {
        position: SourcePosition { line: 1, column: 1 },
        value: Value::Map(Vec::new()),
    };
    if text.len() > MAX_BYTES {
        return Err(fail(
            SourcePosition::default(),
            "the file is larger than 1 MiB",
            "keep long texts in files of their own",
        ));
    }
    let mut stack: Vec<Open> = Vec::new();
    let mut root: Option<Node> = None;
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| NodeError {
            position: SourcePosition::from(e.marker()),
            what: format!("this is not YAML: {}", e.info()),
            instead: "look for a missing quote, colon or indentation here or just above",
        })?;
        let position = SourcePosition::from(&span.start);
        let done = match event {
            Event::Alias(_) => {
                return Err(fail(
                    position,
                    "aliases (`*name`) are not taken",
                    "write the value out",
                ));
            }
            Event::DocumentStart(_) if root.is_some() => {
                return Err(fail(
                    position,
                    "a second document starts here",
                    "keep one document in the file",
                ));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if stack.len() >= MAX_DEPTH => {
                return Err(fail(
                    position,
                    "nested deeper than 64 levels",
                    "flatten this part",
                ));
            }
            Event::SequenceStart(..) => {
                stack.push(Open::List {
                    position,
                    items: Vec::new(),
                });
                continue;
            }
            Event::MappingStart(..) => {
                stack.push(Open::Map {
                    position,
                    entries: Vec::new(),
                    lines: HashMap::new(),
                    key: None,
                });
                continue;
            }
            Event::Scalar(value, style, _, tag) => {
                let quoted = style != ScalarStyle::Plain
                    || tag.is_some_and(|t| t.is_yaml_core_schema() && t.suffix == "str");
                Node {
                    position,
                    value: Value::Scalar {
                        text: value.into_owned(),
                        quoted,
                    },
                }
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Open::List { position, items }) => Node {
                    position,
                    value: Value::List(items),
                },
                Some(Open::Map {
                    position, entries, ..
                }) => Node {
                    position,
                    value: Value::Map(entries),
                },
                None => continue,
            },
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => continue,
        };
        match stack.last_mut() {
            None => root = Some(done),
            Some(Open::List { items, .. }) => items.push(done),
            Some(Open::Map {
                entries, lines, key, ..
            }) => match key.take() {
                Some(key) => match lines.get(&key.text) {
                    Some(first) => errors.push(NodeError {
                        position: key.position,
                        what: format!("key `{}` is given twice, first in line {first}", key.text),
                        instead: "keep one of them",
                    }),
                    None => {
                        lines.insert(key.text.clone(), key.position.line);
                        entries.push((key, done));
                    }
                },
                None => match done.value {
                    Value::Scalar { text, .. } => {
                        *key = Some(Key {
                            text,
                            position: done.position,
                        })
                    }
                    _ => {
                        return Err(fail(
                            position,
                            "a list or a map cannot be a key",
                            "write a name as the key",
                        ));
                    }
                },
            },
        }
    }
    Ok(root.unwrap_or(empty))
}

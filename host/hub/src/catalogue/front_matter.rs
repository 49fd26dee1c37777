//! The YAML block between two `---` lines at the head of a markdown file.
//!
//! Skill files come from other people's repositories, so the block is bounded in size, depth and nodes, and
//! an error says the line of the file. Values become JSON; nothing an author wrote is dropped.

use serde_json::{Map, Value};

/// Longest block, in bytes.
pub const MAX_BLOCK: usize = 64 * 1024;

/// A head that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrontMatterError {
    /// The first line opens a block that never ends.
    #[error("the front matter has no closing `---` line")]
    Unclosed,
    /// More than [`MAX_BLOCK`].
    #[error("the front matter is longer than {MAX_BLOCK} bytes: move the text below it")]
    TooLong,
    /// YAML, but a list or a single value.
    #[error("the front matter is not a list of `key: value` lines")]
    NoMapping,
    /// No YAML, or beyond the bounds.
    #[error("{message}")]
    Yaml {
        /// The line in the file, from 1.
        line: u64,
        /// What the parser says, with the place.
        message: String,
    },
}

/// A markdown file taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'a> {
    /// The block as JSON, in the author's order as far as JSON objects keep it; empty if there is none.
    pub front_matter: Map<String, Value>,
    /// Everything below the block.
    pub body: &'a str,
}

/// Takes `text` apart. Text that does not begin with a `---` line is all body.
///
/// # Errors
/// [`FrontMatterError`] for a block that is there but unreadable.
pub fn parse(text: &str) -> Result<Document<'_>, FrontMatterError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some((first, rest)) = text.split_once('\n') else {
        return Ok(Document {
            front_matter: Map::new(),
            body: text,
        });
    };
    if first.trim_end() != "---" {
        return Ok(Document {
            front_matter: Map::new(),
            body: text,
        });
    }
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            let (block, below) = rest.split_at(end);
            let body = below.get(line.len()..).unwrap_or_default();
            return Ok(Document {
                front_matter: yaml(block)?,
                body,
            });
        }
        end += line.len();
    }
    Err(FrontMatterError::Unclosed)
}

fn yaml(block: &str) -> Result<Map<String, Value>, FrontMatterError> {
    if block.len() > MAX_BLOCK {
        return Err(FrontMatterError::TooLong);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 10_000,
            max_aliases: 100,
            max_anchors: 100,
        },
        // `yes` and `no` are words to the YAML 1.2 readers of the clients.
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Value>(block, options) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(FrontMatterError::NoMapping),
        Err(error) => {
            // The block begins on the file's second line.
            let line = error.location().map_or(1, |at| at.line()) + 1;
            let shown = serde_saphyr::render_options! { line_offset: 1 };
            Err(FrontMatterError::Yaml {
                line,
                message: error.render_with_options(shown),
            })
        }
    }
}

/// A markdown file with `front_matter` at its head and `body` below. Each value is written as JSON, which
/// every YAML 1.2 reader reads back to the same value.
pub fn compose(front_matter: &Map<String, Value>, body: &str) -> String {
    let mut out = String::from("---\n");
    for (key, value) in front_matter {
        let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !matches!(
                key.to_ascii_lowercase().as_str(),
                "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
            );
        if plain {
            out.push_str(key);
        } else {
            out.push_str(&json_for_yaml(&Value::from(key.as_str())));
        }
        out.push_str(": ");
        out.push_str(&json_for_yaml(value));
        out.push('\n');
    }
    out.push_str("---\n");
    out.push_str(body);
    out
}

/// `value` as JSON with what JSON allows raw in a string and YAML does not (DEL, C1, line separators, byte
/// order mark, non-characters) escaped. All of these can only stand inside a string.
fn json_for_yaml(value: &Value) -> String {
    use std::fmt::Write as _;
    let json = value.to_string();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn block_and_body_are_taken_apart() {
        let text = "\u{feff}---\r\nname: x\r\nnested: { a: [1, two] }\r\nswitch: yes\r\n---\r\n# Body\r\n";
        let document = parse(text).unwrap();
        assert_eq!(
            Value::Object(document.front_matter),
            json!({ "name": "x", "nested": { "a": [1, "two"] }, "switch": "yes" })
        );
        assert_eq!(document.body, "# Body\r\n");
        assert_eq!(parse("# No head\n---\n").unwrap().body, "# No head\n---\n");
        assert_eq!(
            parse("---\n---").unwrap(),
            Document {
                front_matter: Map::new(),
                body: ""
            }
        );
        assert_eq!(parse("").unwrap().body, "");
    }

    #[test]
    fn errors_say_the_line_of_the_file() {
        assert_eq!(parse("---\nname: x\n").unwrap_err(), FrontMatterError::Unclosed);
        assert_eq!(parse("---\n- a\n---\n").unwrap_err(), FrontMatterError::NoMapping);
        let error = parse("---\nname: x\nbad: [1,\n---\n").unwrap_err();
        assert!(
            matches!(error, FrontMatterError::Yaml { line: 3..=4, .. }),
            "{error}"
        );
        let error = parse("---\nname: x\nname: y\n---\n").unwrap_err();
        assert!(matches!(error, FrontMatterError::Yaml { line: 3, .. }), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn bombs_are_refused() {
        let deep = format!("---\na: {}1{}\n---\n", "[".repeat(500), "]".repeat(500));
        assert!(matches!(parse(&deep), Err(FrontMatterError::Yaml { .. })));
        let mut laughs = String::from("---\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let alias = format!("*a{},", i - 1).repeat(10);
            laughs.push_str(&format!("a{i}: &a{i} [{alias}]\n"));
        }
        laughs.push_str("---\n");
        assert!(matches!(parse(&laughs), Err(FrontMatterError::Yaml { .. })));
        let long = format!("---\na: {}\n---\n", "x".repeat(MAX_BLOCK));
        assert_eq!(parse(&long).unwrap_err(), FrontMatterError::TooLong);
    }

    proptest! {
        #[test]
        fn composed_heads_read_back(key in "[a-zA-Z: #-]{1,12}", value in ".{0,40}", body in "[ -~\n]{0,60}") {
            let front_matter = Map::from_iter([
                (key, Value::from(value)),
                ("other".to_owned(), json!({ "n": [1, true, null] })),
            ]);
            let text = compose(&front_matter, &body);
            let document = parse(&text).unwrap();
            prop_assert_eq!(document.front_matter, front_matter);
            prop_assert_eq!(document.body, body);
        }

        #[test]
        fn no_text_stops_the_parser(text in "(---\n)?[ -~\n\t&*!|>{}\\[\\]]{0,200}(\n---\n)?") {
            let _ = parse(&text);
        }
    }
}

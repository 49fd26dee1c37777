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
    #[error("has a front matter without a closing `---` line")]
    Unclosed,
    /// More than [`MAX_BLOCK`].
    #[error("has a front matter of more than {MAX_BLOCK} bytes: move the text below it")]
    TooLong,
    /// YAML, but a list or a single value.
    #[error("has a front matter without `key: value` lines: write such lines between the two `---`")]
    NoMapping,
    /// No YAML, or beyond the bounds.
    #[error("has a front matter that is not YAML: {message}")]
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
    /// The values that are no YAML and were read as their author meant them.
    pub mended: Vec<Mended>,
}

/// A value that needs quotes and has none: a colon with a blank stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The line in the file, from 1.
    pub line: usize,
    /// The key.
    pub key: String,
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
            mended: Vec::new(),
        });
    };
    if first.trim_end() != "---" {
        return Ok(Document {
            front_matter: Map::new(),
            body: text,
            mended: Vec::new(),
        });
    }
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            let (block, below) = rest.split_at(end);
            let body = below.get(line.len()..).unwrap_or_default();
            let (front_matter, mended) = as_meant(block)?;
            return Ok(Document {
                front_matter,
                body,
                mended,
            });
        }
        end += line.len();
    }
    Err(FrontMatterError::Unclosed)
}

/// Reads a block, and where it is no YAML, reads it again with quotes around the values that need them.
fn as_meant(block: &str) -> Result<(Map<String, Value>, Vec<Mended>), FrontMatterError> {
    let error = match yaml(block) {
        Ok(map) => return Ok((map, Vec::new())),
        Err(error @ FrontMatterError::Yaml { .. }) => error,
        Err(other) => return Err(other),
    };
    let (quoted, mended) = with_quotes(block);
    match (mended.is_empty(), yaml(&quoted)) {
        (false, Ok(map)) => Ok((map, mended)),
        _ => Err(error),
    }
}

/// Puts quotes around each value of a key at the margin that holds a colon and a blank. Such a value may go on in
/// lines that are indented, which belong to it with one blank each (YAML 1.2, section 7.3.3). What is in quotes, a
/// list, a map or a block of text already is left alone.
fn with_quotes(block: &str) -> (String, Vec<Mended>) {
    let (mut out, mut mended) = (String::with_capacity(block.len() + 16), Vec::new());
    let mut lines = block.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let plain = plain_value(line);
        let Some((key, first)) = plain else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let mut value = without_comment(first).to_owned();
        let mut more = Vec::new();
        while let Some((_, next)) = lines.next_if(|(_, next)| next.starts_with([' ', '\t'])) {
            value.push(' ');
            value.push_str(without_comment(next.trim()));
            more.push(next);
        }
        if value.contains(": ") || value.ends_with(':') {
            mended.push(Mended {
                // The block begins on the file's second line.
                line: index + 2,
                key: key.to_owned(),
            });
            out.push_str(&format!("{key}: {}\n", json_for_yaml(&Value::from(value.trim()))));
        } else {
            out.push_str(line);
            out.push('\n');
            for line in more {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    (out, mended)
}

/// The key at the margin and its value, where that begins with nothing that has a meaning in YAML.
fn plain_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let value = value.strip_prefix([' ', '\t'])?.trim();
    let first = value.chars().next()?;
    (is_key && !"\"'[]{}|>&*!%@`#,".contains(first)).then_some((key, value))
}

/// A line of a plain value without its comment.
fn without_comment(line: &str) -> &str {
    line.split_once(" #").map_or(line, |(text, _)| text.trim_end())
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
                body: "",
                mended: Vec::new(),
            }
        );
        assert_eq!(parse("").unwrap().body, "");
    }

    #[test]
    fn a_colon_without_quotes_is_read_as_meant() {
        for (head, expected, lines) in [
            (
                "name: x\ndescription: Use when: the build fails\n",
                json!({ "name": "x", "description": "Use when: the build fails" }),
                vec![(3, "description")],
            ),
            (
                "description: Reviews code: style # and more\ntags: [a, b]\n",
                json!({ "description": "Reviews code: style", "tags": ["a", "b"] }),
                vec![(2, "description")],
            ),
            (
                "a: b: c: \"d\" \\ 'e'\r\nf: it ends with:\r\n",
                json!({ "a": "b: c: \"d\" \\ 'e'", "f": "it ends with:" }),
                vec![(2, "a"), (3, "f")],
            ),
            (
                "description: Two lines\n  and this: too\nother: |\n  a: b: c\n",
                json!({ "description": "Two lines and this: too", "other": "a: b: c\n" }),
                vec![(2, "description")],
            ),
        ] {
            let text = format!("---\n{head}---\nbody");
            let document = parse(&text).unwrap_or_else(|error| panic!("{head}: {error}"));
            assert_eq!(Value::Object(document.front_matter), expected, "{head}");
            let mended: Vec<_> = document.mended.iter().map(|m| (m.line, m.key.as_str())).collect();
            assert_eq!(mended, lines, "{head}");
        }
        // A block that is YAML is read as YAML, and a block with another mistake is an error.
        let document = parse("---\na: \"b: c\"\nd: 'e: f'\ng: http://h:1/x\n---\n").unwrap();
        assert_eq!(document.mended, []);
        for text in ["---\na: b: c\nd: [1\n---\n", "---\n? a: b: c\n: d: e: f\n---\n"] {
            assert!(
                matches!(parse(text), Err(FrontMatterError::Yaml { .. })),
                "{text}"
            );
        }
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
        fn a_sentence_is_read_as_it_is(words in "[a-zA-Z][a-zA-Z0-9.,!?()/'\"-]{0,9}(:? [a-zA-Z0-9.,!?()/'\"-]{1,9}){1,8}:?") {
            let document = parse(&format!("---\ndescription: {words}\nlast: 1\n---\n")).map(|d| d.front_matter);
            prop_assert_eq!(document, Ok(Map::from_iter([
                ("description".to_owned(), Value::from(words)),
                ("last".to_owned(), json!(1)),
            ])));
        }

        #[test]
        fn no_text_stops_the_parser(text in "(---\n)?[ -~\n\t&*!|>{}\\[\\]]{0,200}(\n---\n)?") {
            let _ = parse(&text);
        }
    }
}

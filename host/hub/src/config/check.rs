//! Compares a tree with the tables: unknown keys, missing keys, wrong types, wrong words, wrong forms.
//!
//! It must find every problem of the file at once, and repeat no text that may be a secret.

use super::node::{Node, SourcePosition, Value};
use super::paste;
use super::table::{Field, Form, Kind, Shape};
use crate::secrets;

/// One finding, still without the file's name.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) position: SourcePosition,
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) instead: String,
}

/// Checks `node` against `shape`.
pub(crate) fn check(node: &Node, shape: &Shape) -> Vec<Finding> {
    let mut findings = Vec::new();
    object(node, shape, "", &mut findings);
    findings
}

fn push(
    out: &mut Vec<Finding>,
    position: SourcePosition,
    key: &str,
    what: String,
    instead: impl Into<String>,
) {
    out.push(Finding {
        position,
        key: key.to_owned(),
        what,
        instead: instead.into(),
    });
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        short(key)
    } else {
        format!("{path}.{}", short(key))
    }
}

/// A text for a message: bounded, and without control characters.
fn short(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(60)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

/// The known word nearest to `word`, when one is near enough to be meant.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase().replace('-', "_");
    known
        .map(|k| {
            (
                strsim::jaro_winkler(&lower, k),
                strsim::damerau_levenshtein(&lower, k),
                k,
            )
        })
        .filter(|(similarity, distance, _)| *similarity > 0.85 || *distance <= 2)
        .min_by(|a, b| a.1.cmp(&b.1).then(b.0.total_cmp(&a.0)))
        .map(|(_, _, k)| k)
}

/// The known key nearest to `key`. A file of thousands of unknown keys is not a file of typing errors: only the
/// first ones are worth the search.
fn near_key(key: &str, shape: &Shape, known: usize) -> Option<&'static str> {
    if known < 200 {
        nearest(key, shape.fields.iter().map(|f| f.key))
    } else {
        None
    }
}

fn object(node: &Node, shape: &Shape, path: &str, out: &mut Vec<Finding>) {
    let Value::Map(entries) = &node.value else {
        let keys = list(shape.fields.iter().map(|f| f.key));
        push(
            out,
            node.position,
            path,
            format!("expected a map, found {}", found(node)),
            format!("write keys such as {keys}"),
        );
        return;
    };
    for (key, value) in entries {
        match shape.fields.iter().find(|f| f.key == key.text) {
            Some(field) => field_value(value, field, path, out),
            None => {
                let what = format!("unknown key `{}`", short(&key.text));
                let (what, instead) = match (
                    paste::instead(&key.text, value),
                    near_key(&key.text, shape, out.len()),
                ) {
                    (Some(yaml), _) => (format!("{what}, which AI clients have"), yaml),
                    (None, Some(near)) => (format!("{what}, did you mean `{near}`?"), String::new()),
                    (None, None) => (
                        what,
                        format!("known here are {}", list(shape.fields.iter().map(|f| f.key))),
                    ),
                };
                push(out, key.position, &join(path, &key.text), what, instead);
            }
        }
    }
    for field in shape
        .fields
        .iter()
        .filter(|f| f.required && !entries.iter().any(|(k, _)| k.text == f.key))
    {
        push(
            out,
            node.position,
            path,
            format!("`{}` is missing", field.key),
            example(field),
        );
    }
}

fn field_value(value: &Node, field: &Field, path: &str, out: &mut Vec<Finding>) {
    let path = join(path, field.key);
    if !value.is_null() {
        kind(value, field.kind, &path, out);
    } else if field.required {
        push(
            out,
            value.position,
            &path,
            "has no value".to_owned(),
            example(field),
        );
    }
}

/// What to write for a key that is missing.
fn example(field: &Field) -> String {
    match field.kind {
        Kind::OneOf([only]) => format!("write `{}: \"{only}\"`", field.key),
        Kind::OneOf(words) => format!(
            "write `{}:` and one of {}",
            field.key,
            list(words.iter().copied())
        ),
        Kind::Form(form) => format!("give it: {}", form.help),
        _ => format!("add `{}:`: {}", field.key, field.doc),
    }
}

fn kind(node: &Node, kind_: &Kind, path: &str, out: &mut Vec<Finding>) {
    match kind_ {
        Kind::Text => {
            scalar(node, path, "a text", out);
        }
        Kind::Form(form) => {
            if let Some(text) = scalar(node, path, form.name, out) {
                form_of(text, form, node.position, path, out);
            }
        }
        Kind::Bool => {
            if bool_of(node).is_none() {
                push(
                    out,
                    node.position,
                    path,
                    format!("expected true or false, found {}", found(node)),
                    "write true or false, without quotes",
                );
            }
        }
        Kind::Int { min, max } => match int_of(node) {
            Some(n) if (*min..=*max).contains(&n) => {}
            _ => push(
                out,
                node.position,
                path,
                format!("expected a whole number, found {}", found(node)),
                format!("write a number from {min} to {max}, without quotes"),
            ),
        },
        Kind::OneOf(words) => {
            if let Some(text) = scalar(node, path, "a word", out)
                && !words.contains(&text)
            {
                let mut instead = match words {
                    [only] => format!("write \"{only}\""),
                    words => format!("write one of {}", list(words.iter().copied())),
                };
                if words.len() > 3
                    && let Some(near) = nearest(text, words.iter().copied())
                {
                    instead = format!("did you mean `{near}`? {instead}");
                }
                push(
                    out,
                    node.position,
                    path,
                    format!("unknown value `{}`", short(text)),
                    instead,
                );
            }
        }
        Kind::List(inner) => match &node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    if item.is_null() {
                        push(
                            out,
                            item.position,
                            &path,
                            "has no value".to_owned(),
                            "fill it in or remove the `-`",
                        );
                    } else {
                        kind(item, inner, &path, out);
                    }
                }
            }
            _ => push(
                out,
                node.position,
                path,
                format!("expected a list, found {}", found(node)),
                "write each item on its own line after `- `, or [] for none",
            ),
        },
        Kind::Map(keys, inner) => match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    let path = join(path, &key.text);
                    form_of(&key.text, keys, key.position, &path, out);
                    if !value.is_null() {
                        kind(value, inner, &path, out);
                    } else if !matches!(inner, Kind::Form(form) if (form.accepts)("")) {
                        push(
                            out,
                            value.position,
                            &path,
                            "has no value".to_owned(),
                            "fill it in or remove the key",
                        );
                    }
                }
            }
            _ => push(
                out,
                node.position,
                path,
                format!("expected a map, found {}", found(node)),
                "write `key: value` lines",
            ),
        },
        Kind::Object(shape) => object(node, shape, path, out),
        Kind::Tagged { tag, variants, .. } => tagged(node, tag, variants, path, out),
        Kind::Json => {
            if !matches!(node.value, Value::Map(_)) {
                push(
                    out,
                    node.position,
                    path,
                    format!("expected a map, found {}", found(node)),
                    "write `key: value` lines",
                );
            }
        }
    }
}

fn tagged(node: &Node, tag: &str, variants: &[(&str, &'static Shape)], path: &str, out: &mut Vec<Finding>) {
    let words = || list(variants.iter().map(|(word, _)| *word));
    if !matches!(node.value, Value::Map(_)) {
        push(
            out,
            node.position,
            path,
            format!("expected a map, found {}", found(node)),
            format!("write `{tag}:` and one of {}", words()),
        );
        return;
    }
    let Some(word) = node.get(tag) else {
        push(
            out,
            node.position,
            path,
            format!("`{tag}` is missing"),
            format!("write `{tag}:` and one of {}", words()),
        );
        return;
    };
    match variants.iter().find(|(name, _)| Some(*name) == word.text()) {
        Some((_, shape)) => object(node, shape, path, out),
        None => {
            let what = match word.text() {
                Some(text) => format!("unknown value `{}`", short(text)),
                None => format!("expected a word, found {}", found(word)),
            };
            push(
                out,
                word.position,
                &join(path, tag),
                what,
                format!("write one of {}", words()),
            );
        }
    }
}

fn scalar<'n>(node: &'n Node, path: &str, expected: &str, out: &mut Vec<Finding>) -> Option<&'n str> {
    if let Value::Scalar { text, .. } = &node.value {
        return Some(text);
    }
    push(
        out,
        node.position,
        path,
        format!("expected {expected}, found {}", found(node)),
        "put one value here",
    );
    None
}

fn form_of(text: &str, form: &Form, position: SourcePosition, path: &str, out: &mut Vec<Finding>) {
    if form.template {
        match secrets::parse(text) {
            Err(error) => {
                push(
                    out,
                    position,
                    path,
                    error.to_string(),
                    "write ${NAME}, ${NAME:-default}, or $$ for a dollar sign",
                );
                return;
            }
            // Checked once the variables are put in.
            Ok(parts) if parts.iter().any(|p| matches!(p, secrets::Part::Variable { .. })) => return,
            Ok(_) => {}
        }
    }
    if (form.accepts)(text) {
        return;
    }
    let what = match text {
        "" => format!("is empty, not {}", form.name),
        _ if form.template => format!("this is not {}", form.name),
        _ => format!("`{}` is not {}", short(text), form.name),
    };
    push(out, position, path, what, form.help);
}

/// `true` or `false` without quotes.
pub(crate) fn bool_of(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Scalar { text, quoted: false } => match text.as_str() {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number without quotes.
pub(crate) fn int_of(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Scalar { text, quoted: false } => text.parse().ok(),
        _ => None,
    }
}

fn found(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        Value::Scalar { .. } if node.is_null() => "nothing".to_owned(),
        // The text itself might be a secret in the wrong place.
        Value::Scalar { quoted: true, .. } => "a text in quotes".to_owned(),
        Value::Scalar { text, .. } if text.parse::<f64>().is_ok() => format!("the number {}", short(text)),
        Value::Scalar { .. } => "a text".to_owned(),
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

//! The JSON Schema of `aih-config.yaml` for editors, and the reference page for people, both from the tables
//! that the check itself uses.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::fields::ROOT;
use super::table::{Field, Form, Kind, Shape};

/// The JSON Schema (draft 2020-12) of the file.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = BTreeMap::new();
    let Value::Object(mut root) = shape_schema(&ROOT, &mut definitions) else {
        return Value::Null;
    };
    root.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".to_owned(), json!("aih-config.yaml"));
    root.insert(
        "$defs".to_owned(),
        Value::Object(definitions.into_iter().collect()),
    );
    Value::Object(root)
}

/// The table of every key in Markdown, one section for each part of the file.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    section(
        &mut out,
        "the file",
        ROOT.doc,
        "",
        ROOT.fields,
        None,
        &mut Vec::new(),
    );
    out
}

fn shape_schema(shape: &Shape, definitions: &mut BTreeMap<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in shape.fields {
        let mut schema = match kind_schema(field.kind, definitions) {
            Value::Object(schema) => schema,
            _ => Map::new(),
        };
        schema.insert("description".to_owned(), json!(meaning(field)));
        if let Some(default) = default_of(field) {
            schema.insert("default".to_owned(), default);
        }
        // A key with nothing after it is the same as a key that is not there.
        let schema = match field.required {
            true => Value::Object(schema),
            false => nullable(schema),
        };
        properties.insert(field.key.to_owned(), schema);
    }
    let required: Vec<_> = shape
        .fields
        .iter()
        .filter(|f| f.required)
        .map(|f| f.key)
        .collect();
    json!({
        "type": "object",
        "description": shape.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// What a key is for. A key that does nothing yet says so first.
fn meaning(field: &Field) -> String {
    match field.without_effect {
        None => field.doc.to_owned(),
        Some(consequence) => format!(
            "Accepted, and does nothing in this version: {consequence}. Planned: {}",
            field.doc
        ),
    }
}

/// The same schema, with `null` allowed.
fn nullable(mut schema: Map<String, Value>) -> Value {
    let mut outer = Map::new();
    for key in ["description", "default"] {
        outer.extend(schema.remove(key).map(|value| (key.to_owned(), value)));
    }
    outer.insert("anyOf".to_owned(), json!([schema, { "type": "null" }]));
    Value::Object(outer)
}

fn default_of(field: &Field) -> Option<Value> {
    match field.kind {
        _ if field.default.is_empty() => None,
        Kind::Bool | Kind::Int { .. } | Kind::List(_) | Kind::Map(..) | Kind::Json => {
            serde_json::from_str(field.default).ok()
        }
        _ => Some(json!(field.default)),
    }
}

fn kind_schema(kind: &Kind, definitions: &mut BTreeMap<String, Value>) -> Value {
    match kind {
        Kind::Text => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Form(form) => form_schema(form),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::OneOf(words) => json!({ "enum": words }),
        Kind::List(inner) => json!({ "type": "array", "items": kind_schema(inner, definitions) }),
        Kind::Map(keys, inner) => json!({
            "type": "object",
            "propertyNames": form_schema(keys),
            "additionalProperties": kind_schema(inner, definitions),
        }),
        Kind::Object(shape) => reference_to(shape, definitions),
        Kind::Tagged { tag, doc, variants } => {
            let variants: Vec<_> = variants
                .iter()
                .map(|(word, shape)| {
                    let mut schema = shape_schema(shape, definitions);
                    if let Some(property) = schema.pointer_mut(&format!("/properties/{tag}")) {
                        *property = json!({ "const": word });
                    }
                    schema
                })
                .collect();
            json!({ "description": doc, "oneOf": variants })
        }
        Kind::Json => json!({ "type": "object" }),
    }
}

fn reference_to(shape: &Shape, definitions: &mut BTreeMap<String, Value>) -> Value {
    if !definitions.contains_key(shape.name) {
        // Taken first, so that a shape in itself would end.
        definitions.insert(shape.name.to_owned(), Value::Null);
        let schema = shape_schema(shape, definitions);
        definitions.insert(shape.name.to_owned(), schema);
    }
    json!({ "$ref": format!("#/$defs/{}", shape.name) })
}

fn form_schema(form: &Form) -> Value {
    let mut schema = match form.number {
        true => json!({ "type": ["string", "number", "boolean"] }),
        false => json!({ "type": "string" }),
    };
    if let (false, Some(object)) = (form.pattern.is_empty(), schema.as_object_mut()) {
        object.insert("pattern".to_owned(), json!(form.pattern));
    }
    schema
}

/// One table, then the tables of the objects in it.
fn section<'a>(
    out: &mut String,
    title: &str,
    doc: &str,
    prefix: &str,
    fields: &'a [Field],
    without_effect: Option<&'static str>,
    known: &mut Vec<(&'a str, String)>,
) {
    let doc = match without_effect {
        None => doc.to_owned(),
        Some(consequence) => format!(
            "**This version accepts these keys and does nothing with them: {consequence}.** Planned: {doc}"
        ),
    };
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "## {title}\n\n{doc}\n\n| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n"
    );
    let mut later: Vec<(String, &'a Shape, Option<&'static str>)> = Vec::new();
    for field in fields {
        let path = match prefix {
            "" => field.key.to_owned(),
            prefix => format!("{prefix}.{}", field.key),
        };
        let default = match (field.required, field.default) {
            (true, _) => "required".to_owned(),
            (false, "") => "–".to_owned(),
            (false, default) => format!("`{default}`"),
        };
        let mut kind = type_of(field.kind);
        for (path, shape) in shapes_in(field.kind, &path) {
            match known.iter().find(|(name, _)| *name == shape.name) {
                Some((_, first)) => kind = format!("{kind}, as `{first}`"),
                None => {
                    known.push((shape.name, path.clone()));
                    later.push((path, shape, without_effect.or(field.without_effect)));
                }
            }
        }
        let _ = writeln!(
            out,
            "| `{path}` | {} | {default} | {} |",
            cell(&kind),
            cell(&meaning(field))
        );
    }
    for (path, shape, without_effect) in later {
        out.push('\n');
        let title = format!("`{path}`");
        section(out, &title, shape.doc, &path, shape.fields, without_effect, known);
    }
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn shapes_in(kind: &'static Kind, path: &str) -> Vec<(String, &'static Shape)> {
    match kind {
        Kind::Object(shape) => vec![(path.to_owned(), shape)],
        Kind::List(inner) => shapes_in(inner, &format!("{path}[]")),
        Kind::Map(_, inner) => shapes_in(inner, &format!("{path}.NAME")),
        Kind::Tagged { tag, variants, .. } => {
            let mut shapes: Vec<(Vec<&str>, &'static Shape)> = Vec::new();
            for (word, shape) in *variants {
                match shapes.iter_mut().find(|(_, other)| other.name == shape.name) {
                    Some((words, _)) => words.push(word),
                    None => shapes.push((vec![word], shape)),
                }
            }
            shapes
                .into_iter()
                .map(|(words, shape)| (format!("{path}({tag}: {})", words.join(" | ")), shape))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn type_of(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Form(form) => form
            .name
            .trim_start_matches("an ")
            .trim_start_matches("a ")
            .to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Int { min, max } => format!("number, {min} to {max}"),
        Kind::OneOf(words) => words
            .iter()
            .map(|w| format!("`{w}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::List(inner) => format!("list of {}", type_of(inner)),
        Kind::Map(_, inner) => format!("map to {}", type_of(inner)),
        Kind::Object(_) | Kind::Tagged { .. } => "map".to_owned(),
        Kind::Json => "map of anything".to_owned(),
    }
}

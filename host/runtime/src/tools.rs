//! Checks the tools that a plugin lists. A strict client that cannot read one tool drops the list of all servers, so
//! this module reports what is wrong.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::{bindings::Tool, error::LoadError};

/// Tools of one plugin.
const TOOLS: usize = 1_000;
/// Bytes of all that one plugin lists.
const TOOLS_BYTES: usize = 4 << 20;
/// Bytes of one tool's schema.
const SCHEMA_BYTES: usize = 1 << 20;
/// The members of MCP's `ToolAnnotations` that say yes or no.
const HINTS: [&str; 4] = [
    "readOnlyHint",
    "destructiveHint",
    "idempotentHint",
    "openWorldHint",
];

/// Checks all that a plugin lists.
///
/// # Errors
/// [`LoadError::Tools`]: the first thing that is wrong.
pub(crate) fn check(tools: &[Tool]) -> Result<(), LoadError> {
    check_all(tools).map_err(LoadError::Tools)
}

fn check_all(tools: &[Tool]) -> Result<(), String> {
    if tools.len() > TOOLS {
        return Err(format!("the list is larger than {TOOLS} tools: {}", tools.len()));
    }
    let mut names = HashSet::new();
    let mut bytes = 0;
    for tool in tools {
        let name = &tool.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
            let shown: String = name.chars().take(128).collect();
            return Err(format!(
                "`{}` cannot be the name of a tool: use 1 to 128 letters, digits, `_`, `-` or `.`",
                shown.escape_debug()
            ));
        }
        if !names.insert(name) {
            return Err(format!("the tool `{name}` is listed twice"));
        }
        bytes += size(tool);
        if bytes > TOOLS_BYTES {
            return Err(format!("the list is larger than {TOOLS_BYTES} bytes"));
        }
        schema(&tool.input_schema, "input-schema", name)?;
        if let Some(text) = &tool.output_schema {
            schema(text, "output-schema", name)?;
        }
        if let Some(text) = &tool.annotations_json {
            annotations(&object(text, "annotations-json", name)?, name)?;
        }
    }
    Ok(())
}

fn size(tool: &Tool) -> usize {
    let texts = [&tool.title, &tool.output_schema, &tool.annotations_json];
    let optional = texts.into_iter().flatten().map(String::len).sum::<usize>();
    tool.name.len() + tool.description.len() + tool.input_schema.len() + optional
}

fn object(text: &str, part: &str, name: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(format!("the {part} of `{name}` is not a JSON object")),
        Err(error) => Err(format!("the {part} of `{name}` is not JSON: {error}")),
    }
}

/// MCP asks for a schema of an object, whose properties are schemas written as objects.
fn schema(text: &str, part: &str, name: &str) -> Result<(), String> {
    if text.len() > SCHEMA_BYTES {
        return Err(format!(
            "the {part} of `{name}` is larger than {SCHEMA_BYTES} bytes"
        ));
    }
    let schema = object(text, part, name)?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(format!("the {part} of `{name}` has no `\"type\": \"object\"`"));
    }
    let properties = match schema.get("properties") {
        None => return Ok(()),
        Some(Value::Object(properties)) => properties,
        Some(_) => return Err(format!("`properties` in the {part} of `{name}` is not an object")),
    };
    match properties.iter().find(|(_, schema)| !schema.is_object()) {
        None => Ok(()),
        Some((key, _)) => Err(format!(
            "the property `{}` in the {part} of `{name}` is not an object; `{{}}` allows any value",
            key.escape_debug()
        )),
    }
}

fn annotations(annotations: &Map<String, Value>, name: &str) -> Result<(), String> {
    for hint in HINTS {
        if annotations.get(hint).is_some_and(|value| !value.is_boolean()) {
            return Err(format!("`{hint}` of `{name}` is neither true nor false"));
        }
    }
    if annotations.get("title").is_some_and(|title| !title.is_string()) {
        return Err(format!("the annotation `title` of `{name}` is not a text"));
    }
    Ok(())
}

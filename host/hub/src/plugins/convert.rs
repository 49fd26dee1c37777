//! Between what a component speaks (`wit/plugin.wit`) and MCP.

use aih_runtime::{CallError, Content, Failure, Output, Tool};
use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::mcp::{ErrorCode, ErrorObject, RawJson};

/// A tool as `tools/list` shows it.
///
/// # Errors
/// A schema or the annotations are no JSON; the runtime has checked that already.
pub(crate) fn tool(tool: &Tool) -> Result<RawJson, serde_json::Error> {
    let mut object = Map::new();
    object.insert("name".to_owned(), tool.name.as_str().into());
    if let Some(title) = &tool.title {
        object.insert("title".to_owned(), title.as_str().into());
    }
    object.insert("description".to_owned(), tool.description.as_str().into());
    object.insert(
        "inputSchema".to_owned(),
        serde_json::from_str(&tool.input_schema)?,
    );
    if let Some(schema) = &tool.output_schema {
        object.insert("outputSchema".to_owned(), serde_json::from_str(schema)?);
    }
    if let Some(annotations) = &tool.annotations_json {
        object.insert("annotations".to_owned(), serde_json::from_str(annotations)?);
    }
    Ok(RawJson::of(&object))
}

/// A `CallToolResult`.
///
/// # Errors
/// Something in it that has to be JSON is none: which one.
pub(crate) fn result(output: Output) -> Result<Value, String> {
    let mut blocks = Vec::with_capacity(output.content.len());
    for content in output.content {
        blocks.push(block(content)?);
    }
    let mut object = Map::new();
    object.insert("content".to_owned(), Value::Array(blocks));
    if let Some(text) = &output.structured_json {
        let structured = parse_object(text, "structured-json")?;
        object.insert("structuredContent".to_owned(), structured);
    }
    if output.is_error {
        object.insert("isError".to_owned(), true.into());
    }
    if let Some((_, text)) = output.extras.iter().find(|(key, _)| key == "meta") {
        object.insert("_meta".to_owned(), parse_object(text, "the extra `meta`")?);
    }
    Ok(Value::Object(object))
}

fn block(content: Content) -> Result<Value, String> {
    let encoded = |data: &[u8]| base64::engine::general_purpose::STANDARD.encode(data);
    Ok(match content {
        Content::Text(text) => json!({ "type": "text", "text": text }),
        Content::Image(blob) => json!({
            "type": "image", "data": encoded(&blob.data), "mimeType": blob.mime_type,
        }),
        Content::Audio(blob) => json!({
            "type": "audio", "data": encoded(&blob.data), "mimeType": blob.mime_type,
        }),
        Content::ResourceJson(text) => parse_object(&text, "resource-json")?,
        Content::Other(text) => parse_object(&text, "a content block")?,
    })
}

fn parse_object(text: &str, what: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(format!("{what} is no JSON object")),
        Err(error) => Err(format!("{what} is no JSON: {error}")),
    }
}

/// A result that tells the model what went wrong.
pub(super) fn told(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": true })
}

/// What a call without an answer becomes: what the model can mend is a result, the rest an error.
///
/// # Errors
/// The second kind. `data.kind` names it.
pub(super) fn failure(plugin: &str, error: &CallError) -> Result<Value, ErrorObject> {
    let fault = |code, kind: &str| {
        let data = json!({ "kind": kind, "plugin": plugin });
        Err(ErrorObject::new(code, format!("plugin `{plugin}`: {error}")).with_data(&data))
    };
    match error {
        CallError::Failed(Failure::UnknownTool(name)) => {
            Err(ErrorObject::invalid_params(format!("unknown tool: {name}")))
        }
        CallError::Failed(_) => Ok(told(&error.to_string())),
        CallError::TimedOut(_) => fault(ErrorCode::TIMED_OUT, "timed-out"),
        CallError::Cancelled => fault(ErrorCode::CANCELLED, "cancelled"),
        CallError::Trapped(_) => fault(ErrorCode::INTERNAL_ERROR, "trapped"),
        CallError::OutOfMemory(_) => fault(ErrorCode::INTERNAL_ERROR, "out-of-memory"),
        CallError::TooLarge { .. } => fault(ErrorCode::INTERNAL_ERROR, "too-large"),
        CallError::Busy => fault(ErrorCode::UPSTREAM_UNAVAILABLE, "busy"),
        CallError::NoSuchExport(_) | CallError::Host(_) => fault(ErrorCode::INTERNAL_ERROR, "host"),
    }
}

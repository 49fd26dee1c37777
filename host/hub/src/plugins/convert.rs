//! Converts between the types of a component (`wit/plugin.wit`) and MCP.

use aih_mcp::{ErrorCode, ErrorObject, RawJson};
use aih_runtime::{CallError, Content, Failure, Output, Tool};
use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::answer;

/// A tool as `tools/list` shows it.
///
/// # Errors
/// A schema or the annotations are not JSON; the runtime has checked that already.
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
/// Something in it is not what MCP knows: what.
pub(crate) fn result(output: Output) -> Result<Value, String> {
    let mut blocks = Vec::with_capacity(output.content.len());
    for content in output.content {
        blocks.push(block(content)?);
    }
    let mut object = Map::new();
    object.insert("content".to_owned(), Value::Array(blocks));
    if let Some(text) = &output.structured_json {
        let structured = answer::object(text, "structured-json")?;
        object.insert("structuredContent".to_owned(), Value::Object(structured));
    }
    if output.is_error {
        object.insert("isError".to_owned(), true.into());
    }
    if let Some((_, text)) = output.extras.iter().find(|(key, _)| key == "meta") {
        let meta = answer::object(text, "the extra `meta`")?;
        object.insert("_meta".to_owned(), Value::Object(meta));
    }
    Ok(Value::Object(object))
}

fn block(content: Content) -> Result<Value, String> {
    let encoded = |data: &[u8]| base64::engine::general_purpose::STANDARD.encode(data);
    Ok(match content {
        Content::Text(text) => json!({ "type": "text", "text": text }),
        Content::Image(blob) => {
            answer::media("image", &blob.mime_type)?;
            json!({ "type": "image", "data": encoded(&blob.data), "mimeType": blob.mime_type })
        }
        Content::Audio(blob) => {
            answer::media("audio", &blob.mime_type)?;
            json!({ "type": "audio", "data": encoded(&blob.data), "mimeType": blob.mime_type })
        }
        Content::ResourceJson(text) => {
            let block = answer::object(&text, "resource-json")?;
            answer::resource(&block)?;
            Value::Object(block)
        }
        Content::Other(text) => {
            let block = answer::object(&text, "a content block")?;
            answer::block(&block)?;
            Value::Object(block)
        }
    })
}

/// A result that tells the model what went wrong.
pub(super) fn error_result(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": true })
}

/// An answer that is not passed on.
pub(super) fn bad_answer(plugin: &str, why: &str) -> ErrorObject {
    let why = format!("its answer is wrong: {why}");
    typed(plugin, ErrorCode::INTERNAL_ERROR, "bad-answer", &why)
}

fn typed(plugin: &str, code: ErrorCode, kind: &str, why: &str) -> ErrorObject {
    let data = json!({ "kind": kind, "plugin": plugin });
    ErrorObject::new(code, format!("plugin `{plugin}`: {why}")).with_data(&data)
}

/// What a call without an answer becomes: what the model can mend is a result, the rest an error.
///
/// # Errors
/// The second kind. `data.kind` names it.
pub(super) fn failure(plugin: &str, error: &CallError) -> Result<Value, ErrorObject> {
    let fault = |code, kind: &str| Err(typed(plugin, code, kind, &error.to_string()));
    match error {
        CallError::Failed(Failure::UnknownTool(name)) => {
            Err(ErrorObject::invalid_params(format!("unknown tool: {name}")))
        }
        CallError::Failed(_) => Ok(error_result(&error.to_string())),
        CallError::TimedOut(_) => fault(ErrorCode::TIMED_OUT, "timed-out"),
        CallError::Cancelled => fault(ErrorCode::CANCELLED, "cancelled"),
        CallError::Trapped(_) => fault(ErrorCode::INTERNAL_ERROR, "trapped"),
        CallError::OutOfMemory(_) => fault(ErrorCode::INTERNAL_ERROR, "out-of-memory"),
        CallError::TooLarge { .. } => fault(ErrorCode::INTERNAL_ERROR, "too-large"),
        CallError::Busy { .. } => fault(ErrorCode::UPSTREAM_UNAVAILABLE, "busy"),
        CallError::NoSuchExport(_) | CallError::Host(_) => fault(ErrorCode::INTERNAL_ERROR, "host"),
    }
}

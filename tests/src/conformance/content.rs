//! Resources and prompts, and the blocks that tools answer with.

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CacheScope, ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult, InputRequests,
        PromptMessage, ReadResourceResult, ResourceContents,
    },
    service::RequestContext,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::input::{self, Asked};

/// A red pixel, base64 of PNG.
pub(super) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
/// Four silent samples, base64 of WAV.
pub(super) const WAV: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQgAAAAAAAAAAAAAAA==";
/// How long lists and contents stay fresh, in milliseconds.
pub(super) const TTL_MS: u64 = 5_000;

/// Reads a typed value from JSON.
pub(super) fn decode<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(format!("the fixture is wrong: {error}"), None))
}

/// Content blocks from JSON.
pub(super) fn blocks(value: Value) -> Result<Vec<ContentBlock>, ErrorData> {
    decode(value)
}

/// The contents at a URI. `watched` is the revision of the watched resource.
pub(super) fn read(uri: &str, watched: u64) -> Result<ReadResourceResult, ErrorData> {
    let template = uri
        .strip_prefix("test://template/")
        .and_then(|rest| rest.strip_suffix("/data"))
        .filter(|id| !id.is_empty() && !id.contains('/'));
    let contents = match (uri, template) {
        ("test://static-text", _) => {
            ResourceContents::text("This is the content of the static text resource.", uri)
                .with_mime_type("text/plain")
        }
        ("test://static-binary", _) => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
        ("test://watched-resource", _) => {
            ResourceContents::text(format!("Watched resource, revision {watched}."), uri)
                .with_mime_type("text/plain")
        }
        (_, Some(id)) => {
            let text = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            ResourceContents::text(text.to_string(), uri).with_mime_type("application/json")
        }
        _ => {
            let data = json!({ "uri": uri });
            return Err(ErrorData::resource_not_found("Resource not found", Some(data)));
        }
    };
    Ok(ReadResourceResult::new(vec![contents])
        .with_ttl_ms(TTL_MS)
        .with_cache_scope(CacheScope::Private))
}

/// The messages of a prompt.
pub(super) async fn prompt(
    request: GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let argument = |name: &str| {
        request
            .arguments
            .as_ref()
            .and_then(|arguments| arguments.get(name))
            .and_then(Value::as_str)
            .ok_or_else(|| ErrorData::invalid_params(format!("the argument `{name}` is missing"), None))
    };
    let user = |content: Value| json!({ "role": "user", "content": content });
    let text = |text: String| user(json!({ "type": "text", "text": text }));
    let messages = match request.name.as_str() {
        "test_simple_prompt" => json!([text("This is a simple prompt for testing.".into())]),
        "test_prompt_with_arguments" => {
            let (one, two) = (argument("arg1")?, argument("arg2")?);
            json!([text(format!("Prompt with arguments: arg1='{one}', arg2='{two}'"))])
        }
        "test_prompt_with_embedded_resource" => json!([
            user(json!({
                "type": "resource",
                "resource": {
                    "uri": argument("resourceUri")?,
                    "mimeType": "text/plain",
                    "text": "Embedded resource content for testing.",
                },
            })),
            text("Please process the embedded resource above.".into()),
        ]),
        "test_prompt_with_image" => json!([
            user(json!({ "type": "image", "data": PNG, "mimeType": "image/png" })),
            text("Please analyze the image above.".into()),
        ]),
        "test_dynamic_prompt" => json!([text("This prompt comes and goes.".into())]),
        "test_input_required_result_prompt" => {
            let question = input::text_form("What context should the prompt use?", "context")?;
            let questions = InputRequests::from([("user_context".to_owned(), question)]);
            match input::ask(context, questions, request.input_responses.as_ref(), None).await? {
                Asked::Required(required) => return Ok(required.into()),
                Asked::Answered(answers) => {
                    let answer = answers.get("user_context").cloned().unwrap_or_default();
                    let answer = answer.pointer("/content/context").and_then(Value::as_str);
                    json!([text(format!("Prompt in context: {}", answer.unwrap_or("none")))])
                }
            }
        }
        other => {
            return Err(ErrorData::invalid_params(
                format!("unknown prompt: {other}"),
                None,
            ));
        }
    };
    let messages: Vec<PromptMessage> = decode(messages)?;
    Ok(GetPromptResult::new(messages).into())
}

//! What the tools do.

#![expect(
    deprecated,
    reason = "log levels are deprecated, and the suites still ask for them"
)]

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock,
        InputRequest, InputRequests, InputResponses, LoggingLevel, ProgressNotificationParam,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use super::{
    content::{self, PNG, WAV},
    input::{self, Asked},
    server::{Change, Conformance},
    sessions::AnswerStream,
};

/// How long a tool takes between the things that it reports: the suites ask for about this.
const STEP: Duration = Duration::from_millis(50);

/// An answer of one text.
fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

/// An answer of blocks in JSON.
fn blocks(value: Value) -> Result<CallToolResponse, ErrorData> {
    Ok(CallToolResult::success(content::blocks(value)?).into())
}

/// One argument that must be a text.
fn argument<'a>(request: &'a CallToolRequestParams, name: &str) -> Result<&'a str, ErrorData> {
    let value = request.arguments.as_ref().and_then(|all| all.get(name));
    value
        .and_then(Value::as_str)
        .ok_or_else(|| ErrorData::invalid_params(format!("the argument `{name}` is missing"), None))
}

/// Calls a tool that the catalogue has.
pub(super) async fn call(
    server: &Conformance,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let name = request.name.as_ref();
    if name.starts_with("test_input_required_result_") {
        return Box::pin(call_asking(server, &request, context)).await;
    }
    match name {
        "test_simple_text" => Ok(text("This is a simple text response for testing.")),
        "test_image_content" => blocks(json!([{ "type": "image", "data": PNG, "mimeType": "image/png" }])),
        "test_audio_content" => blocks(json!([{ "type": "audio", "data": WAV, "mimeType": "audio/wav" }])),
        "test_embedded_resource" => blocks(json!([{
            "type": "resource",
            "resource": {
                "uri": "test://embedded-resource",
                "mimeType": "text/plain",
                "text": "This is an embedded resource content.",
            },
        }])),
        "test_multiple_content_types" => blocks(json!([
            { "type": "text", "text": "Multiple content types test:" },
            { "type": "image", "data": PNG, "mimeType": "image/png" },
            {
                "type": "resource",
                "resource": {
                    "uri": "test://mixed-content-resource",
                    "mimeType": "application/json",
                    "text": json!({ "test": "data", "value": 123 }).to_string(),
                },
            },
        ])),
        "test_error_handling" => {
            let message = "This tool intentionally returns an error for testing";
            Ok(CallToolResult::error(vec![ContentBlock::text(message)]).into())
        }
        "test_tool_with_logging" | "test_logging_tool" => {
            let info = LoggingLevel::Info;
            server.log(context, info, "Tool execution started").await;
            tokio::time::sleep(STEP).await;
            server.log(context, info, "Tool processing data").await;
            tokio::time::sleep(STEP).await;
            server.log(context, info, "Tool execution completed").await;
            Ok(text("Tool with logging executed successfully"))
        }
        "test_tool_with_progress" => {
            progress(context, 0.0).await?;
            tokio::time::sleep(STEP).await;
            progress(context, 50.0).await?;
            tokio::time::sleep(STEP).await;
            progress(context, 100.0).await?;
            Ok(text("Tool with progress executed successfully"))
        }
        "test_reconnection" => {
            if let Some(stream) = context.extensions.get::<AnswerStream>() {
                stream
                    .close()
                    .await
                    .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
                // rmcp 3.11 loses an answer that is given before the stream is resumed.
                tokio::time::sleep(super::RETRY * 5).await;
            }
            Ok(text("Reconnection test completed successfully"))
        }
        "test_http_custom_header" => Ok(text(format!("Region: {}", argument(&request, "region")?))),
        "json_schema_2020_12_tool" => Ok(text(format!("Called with {}", json!(request.arguments)))),
        "test_missing_capability" => {
            let declared = context.client_capabilities().unwrap_or_default();
            if declared.sampling.is_some() {
                return Ok(text("The sampling capability was declared"));
            }
            let mut needed = ClientCapabilities::default();
            needed.sampling = Some(Default::default());
            Err(ErrorData::missing_required_client_capability(needed))
        }
        "test_trigger_tool_change" => Ok(changed(server, Change::Tools)),
        "test_trigger_prompt_change" => Ok(changed(server, Change::Prompts)),
        "test_trigger_resource_change" => Ok(changed(server, Change::Resources)),
        "test_trigger_resource_update" => Ok(changed(server, Change::Watched)),
        "test_dynamic_tool" => Ok(text("This tool comes and goes.")),
        _ => Box::pin(call_asking(server, &request, context)).await,
    }
}

/// Makes a change.
fn changed(server: &Conformance, change: Change) -> CallToolResponse {
    server.shared.change(change);
    text(format!("Changed: {change:?}"))
}

/// Reports progress in percent, if the client asked for it.
async fn progress(context: &RequestContext<RoleServer>, percent: f64) -> Result<(), ErrorData> {
    let Some(token) = context.meta.get_progress_token() else {
        return Ok(());
    };
    let report = ProgressNotificationParam::new(token, percent).with_total(100.0);
    context
        .peer
        .notify_progress(report)
        .await
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// The tools that ask the client for something.
async fn call_asking(
    server: &Conformance,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    // A state that comes back must be one that went out.
    let state = request
        .request_state
        .as_deref()
        .map(|state| server.shared.states.open(state))
        .transpose()
        .map_err(|error| ErrorData::invalid_params(error.to_string(), None))?;
    let seal = |state: &str| Some(server.shared.states.seal(state.as_bytes()));
    let confirm = || {
        input::form(
            "Please confirm",
            json!({ "type": "object", "properties": { "ok": { "type": "boolean" } }, "required": ["ok"] }),
        )
    };
    let (requests, state): (InputRequests, _) = match request.name.as_ref() {
        "test_sampling" => {
            let prompt = argument(request, "prompt")?;
            (one("sampling", input::sampling(prompt, 100)), None)
        }
        "test_elicitation" => {
            let schema = json!({
                "type": "object",
                "properties": {
                    "username": { "type": "string", "description": "User's response" },
                    "email": { "type": "string", "description": "User's email address" },
                },
                "required": ["username", "email"],
            });
            (
                one("elicitation", input::form(argument(request, "message")?, schema)?),
                None,
            )
        }
        "test_elicitation_sep1034_defaults" => {
            let form = input::form("Please review these values", defaults())?;
            (one("elicitation", form), None)
        }
        "test_elicitation_sep1330_enums" => {
            let form = input::form("Please choose", choices())?;
            (one("elicitation", form), None)
        }
        "test_streaming_elicitation" => {
            progress(context, 50.0).await?;
            let form = input::text_form("What is your name?", "name")?;
            (one("user_name", form), None)
        }
        "test_input_required_result_elicitation" => {
            let form = input::text_form("What is your name?", "name")?;
            (one("user_name", form), None)
        }
        "test_input_required_result_sampling" => {
            let question = input::sampling("What is the capital of France?", 100);
            (one("capital_question", question), None)
        }
        "test_input_required_result_list_roots" => (one("client_roots", input::roots()), None),
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            if request.input_responses.is_some() && state.is_none() {
                return Err(ErrorData::invalid_params("the request state is missing", None));
            }
            (one("confirm", confirm()?), seal("confirm"))
        }
        "test_input_required_result_multiple_inputs" => {
            let mut requests = one("user_name", input::text_form("What is your name?", "name")?);
            requests.insert("greeting".into(), input::sampling("Generate a greeting", 50));
            requests.insert("client_roots".into(), input::roots());
            (requests, seal("multiple"))
        }
        "test_input_required_result_capabilities" => {
            let declared = context.client_capabilities().unwrap_or_default();
            let mut requests = InputRequests::new();
            if declared.elicitation.is_some() {
                requests.insert("elicitation".into(), confirm()?);
            }
            if declared.sampling.is_some() {
                requests.insert("sampling".into(), input::sampling("Say hello", 50));
            }
            if declared.roots.is_some() {
                requests.insert("roots".into(), input::roots());
            }
            (requests, None)
        }
        "test_input_required_result_multi_round" => {
            return rounds(server, request, context, state.as_deref()).await;
        }
        other => {
            let message = format!("unknown tool: {other}");
            return Err(ErrorData::invalid_params(message, None));
        }
    };
    if requests.is_empty() {
        return Ok(text("The client can do nothing that could be asked for"));
    }
    match input::ask(context, requests, request.input_responses.as_ref(), state).await? {
        Asked::Required(required) => Ok(required.into()),
        Asked::Answered(answers) => Ok(text(summary(&request.name, &answers))),
    }
}

/// Two rounds, the second of which knows what the first gave.
async fn rounds(
    server: &Conformance,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
    state: Option<&[u8]>,
) -> Result<CallToolResponse, ErrorData> {
    let states = &server.shared.states;
    let responses = request.input_responses.as_ref();
    let name = match state.and_then(|state| state.strip_prefix(b"2:")) {
        Some(name) => String::from_utf8_lossy(name).into_owned(),
        None => {
            let question = one("step1", input::text_form("Step 1: What is your name?", "name")?);
            // Answers without the state of the first round belong to nothing.
            let responses = responses.filter(|_| state == Some(b"1"));
            match input::ask(context, question, responses, Some(states.seal(b"1"))).await? {
                Asked::Required(required) => return Ok(required.into()),
                Asked::Answered(answers) => field(&answers, "step1", "name"),
            }
        }
    };
    let question = one(
        "step2",
        input::text_form("Step 2: What is your favorite color?", "color")?,
    );
    let next = states.seal(format!("2:{name}").as_bytes());
    match input::ask(context, question, responses, Some(next)).await? {
        Asked::Required(required) => Ok(required.into()),
        Asked::Answered(answers) => {
            let color = field(&answers, "step2", "color");
            Ok(text(format!("{name} likes {color}")))
        }
    }
}

/// One request under one name.
fn one(name: &str, request: InputRequest) -> InputRequests {
    InputRequests::from([(name.to_owned(), request)])
}

/// A field of the form that was answered under this name.
fn field(answers: &InputResponses, name: &str, field: &str) -> String {
    let content = answers.get(name).and_then(|answer| answer.get("content"));
    let value = content.and_then(|content| content.get(field));
    value.and_then(Value::as_str).unwrap_or("nobody").to_owned()
}

/// What a tool says once it has its answers.
fn summary(tool: &str, answers: &InputResponses) -> String {
    let answer = |name: &str| answers.get(name).cloned().unwrap_or_default();
    let said = |name: &str| {
        let answer = answer(name);
        let said = answer
            .pointer("/content/text")
            .or_else(|| answer.pointer("/content/0/text"));
        said.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let form = |name: &str| {
        let answer = answer(name);
        let action = answer.get("action").and_then(Value::as_str).unwrap_or_default();
        let content = answer.get("content").cloned().unwrap_or_default();
        format!("action={action}, content={content}")
    };
    match tool {
        "test_sampling" => format!("LLM response: {}", said("sampling")),
        "test_elicitation" => format!("User response: {}", form("elicitation")),
        "test_elicitation_sep1034_defaults" | "test_elicitation_sep1330_enums" => {
            format!("Elicitation completed: {}", form("elicitation"))
        }
        "test_streaming_elicitation" | "test_input_required_result_elicitation" => {
            format!("Hello, {}!", field(answers, "user_name", "name"))
        }
        "test_input_required_result_sampling" => said("capital_question"),
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            "state-ok".to_owned()
        }
        _ => format!("Answers: {}", json!(answers)),
    }
}

/// One field of each kind with a default (SEP-1034).
fn defaults() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "description": "User name", "default": "John Doe" },
            "age": { "type": "integer", "description": "User age", "default": 30 },
            "score": { "type": "number", "description": "User score", "default": 95.5 },
            "status": {
                "type": "string",
                "description": "User status",
                "enum": ["active", "inactive", "pending"],
                "default": "active",
            },
            "verified": { "type": "boolean", "description": "Verification status", "default": true },
        },
        "required": [],
    })
}

/// One field of each kind of choice (SEP-1330).
fn choices() -> Value {
    let titled = |word: &str| {
        json!([
            { "const": "value1", "title": format!("First {word}") },
            { "const": "value2", "title": format!("Second {word}") },
            { "const": "value3", "title": format!("Third {word}") },
        ])
    };
    let options = json!(["option1", "option2", "option3"]);
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": options },
            "titledSingle": { "type": "string", "oneOf": titled("Option") },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": options } },
            "titledMulti": { "type": "array", "items": { "anyOf": titled("Choice") } },
        },
        "required": [],
    })
}

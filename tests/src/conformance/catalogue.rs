//! What the server lists. The order never changes; the `test_dynamic_*` entries come and go.

use rmcp::{
    ErrorData,
    model::{Prompt, Resource, ResourceTemplate, Tool},
};
use serde_json::{Value, json};

use super::content::decode;

/// The schema that every keyword of has to arrive (SEP-1613, SEP-2106).
fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

/// A schema with one required text property.
fn one_text(name: &str, description: &str) -> Value {
    json!({
        "type": "object",
        "properties": { name: { "type": "string", "description": description } },
        "required": [name],
    })
}

/// The tools; `dynamic` adds the one that comes and goes.
pub(super) fn tools(dynamic: bool) -> Result<Vec<Tool>, ErrorData> {
    let none = || json!({ "type": "object", "properties": {} });
    let mut tools = vec![
        ("test_simple_text", "Returns simple text", none()),
        ("test_image_content", "Returns an image", none()),
        ("test_audio_content", "Returns audio", none()),
        ("test_embedded_resource", "Returns an embedded resource", none()),
        (
            "test_multiple_content_types",
            "Returns text, an image and a resource",
            none(),
        ),
        ("test_tool_with_logging", "Sends three log messages", none()),
        ("test_tool_with_progress", "Reports progress three times", none()),
        ("test_error_handling", "Always fails", none()),
        (
            "test_sampling",
            "Asks the client's model",
            one_text("prompt", "The prompt to send"),
        ),
        (
            "test_elicitation",
            "Asks the user",
            one_text("message", "The message to show"),
        ),
        (
            "test_elicitation_sep1034_defaults",
            "Asks the user with default values",
            none(),
        ),
        (
            "test_elicitation_sep1330_enums",
            "Asks the user with every kind of choice",
            none(),
        ),
        (
            "test_reconnection",
            "Closes the answer's stream before it answers",
            none(),
        ),
        (
            "json_schema_2020_12_tool",
            "Tool with JSON Schema 2020-12 features",
            schema_2020_12(),
        ),
        (
            "test_http_custom_header",
            "Its argument also travels in a header",
            json!({
                "type": "object",
                "properties": {
                    "region": { "type": "string", "description": "A region", "x-mcp-header": "Region" },
                },
                "required": ["region"],
            }),
        ),
        ("test_missing_capability", "Needs the sampling capability", none()),
        (
            "test_streaming_elicitation",
            "Asks the user after a progress report",
            none(),
        ),
        ("test_logging_tool", "Logs if it was asked to", none()),
        ("test_trigger_tool_change", "Adds or removes a tool", none()),
        ("test_trigger_prompt_change", "Adds or removes a prompt", none()),
        (
            "test_trigger_resource_change",
            "Adds or removes a resource",
            none(),
        ),
        (
            "test_trigger_resource_update",
            "Changes the watched resource",
            none(),
        ),
        (
            "test_input_required_result_elicitation",
            "Needs the user's name",
            none(),
        ),
        (
            "test_input_required_result_sampling",
            "Needs an answer of the client's model",
            none(),
        ),
        (
            "test_input_required_result_list_roots",
            "Needs the client's roots",
            none(),
        ),
        (
            "test_input_required_result_request_state",
            "Needs its state back",
            none(),
        ),
        (
            "test_input_required_result_multiple_inputs",
            "Needs three things at once",
            none(),
        ),
        (
            "test_input_required_result_multi_round",
            "Needs two rounds",
            none(),
        ),
        (
            "test_input_required_result_tampered_state",
            "Refuses a state that was changed",
            none(),
        ),
        (
            "test_input_required_result_capabilities",
            "Asks for what the client can do",
            none(),
        ),
    ];
    if dynamic {
        tools.push(("test_dynamic_tool", "Comes and goes", none()));
    }
    tools
        .into_iter()
        .map(|(name, description, schema)| {
            decode(json!({ "name": name, "description": description, "inputSchema": schema }))
        })
        .collect()
}

/// The prompts; `dynamic` adds the one that comes and goes.
pub(super) fn prompts(dynamic: bool) -> Result<Vec<Prompt>, ErrorData> {
    let argument = |name: &str, text: &str| json!({ "name": name, "description": text, "required": true });
    let mut prompts = json!([
        { "name": "test_simple_prompt", "description": "A simple prompt" },
        {
            "name": "test_prompt_with_arguments",
            "description": "A prompt with arguments",
            "arguments": [argument("arg1", "First test argument"), argument("arg2", "Second test argument")],
        },
        {
            "name": "test_prompt_with_embedded_resource",
            "description": "A prompt with an embedded resource",
            "arguments": [argument("resourceUri", "URI of the resource to embed")],
        },
        { "name": "test_prompt_with_image", "description": "A prompt with an image" },
        { "name": "test_input_required_result_prompt", "description": "A prompt that needs the user" },
    ]);
    if let (true, Some(prompts)) = (dynamic, prompts.as_array_mut()) {
        prompts.push(json!({ "name": "test_dynamic_prompt", "description": "Comes and goes" }));
    }
    decode(prompts)
}

/// The resources; `dynamic` adds the one that comes and goes.
pub(super) fn resources(dynamic: bool) -> Result<Vec<Resource>, ErrorData> {
    let mut resources = vec![
        ("static-text", "A text that never changes", "text/plain"),
        ("static-binary", "A picture that never changes", "image/png"),
        ("watched-resource", "A text to subscribe to", "text/plain"),
    ];
    if dynamic {
        resources.push(("template/dynamic/data", "Comes and goes", "application/json"));
    }
    resources
        .into_iter()
        .map(|(path, description, kind)| {
            let uri = format!("test://{path}");
            decode(json!({ "uri": uri, "name": path, "description": description, "mimeType": kind }))
        })
        .collect()
}

/// The resource templates.
pub(super) fn templates() -> Result<Vec<ResourceTemplate>, ErrorData> {
    decode(json!([{
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "A resource by its id",
        "mimeType": "application/json",
    }]))
}

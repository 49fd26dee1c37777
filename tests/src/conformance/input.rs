//! Asking the client for something in the middle of a request, in the way of its era.

#![expect(
    deprecated,
    reason = "sampling and roots are deprecated, and the suites still ask for them"
)]

use rmcp::{
    ErrorData, RoleServer,
    model::{
        ClientCapabilities, CreateMessageRequest, CreateMessageRequestParams, ElicitRequest,
        ElicitRequestParams, ElicitationSchema, InputRequest, InputRequests, InputRequiredResult,
        InputResponses, ListRootsRequest, ProtocolVersion, SamplingMessage,
    },
    service::{RequestContext, ServiceError},
};
use serde_json::{Value, json};

/// What became of asking.
pub(super) enum Asked {
    /// The client answered everything: its results by the names asked under.
    Answered(InputResponses),
    /// The client has to call again.
    Required(InputRequiredResult),
}

/// Whether this request is of the era without sessions.
pub(super) fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// A form for the user.
pub(super) fn form(message: impl Into<String>, schema: Value) -> Result<InputRequest, ErrorData> {
    let requested_schema: ElicitationSchema = super::content::decode(schema)?;
    let form = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.into(),
        requested_schema,
    };
    Ok(InputRequest::Elicitation(ElicitRequest::new(form)))
}

/// A form with one required text field.
pub(super) fn text_form(message: &str, field: &str) -> Result<InputRequest, ErrorData> {
    form(
        message,
        json!({ "type": "object", "properties": { field: { "type": "string" } }, "required": [field] }),
    )
}

/// A question to the client's model.
pub(super) fn sampling(prompt: &str, max_tokens: u32) -> InputRequest {
    let question = vec![SamplingMessage::user_text(prompt)];
    InputRequest::CreateMessage(CreateMessageRequest::new(CreateMessageRequestParams::new(
        question, max_tokens,
    )))
}

/// The client's roots.
pub(super) fn roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

/// The capabilities that the client must have declared for these requests, if it declared too few.
fn missing(requests: &InputRequests, declared: &ClientCapabilities) -> Option<ClientCapabilities> {
    let mut missing = ClientCapabilities::default();
    for request in requests.values() {
        match request {
            InputRequest::CreateMessage(_) if declared.sampling.is_none() => {
                missing.sampling = Some(Default::default());
            }
            InputRequest::Elicitation(_) if declared.elicitation.is_none() => {
                missing.elicitation = Some(Default::default());
            }
            InputRequest::ListRoots(_) if declared.roots.is_none() => {
                missing.roots = Some(Default::default())
            }
            _ => {}
        }
    }
    (missing != ClientCapabilities::default()).then_some(missing)
}

/// Whether a response has the shape of the request's result.
fn fits(request: &InputRequest, response: &Value) -> bool {
    match request {
        InputRequest::CreateMessage(_) => response.get("content").is_some(),
        InputRequest::Elicitation(_) => response.get("action").is_some_and(Value::is_string),
        InputRequest::ListRoots(_) => response.get("roots").is_some_and(Value::is_array),
        _ => false,
    }
}

/// Asks the client. `responses` are those that this request brought; what is missing in them, or does not fit,
/// is asked again. `state` goes out as `requestState`.
pub(super) async fn ask(
    context: &RequestContext<RoleServer>,
    requests: InputRequests,
    responses: Option<&InputResponses>,
    state: Option<String>,
) -> Result<Asked, ErrorData> {
    let declared = context.client_capabilities().unwrap_or_default();
    if let Some(missing) = missing(&requests, &declared) {
        return Err(ErrorData::missing_required_client_capability(missing));
    }
    if !is_modern(context) {
        let mut answers = InputResponses::new();
        for (name, request) in requests {
            answers.insert(name, ask_now(context, request).await?);
        }
        return Ok(Asked::Answered(answers));
    }
    let answered = responses.is_some_and(|responses| {
        requests
            .iter()
            .all(|(name, request)| responses.get(name).is_some_and(|r| fits(request, r)))
    });
    Ok(match responses {
        Some(responses) if answered => Asked::Answered(responses.clone()),
        _ => Asked::Required(InputRequiredResult::new(Some(requests), state)),
    })
}

/// Sends one request within a legacy session and waits for its result.
async fn ask_now(context: &RequestContext<RoleServer>, request: InputRequest) -> Result<Value, ErrorData> {
    let result = match request {
        InputRequest::CreateMessage(request) => context
            .peer
            .create_message(request.params)
            .await
            .map(|result| json!(result)),
        InputRequest::Elicitation(request) => context
            .peer
            .create_elicitation(request.params)
            .await
            .map(|result| json!(result)),
        InputRequest::ListRoots(_) => context.peer.list_roots().await.map(|result| json!(result)),
        _ => return Err(ErrorData::internal_error("an unknown input request", None)),
    };
    result.map_err(|error| match error {
        ServiceError::McpError(error) => error,
        other => ErrorData::internal_error(other.to_string(), None),
    })
}

//! What the client that made the call offers: MCP's client features, where `grants.client` names them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{backend, wit::host::client as wit};

/// Why the client did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `grants.client` does not name the feature.
    #[error("not granted: {0}")]
    NotGranted(String),
    /// The client did not declare the capability, or there is no client, as in a scheduled hook.
    #[error("the client does not support it: {0}")]
    Unsupported(String),
    /// The parameters are wrong.
    #[error("the parameters are wrong: {0}")]
    Invalid(String),
    /// Nobody answered in time.
    #[error("the client did not answer in time")]
    TimedOut,
    /// The client gave up on the call.
    #[error("the call was cancelled")]
    Cancelled,
    /// JSON that cannot be written or read.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else, in the hub's words.
    #[error("{0}")]
    Other(String),
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::NotGranted(text) => Self::NotGranted(text),
            wit::Error::Unsupported(text) => Self::Unsupported(text),
            wit::Error::Invalid(text) => Self::Invalid(text),
            wit::Error::TimedOut => Self::TimedOut,
            wit::Error::Cancelled => Self::Cancelled,
            wit::Error::Other(text) => Self::Other(text),
        }
    }
}

/// What a person answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The form was filled in: its content.
    Accept(Value),
    /// The person said no.
    Decline,
    /// The person closed the form.
    Cancel,
}

/// Asks the person at the client to fill in a form. `schema` is the JSON Schema of a flat object, as MCP's
/// `elicitation/create` has it.
///
/// # Errors
/// See [`enum@Error`].
pub fn elicit(message: &str, schema: &Value) -> Result<Answer, Error> {
    let mut result = elicit_with(&json!({"message": message, "requestedSchema": schema}))?;
    Ok(match result.get("action").and_then(Value::as_str) {
        Some("accept") => Answer::Accept(result.get_mut("content").map(Value::take).unwrap_or_default()),
        Some("decline") => Answer::Decline,
        _ => Answer::Cancel,
    })
}

/// Asks with the parameters of `elicitation/create` as they are in the protocol. Answers its result.
///
/// # Errors
/// See [`enum@Error`].
pub fn elicit_with(parameters: &impl Serialize) -> Result<Value, Error> {
    Ok(serde_json::from_str(&backend::elicit(&serde_json::to_string(
        parameters,
    )?)?)?)
}

/// Asks the client's model, with the parameters of `sampling/createMessage`. Answers its result.
///
/// # Errors
/// See [`enum@Error`].
pub fn sample(parameters: &impl Serialize) -> Result<Value, Error> {
    Ok(serde_json::from_str(&backend::sample(&serde_json::to_string(
        parameters,
    )?)?)?)
}

/// The client's roots: the result of `roots/list`.
///
/// # Errors
/// See [`enum@Error`].
pub fn roots() -> Result<Value, Error> {
    Ok(serde_json::from_str(&backend::roots()?)?)
}

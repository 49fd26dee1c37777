//! Local servers that speak the documented protocols of model providers, with a scripted model behind them.
//!
//! The tests cannot reach the real providers, and a real model does not do the same thing twice. So each client gets the
//! address of this server instead of its provider's:
//!
//! | protocol | path | source |
//! | --- | --- | --- |
//! | Anthropic Messages | `/v1/messages` | <https://docs.anthropic.com/en/api/messages-streaming> |
//! | OpenAI Responses | `/v1/responses` | <https://platform.openai.com/docs/api-reference/responses-streaming> |
//! | OpenAI Chat Completions | `/v1/chat/completions` | <https://platform.openai.com/docs/api-reference/chat-streaming> |
//! | Gemini | `/v1beta/models/{model}:streamGenerateContent` | <https://ai.google.dev/api/generate-content> |
//!
//! Each protocol is one file that reads a request into a [`Turn`] and writes a [`Reply`] as the events of its stream.
//! What the model does is in [`script`]. Nothing here knows a client.

mod anthropic;
mod chat;
mod gemini;
mod responses;
pub(crate) mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

pub(crate) use script::{Script, Step};

/// A tool that the client offered to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The namespace that the client put it into, where the protocol has such.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) description: String,
}

impl Tool {
    /// The name with its namespace: `namespace/name`.
    pub(crate) fn full_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// One request to the model, whatever protocol it came in.
#[derive(Debug, Default, Clone)]
pub(crate) struct Turn {
    /// What the client says to the model before the conversation, descriptions of tool namespaces included.
    pub(crate) system: String,
    pub(crate) tools: Vec<Tool>,
    /// The text of each tool result in the conversation, in order.
    pub(crate) results: Vec<String>,
    /// How many images are in the conversation.
    pub(crate) images: usize,
    /// Whether the client asked for a stream.
    pub(crate) stream: bool,
    /// The model's name, which some clients want back.
    pub(crate) model: String,
}

/// What the model answers.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Say(String),
    Call {
        id: String,
        tool: Tool,
        arguments: Value,
    },
}

/// An event of a stream: its name, where the protocol names events, and its data.
struct Event(Option<&'static str>, String);

/// How a protocol writes its answer.
enum Answer {
    Whole(Value),
    Stream(Vec<Event>),
}

impl Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Whole(body) => {
                ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
            }
            Self::Stream(events) => {
                let mut text = String::new();
                for Event(name, data) in events {
                    if let Some(name) = name {
                        text.push_str(&format!("event: {name}\n"));
                    }
                    text.push_str(&format!("data: {data}\n\n"));
                }
                ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
            }
        }
    }
}

/// A running server with its script.
pub(crate) struct Model {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    script: Arc<Script>,
    server: tokio::task::JoinHandle<()>,
}

impl Model {
    /// Listens on a free loopback port.
    pub(crate) async fn start(script: Script) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(script);
        let router = Router::new()
            .route("/v1/messages", post(messages))
            .route("/v1/messages/count_tokens", post(count_tokens))
            .route("/v1/responses", post(responses))
            .route("/v1/chat/completions", post(chat))
            .route("/v1/models", get(models))
            .route("/v1beta/models/{operation}", post(gemini))
            .fallback(unknown)
            .layer(axum::extract::DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(script.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, script, server }
    }

    /// What the model was asked and did so far.
    pub(crate) fn script(&self) -> &Script {
        &self.script
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The largest request, in bytes: hundreds of tools and an image.
const MAX_REQUEST: usize = 64 << 20;

type Shared = State<Arc<Script>>;

/// Reads a request with `read`, asks the script, and writes its reply with `write`.
async fn answer(
    script: &Script,
    body: &[u8],
    read: impl Fn(&[u8]) -> serde_json::Result<Turn>,
    write: impl Fn(&Turn, &Reply) -> Answer,
) -> Response {
    match read(body) {
        Ok(turn) => {
            let reply = script.reply(&turn).await;
            write(&turn, &reply).into_response()
        }
        Err(error) => {
            script.odd(format!("a request that cannot be read: {error}"));
            let problem = json!({"error": {"type": "invalid_request_error", "message": error.to_string()}});
            (StatusCode::BAD_REQUEST, problem.to_string()).into_response()
        }
    }
}

async fn messages(State(script): Shared, body: Bytes) -> Response {
    answer(&script, &body, anthropic::read, anthropic::write).await
}

/// <https://docs.anthropic.com/en/api/messages-count-tokens>: clients ask it to decide what fits.
async fn count_tokens() -> Response {
    Answer::Whole(json!({"input_tokens": 100})).into_response()
}

async fn responses(State(script): Shared, body: Bytes) -> Response {
    answer(&script, &body, responses::read, responses::write).await
}

async fn chat(State(script): Shared, body: Bytes) -> Response {
    answer(&script, &body, chat::read, chat::write).await
}

/// <https://platform.openai.com/docs/api-reference/models/list>
async fn models() -> Response {
    let model = json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"});
    Answer::Whole(json!({"object": "list", "data": [model]})).into_response()
}

/// The name of the model, where a client may choose it.
pub(crate) const MODEL: &str = "scripted";

async fn gemini(State(script): Shared, Path(operation): Path<String>, body: Bytes) -> Response {
    let (model, method) = operation.split_once(':').unwrap_or((&operation, ""));
    let stream = match method {
        "streamGenerateContent" => true,
        "generateContent" => false,
        "countTokens" => return Answer::Whole(json!({"totalTokens": 100})).into_response(),
        _ => {
            script.odd(format!("an unknown method of the Gemini API: {operation}"));
            return StatusCode::NOT_FOUND.into_response();
        }
    };
    let read = |body: &[u8]| gemini::read(body, model, stream);
    answer(&script, &body, read, gemini::write).await
}

async fn unknown(State(script): Shared, uri: Uri) -> Response {
    script.odd(format!("an unknown path: {uri}"));
    (
        StatusCode::NOT_FOUND,
        json!({"error": {"message": "not found"}}).to_string(),
    )
        .into_response()
}

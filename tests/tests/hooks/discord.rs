//! A server that treats messages of a webhook as Discord does: it checks the address, the form and the limits, answers
//! 204 or, with `wait=true`, the message, and says 429 with a time to wait where the test wants it. Whoever does not
//! wait so long is noted.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing,
};
use serde_json::{Value, json};

/// The path of the one webhook that there is.
pub(crate) const PATH: &str = "/api/webhooks/123456789012345678/abcDEF-ghi_JKL0123456789";

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Discord(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    messages: Vec<Value>,
    /// Seconds of silence that the next requests are told to keep.
    silences: VecDeque<f64>,
    quiet_until: Option<Instant>,
    too_soon: usize,
    refused: Vec<String>,
}

impl Discord {
    /// Starts it; answers its address.
    pub(crate) async fn start() -> (Self, String) {
        let discord = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route(PATH, routing::post(message))
            .with_state(discord.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (discord, url)
    }

    /// Answers the next request with 429 and so many seconds.
    pub(crate) fn silence(&self, seconds: f64) {
        self.0.lock().unwrap().silences.push_back(seconds);
    }

    /// The messages that were taken.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.0.lock().unwrap().messages.clone()
    }

    /// What was asked for in vain: requests within a silence, messages that are none.
    pub(crate) fn complaints(&self) -> (usize, Vec<String>) {
        let inner = self.0.lock().unwrap();
        (inner.too_soon, inner.refused.clone())
    }
}

async fn message(
    State(discord): State<Discord>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut inner = discord.0.lock().unwrap();
    let now = Instant::now();
    if let Some(left) = inner
        .quiet_until
        .and_then(|until| until.checked_duration_since(now))
    {
        inner.too_soon += 1;
        return too_many(left.as_secs_f64());
    }
    if let Some(seconds) = inner.silences.pop_front() {
        inner.quiet_until = Some(now + Duration::from_secs_f64(seconds));
        return too_many(seconds);
    }
    let json_sent = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let message: Value = serde_json::from_str(&body).unwrap_or_default();
    if let Some(problem) = (!json_sent)
        .then(|| "no JSON".to_owned())
        .or_else(|| problem(&message))
    {
        inner.refused.push(problem.clone());
        let said = json!({ "message": problem, "code": 50035 });
        return (StatusCode::BAD_REQUEST, said.to_string()).into_response();
    }
    inner.messages.push(message.clone());
    if !query.is_some_and(|query| query.contains("wait=true")) {
        return StatusCode::NO_CONTENT.into_response();
    }
    let mut stored = message;
    stored["id"] = json!(format!("{}", 1_000 + inner.messages.len()));
    ([(header::CONTENT_TYPE, "application/json")], stored.to_string()).into_response()
}

fn too_many(seconds: f64) -> Response {
    let said = json!({ "message": "You are being rate limited.", "retry_after": seconds, "global": false });
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::RETRY_AFTER, seconds.to_string()),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, said.to_string()).into_response()
}

/// What Discord would refuse.
fn problem(message: &Value) -> Option<String> {
    let length = |value: &Value| value.as_str().unwrap_or_default().chars().count();
    let empty = Vec::new();
    let embeds = message["embeds"].as_array().unwrap_or(&empty);
    if length(&message["content"]) == 0 && embeds.is_empty() {
        return Some("Cannot send an empty message".to_owned());
    }
    if length(&message["content"]) > 2000 || embeds.len() > 10 {
        return Some("too long".to_owned());
    }
    let too_long = embeds.iter().any(|embed| {
        let fields = embed["fields"].as_array().unwrap_or(&empty);
        length(&embed["title"]) > 256
            || length(&embed["description"]) > 4096
            || fields.len() > 25
            || fields.iter().any(|field| {
                !(1..=256).contains(&length(&field["name"])) || !(1..=1024).contains(&length(&field["value"]))
            })
    });
    too_long.then(|| "an embed is too long".to_owned())
}

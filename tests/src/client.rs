//! Raw MCP clients: they send exactly what a test says and keep every byte of what comes back.
//!
//! Real clients are tested too; these are for what a well-behaved client never sends, and for what it would not show.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::SOON;

mod legacy;
mod modern;
mod pipe;

pub use legacy::Legacy;
pub use modern::Modern;
pub use pipe::Pipe;

/// A fresh HTTP client, without proxies or redirects.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// All that came back for one message.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// HTTP headers.
    pub headers: HeaderMap,
    /// Whole messages, as text: those before the answer, then the answer.
    pub messages: Vec<String>,
    /// From the request to its answer.
    pub took: Duration,
}

impl Reply {
    /// The last message: the answer.
    pub fn raw(&self) -> &str {
        self.messages.last().map_or("", String::as_str)
    }

    /// The answer.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.raw())
            .unwrap_or_else(|e| panic!("{e}: status {}, `{}`", self.status, self.raw()))
    }

    /// The answer's result; panics where it is an error.
    pub fn result(&self) -> Value {
        let value = self.value();
        assert!(value.get("result").is_some(), "an error: {value}");
        value["result"].clone()
    }

    /// The text of the first content block.
    pub fn text(&self) -> String {
        let result = self.result();
        result["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("no text: {result}"))
            .to_owned()
    }

    /// The answer's error; panics where it is none.
    pub fn error(&self) -> Value {
        let value = self.value();
        assert!(
            value.get("error").is_some(),
            "no error: {:.300}",
            value.to_string()
        );
        value["error"].clone()
    }

    /// The error's code.
    pub fn code(&self) -> i64 {
        self.error()["code"].as_i64().unwrap()
    }

    /// The notifications of a method that came before the answer.
    pub fn notes(&self, method: &str) -> Vec<Value> {
        let values = self
            .messages
            .iter()
            .filter_map(|m| serde_json::from_str::<Value>(m).ok());
        values.filter(|v| v["method"] == method).collect()
    }
}

/// Answers a request of the server: its method and parameters to a result.
pub type Answers = fn(&str, &Value) -> Value;

/// Refuses everything that a server may ask.
pub fn no_answers(method: &str, _: &Value) -> Value {
    panic!("the server asked `{method}`")
}

/// Cuts an SSE stream into the data of its events.
pub struct Events {
    body: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    buffer: Vec<u8>,
    /// So far there is no end of an event in the buffer.
    searched: usize,
}

impl Events {
    /// Reads this response.
    pub fn new(response: reqwest::Response) -> Self {
        Self {
            body: Box::pin(response.bytes_stream()),
            buffer: Vec::new(),
            searched: 0,
        }
    }

    /// The data of the next event that has some; `None` at the end.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            while let Some(end) = self.buffer[self.searched..].windows(2).position(|w| w == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..self.searched + end + 2).collect();
                self.searched = 0;
                let event = String::from_utf8(event).unwrap();
                let data: Vec<_> = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(|data| data.strip_prefix(' ').unwrap_or(data))
                    .collect();
                let data = data.join("\n");
                if !data.is_empty() {
                    return Some(data);
                }
            }
            self.searched = self.buffer.len().saturating_sub(1);
            let Some(Ok(more)) = self.body.next().await else {
                // An answer that came at once is plain JSON: one message, without the form of an event.
                let rest = String::from_utf8(std::mem::take(&mut self.buffer)).unwrap();
                return rest.starts_with('{').then_some(rest);
            };
            self.buffer.extend_from_slice(&more);
        }
    }

    /// The next message of a method.
    pub async fn until(&mut self, method: &str) -> Value {
        let wait = async {
            loop {
                let data = self.next().await.expect("the stream ended");
                let Ok(value) = serde_json::from_str::<Value>(&data) else {
                    continue;
                };
                if value["method"] == method {
                    return value;
                }
            }
        };
        tokio::time::timeout(SOON, wait)
            .await
            .unwrap_or_else(|_| panic!("no {method} came"))
    }
}

/// One POST and all that comes back; `reply` takes answers to what the server asks meanwhile.
pub(crate) async fn exchange(
    request: reqwest::RequestBuilder,
    answers: Answers,
    reply: impl AsyncFn(Value),
) -> Reply {
    let began = Instant::now();
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let kind = headers.get("content-type").map_or("", |v| v.to_str().unwrap());
    let mut messages = Vec::new();
    if kind.starts_with("text/event-stream") {
        let mut events = Events::new(response);
        while let Some(data) = events.next().await {
            let value: Value = serde_json::from_str(&data).unwrap();
            messages.push(data);
            match (value.get("method").and_then(Value::as_str), value.get("id")) {
                (Some(method), Some(id)) => {
                    let result = answers(method, &value["params"]);
                    reply(json!({ "jsonrpc": "2.0", "id": id, "result": result })).await;
                }
                (None, _) => break,
                _ => {}
            }
        }
    } else {
        messages.push(response.text().await.unwrap());
    }
    Reply {
        status,
        headers,
        messages,
        took: began.elapsed(),
    }
}

//! A client of the modern era: every request says who it is.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Events, Reply, exchange, http, no_answers};
use crate::Hub;

/// A client of 2026-07-28.
pub struct Modern {
    http: reqwest::Client,
    url: String,
    key: String,
    capabilities: Value,
    /// The name in its `clientInfo`.
    name: String,
    next: AtomicU64,
}

impl Modern {
    /// A client of `path` that declares these capabilities.
    pub fn new(hub: &Hub, path: &str, key: &str, capabilities: Value) -> Self {
        Self {
            http: http(),
            url: hub.url(path),
            key: key.to_owned(),
            capabilities,
            name: "hostile-tests".to_owned(),
            next: AtomicU64::new(1),
        }
    }

    /// The same client under another name: to the hub it is another client.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The `_meta` that every request carries.
    pub fn meta(&self) -> Value {
        json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            "io.modelcontextprotocol/clientInfo": { "name": self.name, "version": "1" },
        })
    }

    /// Sends this text as it is, under the headers of a request of `method` that names `name`.
    pub async fn post(&self, method: &str, name: Option<&str>, body: impl Into<reqwest::Body>) -> Reply {
        let request = self.builder(method, name).body(body);
        exchange(request, no_answers, async |_| {}).await
    }

    fn builder(&self, method: &str, name: Option<&str>) -> reqwest::RequestBuilder {
        let request = self
            .http
            .post(&self.url)
            .bearer_auth(&self.key)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        match name {
            Some(name) => request.header("mcp-name", name),
            None => request,
        }
    }

    fn message(&self, method: &str, mut params: Value) -> (reqwest::RequestBuilder, String) {
        let mut meta = params["_meta"].as_object().cloned().unwrap_or_default();
        meta.extend(self.meta().as_object().cloned().unwrap_or_default());
        params["_meta"] = Value::Object(meta);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let name = ["name", "uri", "taskId"]
            .iter()
            .find_map(|key| params[key].as_str());
        let request = self.builder(method, name);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        (request, body.to_string())
    }

    /// Sends a request.
    pub async fn request(&self, method: &str, params: Value) -> Reply {
        let (request, body) = self.message(method, params);
        exchange(request.body(body), no_answers, async |_| {}).await
    }

    /// Calls a tool.
    pub async fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// Sends a request and returns the response as soon as its head is there.
    pub async fn send(&self, method: &str, params: Value) -> reqwest::Response {
        let (request, body) = self.message(method, params);
        request.body(body).send().await.unwrap()
    }

    /// The stream of `subscriptions/listen`, or of a call that is not waited for.
    pub async fn stream(&self, method: &str, params: Value) -> Events {
        let response = self.send(method, params).await;
        assert_eq!(response.status(), 200);
        Events::new(response)
    }
}

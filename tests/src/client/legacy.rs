//! A client of the legacy era: it has a session.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answers, Events, Reply, exchange, http, no_answers};
use crate::Hub;

/// A client of 2025-11-25.
pub struct Legacy {
    http: reqwest::Client,
    /// The endpoint.
    pub url: String,
    key: String,
    /// The session's id.
    pub session: String,
    answers: Answers,
    next: AtomicU64,
}

impl Legacy {
    /// Opens a session at `path` that can be asked nothing.
    pub async fn connect(hub: &Hub, path: &str, key: &str) -> Self {
        Self::connect_with(hub, path, key, json!({}), no_answers).await
    }

    /// Opens a session with these capabilities.
    pub async fn connect_with(
        hub: &Hub,
        path: &str,
        key: &str,
        capabilities: Value,
        answers: Answers,
    ) -> Self {
        Self::connect_as(hub, path, key, "hostile-tests", capabilities, answers).await
    }

    /// Opens a session under this name of a program.
    pub async fn connect_as(
        hub: &Hub,
        path: &str,
        key: &str,
        name: &str,
        capabilities: Value,
        answers: Answers,
    ) -> Self {
        let mut client = Self {
            http: http(),
            url: hub.url(path),
            key: key.to_owned(),
            session: String::new(),
            answers,
            next: AtomicU64::new(1),
        };
        let opened = client
            .request(
                "initialize",
                json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
                    "clientInfo": { "name": name, "version": "1" } }),
            )
            .await;
        opened.result();
        client.session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let status = client.notify("notifications/initialized", json!({})).await;
        assert_eq!(status, 202);
        client
    }

    /// A request with this session's headers.
    pub fn builder(&self, method: Method) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .request(method, &self.url)
            .bearer_auth(&self.key)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if !self.session.is_empty() {
            request = request
                .header("mcp-session-id", &self.session)
                .header("mcp-protocol-version", "2025-11-25");
        }
        request
    }

    /// Sends this text as it is.
    pub async fn post(&self, body: impl Into<reqwest::Body>) -> Reply {
        exchange(
            self.builder(Method::POST).body(body),
            self.answers,
            async |answer| {
                let sent = self.builder(Method::POST).body(answer.to_string()).send().await;
                assert_eq!(sent.unwrap().status(), 202);
            },
        )
        .await
    }

    /// An id that was not used yet.
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request.
    pub async fn request(&self, method: &str, params: Value) -> Reply {
        let body = json!({ "jsonrpc": "2.0", "id": self.next_id(), "method": method, "params": params });
        self.post(body.to_string()).await
    }

    /// Sends a notification.
    pub async fn notify(&self, method: &str, params: Value) -> StatusCode {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.post(body.to_string()).await.status
    }

    /// Calls a tool.
    pub async fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// The standing stream.
    pub async fn standing(&self) -> Events {
        let response = self.builder(Method::GET).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }

    /// All tools, through all pages.
    pub async fn tools(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut params = json!({});
        loop {
            let result = self.request("tools/list", params).await.result();
            all.extend(result["tools"].as_array().unwrap().iter().cloned());
            match result.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return all,
            }
        }
    }

    /// The names of all tools, through all pages.
    pub async fn tool_names(&self) -> Vec<String> {
        let tools = self.tools().await;
        tools
            .iter()
            .map(|t| t["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Ends the session.
    pub async fn close(&self) -> StatusCode {
        self.builder(Method::DELETE).send().await.unwrap().status()
    }
}

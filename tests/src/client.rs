//! Raw MCP clients: they send exactly what a test says and hand back exactly what came.
//!
//! Real clients are tested too; these are for what a well-behaved client never sends.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// An HTTP client without redirects and without a proxy.
pub fn http() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
    builder
        .timeout(Duration::from_secs(60))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// What came back: status, headers, and every message of the body.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// HTTP headers.
    pub headers: reqwest::header::HeaderMap,
    /// The messages, from JSON or from events; other bodies give none.
    pub messages: Vec<Value>,
    /// The body as text.
    pub text: String,
}

impl Reply {
    /// Reads a response to its end.
    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap_or_default();
        let events = headers
            .get("content-type")
            .is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"));
        let messages = if events {
            text.lines()
                .filter_map(|l| serde_json::from_str(l.strip_prefix("data:")?).ok())
                .collect()
        } else {
            serde_json::from_str(&text).into_iter().collect()
        };
        Self {
            status,
            headers,
            messages,
            text,
        }
    }

    /// The JSON-RPC response (the last message).
    pub fn response(&self) -> &Value {
        self.messages
            .last()
            .unwrap_or_else(|| panic!("no message: {} {}", self.status, self.text))
    }

    /// The result.
    pub fn result(&self) -> &Value {
        self.response()
            .get("result")
            .unwrap_or_else(|| panic!("no result: {} {}", self.status, self.text))
    }

    /// The error's code.
    pub fn error_code(&self) -> i64 {
        let code = self.response().pointer("/error/code").and_then(Value::as_i64);
        code.unwrap_or_else(|| panic!("no error: {} {}", self.status, self.text))
    }
}

fn authorised(request: RequestBuilder, key: Option<&str>) -> RequestBuilder {
    match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    }
}

/// A client of the legacy era: it has a session.
#[derive(Clone)]
pub struct Legacy {
    /// For requests of a test's own.
    pub http: reqwest::Client,
    /// The endpoint.
    pub url: String,
    /// The session.
    pub session: String,
    /// What `initialize` answered.
    pub hello: Value,
    key: Option<String>,
}

impl Legacy {
    /// Initializes a session of 2025-11-25 without client capabilities.
    pub async fn connect(url: &str, key: Option<&str>) -> Self {
        Self::connect_as(url, key, "2025-11-25", json!({})).await
    }

    /// Initializes a session.
    pub async fn connect_as(url: &str, key: Option<&str>, version: &str, capabilities: Value) -> Self {
        let http = http();
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": capabilities,
            "clientInfo": {"name": "raw", "version": "1"},
        }});
        let request = http
            .post(url)
            .header("accept", "application/json, text/event-stream")
            .json(&hello);
        let reply = Reply::read(authorised(request, key).send().await.unwrap()).await;
        let session = reply.headers.get("mcp-session-id").and_then(|v| v.to_str().ok());
        let session = session
            .unwrap_or_else(|| panic!("no session: {} {}", reply.status, reply.text))
            .to_owned();
        let this = Self {
            http,
            url: url.to_owned(),
            session,
            hello: reply.result().clone(),
            key: key.map(str::to_owned),
        };
        this.notify("notifications/initialized", json!({})).await;
        this
    }

    /// A POST of this session, without a body.
    pub fn post(&self) -> RequestBuilder {
        let request = self
            .http
            .post(&self.url)
            .header("accept", "application/json, text/event-stream");
        authorised(
            request.header("mcp-session-id", &self.session),
            self.key.as_deref(),
        )
    }

    /// The standing stream.
    pub async fn listen(&self) -> Response {
        let request = self.http.get(&self.url).header("accept", "text/event-stream");
        let request = request.header("mcp-session-id", &self.session);
        authorised(request, self.key.as_deref()).send().await.unwrap()
    }

    /// Ends the session.
    pub async fn delete(&self) -> StatusCode {
        let request = self
            .http
            .delete(&self.url)
            .header("mcp-session-id", &self.session);
        authorised(request, self.key.as_deref())
            .send()
            .await
            .unwrap()
            .status()
    }

    /// Sends any message.
    pub async fn send(&self, message: &Value) -> Reply {
        Reply::read(self.post().json(message).send().await.unwrap()).await
    }

    /// Sends a request.
    pub async fn request(&self, method: &str, params: Value) -> Reply {
        self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
            .await
    }

    /// Sends a notification.
    pub async fn notify(&self, method: &str, params: Value) -> Reply {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
            .await
    }

    /// Calls a tool.
    pub async fn call(&self, name: &str, arguments: Value) -> Reply {
        self.request("tools/call", json!({"name": name, "arguments": arguments}))
            .await
    }

    /// The names in `tools/list`.
    pub async fn tool_names(&self) -> Vec<String> {
        names(self.request("tools/list", json!({})).await.result())
    }
}

fn names(result: &Value) -> Vec<String> {
    let tools = result
        .get("tools")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    tools
        .iter()
        .filter_map(|t| Some(t.get("name")?.as_str()?.to_owned()))
        .collect()
}

/// A client of the modern era: every request says who it is.
#[derive(Clone)]
pub struct Modern {
    /// For requests of a test's own.
    pub http: reqwest::Client,
    /// The endpoint.
    pub url: String,
    /// What it declares.
    pub capabilities: Value,
    key: Option<String>,
}

impl Modern {
    /// A client without capabilities.
    pub fn new(url: &str, key: Option<&str>) -> Self {
        Self {
            http: http(),
            url: url.to_owned(),
            capabilities: json!({}),
            key: key.map(str::to_owned),
        }
    }

    /// `params` with the `_meta` of a modern request.
    pub fn params(&self, mut params: Value) -> Value {
        let meta = params
            .as_object_mut()
            .unwrap()
            .entry("_meta")
            .or_insert_with(|| json!({}));
        let meta = meta.as_object_mut().unwrap();
        meta.insert(
            "io.modelcontextprotocol/protocolVersion".into(),
            "2026-07-28".into(),
        );
        meta.insert(
            "io.modelcontextprotocol/clientInfo".into(),
            json!({"name": "raw", "version": "1"}),
        );
        meta.insert(
            "io.modelcontextprotocol/clientCapabilities".into(),
            self.capabilities.clone(),
        );
        params
    }

    /// A POST with the headers that repeat `method` and the name in `params`, without a body.
    pub fn post(&self, method: &str, params: &Value) -> RequestBuilder {
        let request = self
            .http
            .post(&self.url)
            .header("accept", "application/json, text/event-stream");
        let mut request = request
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        let member = if method == "resources/read" { "uri" } else { "name" };
        if let Some(name) = params.get(member).and_then(Value::as_str) {
            request = request.header("mcp-name", name);
        }
        authorised(request, self.key.as_deref())
    }

    /// Sends a request and hands the response over unread.
    pub async fn open(&self, method: &str, params: Value) -> Response {
        let params = self.params(params);
        let request = self.post(method, &params);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        request.json(&body).send().await.unwrap()
    }

    /// Sends a request.
    pub async fn request(&self, method: &str, params: Value) -> Reply {
        Reply::read(self.open(method, params).await).await
    }

    /// Calls a tool.
    pub async fn call(&self, name: &str, arguments: Value) -> Reply {
        self.request("tools/call", json!({"name": name, "arguments": arguments}))
            .await
    }

    /// The names in `tools/list`.
    pub async fn tool_names(&self) -> Vec<String> {
        names(self.request("tools/list", json!({})).await.result())
    }
}

//! One conversation with the hub in each era of MCP, message for message: a client at `/mcp`, and behind the hub a server
//! of each era. What is another at each run (addresses, sessions, opaque state) has a name in its place.

use std::fmt::Write as _;

use aih_tests::{Fixture, Hub, KEY, client::http, fixture::external};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

/// Headers that are written down, of requests and of responses.
const HEADERS: [&str; 6] = [
    "accept",
    "content-type",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
];

/// A conversation, and what is written down of it.
struct Transcript {
    http: reqwest::Client,
    hub: Hub,
    /// Headers of every request.
    headers: Vec<(&'static str, String)>,
    /// Values that are others at each run, and the names that are written for them.
    names: Vec<(String, &'static str)>,
    text: String,
    next: u64,
    _fixture: Fixture,
}

impl Transcript {
    async fn begin(title: &str) -> Self {
        let fixture = Fixture::start().await;
        let servers = [
            external("old", &format!("{}/stateful/old", fixture.url), ""),
            external("new", &format!("{}/modern/new", fixture.url), ""),
        ];
        let config = format!("mcps:\n  external:\n{}", servers.concat());
        let hub = Hub::start(&config).await;
        hub.until_tools(&hub.legacy().await, &["old__echo", "new__echo"])
            .await;
        let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
        let headers = [
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        Self {
            http: http(),
            headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(),
            names: vec![
                (version, "\"version\": \"VERSION\""),
                (hub.base.clone(), "http://HUB"),
                (fixture.url.clone(), "http://SERVER"),
            ],
            text: format!("{title}\n"),
            next: 1,
            hub,
            _fixture: fixture,
        }
    }

    /// Sends a body as it is, and writes both down. Returns the last message of the response and its headers.
    async fn exchange(
        &mut self,
        what: &str,
        method: Method,
        more: &[(&'static str, String)],
        body: &str,
    ) -> (Value, HeaderMap) {
        let mut request = self.http.request(method.clone(), self.hub.url("/mcp"));
        let mut sent = String::new();
        for (name, value) in self.headers.iter().chain(more) {
            request = request.header(*name, value);
            writeln!(sent, "> {name}: {value}").unwrap();
        }
        let request = request.bearer_auth(KEY).body(body.to_owned());
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(session) = headers.get("mcp-session-id") {
            let session = (session.to_str().unwrap().to_owned(), "SESSION");
            if !self.names.contains(&session) {
                self.names.push(session);
            }
        }
        let mut received = String::new();
        for name in HEADERS {
            if let Some(value) = headers.get(name) {
                writeln!(received, "< {name}: {}", value.to_str().unwrap()).unwrap();
            }
        }
        let answer = response.text().await.unwrap();
        let messages: Vec<Value> = if answer.starts_with('{') {
            vec![serde_json::from_str(&answer).unwrap()]
        } else {
            let data = answer.lines().filter_map(|line| line.strip_prefix("data:"));
            let data = data.filter(|data| !data.trim().is_empty());
            data.map(|data| serde_json::from_str(data).unwrap()).collect()
        };
        for message in &messages {
            if let Some(state) = message.pointer("/result/requestState").and_then(Value::as_str) {
                self.names.push((state.to_owned(), "STATE"));
            }
            writeln!(received, "{}", pretty("< ", message)).unwrap();
        }
        if messages.is_empty() && !answer.is_empty() {
            writeln!(received, "< {answer}").unwrap();
        }
        let body = match serde_json::from_str::<Value>(body) {
            Ok(value) => pretty("> ", &value),
            Err(_) if body.is_empty() => String::new(),
            Err(_) => format!("> {body}"),
        };
        let body = body.trim_end();
        let text = format!("\n## {what}\n> {method} /mcp\n{sent}{body}\n< {status}\n{received}");
        self.text.push_str(&text);
        (messages.into_iter().next_back().unwrap_or_default(), headers)
    }

    /// The text, with names in the place of what is another at each run.
    fn end(self) -> String {
        let mut text = self.text;
        for (value, name) in &self.names {
            text = text.replace(value, name);
        }
        text
    }
}

/// A message on several lines, each with a mark in front.
fn pretty(mark: &str, message: &Value) -> String {
    let text = serde_json::to_string_pretty(message).unwrap();
    let lines: Vec<_> = text.lines().map(|line| format!("{mark}{line}")).collect();
    lines.join("\n")
}

/// The requests that mean the same in both eras. `_meta` with a progress token is added where `progress` is set.
fn common() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("the list of tools", "tools/list", json!({})),
        (
            "a call to a server of the old era",
            "tools/call",
            json!({ "name": "old__echo", "arguments": { "text": "hello" } }),
        ),
        (
            "a call to a server of the new era",
            "tools/call",
            json!({ "name": "new__echo", "arguments": { "text": "hello" } }),
        ),
        (
            "a call that reports its progress",
            "tools/call",
            json!({ "name": "old__slow", "arguments": { "ms": 10, "steps": 2 }, "_meta": { "progressToken": "p1" } }),
        ),
        (
            "a result with content that no revision knows",
            "tools/call",
            json!({ "name": "old__odd", "arguments": {} }),
        ),
        (
            "a tool that is not there",
            "tools/call",
            json!({ "name": "old__nothing", "arguments": {} }),
        ),
        ("a call without a name", "tools/call", json!({ "arguments": {} })),
        ("the list of resources", "resources/list", json!({})),
        (
            "the list of resource templates",
            "resources/templates/list",
            json!({}),
        ),
        (
            "a resource that is not there",
            "resources/read",
            json!({ "uri": "file:///nothing" }),
        ),
        ("the list of prompts", "prompts/list", json!({})),
        (
            "a prompt that is not there",
            "prompts/get",
            json!({ "name": "old__nothing" }),
        ),
        ("a method that is not there", "nothing/at-all", json!({})),
    ]
}

#[tokio::test]
async fn a_conversation_of_2025_11_25_is_the_committed_one() {
    let mut talk = Transcript::begin("# A conversation of 2025-11-25 over streamable HTTP").await;
    let message = |id: u64, method: &str, params: &Value| {
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
    };
    let hello = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "golden", "version": "1" },
    });
    let (_, headers) = talk
        .exchange(
            "the greeting",
            Method::POST,
            &[],
            &message(0, "initialize", &hello),
        )
        .await;
    let session = headers["mcp-session-id"].to_str().unwrap().to_owned();
    talk.headers
        .push(("mcp-protocol-version", "2025-11-25".to_owned()));
    talk.headers.push(("mcp-session-id", session));
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string();
    talk.exchange("the client is ready", Method::POST, &[], &ready)
        .await;
    talk.exchange("a ping", Method::POST, &[], &message(1, "ping", &json!({})))
        .await;
    talk.next = 2;
    for (what, method, params) in common() {
        let body = message(talk.next, method, &params);
        talk.exchange(what, Method::POST, &[], &body).await;
        talk.next += 1;
    }
    talk.exchange("a body that is not JSON", Method::POST, &[], "{ nonsense")
        .await;
    talk.exchange("a batch", Method::POST, &[], "[]").await;
    talk.exchange("the end of the session", Method::DELETE, &[], "")
        .await;
    let late = message(talk.next, "ping", &json!({}));
    talk.exchange("a ping after the end", Method::POST, &[], &late)
        .await;
    super::compare("mcp-2025-11-25.txt", &talk.end());
}

#[tokio::test]
async fn a_conversation_of_2026_07_28_is_the_committed_one() {
    let mut talk = Transcript::begin("# A conversation of 2026-07-28 over streamable HTTP").await;
    let message = |id: u64, method: &str, params: &Value| {
        let mut params = params.clone();
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": {} } },
            "io.modelcontextprotocol/clientInfo": { "name": "golden", "version": "1" },
        });
        if let Some(token) = params.pointer("/_meta/progressToken") {
            meta["progressToken"] = token.clone();
        }
        params["_meta"] = meta;
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
    };
    let headers = |method: &str, params: &Value| {
        let name = ["name", "uri"].iter().find_map(|key| params[key].as_str());
        let mut headers = vec![
            ("mcp-protocol-version", "2026-07-28".to_owned()),
            ("mcp-method", method.to_owned()),
        ];
        headers.extend(name.map(|name| ("mcp-name", name.to_owned())));
        headers
    };
    let steps = [("what the hub can do", "server/discover", json!({}))];
    for (what, method, params) in steps.into_iter().chain(common()) {
        let body = message(talk.next, method, &params).to_string();
        talk.exchange(what, Method::POST, &headers(method, &params), &body)
            .await;
        talk.next += 1;
    }
    // A question of the server, answered by a second request.
    let mut params = json!({ "name": "old__ask", "arguments": { "kind": "elicitation" } });
    let body = message(talk.next, "tools/call", &params).to_string();
    let (asked, _) = talk
        .exchange(
            "a call that asks the user",
            Method::POST,
            &headers("tools/call", &params),
            &body,
        )
        .await;
    let questions = asked["result"]["inputRequests"].as_object().unwrap();
    let key = questions.keys().next().unwrap();
    params["inputResponses"] =
        json!({ key.as_str(): { "action": "accept", "content": { "answer": "yes" } } });
    params["requestState"] = asked["result"]["requestState"].clone();
    let body = message(talk.next + 1, "tools/call", &params).to_string();
    talk.exchange(
        "the answer of the user",
        Method::POST,
        &headers("tools/call", &params),
        &body,
    )
    .await;
    let ping = json!({});
    let body = message(talk.next + 2, "tools/list", &ping).to_string();
    talk.exchange(
        "a header that differs from the body",
        Method::POST,
        &headers("tools/call", &ping),
        &body,
    )
    .await;
    let body = body.replace("2026-07-28", "2099-01-01");
    let unknown = [
        ("mcp-protocol-version", "2099-01-01".to_owned()),
        ("mcp-method", "tools/list".to_owned()),
    ];
    talk.exchange("a version that is not known", Method::POST, &unknown, &body)
        .await;
    super::compare("mcp-2026-07-28.txt", &talk.end());
}

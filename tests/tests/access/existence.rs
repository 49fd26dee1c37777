//! What a key may not see is answered like what is not there: the same bytes, and no wait more.

use std::time::{Duration, Instant};

use aih_tests::{Events, Fixture, Hub, KEY, Legacy, Modern, SOON, Start, client::http, key_hash};
use reqwest::Method;
use serde_json::{Value, json};

use crate::LIMITED;

/// What is there and hidden, and what is not there: of one length, so that lengths can be compared as well.
const HIDDEN: &str = "hidden9";
const ABSENT: &str = "absent9";
/// The place of the name in what is asked.
const NAME: &str = "NAME";

async fn start(fixture: &Fixture) -> Hub {
    let config = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: limited, key_hash: \"{}\", permissions: [\"mcps/one/*\", \"!mcps/one/{HIDDEN}*\", \
         \"!mcps/one/test://{HIDDEN}\", \"!mcps/one/test://a/{HIDDEN}\", \"skills/open\", \"configs/open\"] }}\n\
         mcps:\n  external:\n    - {{ name: one, url: \"{url}/stateful/one\" }}\n    \
         - {{ name: {HIDDEN}, url: \"{url}/stateful/two\" }}\n    - {{ name: starting, url: \"{hole}\" }}\n\
         skills:\n  - {{ name: open, description: Open, file: ./f.md }}\n  - {{ name: {HIDDEN}, description: Closed, file: ./f.md }}\n\
         configs:\n  open: {{ file: ./f.md }}\n  {HIDDEN}: {{ file: ./f.md }}\n\
         hooks:\n  - {{ name: {HIDDEN}, trigger: manual, action: ./hooks/h.js, enabled: false }}\n",
        key_hash(KEY),
        key_hash(LIMITED),
        url = fixture.url,
        hole = fixture.hole,
    );
    let files = &[
        ("f.md", "# File\n"),
        ("hooks/h.js", "export default { onEvent() {} };\n"),
    ];
    let hub = Start {
        config: &config,
        files,
        ..Start::default()
    };
    let hub = hub.run().await;
    hub.until_up("one").await;
    hub.until_up(HIDDEN).await;
    let admin = hub.legacy().await;
    admin
        .call("one__add_tool", json!({ "name": HIDDEN }))
        .await
        .text();
    hub.until_tools(&admin, &[&format!("one__{HIDDEN}")]).await;
    hub
}

/// All that can be told from an answer, with the name in it masked.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Asks for one name.
struct Question<'a> {
    method: Method,
    path: &'a str,
    key: Option<&'a str>,
    headers: &'a [(&'a str, String)],
    body: Option<String>,
}

impl Question<'_> {
    async fn ask(&self, hub: &Hub, name: &str) -> Seen {
        let named = |text: &str| text.replace(NAME, name);
        let mut request = http()
            .request(self.method.clone(), hub.url(&named(self.path)))
            .timeout(SOON);
        if let Some(key) = self.key {
            request = request.bearer_auth(key);
        }
        for (header, value) in self.headers {
            request = request.header(*header, named(value));
        }
        if let Some(body) = &self.body {
            request = request.body(named(body));
        }
        let response = request.send().await.unwrap();
        let masked = |text: &str| text.replace(name, NAME);
        let headers = response.headers().iter();
        let mut headers: Vec<(String, String)> = headers
            .filter(|(header, _)| !["date", "mcp-session-id"].contains(&header.as_str()))
            .map(|(header, value)| (header.to_string(), masked(value.to_str().unwrap())))
            .collect();
        headers.sort();
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type");
        let streams = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event"));
        let body = match streams {
            // The address in the first event holds an id that nobody can guess.
            true => {
                let first = Events::new(response).next().await.unwrap_or_default();
                first.split("sessionId").next().unwrap_or_default().to_owned()
            }
            false => response.text().await.unwrap(),
        };
        Seen {
            status,
            headers,
            body: masked(&body),
        }
    }

    /// Hidden and absent are the same to the limited key, and not to the one that may do all.
    async fn check(&mut self, hub: &Hub, differs_for_all: bool) {
        let what = format!("{} {} {:?}", self.method, self.path, self.body);
        let hidden = self.ask(hub, HIDDEN).await;
        let absent = self.ask(hub, ABSENT).await;
        assert_eq!(hidden, absent, "{what}");
        if differs_for_all {
            self.key = Some(KEY);
            assert_ne!(
                self.ask(hub, HIDDEN).await,
                absent,
                "{what}: the test asks for nothing"
            );
        }
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");

fn owned<'a>(headers: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn every_route_of_rest_answers_for_hidden_as_for_absent() {
    let fixture = Fixture::start().await;
    let hub = start(&fixture).await;
    let description = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json"));
    let description: Value = serde_json::from_str(&description.unwrap()).unwrap();
    let mut asked = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let named = path
                .replace("{name}", NAME)
                .replace("{id}", NAME)
                .replace("{path}", "some/file.md");
            if named == *path {
                // A list or a report: what is hidden is not in it.
                if method == Method::GET {
                    let (_, _, body) = hub.get(path, Some(LIMITED), &[]).await;
                    assert!(!body.contains(HIDDEN), "{path}: {body}");
                }
                continue;
            }
            asked += 1;
            for (body, query) in [
                ("{}", ""),
                ("{", ""),
                ("", ""),
                ("{}", "?format=json"),
                ("{}", "?no=1"),
            ] {
                let path = format!("{named}{query}");
                let mut headers = owned(&[JSON, ("x-hub-signature-256", "sha256=00")]);
                headers.push(("x-request", NAME.to_owned()));
                for key in [Some(LIMITED), None] {
                    let mut question = Question {
                        method: method.clone(),
                        path: &path,
                        key,
                        headers: &headers,
                        body: Some(body.to_owned()),
                    };
                    question.check(&hub, false).await;
                }
            }
        }
    }
    assert!(asked >= 6, "the routes with a name: {asked}");
    for path in [
        "/api/v1/skills/NAME",
        "/api/v1/configs/NAME",
        "/api/v1/hooks/NAME/trigger",
    ] {
        let trigger = path.ends_with("trigger");
        let mut question = Question {
            method: if trigger { Method::POST } else { Method::GET },
            path,
            key: Some(LIMITED),
            headers: &owned(&[JSON]),
            body: trigger.then(|| "{}".to_owned()),
        };
        question.check(&hub, true).await;
    }
}

#[tokio::test]
async fn every_endpoint_of_one_server_answers_for_hidden_as_for_absent() {
    let fixture = Fixture::start().await;
    let hub = start(&fixture).await;
    let session = Legacy::connect(&hub, "/mcp", LIMITED).await.session;
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    for path in [
        "/mcp/NAME",
        "/mcp/NAME/sse",
        "/mcp/NAME/messages",
        "/mcp/NAME/messages?sessionId=x",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
            for body in [None, Some(&initialize), Some(&list)] {
                for with_session in [false, true] {
                    let mut headers = owned(&[JSON, BOTH]);
                    if with_session {
                        headers.push(("mcp-session-id", session.clone()));
                    }
                    let mut question = Question {
                        method: method.clone(),
                        path,
                        key: Some(LIMITED),
                        headers: &headers,
                        body: body.map(Value::to_string),
                    };
                    let greets = path == "/mcp/NAME" && method == Method::POST && body == Some(&initialize);
                    question.check(&hub, greets).await;
                }
            }
        }
    }
}

/// A request and whether a key that may do all can tell the two names apart by it.
type Asked = (&'static str, Value, bool);

/// Requests about something of another server or of the hub, on `/mcp`.
fn on_all() -> Vec<Asked> {
    let argument = json!({ "name": "name", "value": "" });
    let uri = |uri: &str| json!({ "uri": uri });
    let own = |tool: &str| json!({ "name": tool, "arguments": { "name": NAME } });
    vec![
        (
            "tools/call",
            json!({ "name": "NAME__echo", "arguments": { "text": "x" } }),
            true,
        ),
        (
            "tools/call",
            json!({ "name": "NAME__absent", "arguments": {} }),
            false,
        ),
        (
            "tools/call",
            json!({ "name": "one__NAME", "arguments": { "text": "x" } }),
            true,
        ),
        ("tools/call", own("aih__get_skill"), true),
        ("tools/call", own("aih__get_config"), true),
        ("tools/call", own("aih__trigger_hook"), true),
        ("prompts/get", json!({ "name": "NAME__greet" }), true),
        ("prompts/get", json!({ "name": "aih__NAME" }), true),
        ("resources/read", uri("aih://NAME/test://a"), true),
        ("resources/read", uri("AIH://NAME/test://a"), false),
        ("resources/read", uri("ui://NAME/a"), true),
        ("resources/read", uri("skill://NAME/a"), true),
        ("resources/read", uri("skill://aih/NAME/SKILL.md"), true),
        ("resources/read", uri("config://NAME"), true),
        ("resources/subscribe", uri("aih://NAME/test://a"), false),
        ("resources/subscribe", uri("config://NAME"), false),
        ("resources/unsubscribe", uri("aih://NAME/test://a"), false),
        ("resources/unsubscribe", uri("config://NAME"), false),
        ("resources/directory/read", uri("skill://aih/NAME"), true),
        ("resources/directory/read", uri("aih://NAME/test://a"), false),
        ("skills/get", uri("skill://aih/NAME/SKILL.md"), true),
        ("skills/get", uri("skill://NAME/a/SKILL.md"), false),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "NAME__greet" }, "argument": argument }),
            true,
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/resource", "uri": "aih://NAME/test://a" }, "argument": argument }),
            true,
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/resource", "uri": "config://{name}" },
                "argument": { "name": "name", "value": NAME } }),
            true,
        ),
        ("tasks/get", json!({ "taskId": NAME }), false),
        ("NAME/unknown", json!({}), false),
    ]
}

/// Requests on the endpoint of a server that is hidden as a whole.
fn on_hidden() -> Vec<Asked> {
    let mut all: Vec<Asked> = [
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "skills/list",
        "tasks/list",
        "unknown/method",
        "ping",
    ]
    .into_iter()
    .map(|method| (method, json!({}), false))
    .collect();
    all.extend([
        ("tools/call", json!({ "name": "echo", "arguments": { "text": "x" } }), true),
        ("tools/call", json!({ "name": "absent", "arguments": {} }), false),
        ("prompts/get", json!({ "name": "greet" }), true),
        ("resources/read", json!({ "uri": "test://a" }), true),
        ("tasks/get", json!({ "taskId": "1" }), false),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "a", "value": "" } }),
            false,
        ),
        (
            "subscriptions/listen",
            json!({ "notifications": { "toolsListChanged": true, "resourceSubscriptions": ["test://a"] } }),
            true,
        ),
    ]);
    all
}

/// Requests about something that is hidden at a server that the key may use.
fn on_one() -> Vec<Asked> {
    vec![(
        "tools/call",
        json!({ "name": NAME, "arguments": { "text": "x" } }),
        true,
    )]
}

async fn modern(hub: &Hub, path: &str, asked: Vec<Asked>) {
    for (method, mut params, differs) in asked {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let mut headers = owned(&[
            JSON,
            BOTH,
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ]);
        let named = ["name", "uri", "taskId"]
            .iter()
            .find_map(|member| params[*member].as_str());
        headers.extend(named.map(|name| ("mcp-name", name.to_owned())));
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let mut question = Question {
            method: Method::POST,
            path,
            key: Some(LIMITED),
            headers: &headers,
            body: Some(body.to_string()),
        };
        question
            .check(hub, differs && !method.starts_with("resources/sub"))
            .await;
    }
}

async fn legacy(hub: &Hub, path: &str, asked: Vec<Asked>) {
    let client = Legacy::connect(hub, path, LIMITED).await;
    for (method, params, _) in asked {
        let headers = [
            ("mcp-session-id", client.session.clone()),
            ("mcp-protocol-version", "2025-11-25".to_owned()),
        ];
        let headers: Vec<_> = headers.into_iter().chain(owned(&[JSON, BOTH])).collect();
        let body = json!({ "jsonrpc": "2.0", "id": client.next_id(), "method": method, "params": params });
        let mut question = Question {
            method: Method::POST,
            path,
            key: Some(LIMITED),
            headers: &headers,
            body: Some(body.to_string()),
        };
        question.check(hub, false).await;
    }
}

#[tokio::test]
async fn every_method_of_mcp_answers_for_hidden_as_for_absent() {
    let fixture = Fixture::start().await;
    let hub = start(&fixture).await;
    modern(&hub, "/mcp", on_all()).await;
    legacy(&hub, "/mcp", on_all()).await;
    modern(&hub, "/mcp/NAME", on_hidden()).await;
    modern(&hub, "/mcp/one", on_one()).await;
    legacy(&hub, "/mcp/one", on_one()).await;
}

#[tokio::test]
async fn a_hidden_server_that_is_starting_makes_nobody_wait() {
    let fixture = Fixture::start().await;
    let hub = start(&fixture).await;
    let modern = Modern::new(&hub, "/mcp/starting", LIMITED, json!({}));
    for method in ["server/discover", "tools/list", "tools/call"] {
        let began = Instant::now();
        let answer = modern
            .request(method, json!({ "name": "x", "arguments": {} }))
            .await;
        assert_eq!(answer.error()["message"], "no server `starting`", "{method}");
        // The hub waits ten seconds for a server that the key may use.
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{method}: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn hidden_things_cause_no_notification() {
    let fixture = Fixture::start().await;
    let hub = start(&fixture).await;
    let admin = hub.legacy().await;
    let above = "aih://one/test://a";
    let limited = Legacy::connect(&hub, "/mcp", LIMITED).await;
    limited
        .request("resources/subscribe", json!({ "uri": above }))
        .await
        .result();
    let standing = limited.standing().await;
    let direct = Legacy::connect(&hub, "/mcp/one", LIMITED).await;
    direct
        .request("resources/subscribe", json!({ "uri": "test://a" }))
        .await
        .result();
    let on_one = direct.standing().await;
    let modern = Modern::new(&hub, "/mcp", LIMITED, json!({}));
    let listen = json!({ "notifications": { "toolsListChanged": true, "resourceSubscriptions": [above] } });
    let mut listening = modern.stream("subscriptions/listen", listen).await;
    let acknowledged = listening.next().await.unwrap();
    assert!(acknowledged.contains(above), "{acknowledged}");

    // A list changes where it is hidden, and parts of what was subscribed to that are hidden.
    let news = format!("{HIDDEN}-2");
    admin.call("one__add_tool", json!({ "name": news })).await.text();
    hub.until_tools(&admin, &[&format!("one__{news}")]).await;
    let touch = async |uri: &str| {
        let arguments = json!({ "uri": uri, "of": "test://a" });
        admin.call("one__touch", arguments).await.text();
    };
    for uri in [
        "test://a/hidden9",
        "TEST://a/%68idden9/deep",
        "test://a/./x/../hidden9?q",
    ] {
        touch(uri).await;
    }
    touch("test://a/open").await;
    for (what, mut stream) in [("/mcp", standing), ("/mcp/one", on_one), ("listen", listening)] {
        let first = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap();
        assert!(first.contains("test://a/open"), "{what}: {first}");
    }
    // Who may see it does hear of it.
    admin
        .request("resources/subscribe", json!({ "uri": above }))
        .await
        .result();
    let mut all = admin.standing().await;
    touch("test://a/hidden9").await;
    let updated = all.until("notifications/resources/updated").await;
    assert!(updated.to_string().contains(HIDDEN), "{updated}");
}

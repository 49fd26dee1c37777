//! Keys that are removed or changed while something is under way for them.

use std::time::Duration;

use aih_tests::{
    Events, Fixture, Hub, KEY, Legacy, Modern, SOON, client::http, eventually, fixture::with_method, key_hash,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const WORKER: &str = "aih_key-that-is-taken-away";
const NEXT: &str = "aih_key-that-comes-in-its-place";
/// The server of the tests, at the fixture.
const ONE: &str = "stateful/one";

/// What becomes of the key of the tests, which could use everything of the server `one`.
#[derive(Clone, Copy, Debug)]
enum Change {
    Removed,
    Narrowed,
    Replaced,
}

const CHANGES: [Change; 3] = [Change::Removed, Change::Narrowed, Change::Replaced];

fn config(fixture: &Fixture, change: Option<Change>) -> String {
    let key = |name: &str, key: &str, permissions: &str| {
        format!(
            "    - {{ name: {name}, key_hash: \"{}\", permissions: [{permissions}] }}\n",
            key_hash(key)
        )
    };
    let worker = match change {
        None => key("worker", WORKER, "\"mcps/one/*\""),
        Some(Change::Removed) => String::new(),
        Some(Change::Narrowed) => key("worker", WORKER, "\"mcps/one/pid\""),
        Some(Change::Replaced) => key("worker", NEXT, "\"mcps/one/*\""),
    };
    let admin = key("admin", KEY, "\"*\"");
    aih_tests::config(&format!(
        "auth:\n  api_keys:\n{admin}{worker}mcps:\n  external:\n    - {{ name: one, url: \"{}/{ONE}\" }}",
        fixture.url
    ))
}

async fn start(fixture: &Fixture) -> Hub {
    let hub = Hub::start(&config(fixture, None).replace("version: \"1.0\"\n", "")).await;
    hub.until_up("one").await;
    hub
}

/// Makes the change count, as an operator does.
async fn make(hub: &Hub, fixture: &Fixture, change: Change) {
    std::fs::write(
        hub.folder.path().join("aih-config.yaml"),
        config(fixture, Some(change)),
    )
    .unwrap();
    hub.reload().await;
}

/// How many calls of a tool reached the server.
async fn calls(fixture: &Fixture) -> usize {
    with_method(&fixture.record(ONE).await, "tools/call").len()
}

/// How many sessions at the server were ended, and with each session all that ran in it.
async fn sessions_ended(fixture: &Fixture) -> usize {
    with_method(&fixture.record(ONE).await, "DELETE").len()
}

/// A request whose body waits.
struct Slow {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Slow {
    async fn begin(hub: &Hub, path: &str, headers: &str, body: &Value) -> Self {
        let body = body.to_string();
        let (first, rest) = body.split_at(body.len() / 2);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {WORKER}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{first}",
            hub.address(),
            body.len(),
        );
        let mut stream = TcpStream::connect(hub.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        Self {
            stream,
            rest: rest.as_bytes().to_vec(),
        }
    }

    /// The status and all that follows.
    async fn end(mut self) -> (u16, String) {
        // The hub may have answered and closed already.
        let _ = self.stream.write_all(&self.rest).await;
        let mut answer = Vec::new();
        let read = self.stream.read_to_end(&mut answer);
        let read = tokio::time::timeout(SOON, read).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{read:?}: {answer:?}")), answer)
    }
}

const MODERN: &str = "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\n";

fn modern(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
}

fn echo(name: &str) -> Value {
    json!({ "name": name, "arguments": { "text": "too late" } })
}

#[tokio::test]
async fn a_request_whose_body_comes_after_the_change_of_its_key_does_not_run() {
    let fixture = Fixture::start().await;
    for change in CHANGES {
        let hub = start(&fixture).await;
        let session = Legacy::connect(&hub, "/mcp", WORKER).await;
        session
            .call("one__echo", json!({ "text": "in time" }))
            .await
            .text();
        let direct = Legacy::connect(&hub, "/mcp/one", WORKER).await;
        let mut sse = Events::new(sse(&hub, WORKER).await);
        let endpoint = sse.next().await.unwrap();
        let before = calls(&fixture).await;
        let in_session = |client: &Legacy| {
            format!(
                "mcp-session-id: {}\r\nmcp-protocol-version: 2025-11-25\r\n",
                client.session
            )
        };
        let legacy =
            |name: &str| json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": echo(name) });
        let slow = [
            Slow::begin(&hub, "/mcp", &in_session(&session), &legacy("one__echo")).await,
            Slow::begin(&hub, "/mcp/one", &in_session(&direct), &legacy("echo")).await,
            Slow::begin(&hub, &endpoint, "", &legacy("one__echo")).await,
            Slow::begin(
                &hub,
                "/mcp",
                &format!("{MODERN}mcp-name: one__echo\r\n"),
                &modern(echo("one__echo")),
            )
            .await,
            Slow::begin(
                &hub,
                "/mcp/one",
                &format!("{MODERN}mcp-name: echo\r\n"),
                &modern(echo("echo")),
            )
            .await,
            Slow::begin(
                &hub,
                "/api/v1/hooks/any/trigger",
                "",
                &json!({ "payload": "waits" }),
            )
            .await,
        ];
        // The heads were read when a later request of the same key is answered.
        let (status, ..) = hub.get("/api/v1/registry", Some(WORKER), &[]).await;
        assert_eq!(status, 200);
        make(&hub, &fixture, change).await;
        for (number, request) in slow.into_iter().enumerate() {
            let (status, answer) = request.end().await;
            let expected: &[u16] = match change {
                Change::Removed | Change::Replaced => &[401],
                // A head that was read late counts as a new request: its session is gone, or it may not.
                Change::Narrowed => &[503, 404, 200],
            };
            assert!(expected.contains(&status), "{change:?} {number}: {answer}");
            assert!(!answer.contains("\"result\""), "{change:?} {number}: {answer}");
        }
        assert_eq!(
            calls(&fixture).await,
            before,
            "{change:?}: a call reached the server"
        );
    }
}

async fn sse(hub: &Hub, key: &str) -> reqwest::Response {
    let request = http().get(hub.url("/mcp/sse")).bearer_auth(key);
    let response = request
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response
}

/// Reads a stream to its end.
async fn ends(what: &str, stream: &mut Events) -> Vec<String> {
    let mut all = Vec::new();
    let read = async {
        while let Some(data) = stream.next().await {
            all.push(data);
        }
    };
    assert!(
        tokio::time::timeout(SOON, read).await.is_ok(),
        "{what} is still open"
    );
    all
}

#[tokio::test]
async fn open_streams_end_with_their_key_and_with_no_other() {
    let fixture = Fixture::start().await;
    for change in CHANGES {
        let hub = start(&fixture).await;
        let listen = json!({ "notifications": { "toolsListChanged": true } });
        let session = Legacy::connect(&hub, "/mcp", WORKER).await;
        let on_one = Legacy::connect(&hub, "/mcp/one", WORKER).await;
        let modern = Modern::new(&hub, "/mcp", WORKER, json!({}));
        let mut streams = [
            ("a standing stream", session.standing().await),
            ("a standing stream of one server", on_one.standing().await),
            ("an SSE session", Events::new(sse(&hub, WORKER).await)),
            (
                "subscriptions/listen",
                modern.stream("subscriptions/listen", listen.clone()).await,
            ),
        ];
        let admin = Modern::new(&hub, "/mcp", KEY, json!({}));
        let mut other = admin.stream("subscriptions/listen", listen).await;
        assert!(other.next().await.unwrap().contains("acknowledged"));
        make(&hub, &fixture, change).await;
        for (what, stream) in &mut streams {
            ends(&format!("{change:?}: {what}"), stream).await;
        }
        // What the sessions were is gone, whoever asks.
        for key in [WORKER, NEXT, KEY] {
            let resumed = http()
                .get(hub.url("/mcp"))
                .bearer_auth(key)
                .header("accept", "text/event-stream")
                .header("mcp-session-id", &session.session)
                .header("last-event-id", "0-0")
                .send()
                .await
                .unwrap();
            assert!(
                [401, 404].contains(&resumed.status().as_u16()),
                "{change:?} {key}: {}",
                resumed.status()
            );
        }
        admin
            .call("one__add_tool", json!({ "name": format!("news-{change:?}") }))
            .await
            .text();
        other.until("notifications/tools/list_changed").await;
    }
}

/// Sends a request of a session and reads all that comes back, in the background.
fn in_background(client: &Legacy, method: &str, params: Value) -> tokio::task::JoinHandle<String> {
    let body = json!({ "jsonrpc": "2.0", "id": client.next_id(), "method": method, "params": params });
    let request = client.builder(reqwest::Method::POST).body(body.to_string());
    tokio::spawn(async move {
        match request.send().await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    })
}

async fn over(what: &str, call: tokio::task::JoinHandle<String>) {
    let answer = tokio::time::timeout(SOON, call).await;
    let answer = answer.unwrap_or_else(|_| panic!("{what} goes on")).unwrap();
    assert!(!answer.contains("\"result\""), "{what}: {answer}");
}

#[tokio::test]
async fn calls_that_run_end_at_the_hub_and_at_the_server_with_their_key() {
    let fixture = Fixture::start().await;
    for change in CHANGES {
        let hub = start(&fixture).await;
        let ended = sessions_ended(&fixture).await;
        let before = calls(&fixture).await;
        let legacy = Legacy::connect(&hub, "/mcp", WORKER).await;
        let slow = json!({ "name": "one__slow", "arguments": { "ms": 600_000 } });
        let call = in_background(&legacy, "tools/call", slow.clone());
        let modern = Modern::new(&hub, "/mcp", WORKER, json!({}));
        let other = tokio::spawn(async move {
            let response = modern.send("tools/call", slow).await;
            response.text().await.unwrap_or_default()
        });
        eventually("both calls run", || async {
            (calls(&fixture).await == before + 2).then_some(())
        })
        .await;
        make(&hub, &fixture, change).await;
        over("the call of a session", call).await;
        over("the call without a session", other).await;
        // Each client had a session of its own at the server.
        eventually("the server is told", || async {
            (sessions_ended(&fixture).await >= ended + 2).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_call_that_waits_for_a_person_ends_with_its_key() {
    let fixture = Fixture::start().await;
    for change in CHANGES {
        let hub = start(&fixture).await;
        let ended = sessions_ended(&fixture).await;
        let can = json!({ "elicitation": {} });
        let client = Modern::new(&hub, "/mcp", WORKER, can.clone());
        let ask = json!({ "name": "one__ask", "arguments": { "kind": "elicitation" } });
        let asked = client.request("tools/call", ask.clone()).await.result();
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        make(&hub, &fixture, change).await;
        eventually("the server is told", || async {
            (sessions_ended(&fixture).await > ended).then_some(())
        })
        .await;
        // Nobody gets at it any more, the same key with other permissions included.
        let (question, _) = asked["inputRequests"].as_object().unwrap().iter().next().unwrap();
        let answers = json!({ question: { "action": "accept", "content": {} } });
        let mut again = ask;
        again["inputResponses"] = answers;
        again["requestState"] = asked["requestState"].clone();
        for key in [WORKER, NEXT, KEY] {
            let client = Modern::new(&hub, "/mcp", key, can.clone());
            let answer = client.request("tools/call", again.clone()).await;
            assert!(
                answer.status == 401 || answer.value().get("error").is_some(),
                "{change:?} {key}: {}",
                answer.raw()
            );
        }
    }
}

#[tokio::test]
async fn a_narrowed_key_never_sees_what_it_saw_before() {
    let fixture = Fixture::start().await;
    let hub = start(&fixture).await;
    let lists = async |path: &str, key: &str| {
        let legacy = Legacy::connect(&hub, path, key).await;
        let modern = Modern::new(&hub, path, key, json!({}));
        let mut all = String::new();
        for method in ["tools/list", "prompts/list", "resources/list"] {
            all += legacy.request(method, json!({})).await.raw();
            all += modern.request(method, json!({})).await.raw();
        }
        all
    };
    for path in ["/mcp", "/mcp/one"] {
        let before = lists(path, WORKER).await;
        for seen in ["echo", "greet", "test://a"] {
            assert!(before.contains(seen), "{path}: {before}");
        }
    }
    make(&hub, &fixture, Change::Narrowed).await;
    for path in ["/mcp", "/mcp/one"] {
        let after = lists(path, WORKER).await;
        assert!(after.contains("pid"), "{path}: {after}");
        for hidden in ["echo", "greet", "test://a"] {
            assert!(!after.contains(hidden), "{path}: {hidden} in {after}");
        }
        let tool = if path == "/mcp" { "one__" } else { "" };
        let modern = Modern::new(&hub, path, WORKER, json!({}));
        modern
            .call(&format!("{tool}echo"), json!({ "text": "x" }))
            .await
            .error();
        modern.call(&format!("{tool}pid"), json!({})).await.text();
    }
    let rest = crate::json_of(&hub, "/api/v1/registry/mcps", WORKER).await;
    assert_eq!(rest["mcps"][0]["tools"], 1, "{rest}");
}

#[tokio::test]
async fn a_key_that_did_not_change_notices_nothing_of_a_reload() {
    let fixture = Fixture::start().await;
    let hub = start(&fixture).await;
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    let mut standing = admin.standing().await;
    let slow = json!({ "name": "one__slow", "arguments": { "ms": 3_000 } });
    let before = calls(&fixture).await;
    let call = in_background(&admin, "tools/call", slow);
    eventually("the call runs", || async {
        (calls(&fixture).await > before).then_some(())
    })
    .await;
    make(&hub, &fixture, Change::Removed).await;
    let answer = tokio::time::timeout(SOON, call).await.unwrap().unwrap();
    assert!(answer.contains("\"result\""), "{answer}");
    admin
        .call("one__add_tool", json!({ "name": "added" }))
        .await
        .text();
    standing.until("notifications/tools/list_changed").await;
}

#[tokio::test]
async fn a_session_cannot_be_used_by_the_next_key_of_the_same_name() {
    let fixture = Fixture::start().await;
    let hub = start(&fixture).await;
    let old = Legacy::connect(&hub, "/mcp", WORKER).await;
    old.call("one__echo", json!({ "text": "mine" })).await.text();
    make(&hub, &fixture, Change::Replaced).await;
    assert_eq!(old.request("tools/list", json!({})).await.status, 401);
    let stolen = http()
        .post(hub.url("/mcp"))
        .bearer_auth(NEXT)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-session-id", &old.session)
        .body(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string())
        .timeout(Duration::from_secs(60))
        .send()
        .await
        .unwrap();
    assert_eq!(stolen.status(), 404);
    let new = Legacy::connect(&hub, "/mcp", NEXT).await;
    assert_eq!(
        new.call("one__echo", json!({ "text": "new" })).await.text(),
        "new"
    );
}

//! Which addresses there are, and what a client without the right key finds at them.

use aih_tests::{
    Events, Fixture, Hub, KEY, Program, SOON, Start,
    client::http,
    fixture::{external, mcps},
    tools,
};
use serde_json::{Value, json};

fn hello() -> String {
    json!({ "jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } })
    .to_string()
}

/// POSTs a message.
fn post(hub: &Hub, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    http()
        .post(hub.url(path))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .body(body)
}

async fn hub_of_one(fixture: &Fixture, rest: &str) -> Hub {
    let servers = mcps(&external("one", &format!("{}/stateless/s", fixture.url), ""), "");
    let hub = Hub::start(&format!("{servers}{rest}")).await;
    hub.until_up("one").await;
    hub
}

#[tokio::test]
async fn an_address_may_end_with_a_slash() {
    let fixture = Fixture::start().await;
    let hub = hub_of_one(&fixture, "").await;
    for path in [
        "/mcp",
        "/mcp/",
        "/mcp/one",
        "/mcp/one/",
        "/mcp/sse/",
        "/mcp/one/sse/",
    ] {
        let answer = post(&hub, path, hello()).bearer_auth(KEY).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["id"], "hello", "{path}");
    }
    for path in ["/api/v1/health/", "/api/v1/registry/mcps/"] {
        assert_eq!(hub.get(path, Some(KEY), &[]).await.0, 200, "{path}");
    }
    // A slash at the end is not a name, and needs the key as the same path without it does.
    for path in ["/mcp/", "/mcp/one/", "/mcp/other/"] {
        assert_eq!(
            post(&hub, path, hello()).send().await.unwrap().status(),
            401,
            "{path}"
        );
    }
}

/// The address in the first event of the SSE transport, and the answer to `initialize` over it.
async fn greet_over_sse(hub: &Hub, path: &str) -> (String, Value) {
    let stream = http().get(hub.url(path)).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(stream.status(), 200, "{path}");
    let mut events = Events::new(stream);
    let address = events.next().await.unwrap();
    let sent = post(hub, &address, hello())
        .bearer_auth(KEY)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 202, "{address}");
    let answer = serde_json::from_str(&events.next().await.unwrap()).unwrap();
    (address, answer)
}

#[tokio::test]
async fn a_hub_behind_a_proxy_is_served_below_its_public_path() {
    let fixture = Fixture::start().await;
    let hub = hub_of_one(
        &fixture,
        "server: { public_url: \"https://hub.example.com/tools/hub/\" }\n",
    )
    .await;
    // Proxies take the path off, or leave it.
    for front in ["", "/tools/hub"] {
        for path in ["/mcp", "/mcp/one", "/mcp/"] {
            let path = format!("{front}{path}");
            let answer = post(&hub, &path, hello()).bearer_auth(KEY).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
        }
        let health = format!("{front}/api/v1/health");
        assert_eq!(hub.get(&health, None, &[]).await.0, 200, "{health}");
        for (path, messages) in [
            ("/mcp/sse", "/mcp/messages?"),
            ("/mcp/one/sse", "/mcp/one/messages?"),
        ] {
            let (address, answer) = greet_over_sse(&hub, &format!("{front}{path}")).await;
            assert!(address.starts_with(&format!("/tools/hub{messages}")), "{address}");
            assert!(answer["result"].is_object(), "{answer}");
        }
        // What needs a key there needs it here, and what is not there is nowhere.
        let path = format!("{front}/mcp");
        assert_eq!(post(&hub, &path, hello()).send().await.unwrap().status(), 401);
        let path = format!("{front}/register");
        assert_eq!(post(&hub, &path, "{}").send().await.unwrap().status(), 404);
    }
    let hub = hub_of_one(&fixture, "").await;
    let (address, _) = greet_over_sse(&hub, "/mcp/sse").await;
    assert!(address.starts_with("/mcp/messages?"), "{address}");
}

#[tokio::test]
async fn a_batch_is_refused_as_a_batch_over_every_transport() {
    let hub = Hub::start("").await;
    let batch = json!([{ "jsonrpc": "2.0", "id": 1, "method": "ping" }]).to_string();
    let client = hub.legacy().await;
    let answer = client.post(batch.clone()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.raw().contains("batch"), "{}", answer.raw());
    let answer = post(&hub, "/mcp", batch).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let answer: Value = answer.json().await.unwrap();
    assert!(
        answer["error"]["message"].as_str().unwrap().contains("batch"),
        "{answer}"
    );
    assert_eq!(answer["id"], Value::Null);
}

#[tokio::test]
async fn a_refusal_names_the_request_that_it_is_for() {
    let hub = Hub::start("").await;
    let ping = json!({ "jsonrpc": "2.0", "id": "p-1", "method": "ping" }).to_string();
    for (key, session, status) in [
        (None, None, 401),
        (Some("wrong"), None, 401),
        (Some(KEY), None, 400),
        (Some(KEY), Some("gone"), 404),
    ] {
        let mut request = post(&hub, "/mcp", ping.clone());
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(
            (&answer["jsonrpc"], &answer["id"]),
            (&json!("2.0"), &json!("p-1")),
            "{answer}"
        );
        assert!(
            answer["error"]["message"]
                .as_str()
                .is_some_and(|text| text.len() > 20),
            "{answer}"
        );
    }
    // REST has its own form.
    let (status, headers, _) = hub.get("/api/v1/registry", None, &[]).await;
    assert_eq!(status, 401);
    assert_eq!(headers["content-type"], "application/problem+json");
    let (status, headers, _) = hub.get("/api/v1/nothing", None, &[]).await;
    assert_eq!(status, 404);
    assert_eq!(headers["content-type"], "application/problem+json");
}

/// The real mcp-remote, as a desktop client starts it.
#[tokio::test]
async fn mcp_remote_ends_with_a_message_where_its_key_is_wrong() {
    let hub = Start {
        args: &["--log-format", "text"],
        ..Start::default()
    }
    .run()
    .await;
    for header in [None, Some("Authorization:Bearer wrong-key")] {
        let home = tempfile::tempdir().unwrap();
        let mut command = Program::command(&tools::node());
        command
            .arg(tools::node_module("mcp-remote/dist/proxy.js"))
            .arg(hub.url("/mcp"))
            .arg("--allow-http")
            .env("HOME", home.path())
            .env("MCP_REMOTE_CONFIG_DIR", home.path())
            // It must not open a browser of the machine.
            .env("BROWSER", "/bin/true");
        if let Some(header) = header {
            command.args(["--header", header]);
        }
        let output = Program::run("mcp-remote", command, SOON).await;
        assert!(!output.status.success(), "{}", output.text);
        assert!(
            output.text.contains("404") || output.text.contains("401"),
            "{}",
            output.text
        );
    }
    assert_eq!(
        hub.rows(".well-known"),
        0,
        "such probes leave no row: {}",
        hub.output()
    );
}

//! Lists and calls while a server starts, and lists that cannot be read.

use std::time::{Duration, Instant};

use aih_tests::{Hub, KEY, Legacy, Modern, client::no_answers, config, eventually, key_hash, real, tools};
use serde_json::{Value, json};

use crate::health_of;

/// A server that needs so many seconds to start.
fn slow(name: &str, seconds: u32) -> Value {
    json!({
        "name": name,
        "command": tools::python("python"),
        "args": [tools::script("odd_server.py")],
        "env": { "SLOW": seconds.to_string() },
    })
}

fn has(tools: &[String], name: &str) -> bool {
    tools.iter().any(|tool| tool == name)
}

#[tokio::test]
async fn a_client_that_lists_once_gets_the_tools_of_a_slow_server() {
    let servers = json!([
        slow("slow", 5),
        { "name": "dead", "command": "/bin/false" },
        { "name": "missing", "command": "/nowhere/at/all" },
    ]);
    let hub = Hub::start(&real::mcps(&servers, &json!([]))).await;
    let connect = |name: &'static str| Legacy::connect_as(&hub, "/mcp", KEY, name, json!({}), no_answers);
    let (once, other) = (connect("codex-mcp-client").await, connect("some-client").await);
    let began = Instant::now();
    let listed = other.tool_names().await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "another client does not wait: {:?}",
        began.elapsed()
    );
    assert!(!has(&listed, "slow__pid"));
    assert!(has(&once.tool_names().await, "slow__pid"));
    // Whoever lists later does not wait for a server that is gone.
    let began = Instant::now();
    assert!(has(
        &connect("codex-mcp-client").await.tool_names().await,
        "slow__pid"
    ));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_wait_for_first_lists_is_bounded_by_its_key() {
    let servers = json!([{ "name": "deaf", "command": "/bin/sleep", "args": ["1000"] }]);
    let text = format!(
        "{}server:\n  first_list_wait: 4s\n",
        real::mcps(&servers, &json!([]))
    );
    let hub = Hub::start(&text).await;
    let client = Legacy::connect_as(&hub, "/mcp", KEY, "codex-mcp-client", json!({}), no_answers).await;
    let began = Instant::now();
    for method in ["tools/list", "prompts/list", "resources/list"] {
        client.request(method, json!({})).await.result();
    }
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(2) && took < Duration::from_secs(8),
        "all lists together: {took:?}"
    );
}

#[tokio::test]
async fn a_hub_that_a_client_starts_lists_slow_servers_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aih-config.yaml");
    let servers = json!([slow("slow", 5), slow("fast", 0)]);
    std::fs::write(&file, config(&real::mcps(&servers, &json!([])))).unwrap();
    let job = json!({
        "transport": "stdio",
        "command": [tools::binary("aih"), "stdio", "--config", file],
        "calls": [{ "name": "slow__pid", "arguments": {} }],
    });
    for answer in [real::typescript_v1(&job).await, real::python(&job).await] {
        let tools = answer["tools"].as_array().unwrap();
        for name in ["slow__pid", "fast__pid"] {
            assert!(tools.contains(&json!(name)), "{name}: {answer}");
        }
        assert_ne!(answer["calls"][0]["isError"], true, "{answer}");
    }
}

#[tokio::test]
async fn a_call_of_a_server_that_starts_waits_for_it() {
    let servers = real::mcps(&json!([slow("slow", 5)]), &json!([]));
    let permissions = |list: &str, name: &str, key: &str| {
        format!(
            "    - {{ name: {name}, key_hash: \"{}\", permissions: [{list}] }}\n",
            key_hash(key)
        )
    };
    let (few, none) = ("aih_key-for-one-tool-alone", "aih_key-for-nothing-at-all");
    let keys = permissions("\"*\"", "admin", KEY)
        + &permissions("\"mcps/slow/switch_on\"", "few", few)
        + &permissions("\"mcps/other\"", "none", none);
    let hub = Hub::start(&format!("{servers}auth:\n  api_keys:\n{keys}")).await;
    let (all, some, nothing) = (
        hub.legacy().await,
        Legacy::connect(&hub, "/mcp", few).await,
        Legacy::connect(&hub, "/mcp", none).await,
    );
    let modern = hub.modern();
    let began = Instant::now();
    // Who may not use the server learns nothing of it.
    let refused = nothing.call("slow__pid", json!({})).await.error();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(refused["message"], "unknown tool: slow__pid");
    let (legacy, modern, forbidden, unknown) = tokio::join!(
        all.call("slow__pid", json!({})),
        modern.call("slow__pid", json!({})),
        some.call("slow__pid", json!({})),
        some.call("slow__nothing", json!({})),
    );
    assert_eq!(legacy.text(), modern.text());
    assert!(
        legacy.took > Duration::from_secs(2),
        "the server was there already"
    );
    // What the key may not use is answered like what is not there.
    for (reply, name) in [(forbidden, "slow__pid"), (unknown, "slow__nothing")] {
        assert_eq!(reply.error()["message"], format!("unknown tool: {name}"));
    }
}

#[tokio::test]
async fn lists_of_the_last_run_stand_in_while_a_server_starts() {
    let place = tempfile::tempdir().unwrap();
    let pause = place.path().join("pause");
    std::fs::write(&pause, "0").unwrap();
    let script = format!(
        "sleep $(cat {}); exec {} {}",
        pause.display(),
        tools::python("python").display(),
        tools::script("odd_server.py").display()
    );
    let entry =
        json!([{ "name": "slow", "command": "/bin/sh", "args": ["-c", script], "env": { "TOKEN": "one" } }]);
    let text = real::mcps(&entry, &json!([]));
    let hub = Hub::start(&text).await;
    hub.until_up("slow").await;
    let kept = hub.folder.path().join("data/lists/slow.mark");
    eventually("the lists are kept", || async { kept.exists().then_some(()) }).await;
    std::fs::write(&pause, "6").unwrap();
    let hub = hub.restart().await;
    let client = hub.legacy().await;
    let began = Instant::now();
    assert!(has(&client.tool_names().await, "slow__pid"));
    assert_eq!(health_of(&hub, "slow").await["state"], "starting");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // A tool that was not there last time may be there now.
    let unknown = client.call("slow__nothing", json!({})).await;
    assert_eq!(unknown.error()["message"], "unknown tool: slow__nothing");
    assert!(unknown.took > Duration::from_secs(2), "{:?}", unknown.took);
    client.call("slow__pid", json!({})).await.text();
    // An entry that is another one has no lists yet.
    let file = hub.folder.path().join("aih-config.yaml");
    let other = std::fs::read_to_string(&file)
        .unwrap()
        .replace("\"one\"", "\"two\"");
    std::fs::write(&file, other).unwrap();
    let hub = hub.restart().await;
    assert!(!has(&hub.legacy().await.tool_names().await, "slow__pid"));
}

#[tokio::test]
async fn a_list_that_could_not_be_read_is_read_again() {
    let place = tempfile::tempdir().unwrap();
    let broken = place.path().join("broken");
    std::fs::write(&broken, "").unwrap();
    let mut server = slow("odd", 0);
    server["env"]["BROKEN"] = json!(broken);
    let hub = Hub::start(&real::mcps(&json!([server]), &json!([]))).await;
    let health = eventually("the server is degraded", || async {
        let health = health_of(&hub, "odd").await;
        (health["state"] == "degraded").then_some(health)
    })
    .await;
    assert!(
        health["last_error"]
            .as_str()
            .unwrap()
            .contains("the vendor is away"),
        "{health}"
    );
    let (_, _, all) = hub.get("/api/v1/health", Some(KEY), &[]).await;
    assert_eq!(serde_json::from_str::<Value>(&all).unwrap()["status"], "degraded");
    let client = hub.legacy().await;
    let mut standing = client.standing().await;
    let error = client.call("odd__pid", json!({})).await.error();
    assert!(
        error["message"].as_str().unwrap().contains("the vendor is away"),
        "{error}"
    );
    std::fs::remove_file(&broken).unwrap();
    standing.until("notifications/tools/list_changed").await;
    hub.until_tools(&client, &["odd__pid"]).await;
    let health = health_of(&hub, "odd").await;
    assert_eq!(
        (&health["state"], &health["last_error"]),
        (&json!("up"), &Value::Null),
        "{health}"
    );
    client.call("odd__pid", json!({})).await.text();
}

#[tokio::test]
async fn an_endpoint_of_a_server_that_does_not_serve_declares_what_it_may_have() {
    let servers = json!([
        slow("slow", 14),
        { "name": "dead", "command": "/bin/sh", "args": ["-c", "echo 'no token is set' >&2; exit 1"] },
    ]);
    let hub = Hub::start(&real::mcps(&servers, &json!([]))).await;
    let all = json!({ "listChanged": true });
    let declared = json!({ "tools": all, "prompts": all, "resources": all });
    eventually("the server has failed", || async {
        (health_of(&hub, "dead").await["state"] == "down").then_some(())
    })
    .await;
    for (server, words) in [("slow", "is still starting"), ("dead", "no token is set")] {
        let path = format!("/mcp/{server}");
        let client = Modern::new(&hub, &path, KEY, json!({}));
        let greeting = client.request("server/discover", json!({})).await.result();
        assert_eq!(greeting["capabilities"], declared, "{greeting}");
        assert!(
            greeting["instructions"].as_str().unwrap().contains(words),
            "{greeting}"
        );
    }
    // A client that lists only what was declared sees the tools once they are there.
    let job = json!({
        "transport": "http", "url": hub.url("/mcp/slow"), "key": KEY, "era": "auto", "until": "pid",
        "calls": [{ "name": "pid", "arguments": {} }],
    });
    let answer = real::typescript_v2(&job).await;
    assert!(
        answer["tools"].as_array().unwrap().contains(&json!("pid")),
        "{answer}"
    );
    // Now the last greeting counts, and nothing is said of a state.
    let greeting = Modern::new(&hub, "/mcp/slow", KEY, json!({}))
        .request("server/discover", json!({}))
        .await;
    assert_eq!(
        greeting.result()["capabilities"],
        json!({ "tools": { "listChanged": true } })
    );
    assert_eq!(greeting.result()["instructions"], Value::Null);
}

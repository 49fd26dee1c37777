//! Servers that forget, restart or crash heal by themselves.

use aih_tests::{
    Events, Fixture, Hub, KEY, Legacy, SOON, eventually,
    fixture::{external, local, mcps, read_record, servers, with_method},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A client that has a level, a subscription and the stream to hear of changes.
async fn subscribed(hub: &Hub, server: &str) -> (Legacy, Events, Value) {
    let client = Legacy::connect(hub, "/mcp", KEY).await;
    let events = client.standing().await;
    client
        .request("logging/setLevel", json!({ "level": "warning" }))
        .await
        .result();
    let listed = client.request("resources/list", json!({})).await.result();
    let all = listed["resources"].as_array().unwrap();
    let uri = all
        .iter()
        .map(|r| r["uri"].clone())
        .find(|u| u.as_str().unwrap().contains(server))
        .unwrap_or_else(|| panic!("no resource of {server}: {listed}"));
    client
        .request("resources/subscribe", json!({ "uri": uri }))
        .await
        .result();
    (client, events, uri)
}

#[tokio::test]
async fn an_http_server_that_forgets_its_sessions_heals() {
    forgets("stateful/heal", "").await;
}

#[tokio::test]
async fn an_sse_server_that_forgets_its_sessions_heals() {
    forgets("sse/stateful/heal", ", transport: sse").await;
}

async fn forgets(path: &str, more: &str) {
    let fixture = Fixture::start().await;
    let config = mcps(&external("up", &format!("{}/{path}", fixture.url), more), "");
    let hub = Hub::start(&config).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["up__echo"]).await;
    let (client, mut events, uri) = subscribed(&hub, "up").await;
    listening(&fixture, path, 0).await;
    client
        .call("up__touch", json!({ "uri": "test://a" }))
        .await
        .text();
    assert_eq!(
        events.until("notifications/resources/updated").await["params"]["uri"],
        uri
    );
    let before = fixture.record(path).await.len();
    fixture.control(path, json!({ "do": "forget" })).await;
    assert_eq!(
        client.call("up__echo", json!({ "text": "healed" })).await.text(),
        "healed"
    );
    replayed(&fixture, path, before).await;
    fixture
        .control(path, json!({ "do": "touch", "uri": "test://a" }))
        .await;
    assert_eq!(
        events.until("notifications/resources/updated").await["params"]["uri"],
        uri
    );
}

/// The server has the stream on which it tells of changes: what it tells before goes nowhere.
async fn listening(fixture: &Fixture, path: &str, from: usize) {
    if path.starts_with("sse/") {
        // There, nothing is said without it.
        return;
    }
    eventually("the hub listens", || async {
        let record = fixture.record(path).await;
        let new = record.get(from..).unwrap_or_default();
        (!with_method(new, "GET").is_empty()).then_some(())
    })
    .await;
}

async fn replayed(fixture: &Fixture, path: &str, from: usize) {
    listening(fixture, path, from).await;
    eventually("level and subscription are replayed", || async {
        let record = fixture.record(path).await;
        let new = record.get(from..).unwrap_or_default();
        let level = with_method(new, "logging/setLevel")
            .iter()
            .any(|m| m["params"]["level"] == "warning");
        let subscription = with_method(new, "resources/subscribe")
            .iter()
            .any(|m| m["params"]["uri"] == "test://a");
        (level && subscription).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_http_server_that_is_restarted_heals() {
    let fixture = Fixture::start().await;
    let port = fixture.port();
    let url = fixture.url.clone();
    let outside = external("up", &format!("{url}/stateful/re"), "")
        + &external("old", &format!("{url}/sse/stateful/re"), ", transport: sse")
        + &external("plain", &format!("{url}/stateless/re"), "")
        + &external("new", &format!("{url}/modern/re"), "");
    let hub = Hub::start(&mcps(&outside, "")).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["up__echo", "old__echo", "plain__echo", "new__echo"])
        .await;
    let (client, mut events, uri) = subscribed(&hub, "up").await;
    fixture.kill().await;
    for name in ["up", "old", "plain", "new"] {
        let outcome = tokio::time::timeout(SOON, client.call(&format!("{name}__echo"), json!({}))).await;
        outcome.expect("a call to a dead server hangs").error();
    }
    let fixture = Fixture::start_at(port).await;
    for name in ["up", "old", "plain", "new"] {
        eventually(&format!("{name} is back in the same session"), || async {
            let again = client
                .call(&format!("{name}__echo"), json!({ "text": "back" }))
                .await;
            again.value().get("result").is_some().then_some(())
        })
        .await;
    }
    replayed(&fixture, "stateful/re", 0).await;
    fixture
        .control("stateful/re", json!({ "do": "touch", "uri": "test://a" }))
        .await;
    assert_eq!(
        events.until("notifications/resources/updated").await["params"]["uri"],
        uri
    );
    // What the new one has is listed.
    fixture
        .control("modern/re", json!({ "do": "add-tool", "name": "fresh" }))
        .await;
    hub.until_tools(&client, &["new__fresh"]).await;
}

#[tokio::test]
async fn a_child_that_is_killed_heals() {
    let place = tempfile::tempdir().unwrap();
    let record = place.path().join("record.jsonl");
    let inside = local("child", "stateless", &["--record", record.to_str().unwrap()], "");
    let hub = Hub::start(&mcps("", &inside)).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["child__echo"]).await;
    let (client, mut events, uri) = subscribed(&hub, "child").await;
    for round in 0..3 {
        let pid: i32 = client.call("child__pid", json!({})).await.text().parse().unwrap();
        let before = read_record(&record).len();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let new = eventually(&format!("the child is back, round {round}"), || async {
            let again = client.call("child__pid", json!({})).await;
            let text = again.value()["result"]["content"][0]["text"].as_str()?.to_owned();
            (text != pid.to_string()).then_some(text)
        })
        .await;
        eventually("level and subscription are replayed to the new child", || async {
            let all = read_record(&record);
            let fresh: Vec<_> = all
                .get(before..)?
                .iter()
                .filter(|m| m["pid"].as_u64().is_some_and(|pid| new.parse() == Ok(pid)))
                .cloned()
                .collect();
            let level = with_method(&fresh, "logging/setLevel")
                .iter()
                .any(|m| m["params"]["level"] == "warning");
            let follows = !with_method(&fresh, "resources/subscribe").is_empty();
            (level && follows).then_some(())
        })
        .await;
        client
            .call("child__touch", json!({ "uri": "test://a" }))
            .await
            .text();
        assert_eq!(
            events.until("notifications/resources/updated").await["params"]["uri"],
            uri
        );
    }
    assert_eq!(servers(record.to_str().unwrap()), 1);
}

#[tokio::test]
async fn a_server_that_goes_up_and_down_tells_and_heals() {
    let fixture = Fixture::start().await;
    let config = mcps(
        &external(
            "flaky",
            &format!("{}/stateful/flaky", fixture.url),
            ", timeout: 2s",
        ),
        "",
    );
    let hub = Hub::start(&config).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["flaky__echo"]).await;
    for _ in 0..3 {
        fixture.control("stateful/flaky", json!({ "do": "down" })).await;
        let outcome = tokio::time::timeout(SOON, client.call("flaky__echo", json!({}))).await;
        outcome.expect("a call to a server that is down hangs").error();
        client.call("aih__health", json!({})).await.result();
        fixture.control("stateful/flaky", json!({ "do": "up" })).await;
        eventually("it is back", || async {
            let again = client.call("flaky__echo", json!({ "text": "back" })).await;
            again.value().get("result").is_some().then_some(())
        })
        .await;
    }
}

//! What a process of one client lists, and which processes there are.

use aih_tests::{
    Hub, KEY, Legacy, Modern, eventually,
    fixture::read_record,
    key_hash,
    real::{self, EVERYTHING},
    tools,
};
use serde_json::{Value, json};

use crate::{health_of, questions::answers};

fn odd(record: &std::path::Path) -> Value {
    json!({
        "name": "odd",
        "command": tools::python("python"),
        "args": [tools::script("odd_server.py")],
        "env": { "RECORD": record },
    })
}

fn able() -> Value {
    json!({ "elicitation": {} })
}

async fn modern_lists(client: &Modern, name: &str) -> bool {
    let listed = client.request("tools/list", json!({})).await.result();
    listed["tools"]
        .as_array()
        .unwrap()
        .iter()
        .any(|tool| tool["name"] == name)
}

#[tokio::test]
async fn tools_that_a_call_switches_on_appear_for_the_client_that_made_it() {
    let place = tempfile::tempdir().unwrap();
    let hub = Hub::start(&real::mcps(
        &json!([odd(&place.path().join("record"))]),
        &json!([]),
    ))
    .await;
    hub.until_up("odd").await;
    for path in ["/mcp", "/mcp/odd"] {
        let prefix = if path == "/mcp" { "odd__" } else { "" };
        let (switch, late) = (format!("{prefix}switch_on"), format!("{prefix}late"));
        let connect = |capabilities| Legacy::connect_with(&hub, path, KEY, capabilities, answers);
        let (one, other, plain) = (
            connect(able()).await,
            connect(able()).await,
            connect(json!({})).await,
        );
        let (mut to_one, modern) = (
            one.standing().await,
            Modern::new(&hub, path, KEY, able()).named(path),
        );
        assert!(!one.tool_names().await.contains(&late));
        one.call(&switch, json!({})).await.text();
        to_one.until("notifications/tools/list_changed").await;
        assert!(one.tool_names().await.contains(&late), "{path}");
        one.call(&late, json!({})).await.text();
        // Every other client has a process that knows nothing of it.
        other.call(&format!("{prefix}pid"), json!({})).await.text();
        for client in [&other, &plain] {
            assert!(!client.tool_names().await.contains(&late), "{path}");
        }
        assert!(!modern_lists(&modern, &late).await);
        other.call(&late, json!({})).await.error();
        // The same in the other era.
        let wanted = json!({ "notifications": { "toolsListChanged": true } });
        let mut listening = modern.stream("subscriptions/listen", wanted).await;
        listening.until("notifications/subscriptions/acknowledged").await;
        modern.call(&switch, json!({})).await.text();
        listening.until("notifications/tools/list_changed").await;
        assert!(modern_lists(&modern, &late).await, "{path}");
        modern.call(&late, json!({})).await.text();
        // With its process its tools are gone too.
        let status = one
            .builder(reqwest::Method::DELETE)
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status, 204);
        assert!(!connect(able()).await.tool_names().await.contains(&late));
    }
}

#[tokio::test]
async fn what_is_switched_on_and_hidden_causes_no_notification() {
    let place = tempfile::tempdir().unwrap();
    let few = "aih_key-for-all-but-one-tool";
    let key = |name: &str, key: &str, permissions: &str| {
        let hash = key_hash(key);
        format!("    - {{ name: {name}, key_hash: \"{hash}\", permissions: [{permissions}] }}\n")
    };
    let keys = key("all", KEY, "\"*\"") + &key("few", few, "\"*\", \"!mcps/odd/late\"");
    let servers = real::mcps(&json!([odd(&place.path().join("record"))]), &json!([]));
    let hub = Hub::start(&format!("{servers}auth:\n  api_keys:\n{keys}")).await;
    hub.until_up("odd").await;
    let client = Legacy::connect_with(&hub, "/mcp", few, able(), answers).await;
    let mut events = client.standing().await;
    client.call("odd__switch_on", json!({})).await.text();
    let other = Legacy::connect_with(&hub, "/mcp", KEY, able(), answers).await;
    let mut to_other = other.standing().await;
    other.call("odd__switch_on", json!({})).await.text();
    to_other.until("notifications/tools/list_changed").await;
    // Read by now for both.
    assert!(!client.tool_names().await.contains(&"odd__late".to_owned()));
    let hidden = client.call("odd__late", json!({})).await.error();
    assert_eq!(hidden["message"], "unknown tool: odd__late");
    let heard = tokio::time::timeout(std::time::Duration::from_secs(1), events.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test]
async fn tools_are_listed_by_the_capabilities_of_the_client() {
    let hub = Hub::start(&real::mcps(
        &json!([real::node_server("everything", EVERYTHING, &["stdio"])]),
        &json!([]),
    ))
    .await;
    hub.until_up("everything").await;
    let sampling = "everything__trigger-sampling-request".to_owned();
    let connect = |capabilities| Legacy::connect_with(&hub, "/mcp", KEY, capabilities, answers);
    let elicits = connect(able()).await;
    elicits
        .call("everything__echo", json!({ "message": "x" }))
        .await
        .text();
    eventually(
        "its process lists no tool that asks for what it cannot",
        || async { (!elicits.tool_names().await.contains(&sampling)).then_some(()) },
    )
    .await;
    // Another client like it, before its first call, and one that can do it.
    assert!(!connect(able()).await.tool_names().await.contains(&sampling));
    let samples = connect(json!({ "sampling": {}, "elicitation": {} })).await;
    samples
        .call("everything__echo", json!({ "message": "x" }))
        .await
        .text();
    assert!(samples.tool_names().await.contains(&sampling));
}

/// The processes of the fixture that are there.
fn living(record: &std::path::Path) -> Vec<u64> {
    let mut pids: Vec<u64> = read_record(record)
        .iter()
        .map(|entry| entry["pid"].as_u64().unwrap())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists());
    pids
}

#[tokio::test]
async fn the_process_of_the_hub_gives_its_place_to_the_first_client_that_needs_one() {
    let place = tempfile::tempdir().unwrap();
    let record = place.path().join("record");
    let hub = Hub::start(&real::mcps(&json!([odd(&record)]), &json!([]))).await;
    hub.until_up("odd").await;
    let own = living(&record);
    assert_eq!(own.len(), 1);
    let first = Legacy::connect_with(&hub, "/mcp", KEY, able(), answers).await;
    let pid: u64 = first.call("odd__pid", json!({})).await.text().parse().unwrap();
    assert_ne!(pid, own[0]);
    assert_eq!(living(&record), [pid], "one process, that of the client");
    let health = health_of(&hub, "odd").await;
    assert_eq!(
        (&health["state"], &health["restarts"]),
        (&json!("up"), &json!(0)),
        "{health}"
    );
    assert!(first.tool_names().await.contains(&"odd__pid".to_owned()));
    // Whoever needs none gets the hub's, which is there again.
    let plain = hub.legacy().await;
    let shared: u64 = plain.call("odd__pid", json!({})).await.text().parse().unwrap();
    assert_ne!(shared, pid);
    // Now it is used, and stays.
    let second = Legacy::connect_with(&hub, "/mcp", KEY, able(), answers).await;
    let other: u64 = second.call("odd__pid", json!({})).await.text().parse().unwrap();
    let mut all = vec![pid, shared, other];
    all.sort_unstable();
    assert_eq!(living(&record), all);
    assert_eq!(plain.call("odd__pid", json!({})).await.text(), shared.to_string());
}

#[tokio::test]
async fn the_process_of_the_hub_comes_back_when_no_client_has_one() {
    let place = tempfile::tempdir().unwrap();
    let record = place.path().join("record");
    let hub = Hub::start(&real::mcps(&json!([odd(&record)]), &json!([]))).await;
    hub.until_up("odd").await;
    let client = Legacy::connect_with(&hub, "/mcp", KEY, able(), answers).await;
    let pid: u64 = client.call("odd__pid", json!({})).await.text().parse().unwrap();
    assert_eq!(living(&record), [pid]);
    let status = client
        .builder(reqwest::Method::DELETE)
        .send()
        .await
        .unwrap()
        .status();
    assert_eq!(status, 204);
    eventually("the hub has a process again", || async {
        let all = living(&record);
        (all.len() == 1 && all[0] != pid).then_some(())
    })
    .await;
}

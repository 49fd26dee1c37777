//! Sessions that nobody uses any more, and that nobody ended.

use std::time::Duration;

use aih_tests::{
    Fixture, Hub, KEY, Legacy, eventually,
    fixture::{external, local, mcps, servers, with_method},
};
use serde_json::json;

/// After this time without use a session without a stream is abandoned (`gateway::session::ABANDONED_AFTER`).
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_abandoned_session_gives_its_connections_back_and_lives_on() {
    let fixture = Fixture::start().await;
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    let config = mcps(
        &external("up", &format!("{}/stateful/abandoned", fixture.url), ""),
        &local("own", "stateless", &["--record", mark], ", sessions: per_client"),
    );
    let hub = Hub::start(&config).await;
    let clients = [
        Legacy::connect(&hub, "/mcp", KEY).await,
        Legacy::connect(&hub, "/mcp", KEY).await,
    ];
    hub.until_tools(&clients[0], &["up__echo", "own__echo"]).await;
    // The second one keeps its stream, and is only slow.
    let _stream = clients[1].standing().await;
    let mut pids = Vec::new();
    for client in &clients {
        client.call("up__echo", json!({})).await.result();
        pids.push(client.call("own__pid", json!({})).await.text());
    }
    assert_eq!(servers(mark), 3, "one for each, and the hub's own");
    let ended = async || with_method(&fixture.record("stateful/abandoned").await, "DELETE").len();
    tokio::time::sleep(ABANDONED_AFTER - Duration::from_secs(5)).await;
    assert_eq!((servers(mark), ended().await), (3, 0), "too soon");
    eventually("process and session are given back", || async {
        (servers(mark) == 2 && ended().await == 1).then_some(())
    })
    .await;
    // Both sessions go on: one with what it had, the other with a new one.
    assert_eq!(clients[1].call("own__pid", json!({})).await.text(), pids[1]);
    assert_ne!(clients[0].call("own__pid", json!({})).await.text(), pids[0]);
    assert_eq!(
        clients[0].call("up__echo", json!({ "text": "on" })).await.text(),
        "on"
    );
    assert_eq!((servers(mark), ended().await), (3, 1));
}

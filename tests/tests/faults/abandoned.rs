//! Sessions that nobody uses any more, and that nobody ended.

use std::time::Duration;

use aih_tests::{
    Fixture, Hub, KEY, Legacy, Modern,
    client::no_answers,
    eventually,
    fixture::{external, local, mcps, servers, with_method},
};
use serde_json::json;

/// After this time without use a session that never had a stream is abandoned
/// (`gateway::session::ABANDONED_WITHOUT_STREAM`).
const ABANDONED_WITHOUT_STREAM: Duration = Duration::from_secs(60);
/// The same from the end of its stream (`gateway::session::ABANDONED_AFTER`).
const ABANDONED_AFTER: Duration = Duration::from_secs(30);

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
    assert_eq!(
        servers(mark),
        2,
        "one for each; the hub's own ended for the first"
    );
    let ended = async || with_method(&fixture.record("stateful/abandoned").await, "DELETE").len();
    tokio::time::sleep(ABANDONED_WITHOUT_STREAM - Duration::from_secs(5)).await;
    assert_eq!((servers(mark), ended().await), (2, 0), "too soon");
    eventually("process and session are given back", || async {
        (servers(mark) == 1 && ended().await == 1).then_some(())
    })
    .await;
    // Both sessions go on: one with what it had, the other with a new one.
    assert_eq!(clients[1].call("own__pid", json!({})).await.text(), pids[1]);
    assert_ne!(clients[0].call("own__pid", json!({})).await.text(), pids[0]);
    assert_eq!(
        clients[0].call("up__echo", json!({ "text": "on" })).await.text(),
        "on"
    );
    assert_eq!((servers(mark), ended().await), (2, 1));
}

#[tokio::test]
async fn a_client_whose_stream_ended_gives_its_process_back_soon() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    let hub = Hub::start(&mcps("", &local("own", "stateless", &["--record", mark], ""))).await;
    let able = json!({ "sampling": {}, "elicitation": {} });
    let legacy = Legacy::connect_with(&hub, "/mcp", KEY, able.clone(), no_answers).await;
    hub.until_tools(&legacy, &["own__echo"]).await;
    let modern = Modern::new(&hub, "/mcp", KEY, able.clone());
    let other = Legacy::connect_with(&hub, "/mcp", KEY, able, no_answers).await;
    let (stream, _kept) = (legacy.standing().await, other.standing().await);
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let listening = modern.stream("subscriptions/listen", wanted).await;
    let legacy_pid = legacy.call("own__pid", json!({})).await.text();
    let modern_pid = modern.call("own__pid", json!({})).await.text();
    let other_pid = other.call("own__pid", json!({})).await.text();
    let lives = |pid: &str| std::path::Path::new(&format!("/proc/{pid}")).exists();
    // What still runs is not ended.
    let long = other.call("own__slow", json!({ "ms": 40_000 }));
    let gone = async {
        drop((stream, listening));
        tokio::time::sleep(ABANDONED_AFTER - Duration::from_secs(5)).await;
        assert!(lives(&legacy_pid) && lives(&modern_pid), "too soon");
        eventually("both processes are given back", || async {
            (!lives(&legacy_pid) && !lives(&modern_pid)).then_some(())
        })
        .await;
    };
    let (long, ()) = tokio::join!(long, gone);
    assert_eq!(long.text(), "done");
    assert!(lives(&other_pid));
    // Both are clients still, and get another process.
    assert_ne!(legacy.call("own__pid", json!({})).await.text(), legacy_pid);
    assert_ne!(modern.call("own__pid", json!({})).await.text(), modern_pid);
}

//! How the era and the transport of a server are found.

use aih_redact::OutsideText;

use std::time::Instant;

use super::*;
use crate::{provider::ChangeSignal, upstream::testing::FakeConnector};

#[tokio::test]
async fn an_old_server_is_found_over_sse() {
    let fake = FakeServer::new(true, |seen| match (seen.transport_kind, seen.method.as_str()) {
        (crate::upstream::TransportKind::Http, _) => Reply::Fail(TransportError::Status {
            status: 405,
            detail: OutsideText::default(),
            retry_after: None,
        }),
        _ => legacy(seen).unwrap_or(Reply::Never),
    });
    let server = up(&fake, http_spec()).await;
    assert_eq!(server.status().transport, "sse");
    assert_eq!(fake.opened(), 3);
    // The next one knows.
    fake.lose(2, TransportError::Closed("restart".into()));
    fake.nth("tools/list", 2).await;
    assert_eq!(fake.opened(), 4);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_server_that_is_busy_when_it_is_greeted_is_asked_again_later_and_not_in_another_era() {
    const AFTER: Duration = Duration::from_secs(2);
    for status in [429, 502, 503] {
        let times = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen_at = times.clone();
        let fake = FakeServer::new(false, move |seen| match seen.method.as_str() {
            "server/discover" => {
                let mut times = seen_at.lock().unwrap();
                times.push(std::time::Instant::now());
                if times.len() == 1 {
                    return Reply::Fail(TransportError::Status {
                        status,
                        detail: "busy".into(),
                        retry_after: Some(AFTER),
                    });
                }
                Reply::Result(json!({
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": { "tools": {} },
                }))
            }
            "tools/list" => Reply::Result(json!({ "tools": [{ "name": "t" }] })),
            _ => Reply::Never,
        });
        let server = UpstreamServer::start(
            http_spec(),
            Arc::new(FakeConnector(fake.clone())),
            ChangeSignal::default(),
        );
        fake.nth("server/discover", 1).await;
        // A call meanwhile is refused at once and does not shorten the pause.
        let client = client("c", LEGACY, "{}");
        let call = call(&client, &recorder("c"));
        fake.until(|| server.status().last_error.filter(|e| e.contains("busy")))
            .await;
        let error = server
            .request("tools/call", raw(r#"{"name":"t"}"#), &call)
            .await
            .unwrap_err();
        assert_eq!(
            error.data.unwrap().to_value(),
            json!({ "kind": "busy", "retry_after_seconds": 2 })
        );
        fake.nth("server/discover", 2).await;
        fake.until(|| (server.status().state == ProviderState::Up).then_some(()))
            .await;
        assert_eq!(
            server.status().protocol.as_deref(),
            Some("2026-07-28"),
            "{status}"
        );
        assert!(fake.seen("initialize").is_empty(), "{status}");
        let times = times.lock().unwrap().clone();
        assert!(times[1] - times[0] >= AFTER, "{status}");
        server.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_process_that_dies_of_the_newer_greeting_gets_the_older() {
    let fake = FakeServer::new(true, |seen| match (seen.connection, seen.method.as_str()) {
        (0, _) => Reply::Fail(TransportError::Closed("exit status 1".into())),
        _ => legacy(seen).unwrap_or(Reply::Never),
    });
    let server = up(&fake, stdio_spec()).await;
    assert_eq!(server.status().protocol.as_deref(), Some("2025-11-25"));
    assert!(fake.closed().contains(&0));
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_process_that_does_not_know_the_newer_greeting_is_replaced() {
    let fake = FakeServer::new(true, |seen| match seen.method.as_str() {
        "server/discover" => Reply::Never,
        _ => legacy(seen).unwrap_or(Reply::Never),
    });
    let server = up(&fake, stdio_spec()).await;
    let greeted = |method: &str| fake.seen(method).iter().map(|s| s.connection).collect::<Vec<_>>();
    assert_eq!(
        (greeted("server/discover"), greeted("initialize")),
        (vec![0], vec![1])
    );
    assert!(fake.closed().contains(&0));
    // The next one is known.
    fake.lose(1, TransportError::Closed("exit status 1".into()));
    fake.nth("tools/list", 2).await;
    assert_eq!(
        (greeted("server/discover"), greeted("initialize")),
        (vec![0], vec![1, 2])
    );
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_process_that_was_modern_and_is_old_now_is_found_again() {
    let old = Arc::new(AtomicBool::new(false));
    let is_old = old.clone();
    let fake = FakeServer::new(true, move |seen| match seen.method.as_str() {
        "server/discover" if is_old.load(Ordering::SeqCst) => Reply::Error(-32601, "method not found"),
        "server/discover" => Reply::Result(json!({
            "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
        })),
        _ => legacy(seen).unwrap_or(Reply::Never),
    });
    let server = up(&fake, stdio_spec()).await;
    assert_eq!(server.status().protocol.as_deref(), Some("2026-07-28"));
    old.store(true, Ordering::SeqCst);
    fake.lose(0, TransportError::Closed("exit status 1".into()));
    fake.nth("tools/list", 2).await;
    assert_eq!(server.status().protocol.as_deref(), Some("2025-11-25"));
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_process_that_dies_is_started_once_an_attempt() {
    let fake = FakeServer::new(true, |_| {
        Reply::Fail(TransportError::Closed("exit status 1".into()))
    });
    let server = UpstreamServer::start(
        stdio_spec(),
        Arc::new(FakeConnector(fake.clone())),
        ChangeSignal::default(),
    );
    // Only the first that dies of the newer greeting is followed by another at once.
    fake.until(|| (fake.opened() == 2).then_some(())).await;
    let first = Instant::now();
    fake.until(|| (fake.opened() == 4).then_some(())).await;
    assert!(
        first.elapsed() >= Duration::from_millis(700),
        "{:?}",
        first.elapsed()
    );
    // Which of the greetings it dies of, nobody knows.
    let methods: Vec<_> = (0..4)
        .map(|n| ["server/discover", "initialize"].map(|m| fake.seen(m).iter().any(|s| s.connection == n)))
        .collect();
    assert!(
        methods
            .iter()
            .all(|greeted| greeted.iter().filter(|g| **g).count() == 1),
        "{methods:?}"
    );
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_modern_server_is_listened_to() {
    let fake = FakeServer::new(false, |seen| match seen.method.as_str() {
        "server/discover" => Reply::Result(json!({
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": { "listChanged": true }, "resources": { "subscribe": true } },
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "fake" } },
        })),
        "tools/list" => Reply::Result(json!({ "tools": [{ "name": "t" }] })),
        "resources/list" => Reply::Result(json!({ "resources": [] })),
        "resources/templates/list" => Reply::Result(json!({ "resourceTemplates": [] })),
        "subscriptions/listen" => Reply::Never,
        _ => Reply::Result(json!({ "resultType": "complete" })),
    });
    let server = up(&fake, http_spec()).await;
    assert_eq!(
        server.offers().server_info.as_ref().unwrap().text(),
        r#"{"name":"fake"}"#
    );
    let first = fake.nth("subscriptions/listen", 1).await;
    assert_eq!(first.params["notifications"], json!({ "toolsListChanged": true }));
    assert_eq!(first.params["_meta"][meta::PROTOCOL_VERSION], "2026-07-28");
    let ack = |id: u64| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"{}":{id}}}}}}}"#,
            meta::SUBSCRIPTION_ID
        )
    };
    fake.say(0, None, &ack(first.id));
    let peer = recorder("c");
    let client = client_with("c", MODERN, "{}", peer.clone());
    let subscribing = {
        let (server, client) = (server.clone(), client.clone());
        tokio::spawn(async move { server.subscribe("file:///a", &client).await })
    };
    let second = fake.nth("subscriptions/listen", 2).await;
    assert_eq!(
        second.params["notifications"]["resourceSubscriptions"],
        json!(["file:///a"])
    );
    fake.say(0, Some(second.id), &ack(second.id));
    subscribing.await.unwrap().unwrap();
    let updated = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"file:///a","_meta":{{"{}":{}}}}}}}"#,
        meta::SUBSCRIPTION_ID,
        second.id
    );
    fake.say(0, Some(second.id), &updated);
    assert_eq!(
        *peer.received.lock().unwrap(),
        [(
            "notifications/resources/updated".to_owned(),
            r#"{"uri":"file:///a"}"#.to_owned()
        )]
    );
    server.shutdown(Duration::from_secs(5)).await;
}

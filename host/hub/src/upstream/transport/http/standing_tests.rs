//! The standing stream of a session: without one, with one that ends at once, and with one that is resumed.

use super::*;

#[tokio::test]
async fn a_server_with_sessions_and_without_a_standing_stream_is_used() {
    for status in [400, 404, 405, 406, 501] {
        let server = Server::start(move |seen| async move {
            match (seen.method.as_str(), seen.rpc().as_str()) {
                ("POST", method::INITIALIZE) => session(&seen),
                ("POST", _) => json_answer(seen.result(&json!({}))),
                _ => answer(status, "text/html", "<pre>Cannot GET /mcp</pre>"),
            }
        })
        .await;
        let (transport, mut events) = greeted(&server).await;
        server.request(0, |s| s.method == "GET").await;
        for id in 2..5 {
            call(&transport, id, method::TOOLS_LIST).await.unwrap().unwrap();
        }
        assert_eq!(server.count(|s| s.method == "GET"), 1, "{status} is final");
        drop(transport);
        assert!(soon(events.recv()).await.is_none(), "{status}: nothing is lost");
    }
}

#[tokio::test]
async fn a_standing_stream_that_ends_at_once_is_asked_for_ever_more_slowly() {
    let opened = Arc::new(Mutex::new(Vec::new()));
    let times = opened.clone();
    let server = Server::start(move |seen| {
        if seen.method == "GET" {
            times.lock().unwrap().push(tokio::time::Instant::now());
        }
        async move {
            match seen.method.as_str() {
                "GET" => events(vec!["id: 1\nretry: 10\ndata:\n\n".to_owned()]),
                _ => session(&seen),
            }
        }
    })
    .await;
    let (_transport, _heard) = greeted(&server).await;
    server.request(9, |s| s.method == "GET").await;
    let times = opened.lock().unwrap().clone();
    // 10 ms as the server said, and from the fourth end on twice as long each time.
    let last = times[9] - times[8];
    assert!(last >= Duration::from_millis(10 << 5), "{last:?}");
}

#[tokio::test]
async fn the_standing_stream_resumes_until_the_session_is_gone() {
    let opened = Arc::<AtomicUsize>::default();
    let server = Server::start(move |seen| {
        let nth = match seen.method.as_str() {
            "GET" => opened.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        async move {
            match (seen.method.as_str(), nth) {
                ("POST", _) => session(&seen),
                (_, 0) => events(vec![format!(
                    "id: g1\nretry: 10\n{}",
                    event(notification("notifications/a"))
                )]),
                // Both will pass: the server has not seen the end of the last stream, and is starting.
                (_, 1) => answer(409, "", ""),
                (_, 2) => answer(503, "", ""),
                (_, 3) => events(vec![event("nonsense"), event(notification("notifications/b"))]),
                _ => answer(404, "", ""),
            }
        }
    })
    .await;
    let (_transport, mut events) = greeted(&server).await;
    for expected in ["notifications/a", "notifications/b"] {
        let Some(InboxEvent::Message(None, method)) = soon(events.recv()).await else {
            panic!("a notification");
        };
        assert_eq!(method, expected);
    }
    assert!(matches!(
        soon(events.recv()).await,
        Some(InboxEvent::Closed(TransportError::SessionLost))
    ));
    let resumed = server.request(3, |s| s.method == "GET").await;
    assert_eq!(resumed.header(header::LAST_EVENT_ID), Some("g1"));
}

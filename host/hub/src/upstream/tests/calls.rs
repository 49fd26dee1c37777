//! What becomes of a call: progress, time limits, cancellation, and what is sent again.

use super::*;

#[tokio::test]
async fn progress_comes_back_under_the_clients_token() {
    let go = Arc::new(Notify::new());
    let release = go.clone();
    let fake = FakeServer::new(false, move |seen| {
        legacy(seen).unwrap_or_else(|| Reply::When(release.clone(), json!({ "content": [] })))
    });
    let server = up(&fake, stdio_spec()).await;
    let (client, peer) = (client("c", LEGACY, "{}"), recorder("c"));
    let running = spawn_call(
        &server,
        call(&client, &peer),
        r#"{"name":"echo","_meta":{"progressToken":"mine"}}"#,
    );
    let seen = fake.nth("tools/call", 1).await;
    assert_eq!(seen.params["_meta"]["progressToken"], seen.id);
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{},"progress":1,"new":1.50}}}}"#,
        seen.id
    );
    fake.say(seen.connection, None, &text);
    let unknown =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":999,"progress":1}}"#;
    fake.say(seen.connection, None, unknown);
    go.notify_one();
    assert_eq!(running.await.unwrap().unwrap(), r#"{"content":[]}"#);
    assert_eq!(
        *peer.received.lock().unwrap(),
        [(
            "notifications/progress".to_owned(),
            r#"{"progressToken":"mine","progress":1,"new":1.50}"#.to_owned()
        )]
    );
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_question_ends_with_the_request_that_it_names() {
    let fake = FakeServer::new(false, |seen| legacy(seen).unwrap_or(Reply::Never));
    let mut spec = http_spec();
    spec.call_timeout = Duration::from_millis(300);
    let server = up(&fake, spec).await;
    let peer = recorder("a");
    let client = client_with("a", LEGACY, "{}", peer.clone());
    let running = call(&client, &peer);
    let cancel = running.cancel.clone();
    let asking = spawn_call(&server, running, r#"{"name":"echo"}"#);
    let seen = fake.nth("tools/call", 1).await;
    // Nobody answers it.
    fake.say(
        seen.connection,
        Some(seen.id),
        r#"{"jsonrpc":"2.0","id":7,"method":"never"}"#,
    );
    // Another call of the same client has its own time, and this one waits.
    let late = spawn_call(&server, call(&client, &peer), r#"{"name":"echo"}"#).await;
    assert_eq!(late.unwrap().unwrap_err().code, ErrorCode::TIMED_OUT);
    assert!(!asking.is_finished());
    cancel.cancel();
    assert_eq!(asking.await.unwrap().unwrap_err().code, ErrorCode::CANCELLED);
    assert_eq!(fake.nth("answer", 1).await.params["error"], -32800);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled_upstream() {
    let fake = FakeServer::new(false, |seen| legacy(seen).unwrap_or(Reply::Never));
    let mut spec = http_spec();
    spec.call_timeout = Duration::from_millis(100);
    let server = up(&fake, spec).await;
    let client = client("c", LEGACY, "{}");
    // Taken back.
    let running = call(&client, &recorder("c"));
    let cancel = running.cancel.clone();
    let handle = spawn_call(&server, running, r#"{"name":"echo"}"#);
    let seen = fake.nth("tools/call", 1).await;
    cancel.cancel();
    assert_eq!(handle.await.unwrap().unwrap_err().code, ErrorCode::CANCELLED);
    assert_eq!(
        fake.nth("notifications/cancelled", 1).await.params["requestId"],
        seen.id
    );
    // Too long.
    let late = spawn_call(&server, call(&client, &recorder("c")), r#"{"name":"echo"}"#).await;
    let error = late.unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::TIMED_OUT);
    assert!(error.message.contains("`up`"), "{error}");
    fake.nth("notifications/cancelled", 2).await;
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn progress_puts_the_end_off() {
    let go = Arc::new(Notify::new());
    let release = go.clone();
    let fake = FakeServer::new(false, move |seen| {
        legacy(seen).unwrap_or_else(|| Reply::When(release.clone(), json!({})))
    });
    let mut spec = http_spec();
    spec.call_timeout = Duration::from_millis(400);
    let server = up(&fake, spec).await;
    let running = spawn_call(
        &server,
        call(&client("c", LEGACY, "{}"), &recorder("c")),
        r#"{"name":"echo","_meta":{"progressToken":1}}"#,
    );
    let seen = fake.nth("tools/call", 1).await;
    let start = tokio::time::Instant::now();
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{},"progress":1}}}}"#,
        seen.id
    );
    // Twice the time limit, with progress all along.
    fake.until(|| {
        fake.say(seen.connection, None, &text);
        (start.elapsed() > Duration::from_millis(800)).then_some(())
    })
    .await;
    go.notify_one();
    assert!(running.await.unwrap().is_ok());
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_lost_session_heals_within_the_call() {
    let lost = Arc::new(AtomicBool::new(false));
    let once = lost.clone();
    let fake = FakeServer::new(false, move |seen| {
        legacy(seen).unwrap_or_else(|| {
            if once.swap(true, Ordering::SeqCst) {
                Reply::Result(json!({ "ok": seen.connection }))
            } else {
                Reply::Fail(TransportError::SessionLost)
            }
        })
    });
    let server = up(&fake, http_spec()).await;
    let answer = spawn_call(
        &server,
        call(&client("c", LEGACY, "{}"), &recorder("c")),
        r#"{"name":"echo"}"#,
    );
    answer.await.unwrap().unwrap();
    assert!(lost.load(Ordering::SeqCst));
    let status = server.status();
    assert_eq!((status.state, status.restarts), (ProviderState::Up, 1));
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_call_that_may_have_run_is_not_sent_again() {
    let fake = FakeServer::new(false, |seen| {
        legacy(seen).unwrap_or_else(|| Reply::Fail(TransportError::Closed("half-way".into())))
    });
    let server = up(&fake, http_spec()).await;
    let client = client("c", LEGACY, "{}");
    let call = call(&client, &recorder("c"));
    let error = server
        .request("tools/call", raw(r#"{"name":"echo"}"#), &call)
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::UPSTREAM_UNAVAILABLE);
    assert_eq!(fake.seen("tools/call").len(), 1);
    // Reading does no harm.
    server
        .request("resources/read", raw(r#"{"uri":"a:b"}"#), &call)
        .await
        .unwrap_err();
    assert_eq!(fake.seen("resources/read").len(), 2);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_server_that_is_to_be_called_one_at_a_time_is() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let done = Arc::new(Notify::new());
    let (now, peak, answer) = (running.clone(), most.clone(), done.clone());
    let fake = FakeServer::new(false, move |seen| match seen.method.as_str() {
        "tools/call" => {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Reply::When(answer.clone(), json!({}))
        }
        _ => legacy(seen).unwrap_or(Reply::Never),
    });
    let mut spec = http_spec();
    spec.concurrency = Some(1);
    let server = up(&fake, spec).await;
    let client = client("c", LEGACY, "{}");
    let calls: Vec<_> = (0..5)
        .map(|_| spawn_call(&server, call(&client, &recorder("c")), r#"{"name":"echo"}"#))
        .collect();
    for n in 1..=5 {
        fake.nth("tools/call", n).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(fake.seen("tools/call").len(), n, "the next one waits");
        running.fetch_sub(1, Ordering::SeqCst);
        done.notify_one();
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    // One that is taken back leaves its place.
    let first = spawn_call(&server, call(&client, &recorder("c")), r#"{"name":"echo"}"#);
    fake.nth("tools/call", 6).await;
    let waiting = call(&client, &recorder("c"));
    let cancel = waiting.cancel.clone();
    let second = spawn_call(&server, waiting, r#"{"name":"echo"}"#);
    tokio::time::sleep(Duration::from_millis(30)).await;
    cancel.cancel();
    assert_eq!(second.await.unwrap().unwrap_err().code, ErrorCode::CANCELLED);
    done.notify_one();
    first.await.unwrap().unwrap();
    server.shutdown(Duration::from_secs(5)).await;
}

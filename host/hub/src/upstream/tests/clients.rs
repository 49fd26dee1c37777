//! Which client hears what a server says, and the connections that belong to one client.

use super::*;

#[tokio::test]
async fn questions_and_messages_reach_whom_they_concern() {
    let fake = FakeServer::new(false, |seen| legacy(seen).unwrap_or(Reply::Never));
    let server = up(&fake, http_spec()).await;
    let (a, b) = (recorder("a"), recorder("b"));
    let clients = [
        client_of_with("alice", "a", "{}", a.clone()),
        client_of_with("bob", "b", "{}", b.clone()),
    ];
    let first = spawn_call(&server, call(&clients[0], &a), r#"{"name":"echo"}"#);
    let one = fake.nth("tools/call", 1).await;
    let ask = |id: u64, method: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
    // The only one that has ever used the connection.
    fake.say(one.connection, None, &ask(50, "sampling/createMessage"));
    assert_eq!(fake.nth("answer", 1).await.params["result"]["answered"], "a");
    let second = spawn_call(&server, call(&clients[1], &b), r#"{"name":"echo"}"#);
    let two = fake.nth("tools/call", 2).await;
    fake.say(two.connection, Some(two.id), &ask(51, "elicitation/create"));
    assert_eq!(fake.nth("answer", 2).await.params["result"]["answered"], "b");
    // Two keys have used it, and it says not for which.
    fake.say(two.connection, None, &ask(52, "sampling/createMessage"));
    assert_eq!(fake.nth("answer", 3).await.params["error"], -32601);
    fake.say(two.connection, None, &ask(53, "roots/list"));
    assert_eq!(
        fake.nth("answer", 4).await.params["result"],
        json!({ "roots": [] })
    );
    fake.say(two.connection, None, &ask(54, "ping"));
    assert_eq!(fake.nth("answer", 5).await.params["result"], json!({}));
    // The server takes a question back: no answer, and its place is free.
    fake.say(two.connection, Some(two.id), &ask(55, "never"));
    fake.say(
        two.connection,
        None,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":55}}"#,
    );
    fake.say(two.connection, Some(two.id), &ask(55, "elicitation/create"));
    assert_eq!(fake.nth("answer", 6).await.params["result"]["answered"], "b");
    // A log message, and what nobody knows.
    fake.say(
        two.connection,
        Some(two.id),
        r#"{"jsonrpc":"2.0","method":"notifications/unheard","params":{"z":1.0}}"#,
    );
    fake.say(
        two.connection,
        None,
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}"#,
    );
    let received = (
        a.received.lock().unwrap().clone(),
        b.received.lock().unwrap().clone(),
    );
    assert_eq!(
        received,
        (
            vec![],
            vec![("notifications/unheard".to_owned(), r#"{"z":1.0}"#.to_owned())]
        )
    );
    first.abort();
    second.abort();
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_names_no_request_reaches_the_clients_of_one_key_alone() {
    let fake = FakeServer::new(false, |seen| {
        legacy(seen).unwrap_or_else(|| Reply::Result(json!({})))
    });
    let server = up(&fake, stdio_spec()).await;
    let peers = [recorder("a1"), recorder("a2"), recorder("b")];
    let clients = [
        client_of_with("alice", "a1", "{}", peers[0].clone()),
        client_of_with("alice", "a2", "{}", peers[1].clone()),
        client_of_with("bob", "b", "{}", peers[2].clone()),
    ];
    let received = || peers.each_ref().map(|p| p.received.lock().unwrap().len());
    let connection = 0;
    let late = [
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"late"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/unheard"}"#,
    ];
    let ask =
        |id: u64| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create","params":{{}}}}"#);
    let use_it = async |n: usize| {
        let running = call(&clients[n], &peers[n]);
        let done = server.request("tools/call", raw(r#"{"name":"echo"}"#), &running);
        done.await.unwrap();
    };
    // Nobody has used it.
    late.iter().for_each(|text| fake.say(connection, None, text));
    fake.say(connection, None, &ask(1));
    assert_eq!(fake.nth("answer", 1).await.params["error"], -32601);
    assert_eq!(received(), [0, 0, 0]);
    use_it(0).await;
    late.iter().for_each(|text| fake.say(connection, None, text));
    fake.say(connection, None, &ask(2));
    assert_eq!(fake.nth("answer", 2).await.params["result"]["answered"], "a1");
    use_it(1).await;
    late.iter().for_each(|text| fake.say(connection, None, text));
    assert_eq!(received(), [4, 2, 0]);
    // Which of her clients is meant, nothing says.
    fake.say(connection, None, &ask(3));
    assert_eq!(fake.nth("answer", 3).await.params["error"], -32601);
    // From now on somebody else could be meant, whoever calls.
    use_it(2).await;
    use_it(0).await;
    late.iter().for_each(|text| fake.say(connection, None, text));
    fake.say(connection, None, &ask(4));
    assert_eq!(fake.nth("answer", 4).await.params["error"], -32601);
    // What names a request that has ended, or the hub's own, is not guessed on others either.
    for id in [1, 2, 999] {
        late.iter().for_each(|text| fake.say(connection, Some(id), text));
        fake.say(connection, Some(id), &ask(100 + id));
    }
    fake.nth("answer", 7).await;
    assert!(
        fake.seen("answer")[4..]
            .iter()
            .all(|a| a.params["error"] == -32601)
    );
    assert_eq!(received(), [4, 2, 0]);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn tasks_and_elicitations_are_remembered_for_their_clients() {
    let fake = FakeServer::new(false, |seen| {
        legacy(seen).unwrap_or_else(|| {
            Reply::Result(
                json!({ "task": { "taskId": seen.params["arguments"]["id"], "status": "working" } }),
            )
        })
    });
    let server = up(&fake, stdio_spec()).await;
    let peers = [recorder("a"), recorder("b")];
    let clients = [
        client_of_with("alice", "a", "{}", peers[0].clone()),
        client_of_with("bob", "b", "{}", peers[1].clone()),
    ];
    let make = async |n: usize, id: &str| {
        let params = raw(&format!(
            r#"{{"name":"echo","task":{{}},"arguments":{{"id":"{id}"}}}}"#
        ));
        let running = call(&clients[n], &peers[n]);
        let done = server.request("tools/call", params, &running);
        done.await.unwrap();
    };
    make(0, "t-a").await;
    make(1, "t-b").await;
    // The server mixed up its own names: nobody can be meant.
    make(0, "t-x").await;
    make(1, "t-x").await;
    let status = |id: &str| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{{"taskId":"{id}","status":"completed"}}}}"#
        );
        fake.say(0, None, &text);
    };
    ["t-a", "t-b", "t-x", "t-unknown"].into_iter().for_each(status);
    for (peer, id) in peers.iter().zip(["t-a", "t-b"]) {
        let received = peer.received.lock().unwrap().clone();
        assert_eq!(received.len(), 1, "{received:?}");
        assert!(received[0].1.contains(id), "{received:?}");
    }
    let related = |id: u64, task: &str| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create","params":{{"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{task}"}}}}}}}}"#
        );
        fake.say(0, None, &text);
    };
    related(1, "t-b");
    assert_eq!(fake.nth("answer", 1).await.params["result"]["answered"], "b");
    related(2, "t-x");
    assert_eq!(fake.nth("answer", 2).await.params["error"], -32601);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn processes_of_clients_are_bounded_and_go_with_them() {
    let fake = FakeServer::new(true, |seen| {
        legacy(seen).unwrap_or_else(|| Reply::Result(json!({})))
    });
    let server = up(&fake, stdio_spec()).await;
    let plain = client("plain", LEGACY, "{}");
    server
        .request(
            "tools/call",
            raw(r#"{"name":"echo"}"#),
            &call(&plain, &recorder("")),
        )
        .await
        .unwrap();
    assert_eq!(fake.opened(), 1, "clients that can answer nothing share");
    for n in 0..40 {
        let client = client(&format!("c{n}"), LEGACY, r#"{"roots":{}}"#);
        server
            .request(
                "tools/call",
                raw(r#"{"name":"echo"}"#),
                &call(&client, &recorder("")),
            )
            .await
            .unwrap();
        assert!(server.status().connections <= 17);
    }
    assert_eq!(fake.opened(), 41);
    fake.until(|| (fake.closed().len() == 24).then_some(())).await;
    assert!(
        (1..=24).all(|n| fake.closed().contains(&n)),
        "the oldest go first"
    );
    // Each was introduced as the client that it is.
    let introduced = fake.seen("initialize");
    assert_eq!(introduced[5].params["capabilities"], json!({ "roots": {} }));
    for n in 0..40 {
        server.release(&client(&format!("c{n}"), LEGACY, "{}").key);
    }
    fake.until(|| (server.status().connections == 1).then_some(()))
        .await;
    server.shutdown(Duration::from_secs(5)).await;
    assert_eq!(fake.closed().len(), 41);
}

#[tokio::test]
async fn a_clients_session_is_opened_again_with_what_it_had() {
    let fake = FakeServer::new(true, |seen| {
        legacy(seen).unwrap_or_else(|| Reply::Result(json!({})))
    });
    let server = up(&fake, http_spec()).await;
    let peer = recorder("c");
    let client = client_with("c", LEGACY, "{}", peer.clone());
    client.log_level.store(LogLevel::Error.rank(), Ordering::Relaxed);
    server.subscribe("file:///a", &client).await.unwrap();
    let own = fake.nth("resources/subscribe", 1).await.connection;
    assert_ne!(own, 0, "the hub's own session is not the client's");
    assert_eq!(fake.nth("logging/setLevel", 1).await.params["level"], "error");
    let updated =
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a"}}"#;
    fake.lose(own, TransportError::SessionLost);
    let again = fake.nth("resources/subscribe", 2).await;
    assert_ne!(again.connection, own);
    assert_eq!(again.params["uri"], "file:///a");
    assert_eq!(fake.nth("logging/setLevel", 2).await.connection, again.connection);
    fake.say(again.connection, None, updated);
    assert_eq!(peer.received.lock().unwrap().len(), 1);
    server.release(&client.key);
    fake.until(|| fake.closed().contains(&again.connection).then_some(()))
        .await;
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn shared_subscriptions_are_counted_and_replayed() {
    let fake = FakeServer::new(false, |seen| {
        legacy(seen).unwrap_or_else(|| Reply::Result(json!({})))
    });
    let server = up(&fake, http_spec()).await;
    let (a, b) = (recorder("a"), recorder("b"));
    let one = client_with("a", LEGACY, "{}", a.clone());
    let two = client_with("b", LEGACY, "{}", b.clone());
    server.subscribe("file:///a", &one).await.unwrap();
    server.subscribe("file:///a", &two).await.unwrap();
    assert_eq!(fake.seen("resources/subscribe").len(), 1);
    // The first connection was the attempt to speak the modern era.
    fake.lose(1, TransportError::SessionLost);
    let again = fake.nth("resources/subscribe", 2).await;
    server.unsubscribe("file:///a", &one).await.unwrap();
    assert!(fake.seen("resources/unsubscribe").is_empty());
    let part =
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a/b"}}"#;
    fake.say(again.connection, None, part);
    assert_eq!(
        (a.received.lock().unwrap().len(), b.received.lock().unwrap().len()),
        (0, 1)
    );
    server.release(&two.key);
    fake.nth("resources/unsubscribe", 1).await;
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_client_that_goes_while_its_process_starts_leaves_none() {
    let go = Arc::new(Notify::new());
    let release = go.clone();
    let fake = FakeServer::new(true, move |seen| match (seen.connection, seen.method.as_str()) {
        (1, "initialize") => Reply::When(
            release.clone(),
            json!({ "protocolVersion": "2025-11-25", "capabilities": {} }),
        ),
        _ => legacy(seen).unwrap_or_else(|| Reply::Result(json!({}))),
    });
    let server = up(&fake, stdio_spec()).await;
    let client = client("c", LEGACY, r#"{"sampling":{}}"#);
    let running = spawn_call(&server, call(&client, &recorder("c")), "{}");
    fake.nth("initialize", 2).await;
    running.abort();
    server.release(&client.key);
    go.notify_one();
    // The hub's own made way for it, and is there again.
    fake.until(|| fake.closed().contains(&1).then_some(())).await;
    fake.until(|| (fake.opened() == 3 && server.status().connections == 1).then_some(()))
        .await;
    server.shutdown(Duration::from_secs(5)).await;
}

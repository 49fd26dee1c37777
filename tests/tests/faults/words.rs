//! What a server says by itself over a connection that several people use: it reaches whose it is, or nobody.

use aih_tests::{
    Events, Fixture, Hub, Legacy,
    client::no_answers,
    eventually,
    fixture::{external, local, mcps, read_record},
};
use serde_json::{Value, json};

use crate::{ALICE, BOB, for_two, questions::all_capabilities};

/// What a server may say late, after the call that it belongs to, and outside of any request.
fn late_words() -> Vec<Value> {
    let note = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "method": method, "params": params });
    vec![
        note(
            "notifications/message",
            json!({ "level": "warning", "data": "late words for Alice" }),
        ),
        note("notifications/unheard", json!({ "for": "Alice" })),
        note(
            "notifications/progress",
            json!({ "progressToken": 4, "progress": 1 }),
        ),
        note(
            "notifications/tasks/status",
            json!({ "taskId": "of-nobody", "status": "working" }),
        ),
        note(
            "notifications/elicitation/complete",
            json!({ "elicitationId": "of-nobody" }),
        ),
        note(
            "notifications/resources/updated",
            json!({ "uri": "test://of-nobody" }),
        ),
    ]
}

/// Two people with the streams on which they hear of changes.
async fn two(hub: &Hub, server: &str) -> [(Legacy, Events); 2] {
    let mut both = Vec::new();
    for key in [ALICE, BOB] {
        let client = Legacy::connect_with(hub, "/mcp", key, all_capabilities(), no_answers).await;
        let events = client.standing().await;
        hub.until_tools(&client, &[&format!("{server}__echo")]).await;
        let uri = format!("mcp://{server}/test://a");
        let listed = client.request("resources/list", json!({})).await.result();
        let known = listed["resources"].as_array().unwrap().iter();
        let uri = known
            .map(|r| r["uri"].as_str().unwrap().to_owned())
            .find(|u| u.contains(server))
            .unwrap_or(uri);
        client
            .request("resources/subscribe", json!({ "uri": uri }))
            .await
            .result();
        both.push((client, events));
    }
    both.try_into().ok().unwrap()
}

/// All that comes before the change that both subscribed to.
async fn until_changed(events: &mut Events) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        let data = tokio::time::timeout(aih_tests::SOON, events.next()).await;
        let message: Value = serde_json::from_str(&data.expect("no change came").unwrap()).unwrap();
        if message["method"] == "notifications/resources/updated" {
            assert!(
                message["params"]["uri"].as_str().unwrap().ends_with("test://a"),
                "{message}"
            );
            return heard;
        }
        // The lists of servers that come up.
        if !message["method"]
            .as_str()
            .unwrap_or_default()
            .ends_with("list_changed")
        {
            heard.push(message);
        }
    }
}

async fn late_words_reach_nobody(hub: &Hub, server: &str) {
    let [(alice, mut to_alice), (bob, mut to_bob)] = two(hub, server).await;
    for message in late_words() {
        let arguments = json!({ "ms": 300, "message": message });
        assert_eq!(
            alice.call(&format!("{server}__later"), arguments).await.text(),
            "later"
        );
    }
    // The only one that runs when they come.
    let name = format!("{server}__slow");
    let slow = bob.request(
        "tools/call",
        json!({ "name": name, "arguments": { "ms": 1_500 }, "_meta": { "progressToken": "bob" } }),
    );
    let slow = slow.await;
    assert_eq!(slow.messages.len(), 1, "{server}: {:?}", slow.messages);
    bob.call(&format!("{server}__touch"), json!({ "uri": "test://a" }))
        .await
        .text();
    for events in [&mut to_alice, &mut to_bob] {
        assert_eq!(until_changed(events).await, [json!(null); 0], "{server}");
    }
    // But it is written down, at its level.
    hub.logged(&["late words for Alice", "WARN", server]).await;
}

#[tokio::test]
async fn late_words_over_a_shared_process_reach_nobody() {
    let config = mcps("", &local("child", "stateless", &[], ", sessions: shared"));
    let hub = Hub::start(&for_two(&config)).await;
    late_words_reach_nobody(&hub, "child").await;
}

#[tokio::test]
async fn late_words_over_a_shared_session_reach_nobody() {
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let outside = external("up", &format!("{url}/stateful/words"), ", sessions: shared")
        + &external("plain", &format!("{url}/stateless/words"), "")
        + &external(
            "old",
            &format!("{url}/sse/stateful/words"),
            ", transport: sse, sessions: shared",
        );
    let hub = Hub::start(&for_two(&mcps(&outside, ""))).await;
    for path in ["stateful/words", "stateless/words"] {
        eventually("the hub listens", || async {
            let record = fixture.record(path).await;
            record.iter().any(|m| m["method"] == "GET").then_some(())
        })
        .await;
    }
    for server in ["up", "plain", "old"] {
        late_words_reach_nobody(&hub, server).await;
    }
}

#[tokio::test]
async fn a_question_over_a_shared_process_goes_to_no_other_client() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("record.jsonl");
    let record = ["--record", file.to_str().unwrap()];
    let config = mcps("", &local("child", "stateless", &record, ", sessions: shared"));
    let hub = Hub::start(&for_two(&config)).await;
    // Whoever is asked here fails.
    let [(alice, mut to_alice), (bob, mut to_bob)] = two(&hub, "child").await;
    let kinds = [
        "elicitation/create",
        "sampling/createMessage",
        "unheard/question",
        "roots/list",
    ];
    for (id, method) in kinds.iter().enumerate() {
        let question = json!({ "jsonrpc": "2.0", "id": format!("q-{id}"), "method": method, "params": {} });
        let arguments = json!({ "ms": 300, "message": question });
        assert_eq!(alice.call("child__later", arguments).await.text(), "later");
    }
    assert_eq!(
        bob.call("child__slow", json!({ "ms": 1_500 })).await.text(),
        "done"
    );
    for (id, method) in kinds.iter().enumerate() {
        let answer = eventually(&format!("{method} is answered"), || async {
            let all = read_record(&file);
            all.into_iter().find(|m| m["answer"] == format!("q-{id}"))
        })
        .await;
        if *method == "roots/list" {
            assert_eq!(answer["result"], json!({ "roots": [] }));
        } else {
            let error = answer["error"]["message"].as_str().unwrap();
            assert!(error.contains("several keys"), "{answer}");
        }
    }
    bob.call("child__touch", json!({ "uri": "test://a" }))
        .await
        .text();
    for events in [&mut to_alice, &mut to_bob] {
        assert_eq!(until_changed(events).await, [json!(null); 0]);
    }
}

#[tokio::test]
async fn late_words_reach_the_one_key_that_alone_uses_a_process() {
    let config = mcps("", &local("child", "stateless", &[], ", sessions: shared"));
    let hub = Hub::start(&for_two(&config)).await;
    let accept = |_: &str, _: &Value| json!({ "action": "accept" });
    let alice = Legacy::connect_with(&hub, "/mcp", ALICE, all_capabilities(), accept).await;
    let mut events = alice.standing().await;
    hub.until_tools(&alice, &["child__echo"]).await;
    let words = json!({ "jsonrpc": "2.0", "method": "notifications/message",
        "params": { "level": "warning", "data": "for Alice alone" } });
    let question = json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {} });
    for (message, method) in [(words, "notifications/message"), (question, "elicitation/create")] {
        // One after the other: while a call of hers runs, what the server says comes on the stream of that call.
        let called = alice
            .call("child__later", json!({ "ms": 100, "message": message }))
            .await;
        assert_eq!(called.text(), "later");
        let said = match called.notes(method).pop() {
            // The call was still there, on a machine that is busy.
            Some(said) => said,
            None => events.until(method).await,
        };
        if method == "notifications/message" {
            assert_eq!(said["params"]["data"], "for Alice alone");
        }
    }
}

#[tokio::test]
async fn what_names_a_task_or_an_elicitation_reaches_whose_it_is() {
    let fixture = Fixture::start().await;
    let config = mcps(
        &external(
            "up",
            &format!("{}/stateful/named", fixture.url),
            ", sessions: shared",
        ),
        "",
    );
    let hub = Hub::start(&for_two(&config)).await;
    let [(alice, mut to_alice), (bob, mut to_bob)] = two(&hub, "up").await;
    eventually("the hub listens", || async {
        let record = fixture.record("stateful/named").await;
        record.iter().any(|m| m["method"] == "GET").then_some(())
    })
    .await;
    bob.call("up__echo", json!({})).await.result();
    let task = json!({ "task": { "taskId": "t-1", "status": "working" } });
    let made = alice.request(
        "tools/call",
        json!({ "name": "up__mirror", "arguments": { "result": task }, "task": { "ttl": 60_000 } }),
    );
    assert_eq!(made.await.result()["task"]["taskId"], "t-1");
    let asks = Legacy::connect_with(&hub, "/mcp", ALICE, all_capabilities(), |method, params| {
        assert_eq!(
            (method, params["elicitationId"].as_str()),
            ("elicitation/create", Some("e-1"))
        );
        json!({ "action": "accept" })
    })
    .await;
    let mut to_asked = asks.standing().await;
    let question = json!({ "jsonrpc": "2.0", "id": "e", "method": "elicitation/create",
        "params": { "mode": "url", "elicitationId": "e-1", "url": "https://example.test/", "message": "open it" } });
    asks.call("up__say", json!({ "message": question })).await.text();
    for message in [
        json!({ "jsonrpc": "2.0", "method": "notifications/tasks/status",
            "params": { "taskId": "t-1", "status": "completed" } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/elicitation/complete",
            "params": { "elicitationId": "e-1" } }),
    ] {
        bob.call("up__later", json!({ "ms": 50, "message": message }))
            .await
            .text();
    }
    let done = to_alice.until("notifications/tasks/status").await;
    assert_eq!(done["params"]["status"], "completed");
    to_asked.until("notifications/elicitation/complete").await;
    bob.call("up__touch", json!({ "uri": "test://a" })).await.text();
    assert_eq!(until_changed(&mut to_bob).await, [json!(null); 0]);
}

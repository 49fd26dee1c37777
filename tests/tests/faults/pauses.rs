//! Questions that wait for a person: they stop the clock of their own call, and take nobody else's place.

use std::time::{Duration, Instant};

use aih_tests::{
    Events, Fixture, Hub, Legacy, Modern, SOON,
    client::no_answers,
    fixture::{external, local, mcps},
};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{ALICE, BOB, for_two, questions::all_capabilities};

/// What a server's questions wait for one client at most (`upstream::questions`).
const SHARE: usize = 32;
/// What one key may have waiting in the modern era (`gateway::modern`).
const PARKED: usize = 100;

/// A call that is not waited for.
async fn begin(client: &Legacy, tool: &str, arguments: Value) -> Events {
    let body = json!({ "jsonrpc": "2.0", "id": client.next_id(), "method": "tools/call",
        "params": { "name": tool, "arguments": arguments } });
    let sent = client
        .builder(reqwest::Method::POST)
        .body(body.to_string())
        .send();
    Events::new(sent.await.unwrap())
}

async fn next(events: &mut Events) -> Value {
    let data = tokio::time::timeout(SOON, events.next())
        .await
        .expect("nothing comes");
    serde_json::from_str(&data.expect("the stream ended")).unwrap()
}

async fn answer(client: &Legacy, question: &Value) {
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"],
        "result": { "action": "accept", "content": { "name": "Ada" } } });
    let sent = client
        .builder(reqwest::Method::POST)
        .body(answer.to_string())
        .send();
    assert_eq!(sent.await.unwrap().status(), 202);
}

async fn only_its_own_clock_stops(hub: &Hub, server: &str) {
    let alice = Legacy::connect_with(hub, "/mcp", ALICE, all_capabilities(), no_answers).await;
    let bob = Legacy::connect(hub, "/mcp", BOB).await;
    hub.until_tools(&bob, &[&format!("{server}__echo")]).await;
    let began = Instant::now();
    let mut asking = begin(
        &alice,
        &format!("{server}__ask"),
        json!({ "kind": "elicitation" }),
    )
    .await;
    let question = next(&mut asking).await;
    assert_eq!(question["method"], "elicitation/create", "{server}: {question}");
    // While it lies there, other calls end in time: another person's, and another one of hers.
    let silent = format!("{server}__silent");
    let (bobs, hers) = tokio::join!(bob.call(&silent, json!({})), alice.call(&silent, json!({})));
    for outcome in [bobs, hers] {
        assert_eq!(outcome.code(), -32001, "{server}: {}", outcome.raw());
        assert!(
            outcome.took < Duration::from_secs(15),
            "{server}: {:?}",
            outcome.took
        );
    }
    // Its own call has waited longer than its time.
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(began.elapsed())).await;
    answer(&alice, &question).await;
    let outcome = next(&mut asking).await;
    assert!(
        outcome["result"].to_string().contains("Ada"),
        "{server}: {outcome}"
    );
}

#[tokio::test]
async fn an_open_question_stops_the_clock_of_its_own_call_alone() {
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let outside = external("plain", &format!("{url}/stateless/pause"), ", timeout: 2s")
        + &external(
            "shared",
            &format!("{url}/stateful/pause"),
            ", timeout: 2s, sessions: shared",
        )
        + &external("own", &format!("{url}/stateful/pause-own"), ", timeout: 2s");
    let hub = Hub::start(&for_two(&mcps(&outside, ""))).await;
    for server in ["plain", "shared", "own"] {
        only_its_own_clock_stops(&hub, server).await;
    }
}

#[tokio::test]
async fn a_question_over_a_process_of_ones_own_stops_the_clock() {
    let config = mcps("", &local("child", "stateless", &[], ", timeout: 2s"));
    let hub = Hub::start(&for_two(&config)).await;
    let alice = Legacy::connect_with(&hub, "/mcp", ALICE, all_capabilities(), no_answers).await;
    hub.until_tools(&alice, &["child__echo"]).await;
    let mut asking = begin(&alice, "child__ask", json!({ "kind": "elicitation" })).await;
    let question = next(&mut asking).await;
    // A call that began after the question cannot have put it.
    let late = alice.call("child__silent", json!({})).await;
    assert_eq!(late.code(), -32001);
    tokio::time::sleep(Duration::from_secs(2)).await;
    answer(&alice, &question).await;
    let outcome = next(&mut asking).await;
    assert!(outcome["result"].to_string().contains("Ada"), "{outcome}");
}

#[tokio::test]
async fn questions_of_one_client_leave_room_for_others() {
    let fixture = Fixture::start().await;
    let config = mcps(
        &external("plain", &format!("{}/stateless/room", fixture.url), ""),
        "",
    );
    let hub = Hub::start(&for_two(&config)).await;
    let alice = Legacy::connect_with(&hub, "/mcp", ALICE, all_capabilities(), no_answers).await;
    hub.until_tools(&alice, &["plain__echo"]).await;
    let kind = json!({ "kind": "elicitation" });
    let many = (0..2 * SHARE).map(|_| begin(&alice, "plain__ask", kind.clone()));
    let mut streams = join_all(many).await;
    let first = join_all(streams.iter_mut().map(next)).await;
    let (asked, refused): (Vec<_>, Vec<_>) = first.iter().partition(|m| m["method"] == "elicitation/create");
    assert_eq!(asked.len(), SHARE);
    for told in refused {
        // The server was told, and told her.
        let text = told["result"].to_string();
        assert!(text.contains("questions wait for this client already"), "{told}");
    }
    let bob = Legacy::connect_with(&hub, "/mcp", BOB, all_capabilities(), crate::questions::answers).await;
    let outcome = tokio::time::timeout(SOON, bob.call("plain__ask", kind.clone())).await;
    assert!(outcome.expect("Bob is not asked").text().contains("Ada"));
    // An answer makes room.
    let question = first
        .iter()
        .find(|m| m["method"] == "elicitation/create")
        .unwrap()
        .clone();
    answer(&alice, &question).await;
    aih_tests::eventually("there is room again", || async {
        let mut again = begin(&alice, "plain__ask", json!({ "kind": "elicitation" })).await;
        (next(&mut again).await["method"] == "elicitation/create").then_some(())
    })
    .await;
}

#[tokio::test]
async fn calls_that_wait_for_answers_leave_room_for_other_keys() {
    let fixture = Fixture::start().await;
    let names = ["a", "b", "c", "d"];
    let outside: String = names
        .iter()
        .map(|n| external(n, &format!("{}/stateless/{n}", fixture.url), ""))
        .collect();
    let hub = Hub::start(&for_two(&mcps(&outside, ""))).await;
    let first = Legacy::connect(&hub, "/mcp", BOB).await;
    hub.until_tools(
        &first,
        &names.map(|n| format!("{n}__echo")).each_ref().map(|n| n.as_str()),
    )
    .await;
    let [alice, bob] = [ALICE, BOB].map(|key| Modern::new(&hub, "/mcp", key, all_capabilities()));
    let ask = async |client: &Modern, n: usize| {
        let name = format!("{}__ask", names[n % names.len()]);
        let asked = client.call(&name, json!({ "kind": "elicitation" })).await;
        asked.value()["result"]["resultType"] == "input_required"
    };
    let asked = join_all((0..names.len() * SHARE).map(|n| ask(&alice, n))).await;
    assert_eq!(asked.iter().filter(|asked| **asked).count(), PARKED);
    assert!(ask(&bob, 0).await, "Bob finds no room");
}

//! What the hub holds for clients that fetch little.

use crate::{alive, clients};
use aih_tests::{
    Events, Fixture, Hub, KEY, Legacy, eventually,
    fixture::{external, mcps},
    program::{memory_now_kb, memory_peak_kb, pin_machine},
};
use serde_json::{Value, json};

const MEGABYTE: u64 = 1024 * 1024;

async fn hub(fixture: &Fixture) -> Hub {
    let hub = Hub::start(&mcps(
        &external("far", &format!("{}/stateless/m", fixture.url), ""),
        "",
    ))
    .await;
    hub.until_up("far").await;
    hub
}

/// Calls the tool whose answer has `bytes` bytes, as an event of a stream that can be picked up again.
async fn huge(client: &Legacy, bytes: u64) -> Value {
    let message = json!({ "jsonrpc": "2.0", "id": client.next_id(), "method": "tools/call",
        "params": { "name": "far__huge", "arguments": { "bytes": bytes } } });
    let response = client
        .builder(reqwest::Method::POST)
        .header("accept", "text/event-stream, application/json;q=0.1")
        .header("content-type", "application/json")
        .body(message.to_string())
        .send()
        .await
        .unwrap();
    if !response.headers()["content-type"]
        .to_str()
        .unwrap()
        .starts_with("text/event-stream")
    {
        return serde_json::from_str(&response.text().await.unwrap()).unwrap();
    }
    let mut events = Events::new(response);
    loop {
        let text = events.next().await.expect("an answer");
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if value.get("id").is_some() {
            return value;
        }
    }
}

/// Thirty idle sessions whose large answers were delivered: they are kept for seconds, within the budget of the key.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_were_delivered_do_not_stay() {
    pin_machine();
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let before = memory_now_kb(hub.pid());
    let mut sessions = Vec::new();
    for _ in 0..30 {
        let client = Legacy::connect(&hub, "/mcp", KEY).await;
        for _ in 0..3 {
            let answer = huge(&client, 2 * MEGABYTE).await;
            let text = answer["result"]["content"][0]["text"].as_str().unwrap();
            assert_eq!(text.len() as u64, 2 * MEGABYTE);
        }
        sessions.push(client);
    }
    let now = clients(&hub).await;
    assert!(now["kept_bytes"].as_u64().unwrap() <= 48 * MEGABYTE, "{now}");
    assert!(now["waiting_bytes"].as_u64().unwrap() <= MEGABYTE, "{now}");
    let grown = memory_peak_kb(hub.pid()).saturating_sub(before);
    assert!(grown < 150 * 1024, "the hub grew by {grown} kB");
    eventually("nothing is kept any more", || async {
        (clients(&hub).await["kept_bytes"] == 0).then_some(())
    })
    .await;
    alive(&hub).await;
}

/// Calls over the SSE transport, all at once, whose answers have these bytes. Returns the stream, of which only the answer
/// to `initialize` is read.
async fn ask_over_sse(hub: &Hub, calls: u64, bytes: u64) -> Events {
    let client = aih_tests::client::http();
    let stream = client
        .get(hub.url("/mcp/sse"))
        .bearer_auth(KEY)
        .send()
        .await
        .unwrap();
    let mut events = Events::new(stream);
    let path = events.next().await.unwrap();
    let post = async |message: Value| {
        let sent = client
            .post(hub.url(&path))
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .body(message.to_string());
        assert_eq!(sent.send().await.unwrap().status(), 202);
    };
    let hello = json!({ "jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
        "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    post(hello).await;
    events.next().await.unwrap();
    for n in 1..=calls {
        let call = json!({ "jsonrpc": "2.0", "id": n, "method": "tools/call",
            "params": { "name": "far__huge", "arguments": { "bytes": bytes } } });
        post(call).await;
    }
    events
}

/// A client of the SSE transport that asks and reads late: what its session has no room for waits, and all answers come.
#[tokio::test(flavor = "multi_thread")]
async fn large_answers_that_arrive_together_all_come() {
    const CALLS: u64 = 12;
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let mut events = ask_over_sse(&hub, CALLS, 4 * MEGABYTE).await;
    eventually("they wait", || async {
        (clients(&hub).await["waiting_bytes"].as_u64().unwrap() > CALLS * 4 * MEGABYTE).then_some(())
    })
    .await;
    let mut missing: std::collections::BTreeSet<u64> = (1..=CALLS).collect();
    while !missing.is_empty() {
        let answer: Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
        if let Some(id) = answer["id"].as_u64() {
            assert!(answer["result"].is_object(), "{:.300}", answer.to_string());
            missing.remove(&id);
        }
    }
    eventually("nothing is held any more", || async {
        (clients(&hub).await["waiting_bytes"].as_u64().unwrap() < MEGABYTE).then_some(())
    })
    .await;
    assert_eq!(clients(&hub).await["refused"], 0);
}

/// A client of the SSE transport that asks and never reads: its answers are bounded, and none is lost without a word.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_become_errors() {
    const CALLS: u64 = 16;
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let mut events = ask_over_sse(&hub, CALLS, 6 * MEGABYTE).await;
    eventually("some find no room", || async {
        (clients(&hub).await["refused"].as_u64().unwrap() >= 5).then_some(())
    })
    .await;
    let now = clients(&hub).await;
    assert!(now["waiting_bytes"].as_u64().unwrap() < 65 * MEGABYTE, "{now}");
    // Nothing is read, so those that wait give up soon.
    eventually("a session holds what one session may", || async {
        (clients(&hub).await["waiting_bytes"].as_u64().unwrap() < 34 * MEGABYTE).then_some(())
    })
    .await;
    // Each is answered: with a result, or with an error that says why.
    let (mut results, mut errors) = (0, 0);
    while results + errors < CALLS {
        let answer: Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
        if answer["id"].is_null() {
            continue;
        }
        match answer["error"]["message"].as_str() {
            None => results += 1,
            Some(text) => {
                assert!(text.contains("its answer was dropped"), "{text}");
                errors += 1;
            }
        }
    }
    assert!(errors >= 10 && results >= 1, "{results} results, {errors} errors");
    alive(&hub).await;
}

/// What a client says of itself is kept for as long as its session: it has a bound.
#[tokio::test(flavor = "multi_thread")]
async fn an_introduction_has_a_bound() {
    let hub = Hub::start("").await;
    let large = "x".repeat(1 << 20);
    let post = async |body: Value| {
        let sent = aih_tests::client::http()
            .post(hub.url("/mcp"))
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body.to_string());
        let answer = sent.send().await.unwrap();
        serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()
    };
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": large, "version": "1" } } });
    let answer = post(hello).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let modern = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": large, "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {} } } });
    let answer = post(modern).await;
    assert!(answer["error"]["code"].as_i64().is_some(), "{answer}");
    alive(&hub).await;
}

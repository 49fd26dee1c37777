//! Clients that start `aih stdio`.

use std::{collections::BTreeMap, time::Duration};

use aih_tests::{
    Pipe,
    fixture::{local, mcps},
};
use serde_json::{Value, json};

const MEGABYTE: u64 = 1024 * 1024;

fn configuration() -> String {
    mcps("", &local("one", "stateful", &[], ", timeout: 3s"))
}

fn call(id: &Value, tool: &str, arguments: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": format!("one__{tool}"), "arguments": arguments } })
}

/// The same request of the modern era.
fn modern(mut request: Value) -> Value {
    request["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "pipe", "version": "1" },
    });
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_that_arrive_together_all_come_over_a_pipe() {
    const CALLS: u64 = 12;
    for is_modern in [false, true] {
        let mut pipe = Pipe::start(&configuration());
        pipe.until_tool(json!({}), "one__huge").await;
        for n in 1..=CALLS {
            let request = call(&json!(n), "huge", &json!({ "bytes": 4 * MEGABYTE }));
            let request = if is_modern { modern(request) } else { request };
            pipe.send(&request).await;
        }
        let mut answered = BTreeMap::new();
        while (answered.len() as u64) < CALLS {
            // A client that has something else to do meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let message = pipe.next().await.unwrap();
            if let Some(id) = message["id"].as_u64() {
                assert!(message["result"].is_object(), "{:.300}", message.to_string());
                assert!(answered.insert(id, ()).is_none(), "{id} twice");
            }
        }
        pipe.end_input();
        assert_eq!(pipe.ended().await.code(), Some(0));
    }
}

/// All answers until the output ends, by id.
async fn rest(pipe: &mut Pipe) -> BTreeMap<String, Value> {
    let mut answers = BTreeMap::new();
    while let Some(message) = pipe.next().await {
        if message.get("id").is_some() && message.get("method").is_none() {
            answers.insert(message["id"].to_string(), message);
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_before_the_end_of_the_input_is_answered() {
    for is_modern in [false, true] {
        let mut pipe = Pipe::start(&configuration());
        pipe.until_tool(json!({ "elicitation": {} }), "one__slow").await;
        let listen = modern(
            json!({ "jsonrpc": "2.0", "id": "listens", "method": "subscriptions/listen",
            "params": { "notifications": { "toolsListChanged": true } } }),
        );
        pipe.send(&listen).await;
        for (id, tool, arguments) in [
            ("quick", "echo", json!({ "text": "hello" })),
            ("slow", "slow", json!({ "ms": 800, "steps": 4 })),
            // Nobody can answer this one any more.
            ("asks", "ask", json!({ "kind": "elicitation" })),
            // Its own time limit ends it.
            ("never", "silent", json!({})),
        ] {
            let request = call(&json!(id), tool, &arguments);
            let request = if is_modern { modern(request) } else { request };
            pipe.send(&request).await;
        }
        pipe.end_input();
        let answers = rest(&mut pipe).await;
        let of = |id: &str| &answers[&format!("\"{id}\"")];
        assert_eq!(of("quick")["result"]["content"][0]["text"], "hello");
        assert_eq!(of("slow")["result"]["content"][0]["text"], "done");
        assert!(of("asks").is_object());
        let error = of("never")["error"]["message"].as_str().unwrap();
        assert!(error.contains('3'), "{error}");
        assert_eq!(pipe.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_conversation_from_a_file_is_answered_whole() {
    for calls in [0, 1, 8] {
        let mut pipe = Pipe::start(&configuration());
        let hello = json!({ "jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
        pipe.send(&hello).await;
        pipe.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        for n in 0..calls {
            pipe.send(&json!({ "jsonrpc": "2.0", "id": n, "method": "tools/list" }))
                .await;
        }
        pipe.end_input();
        let answers = rest(&mut pipe).await;
        assert_eq!(answers.len(), 1 + calls, "{answers:?}");
        assert!(
            answers.values().all(|answer| answer["result"].is_object()),
            "{answers:?}"
        );
        assert_eq!(pipe.ended().await.code(), Some(0));
    }
}

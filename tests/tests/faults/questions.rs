//! Servers that ask the client: sampling, roots, elicitation, in and between both eras.

use aih_tests::{Fixture, KEY, Legacy, Modern, SOON, client::no_answers};
use serde_json::{Value, json};

use crate::{WAYS, all_ways};

/// Answers every question of the fixture.
pub(crate) fn answers(method: &str, params: &Value) -> Value {
    match method {
        "sampling/createMessage" => {
            assert_eq!(params["maxTokens"], 7, "{params}");
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "hello" }, "x": 1 })
        }
        "roots/list" => json!({ "roots": [{ "uri": "file:///r", "name": "r" }] }),
        "elicitation/create" => {
            assert_eq!(params["message"], "your name?", "{params}");
            json!({ "action": "accept", "content": { "name": "Ada" } })
        }
        other => panic!("asked for {other}"),
    }
}

const KINDS: [(&str, &str, &str); 3] = [
    ("sampling", "sampling/createMessage", "assistant"),
    ("roots", "roots/list", "file:///r"),
    ("elicitation", "elicitation/create", "Ada"),
];

/// What a client declares that can be asked everything.
pub(crate) fn all_capabilities() -> Value {
    json!({ "sampling": {}, "elicitation": { "form": {} }, "roots": { "listChanged": true } })
}

#[tokio::test]
async fn a_legacy_client_is_asked_by_servers_of_either_era() {
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, "").await;
    let client = Legacy::connect_with(&hub, "/mcp", KEY, all_capabilities(), answers).await;
    for way in WAYS {
        for (kind, _, said) in KINDS {
            let name = format!("{way}__ask");
            let call = client.call(&name, json!({ "kind": kind }));
            let outcome = tokio::time::timeout(SOON, call).await;
            let outcome = outcome.unwrap_or_else(|_| panic!("{way}, {kind}: no answer"));
            let text = outcome.text();
            assert!(text.contains(said), "{way}, {kind}: {text}");
        }
    }
    // Who cannot be asked is not: the call ends all the same.
    let mute = Legacy::connect_with(&hub, "/mcp", KEY, json!({}), no_answers).await;
    for way in WAYS {
        let outcome = tokio::time::timeout(
            SOON,
            mute.call(&format!("{way}__ask"), json!({ "kind": "elicitation" })),
        )
        .await;
        let outcome =
            outcome.unwrap_or_else(|_| panic!("{way}: no answer for a client that cannot be asked"));
        assert!(outcome.raw().contains("error"), "{way}: {}", outcome.raw());
    }
}

#[tokio::test]
async fn calls_that_wait_leave_their_key_room_for_others() {
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, "").await;
    let client = Modern::new(&hub, "/mcp", KEY, all_capabilities());
    let way = WAYS.into_iter().find(|way| *way != "modern").unwrap();
    let ask = |bytes: usize| {
        let arguments = json!({ "kind": "elicitation", "padding": "x".repeat(bytes) });
        let client = &client;
        async move { client.call(&format!("{way}__ask"), arguments).await }
    };
    // What a body takes in memory grows in steps: 8 MiB for each of these, and 32 MiB may wait.
    for _ in 0..3 {
        let waits = ask(6 << 20).await;
        assert_eq!(waits.result()["resultType"], "input_required");
    }
    let refused = ask(10 << 20).await;
    assert!(refused.raw().contains("too large together"), "{}", refused.raw());
    // Small ones wait beside them, and work goes on.
    assert_eq!(ask(10).await.result()["resultType"], "input_required");
    let echo = client
        .call(&format!("{way}__echo"), json!({ "text": "still here" }))
        .await;
    assert_eq!(echo.text(), "still here");
}

#[tokio::test]
async fn a_modern_client_is_asked_by_servers_of_either_era() {
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, "").await;
    let client = Modern::new(&hub, "/mcp", KEY, all_capabilities());
    for way in WAYS {
        for (kind, method, said) in KINDS {
            for meta in [json!({}), json!({ "progressToken": 77 })] {
                let what = format!("{way}, {kind}, {meta}");
                let mut params =
                    json!({ "name": format!("{way}__ask"), "arguments": { "kind": kind }, "_meta": meta });
                let asked = client.request("tools/call", params.clone()).await;
                let result = asked.result();
                assert_eq!(result["resultType"], "input_required", "{what}: {result}");
                let questions = result["inputRequests"].as_object().unwrap();
                assert_eq!(questions.len(), 1, "{what}: {result}");
                let (key, question) = questions.iter().next().unwrap();
                assert_eq!(question["method"], method, "{what}");
                params["inputResponses"] = json!({ key.as_str(): answers(method, &question["params"]) });
                params["requestState"] = result["requestState"].clone();
                let outcome = tokio::time::timeout(SOON, client.request("tools/call", params.clone())).await;
                let outcome = outcome.unwrap_or_else(|_| panic!("{what}: the retry is not answered"));
                assert_eq!(
                    outcome.result()["resultType"],
                    "complete",
                    "{what}: {}",
                    outcome.raw()
                );
                assert!(outcome.text().contains(said), "{what}: {}", outcome.raw());
                if way != "modern" {
                    // The hub keeps the state for one retry only.
                    assert_eq!(
                        client.request("tools/call", params).await.code(),
                        -32602,
                        "{what}"
                    );
                }
            }
        }
    }
    let mute = Modern::new(&hub, "/mcp", KEY, json!({}));
    for way in WAYS {
        let outcome = tokio::time::timeout(
            SOON,
            mute.call(&format!("{way}__ask"), json!({ "kind": "sampling" })),
        )
        .await;
        let outcome =
            outcome.unwrap_or_else(|_| panic!("{way}: no answer for a client that cannot be asked"));
        if way != "modern" {
            assert!(outcome.raw().contains("error"), "{way}: {}", outcome.raw());
        }
    }
}

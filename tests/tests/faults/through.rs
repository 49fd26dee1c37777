//! What goes through untouched: unknown fields, progress, cancelling.

use aih_tests::{
    Events, Fixture, Hub, KEY, Legacy, Modern, SOON, eventually,
    fixture::{external, local, mcps, read_record, with_method},
};
use serde_json::json;

use crate::{WAYS, all_ways};

#[tokio::test]
async fn what_the_hub_does_not_know_arrives_byte_for_byte() {
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, "").await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    const FIELDS: [&str; 2] = [
        r#""execution":{"taskSupport":"optional"}"#,
        r#""x-unknown":{"numbers":[1.0,1e3,10000000000000000000000001,-0],"text":"\u00e4/ä"}"#,
    ];
    for list in [
        legacy.request("tools/list", json!({})).await.raw().to_owned(),
        modern.request("tools/list", json!({})).await.raw().to_owned(),
    ] {
        for field in FIELDS {
            assert_eq!(list.matches(field).count(), WAYS.len() + 1, "{field} in {list}");
        }
    }
    const BLOCKS: &str = r#""content":[{"type":"hologram","voxels":[1.0,2e2],"x":"\u00e4"},{"type":"text","text":"t","x-unknown":-0}],"x-result":{"n":1.50},"isError":false"#;
    const ARGUMENTS: &str = r#"{"text":"\u00e4\/x","n":[1.0,1E2,-0,123456789012345678901234567890],"deep":{"a":{"b":[null,true]}}}"#;
    for way in WAYS {
        let name = format!("{way}__odd");
        for outcome in [
            legacy.call(&name, json!({})).await,
            modern.call(&name, json!({})).await,
        ] {
            assert!(outcome.raw().contains(BLOCKS), "{way}: {}", outcome.raw());
        }
        // The other way: what the client sends.
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"name":"{way}__params","arguments":{ARGUMENTS},"x-field":{{"n":1.0}},"_meta":{{"x/own":1.0}}}}}}"#,
            legacy.next_id()
        );
        let seen = legacy.post(body).await.text();
        for part in [ARGUMENTS, r#""x-field":{"n":1.0}"#, r#""x/own":1.0"#] {
            assert!(seen.contains(part), "{way}: {part} is not in {seen}");
        }
        assert!(seen.contains(r#""name":"params""#), "{way}: {seen}");
        let seen = modern
            .request(
                "tools/call",
                json!({ "name": format!("{way}__params"), "arguments": { "a": 1 }, "x-field": { "n": 2 } }),
            )
            .await
            .text();
        assert!(seen.contains(r#""x-field":{"n":2}"#), "{way}: {seen}");
        // An error of the server's own, unknown members included.
        let resources = legacy.request("resources/list", json!({})).await;
        assert!(resources.raw().contains(r#""size":1.0"#), "{}", resources.raw());
    }
    let prompts = legacy.request("prompts/list", json!({})).await;
    assert!(prompts.raw().contains(r#""x-unknown":1.0"#), "{}", prompts.raw());
}

#[tokio::test]
async fn progress_reaches_who_asked_for_it() {
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, ", timeout: 2s").await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    for way in WAYS {
        for token in [json!("mine"), json!(42)] {
            let params = json!({ "name": format!("{way}__slow"), "arguments": { "ms": 300, "steps": 3 },
                "_meta": { "progressToken": token } });
            let (one, two) = tokio::join!(
                legacy.request("tools/call", params.clone()),
                modern.request("tools/call", params.clone())
            );
            for outcome in [one, two] {
                assert_eq!(outcome.text(), "done", "{way}");
                let notes = outcome.notes("notifications/progress");
                let steps: Vec<_> = notes.iter().map(|n| n["params"]["progress"].clone()).collect();
                assert_eq!(steps, [json!(1), json!(2), json!(3)], "{way}: {notes:?}");
                assert!(
                    notes.iter().all(|n| n["params"]["progressToken"] == token),
                    "{way}: {notes:?}"
                );
                assert_eq!(notes[0]["params"]["message"], "on it");
            }
        }
        // Progress keeps a call alive beyond its timeout.
        let params = json!({ "name": format!("{way}__slow"), "arguments": { "ms": 3000, "steps": 10 },
            "_meta": { "progressToken": "t" } });
        let (one, two) = tokio::join!(
            legacy.request("tools/call", params.clone()),
            modern.request("tools/call", params.clone())
        );
        assert_eq!(
            (one.text(), two.text()),
            ("done".to_owned(), "done".to_owned()),
            "{way}"
        );
    }
}

#[tokio::test]
async fn cancelling_reaches_the_server() {
    let fixture = Fixture::start().await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("record.jsonl");
    let url = &fixture.url;
    let outside: String = ["stateful", "stateless", "modern"]
        .iter()
        .map(|w| external(w, &format!("{url}/{w}/c"), ""))
        .chain([external(
            "old",
            &format!("{url}/sse/stateful/c"),
            ", transport: sse",
        )])
        .collect();
    let inside = local("child", "stateless", &["--record", file.to_str().unwrap()], "");
    let hub = Hub::start(&mcps(&outside, &inside)).await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    hub.until_tools(
        &legacy,
        &[
            "stateful__echo",
            "stateless__echo",
            "modern__echo",
            "old__echo",
            "child__echo",
        ],
    )
    .await;
    for way in WAYS {
        let record = async || match way {
            "child" => read_record(&file),
            "old" => fixture.record("sse/stateful/c").await,
            way => fixture.record(&format!("{way}/c")).await,
        };
        for (earlier, era) in ["legacy", "modern"].into_iter().enumerate() {
            let started = with_method(&record().await, "tools/call").len();
            let running = || async {
                let calls = with_method(&record().await, "tools/call").len();
                (calls > started).then_some(())
            };
            let params = json!({ "name": format!("{way}__slow"), "arguments": { "ms": 60_000, "steps": 1_000 },
                "_meta": { "progressToken": "p" } });
            if era == "legacy" {
                let id = legacy.next_id();
                let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
                let response = legacy
                    .builder(reqwest::Method::POST)
                    .body(body.to_string())
                    .send()
                    .await
                    .unwrap();
                eventually("the call runs", running).await;
                let status = legacy
                    .notify(
                        "notifications/cancelled",
                        json!({ "requestId": id, "reason": "enough" }),
                    )
                    .await;
                assert_eq!(status, 202);
                // The stream ends, without an answer.
                let mut events = Events::new(response);
                let end = async { while events.next().await.is_some() {} };
                tokio::time::timeout(SOON, end)
                    .await
                    .expect("the stream of a cancelled call goes on");
            } else {
                let events = modern.stream("tools/call", params).await;
                eventually("the call runs", running).await;
                drop(events);
            }
            eventually(
                &format!("{way}: the server hears that a {era} client cancelled"),
                || async { (with_method(&record().await, "cancelled").len() > earlier).then_some(()) },
            )
            .await;
        }
        assert_eq!(
            legacy
                .call(&format!("{way}__echo"), json!({ "text": "on" }))
                .await
                .text(),
            "on"
        );
    }
}

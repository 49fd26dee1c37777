//! Guards while the machine is busy, guards that do not run, and events that are large: nothing passes that a guard did
//! not see, and a background hook hears of every call.

use aih_tests::{Fixture, Hub, Legacy, tools};
use futures::StreamExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{JSON, Receiver, guest, hook, one, post, record, signature, until_ready, until_up};

/// An entry for a plugin that lists one tool `good`, which gives its arguments back.
fn liar(name: &str) -> String {
    let file = tools::guest("liar").display().to_string();
    format!("  - {{ name: {name}, file: \"{file}\" }}\n")
}

/// An entry for a guard that denies what says so.
fn guard(name: &str, server: &str, rest: &str) -> String {
    let judge = guest("judge");
    format!(
        "  - {{ name: {name}, trigger: tool.before, action: \"{judge}\", match: {{ mcps: [{server}] }}, {rest} }}\n"
    )
}

#[tokio::test]
async fn no_forbidden_call_passes_a_guard_that_waits_for_its_turn() {
    const CALLS: usize = 160;
    let hostile = tools::guest("hostile").display().to_string();
    let config = format!(
        "plugins:\n{}{}{}  - {{ name: loops, file: \"{hostile}\", limits: {{ time: 10m }} }}\nhooks:\n{}{}{}",
        liar("open"),
        liar("closed"),
        liar("many"),
        guard(
            "guard-open",
            "open",
            "on_failure: open, limits: { concurrency: 1 }"
        ),
        guard(
            "guard-closed",
            "closed",
            "on_failure: closed, limits: { concurrency: 1 }"
        ),
        guard("guard-many", "many", "on_failure: open"),
    );
    let hub = Hub::start(&config).await;
    until_ready(&hub).await;
    let client = hub.legacy().await;
    let all = ["open__good", "closed__good", "many__good", "loops__endless_loop"];
    hub.until_tools(&client, &all).await;
    let loops = (0..8).map(|_| client.call("loops__endless_loop", json!({})));
    let loops = futures::future::join_all(loops);
    let text = "x".repeat(2 << 20);
    let forbidden = async {
        let calls = (0..CALLS).map(|n| {
            let tool = all[n % 3];
            let arguments = json!({ "do": "deny", "reason": "forbidden", "text": text });
            async { client.call(tool, arguments).await.value() }
        });
        futures::stream::iter(calls)
            .buffer_unordered(CALLS)
            .collect::<Vec<Value>>()
            .await
    };
    let answers = tokio::select! {
        answers = forbidden => answers,
        _ = loops => panic!("the machine is not busy any more"),
    };
    let mut denied = 0;
    for answer in &answers {
        let result = &answer["result"];
        if result["isError"] == true && result["content"][0]["text"] == "forbidden" {
            denied += 1;
            continue;
        }
        let mut said = answer.to_string();
        said.truncate(400);
        // 160 calls of 2 MB are more than one key may have under way: some are refused before the guard.
        let refused = said.contains("too many large requests");
        assert!(refused || answer["error"]["data"]["kind"] == "busy", "{said}");
    }
    assert!(denied > 0, "some got their turn");
    for name in ["guard-open", "guard-closed", "guard-many"] {
        let hook = hook(&hub, name).await;
        assert_eq!(hook["failures"], 0, "a wait is not a failure: {hook}");
    }
}

#[tokio::test]
async fn a_cancelled_call_does_not_pass_a_guard_that_had_not_decided() {
    let fixture = Fixture::start().await;
    let config = format!(
        "{}hooks:\n{}",
        one(&fixture),
        guard("guard", "one", "on_failure: open, limits: { time: 10m }")
    );
    let hub = Hub::start(&config).await;
    until_ready(&hub).await;
    let client = hub.legacy().await;
    hub.until_tools(&client, &["one__echo"]).await;
    let request = json!({
        "jsonrpc": "2.0", "id": "late", "method": "tools/call",
        "params": { "name": "one__echo", "arguments": { "do": "loop", "text": "passed" } },
    });
    let call = client.post(request.to_string());
    let cancel = async {
        aih_tests::eventually("the guard runs", || async {
            (hook(&hub, "guard").await["runs"] == 1).then_some(())
        })
        .await;
        let gone = json!({ "requestId": "late" });
        client.notify("notifications/cancelled", gone).await;
    };
    tokio::join!(call, cancel);
    // The guard is stopped some time after the cancellation; a call after that is the first that reaches the server.
    client
        .call("one__echo", json!({ "text": "second" }))
        .await
        .result();
    let texts: Vec<Value> = fixture
        .record("stateful/one")
        .await
        .into_iter()
        .filter(|request| request["method"] == "tools/call")
        .map(|request| request["params"]["arguments"]["text"].clone())
        .collect();
    assert_eq!(texts, ["second"]);
}

#[tokio::test]
async fn hooks_before_an_access_refuse_when_they_fail_where_nothing_is_said() {
    let fixture = Fixture::start().await;
    let judge = guest("judge");
    let entry = |name: &str, trigger: &str| {
        format!("  - {{ name: {name}, trigger: {trigger}, action: \"{judge}\", match: {{ mcps: [one] }} }}\n")
    };
    let config = format!(
        "{}plugins:\n{}hooks:\n{}{}",
        one(&fixture),
        liar("two"),
        entry("before", "tool.before"),
        entry("after", "tool.after").replace("[one]", "[two]"),
    );
    let hub = Hub::start(&config).await;
    until_ready(&hub).await;
    let client = hub.legacy().await;
    hub.until_tools(&client, &["one__echo", "two__good"]).await;
    let refused = client
        .call("one__echo", json!({ "do": "trap", "text": "x" }))
        .await
        .result();
    assert_eq!(refused["isError"], true, "{refused}");
    let passed = client.call("two__good", json!({ "do": "trap" })).await;
    assert_eq!(passed.text(), "{\"do\":\"trap\"}");
    assert_eq!(hook(&hub, "after").await["failures"], 1);
}

#[tokio::test]
async fn a_guard_that_is_off_by_mistake_refuses() {
    let without_file = |entry: String| entry.replace("judge.wasm", "no-such-file.wasm");
    let config = format!(
        "plugins:\n{}{}{}{}hooks:\n{}{}{}{}",
        liar("default"),
        liar("closed"),
        liar("open"),
        liar("off"),
        without_file(guard("default", "default", "")),
        without_file(guard("closed", "closed", "on_failure: closed")),
        without_file(guard("open", "open", "on_failure: open")),
        without_file(guard("off", "off", "enabled: false")),
    );
    let hub = Hub::start(&config).await;
    let client = hub.legacy().await;
    let all = ["default__good", "closed__good", "open__good", "off__good"];
    hub.until_tools(&client, &all).await;
    for tool in &all[..2] {
        let refused = client.call(tool, json!({ "n": 1 })).await.result();
        assert_eq!(refused["isError"], true, "{tool}: {refused}");
    }
    for tool in &all[2..] {
        assert_eq!(client.call(tool, json!({ "n": 1 })).await.text(), "{\"n\":1}");
    }
    hub.logged(&["\"hook\":\"default\"", "is off, and what it matches is refused"])
        .await;
}

#[tokio::test]
async fn a_background_hook_gets_a_call_of_any_size() {
    const SECRET: &str = "It's a secret";
    let (receiver, url) = Receiver::default().start().await;
    let config = format!(
        "plugins:\n{}hooks:\n{}{}{}{}",
        liar("one"),
        record("before", "tool.before", &url, "mode: background,"),
        record("after", "tool.after", &url, "mode: background,"),
        record("failed", "tool.error", &url, ""),
        record(
            "push",
            "http",
            &url,
            "mode: background, webhook: { secret: HOOK_SECRET },"
        ),
    );
    let hub = aih_tests::Start {
        config: &config,
        files: &[("hooks/record.js", crate::RECORD)],
        env: &[("HOOK_SECRET", SECRET)],
        ..aih_tests::Start::default()
    }
    .run()
    .await;
    for name in ["before", "after", "failed", "push"] {
        until_up(&hub, name).await;
    }
    let client = hub.legacy().await;
    hub.until_tools(&client, &["one__good"]).await;
    let (_, _, schema) = hub.get("/api/v1/hooks/schema", Some(aih_tests::KEY), &[]).await;
    let schema: Value = serde_json::from_str(&schema).unwrap();
    for megabytes in [3, 12] {
        let text = format!("{megabytes}{}", "x".repeat(megabytes << 20));
        let arguments = json!({ "path": "/a", "text": text });
        let written = arguments.to_string();
        // The plugin has less memory than the largest call needs: it may fail then, and that is told as well.
        let answer = client.call("one__good", arguments).await.value();
        let second = if answer["error"].is_null() {
            "tool.after"
        } else {
            "tool.error"
        };
        for trigger in ["tool.before", second] {
            let begins = format!("{megabytes}x");
            let told = receiver
                .until(&hub, trigger, |event| {
                    event["arguments"]["text"]
                        .as_str()
                        .is_some_and(|text| text.starts_with(&begins))
                })
                .await;
            assert_eq!(told["truncated"], true);
            assert_eq!(told["arguments"]["path"], "/a");
            let original = &told["original"]["arguments"];
            assert_eq!(original["bytes"], written.len());
            let digest: String = Sha256::digest(written.as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(original["sha256"], digest);
            let properties = &schema["triggers"][trigger]["properties"];
            assert!(properties["truncated"].is_object() && properties["original"].is_object());
        }
    }
    // A webhook's event is stored whole, also where every byte of its body is escaped.
    let body = "\"".repeat((1 << 20) - 1);
    let right = signature(SECRET, &body);
    let header = ("x-hub-signature-256", &*right);
    let (status, told) = post(&hub, "/api/v1/hooks/push/webhook", None, &[header, JSON], &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    let pushed = receiver.until(&hub, "http", |_| true).await;
    assert_eq!(pushed["body"], body);
    for name in ["before", "after", "failed", "push"] {
        assert_eq!(hook(&hub, name).await["lost"], 0);
    }
}

#[tokio::test]
async fn a_blocking_hook_gets_the_largest_message_whole() {
    let config = format!(
        "plugins:\n{}hooks:\n{}",
        liar("one"),
        guard(
            "guard",
            "one",
            "limits: { time: 60s, memory: 1GiB, output: 64MiB }"
        )
    );
    let hub = Hub::start(&config).await;
    until_ready(&hub).await;
    let client: Legacy = hub.legacy().await;
    hub.until_tools(&client, &["one__good"]).await;
    let arguments = json!({ "text": "x".repeat(15 << 20), "do": "deny", "reason": "at the very end" });
    let denied = client.call("one__good", arguments).await;
    assert_eq!(denied.text(), "at the very end");
}

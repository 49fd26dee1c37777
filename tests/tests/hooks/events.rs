//! Every trigger by the real event: JavaScript hooks that the hub builds, raw MCP clients of both eras, a receiver
//! of what background hooks send, and a hub that is killed.

use std::collections::HashSet;

use aih_tests::{Fixture, Hub, KEY, Legacy, Modern, Start, key_hash};
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{JSON, RECORD, Receiver, one, post, record, signature, until_ready};

/// Does to tool calls what their arguments ask for.
const GUARD: &str = r#"
import { defineHook } from "aih-plugin";
defineHook((event) => {
  const { tool, arguments: given } = event.payload;
  if (tool === "pid") return { deny: `no ${tool} for ${event.payload.principal}` };
  if (given.deny) return { deny: given.deny };
  if (given.secret) return { replace: { ...given, text: `${given.text} without` } };
});
"#;

/// Masks keys in results.
const REDACT: &str = r#"
import { defineHook } from "aih-plugin";
defineHook((event) => {
  const text = JSON.stringify(event.payload.result);
  const masked = text.replaceAll(/sk-[a-z0-9]+/g, "[masked]");
  if (masked !== text) return { replace: JSON.parse(masked) };
});
"#;

const CONTEXT: &str = r#"
import { defineHook, host } from "aih-plugin";
defineHook((event) => ({ replace: { instructions: `${host.config.get("text")} ${event.payload.principal}` } }));
"#;

pub(super) const LISTS: &str = r#"
import { defineHook } from "aih-plugin";
defineHook((event) => {
  const names = event.payload.tools.map((tool) => tool.name);
  return { replace: { hide: names.filter((name) => name.endsWith("__silent")), rename: { one__echo: "say" } } };
});
"#;

/// Fails in the way that the arguments name.
const BROKEN: &str = r#"
import { defineHook } from "aih-plugin";
defineHook((event) => {
  switch (event.payload.arguments.how) {
    case "throw": throw new Error("as asked");
    case "loop": for (;;) {}
    case "memory": { const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1)); }
    case "replace": return { replace: [1, 2] };
  }
});
"#;

const ANSWER: &str = r#"
import { defineHook, log } from "aih-plugin";
defineHook((event) => {
  log.info("hello", { from: event.name });
  const payload = event.payload.payload ?? event.payload;
  if (payload.fail) throw new Error("as asked");
  return { result: { got: payload } };
});
"#;

const FILES: &[(&str, &str)] = &[
    ("hooks/record.js", RECORD),
    ("hooks/guard.js", GUARD),
    ("hooks/redact.js", REDACT),
    ("hooks/context.js", CONTEXT),
    ("hooks/lists.js", LISTS),
    ("hooks/broken.js", BROKEN),
    ("hooks/answer.js", ANSWER),
];

async fn start(config: &str, env: &[(&str, &str)]) -> Hub {
    Start {
        config,
        files: FILES,
        env,
        ..Start::default()
    }
    .run()
    .await
}

#[tokio::test]
async fn calls_are_denied_changed_and_redacted_and_their_errors_are_events() {
    let fixture = Fixture::start().await;
    let (receiver, url) = Receiver::default().start().await;
    *receiver.refuse.lock().unwrap() = 1;
    let config = format!(
        "{}hooks:\n  - {{ name: guard, trigger: tool.before, action: ./hooks/guard.js, match: {{ mcps: [one] }} }}\n  \
         - {{ name: redact, trigger: tool.after, action: ./hooks/redact.js }}\n{}{}",
        one(&fixture),
        record("errors", "tool.error", &url, ""),
        record(
            "calls",
            "tool.after",
            &url,
            "mode: background, match: { tools: [echo] },"
        ),
    );
    let hub = start(&config, &[]).await;
    until_ready(&hub).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["one__echo"]).await;

    let denied = client.call("one__pid", json!({})).await.result();
    assert_eq!(denied["isError"], true);
    assert_eq!(denied["content"][0]["text"], "no pid for admin");
    let changed = client
        .call("one__echo", json!({ "text": "hi", "secret": 1 }))
        .await;
    assert_eq!(changed.text(), "hi without");
    let masked = client
        .call("one__echo", json!({ "text": "key sk-abc1 end" }))
        .await;
    assert_eq!(masked.text(), "key [masked] end");
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    let result = modern
        .call("one__echo", json!({ "text": "sk-abc2" }))
        .await
        .result();
    assert_eq!(result["content"][0]["text"], "[masked]");
    assert_eq!(result["resultType"], "complete");
    let direct = Legacy::connect(&hub, "/mcp/one", KEY).await;
    assert_eq!(direct.call("pid", json!({})).await.text(), "no pid for admin");

    // The background hook sees what the blocking one left, and the hub says who called.
    let told = receiver
        .until(&hub, "tool.after", |event| {
            event["result"]["content"][0]["text"] == "key [masked] end"
        })
        .await;
    assert_eq!(told["principal"], "admin");
    assert_eq!(told["client"]["info"]["name"], "hostile-tests");
    assert_eq!(told["server"], "one");

    let failed = json!({ "content": [{ "type": "text", "text": "broke" }], "isError": true });
    client
        .call("one__mirror", json!({ "result": failed }))
        .await
        .result();
    let error = receiver.until(&hub, "tool.error", |_| true).await;
    assert_eq!(error["result"]["content"][0]["text"], "broke");
    assert_eq!(error["tool"], "mirror");
    client.call("one__leak", json!({})).await.error();
    receiver
        .until(&hub, "tool.error", |event| event["error"]["code"].is_i64())
        .await;
    // The receiver refused the first event: its retry has the same id, and each came once.
    let ids: Vec<String> = receiver
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| event["id"].to_string())
        .collect();
    let retried = receiver
        .events
        .lock()
        .unwrap()
        .iter()
        .any(|event| event["attempt"] == "2" || event["attempt"] == 2);
    assert!(retried || ids.len() < 6, "a refused event is tried again");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
}

#[tokio::test]
async fn clients_get_the_context_and_the_lists_that_hooks_make() {
    let fixture = Fixture::start().await;
    let (receiver, url) = Receiver::default().start().await;
    let config = format!(
        "{}hooks:\n  - {{ name: second, order: 2, trigger: conversation.start, action: ./hooks/context.js, config: {{ text: two }} }}\n  \
         - {{ name: first, order: 1, trigger: conversation.start, action: ./hooks/context.js, config: {{ text: one }} }}\n  \
         - {{ name: lists, trigger: list.tools, action: ./hooks/lists.js }}\n{}{}",
        one(&fixture),
        record("began", "conversation.start", &url, "mode: background,"),
        record("ended", "conversation.end", &url, ""),
    );
    let hub = start(&config, &[]).await;
    until_ready(&hub).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["say"]).await;
    let prompt = client
        .request("prompts/get", json!({ "name": "aih__context" }))
        .await
        .result();
    assert_eq!(prompt["messages"][0]["content"]["text"], "one admin\n\ntwo admin");
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    let discovered = modern.request("server/discover", json!({})).await.result();
    let told = discovered["instructions"].as_str().unwrap();
    assert!(told.ends_with("one admin\n\ntwo admin"), "{told}");

    let names = client.tool_names().await;
    assert!(
        !names
            .iter()
            .any(|name| name == "one__silent" || name == "one__echo"),
        "{names:?}"
    );
    assert_eq!(client.call("say", json!({ "text": "hi" })).await.text(), "hi");
    for gone in ["one__echo", "one__silent"] {
        assert_eq!(client.call(gone, json!({})).await.code(), -32602, "{gone}");
    }
    // One that never listed is held to the same view.
    assert_eq!(modern.call("say", json!({ "text": "hi" })).await.text(), "hi");

    let began = receiver
        .until(&hub, "conversation.start", |event| {
            event["client"]["era"] == "legacy"
        })
        .await;
    assert_eq!(client.close().await, 204);
    let session = began["session"].clone();
    let ended = receiver
        .until(&hub, "conversation.end", |event| event["session"] == session)
        .await;
    assert!(ended["duration_ms"].is_u64());
    assert!(
        !ended.to_string().contains(&client.session),
        "the session's id is a credential"
    );
}

#[tokio::test]
async fn a_broken_hook_lets_calls_pass_or_stops_them() {
    let fixture = Fixture::start().await;
    let hook = |name: &str, tool: &str, mode: &str| {
        format!(
            "  - {{ name: {name}, trigger: tool.before, action: ./hooks/broken.js, match: {{ tools: [{tool}] }}, \
             on_failure: {mode}, limits: {{ time: 2s, memory: 64MiB }} }}\n"
        )
    };
    let config = format!(
        "{}hooks:\n{}{}",
        one(&fixture),
        hook("open", "echo", "open"),
        hook("closed", "params", "closed")
    );
    let hub = start(&config, &[]).await;
    until_ready(&hub).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["one__echo"]).await;
    for how in ["throw", "loop", "memory", "replace"] {
        let passed = client.call("one__echo", json!({ "text": how, "how": how })).await;
        assert_eq!(passed.text(), how);
        let stopped = client.call("one__params", json!({ "how": how })).await.result();
        assert_eq!(stopped["isError"], true, "{how}");
        let text = stopped["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("`closed`") && !text.contains("as asked"), "{text}");
    }
    let well = client.call("one__params", json!({ "how": "" })).await.result();
    assert_ne!(well["isError"], true);
    let (_, _, text) = hub.get("/api/v1/registry/hooks", Some(KEY), &[]).await;
    let list: Value = serde_json::from_str(&text).unwrap();
    for hook in list["hooks"].as_array().unwrap() {
        assert_eq!(hook["failures"], 4, "{hook}");
        assert_eq!(hook["state"], "up");
    }
}

#[tokio::test]
async fn hooks_are_run_by_hand_and_from_outside() {
    let (receiver, url) = Receiver::default().start().await;
    let limited = "aih_key-that-may-little";
    let config = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: limited, key_hash: \"{}\", permissions: [\"hooks/hand\"] }}\n\
         hooks:\n  - {{ name: hand, trigger: manual, action: ./hooks/answer.js }}\n  \
         - {{ name: hook, trigger: http, action: ./hooks/answer.js, webhook: {{ secret: HOOK_SECRET }} }}\n{}{}{}",
        key_hash(KEY),
        key_hash(limited),
        record("later", "manual", &url, "mode: background,"),
        record(
            "push",
            "http",
            &url,
            "mode: background, webhook: { secret: HOOK_SECRET },"
        ),
        record("refused", "auth.failure", &url, ""),
    );
    let hub = start(&config, &[("HOOK_SECRET", "It's a secret")]).await;
    until_ready(&hub).await;
    let hand = "/api/v1/hooks/hand/trigger";
    let (status, ran) = post(&hub, hand, Some(limited), &[JSON], r#"{"n": 1}"#).await;
    assert_eq!(status, 200);
    assert_eq!(ran["result"]["got"], json!({ "n": 1 }));
    assert_eq!(ran["decision"], "proceed");
    assert_eq!(ran["logs"][0]["message"], "hello");
    assert_eq!(ran["logs"][0]["fields"]["from"], "manual");
    assert!(ran["duration_ms"].is_number());
    let (status, failed) = post(&hub, hand, Some(limited), &[JSON], r#"{"fail": true}"#).await;
    assert_eq!(status, 500);
    assert!(failed["error"].as_str().unwrap().contains("as asked"), "{failed}");
    let (status, _) = post(&hub, "/api/v1/hooks/later/trigger", Some(limited), &[JSON], "{}").await;
    assert_eq!(status, 404, "a key sees only its hooks");
    let (status, queued) = post(&hub, "/api/v1/hooks/later/trigger", Some(KEY), &[], "").await;
    assert_eq!(status, 202, "{queued}");
    let came = receiver.until(&hub, "manual", |_| true).await;
    assert_eq!(came["id"], queued["event"]);
    assert_eq!(came["by"], "admin");

    let client = Legacy::connect(&hub, "/mcp", limited).await;
    let tool = client
        .call(
            "aih__trigger_hook",
            json!({ "name": "hand", "payload": { "n": 2 } }),
        )
        .await
        .result();
    assert_eq!(tool["structuredContent"]["result"]["got"]["n"], 2);
    let none = client
        .call("aih__trigger_hook", json!({ "name": "later" }))
        .await
        .result();
    assert_eq!(none["isError"], true);

    let path = "/api/v1/hooks/hook/webhook";
    let body = r#"{"ref": "main"}"#;
    let right = signature("It's a secret", body);
    let name = "x-hub-signature-256";
    let (status, answer) = post(&hub, path, None, &[(name, &right), JSON], body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["got"]["body"], body);
    assert_eq!(answer["got"]["headers"]["content-type"], "application/json");
    assert!(answer["got"]["headers"][name].is_null());
    let (status, answer) = post(&hub, path, None, &[(name, &right)], body).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("repeated")));
    for (header, body) in [(&*right, r#"{"ref": "other"}"#), ("sha256=00", body), ("", body)] {
        let (status, _) = post(&hub, path, None, &[(name, header)], body).await;
        assert_eq!(status, 401);
    }
    let (status, _) = post(
        &hub,
        "/api/v1/hooks/nothing/webhook",
        None,
        &[(name, &right)],
        body,
    )
    .await;
    assert_eq!(status, 401, "what is not there looks like a wrong signature");
    let (status, queued) = post(&hub, "/api/v1/hooks/push/webhook", None, &[(name, &right)], body).await;
    assert_eq!(status, 202);
    let pushed = receiver.until(&hub, "http", |_| true).await;
    assert_eq!(pushed["id"], queued["event"]);
    let (status, _, _) = hub.get("/api/v1/registry", Some("aih_wrong"), &[]).await;
    assert_eq!(status, 401);
    let refused = receiver
        .until(&hub, "auth.failure", |event| event["path"] == "/api/v1/registry")
        .await;
    assert_eq!(refused["address"], "127.0.0.1");
    assert!(!refused.to_string().contains("aih_wrong"));
    receiver
        .until(&hub, "auth.failure", |event| event["path"] == path)
        .await;

    let (status, _, text) = hub.get("/api/v1/hooks/schema", Some(limited), &[]).await;
    assert_eq!(status, 200);
    let schemas: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(schemas["triggers"].as_object().unwrap().len(), 16);
    let (status, _, _) = hub.get("/api/v1/hooks/dead", Some(limited), &[]).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn servers_the_clock_and_the_configuration_make_events() {
    let fixture = Fixture::start().await;
    let (receiver, url) = Receiver::default().start().await;
    let config = format!(
        "{}hooks:\n{}{}{}{}{}",
        one(&fixture),
        record("up", "upstream.up", &url, ""),
        record("down", "upstream.down", &url, "match: { mcps: [one] },"),
        record("tick", "schedule", &url, "schedule: \"* * * * * *\","),
        record("reloaded", "config.reloaded", &url, ""),
        record("rejected", "config.rejected", &url, ""),
    );
    let hub = start(&config, &[]).await;
    until_ready(&hub).await;
    let up = receiver.until(&hub, "upstream.up", |_| true).await;
    assert_eq!((&up["server"], &up["kind"]), (&json!("one"), &json!("mcp")));
    let tick = receiver.until(&hub, "schedule", |_| true).await;
    assert!(tick["scheduled_for"].as_str().unwrap().ends_with('Z'));

    let file = hub.folder.path().join("aih-config.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let second = "aih_a-second-key";
    let more = format!(
        "    - {{ name: second, key_hash: \"{}\", permissions: [\"*\"] }}\n",
        key_hash(second)
    );
    std::fs::write(&file, format!("{good}{more}")).unwrap();
    let (status, answer) = post(&hub, "/api/v1/reload", Some(KEY), &[], "").await;
    assert_eq!(
        (status, &answer["status"]),
        (StatusCode::OK, &json!("reloaded")),
        "{answer}"
    );
    assert_eq!(answer["restart_needed"], json!([]));
    receiver.until(&hub, "config.reloaded", |_| true).await;
    let (status, _, _) = hub.get("/api/v1/registry", Some(second), &[]).await;
    assert_eq!(status, 200, "the new key counts at once");
    std::fs::write(&file, format!("{good}nonsense: true\n")).unwrap();
    hub.program.signal(Signal::SIGHUP);
    let rejected = receiver.until(&hub, "config.rejected", |_| true).await;
    assert!(
        rejected["problems"][0].as_str().unwrap().contains("nonsense"),
        "{rejected}"
    );
    let (status, _, _) = hub.get("/api/v1/registry", Some(second), &[]).await;
    assert_eq!(status, 200, "the old configuration stays");

    fixture.kill().await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    let calls = async {
        loop {
            let _ = client.call("one__echo", json!({})).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        _ = receiver.until(&hub, "upstream.down", |event| event["server"] == "one") => {}
        () = calls => {}
    }
}

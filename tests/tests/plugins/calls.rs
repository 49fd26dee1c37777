//! What a call of a plugin carries: arguments and results of every kind, progress, cancellation, logs, state,
//! questions to the client, calls of other servers, permissions.

use aih_tests::{Hub, KEY, Legacy, Start, key_hash};
use serde_json::{Value, json};

use crate::{guest, hub, text, until_state};

#[tokio::test]
async fn tools_are_listed_called_and_checked() {
    let hub = hub(&[guest("echo", "")], &["echo"]).await;
    let client = hub.legacy().await;
    let tools = client.tools().await;
    let echo = tools.iter().find(|tool| tool["name"] == "echo__echo").unwrap();
    assert_eq!(echo["source"], "echo");
    assert_eq!(echo["annotations"]["readOnlyHint"], true);
    assert_eq!(echo["inputSchema"]["required"], json!(["text"]));
    assert_eq!(
        text(&client, "echo__echo", json!({"text": "hello"})).await,
        "hello"
    );
    let wrong = client.call("echo__echo", json!({"text": 7})).await.result();
    assert_eq!(wrong["isError"], true, "{wrong}");
    assert!(
        wrong["content"][0]["text"].as_str().unwrap().contains("/text"),
        "{wrong}"
    );
    assert_eq!(client.call("echo__nothing", json!({})).await.code(), -32602);
    let alone = Legacy::connect(&hub, "/mcp/echo", KEY).await;
    assert_eq!(text(&alone, "echo", json!({"text": "alone"})).await, "alone");
    let modern = hub.modern();
    assert_eq!(
        modern.call("echo__echo", json!({"text": "modern"})).await.text(),
        "modern"
    );
}

#[tokio::test]
async fn results_of_every_kind_arrive() {
    let hub = hub(&[guest("echo", "")], &["echo"]).await;
    let client = hub.legacy().await;
    let call = async |tool: &str, arguments: Value| client.call(tool, arguments).await.result();
    let image = call("echo__image", json!({})).await;
    assert_eq!(image["content"][1]["type"], "image");
    assert_eq!(image["content"][1]["mimeType"], "image/png");
    assert!(image["content"][1]["data"].as_str().unwrap().starts_with("iVBOR"));
    assert_eq!(
        call("echo__sound", json!({})).await["content"][0]["type"],
        "audio"
    );
    let resource = call("echo__resource", json!({})).await;
    assert_eq!(resource["content"][0]["resource"]["text"], "a note");
    assert_eq!(resource["content"][1]["type"], "resource_link");
    let sum = call("echo__structured", json!({"a": 2, "b": 3})).await;
    assert_eq!(sum["structuredContent"], json!({"sum": 5}));
    let fail = call("echo__fail", json!({"message": "no luck"})).await;
    assert_eq!(fail["isError"], true);
    assert_eq!(fail["content"][0]["text"], "no luck");
    let refuse = call("echo__refuse", json!({"message": "later"})).await;
    assert_eq!(refuse["isError"], true);
    assert!(refuse["content"][0]["text"].as_str().unwrap().contains("later"));
    let big = call("echo__big", json!({})).await;
    assert_eq!(big["content"][0]["text"].as_str().unwrap().len(), 100_000);
}

#[tokio::test]
async fn progress_and_logs_reach_the_client() {
    let hub = hub(&[guest("echo", "")], &["echo"]).await;
    let client = hub.legacy().await;
    let params = json!({"name": "echo__slow", "arguments": {"steps": 4, "step_ms": 40}, "_meta": {"progressToken": "p"}});
    let slow = client.request("tools/call", params).await;
    assert_eq!(slow.text(), "4 steps");
    let notes = slow.notes("notifications/progress");
    assert!(notes.len() >= 3, "{notes:?}");
    let fits = |note: &Value| note["params"]["progressToken"] == "p" && note["params"]["total"] == 4.0;
    assert!(notes.iter().all(fits), "{notes:?}");
    let log = client.call("echo__log", json!({"message": "a line"})).await;
    let lines = log.notes("notifications/message");
    let levels: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["params"]["level"].as_str())
        .collect();
    assert!(
        levels.contains(&"info") && levels.contains(&"error") && !levels.contains(&"debug"),
        "{levels:?}"
    );
    assert!(lines.iter().all(|line| line["params"]["logger"] == "echo"));
    hub.logged(&["a line", "aih::plugin"]).await;
}

#[tokio::test]
async fn a_cancelled_call_ends() {
    let hub = hub(&[guest("echo", "")], &["echo"]).await;
    let client = hub.legacy().await;
    let id = client.next_id();
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "echo__slow", "arguments": {"steps": 1000, "step_ms": 20},
    }});
    let call = client.post(body.to_string());
    let cancel = async {
        let running = || async { (crate::health(&hub, "echo").await?["running"] == 1).then_some(()) };
        aih_tests::eventually("the call runs", running).await;
        client
            .notify("notifications/cancelled", json!({"requestId": id}))
            .await;
        let ended = || async { (crate::health(&hub, "echo").await?["running"] == 0).then_some(()) };
        aih_tests::eventually("the call has ended", ended).await;
    };
    // A cancelled call may answer or not (2025-11-25, Cancellation).
    tokio::select! {
        () = cancel => {}
        _ = async { call.await; std::future::pending::<()>().await } => {}
    }
}

#[tokio::test]
async fn state_outlives_calls_and_restarts_and_counts_each_call() {
    let entry = guest("echo", "grants: { state: { max_bytes: \"10kB\" } }");
    let hub = hub(&[entry, guest("liar", "")], &["echo"]).await;
    let client = hub.legacy().await;
    let calls = (0..20).map(|_| text(&client, "echo__state_counter", json!({})));
    let mut counts: Vec<u32> = futures::future::join_all(calls)
        .await
        .iter()
        .map(|count| count.parse().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    let hub = hub.restart().await;
    until_state(&hub, "echo", "up").await;
    let client = hub.legacy().await;
    assert_eq!(text(&client, "echo__state_counter", json!({})).await, "21");
}

const KEEPER: &str = r#"
import { defineTool, host } from "aih-plugin";
const input = {
  type: "object",
  properties: { key: { type: "string" }, size: { type: "integer" }, expect: { type: "integer" } },
  required: ["key"],
};
const kind = async (run) => {
  try {
    return String(await run());
  } catch (error) {
    return `${error.code}: ${error.message}`;
  }
};
defineTool({
  name: "set",
  description: "Writes so many bytes",
  input,
  handler: ({ key, size = 1, expect }) => kind(() => host.state.setBytes(key, new Uint8Array(size), { expect })),
});
defineTool({
  name: "size",
  description: "How many bytes there are",
  input,
  handler: ({ key }) => kind(async () => (await host.state.getBytes(key))?.length),
});
"#;

#[tokio::test]
async fn state_has_versions_and_a_quota() {
    let start = Start {
        config: "plugins:\n  - { name: keeper, file: ./keeper.js, grants: { state: { max_bytes: \"10kB\" } } }\n",
        files: &[("keeper.js", KEEPER)],
        ..Start::default()
    };
    let hub = start.run().await;
    until_state(&hub, "keeper", "up").await;
    let client = hub.legacy().await;
    let set = async |key: &str, size: u32, expect: Option<u64>| {
        let mut arguments = json!({"key": key, "size": size});
        if let Some(expect) = expect {
            arguments["expect"] = expect.into();
        }
        text(&client, "keeper__set", arguments).await
    };
    let first: u64 = set("a", 1, Some(0)).await.parse().unwrap();
    // It is there now, with another version than none.
    assert!(set("a", 2, Some(0)).await.starts_with("conflict"));
    let second: u64 = set("a", 2, Some(first)).await.parse().unwrap();
    assert!(second > first);
    assert!(set("a", 3, Some(first)).await.starts_with("conflict"));
    // Of many that saw the same version, one wins.
    let race = (0..10).map(|_| set("a", 4, Some(second)));
    let outcomes = futures::future::join_all(race).await;
    let won = outcomes.iter().filter(|outcome| outcome.parse::<u64>().is_ok());
    assert_eq!(won.count(), 1, "{outcomes:?}");
    let full = set("b", 20_000, None).await;
    assert!(full.starts_with("quota"), "{full}");
    assert_eq!(
        text(&client, "keeper__size", json!({"key": "b"})).await,
        "undefined"
    );
    assert!(set("b", 9_000, None).await.parse::<u64>().is_ok());
    let full = set("c", 2_000, None).await;
    assert!(full.starts_with("quota"), "{full}");
    assert!(set("b", 10, None).await.parse::<u64>().is_ok());
    assert!(set("c", 2_000, None).await.parse::<u64>().is_ok());
    let hub = hub.restart().await;
    until_state(&hub, "keeper", "up").await;
    let client = hub.legacy().await;
    assert_eq!(text(&client, "keeper__size", json!({"key": "c"})).await, "2000");
}

/// The fields of the first row of a call that holds all these words.
async fn row(hub: &Hub, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["aih::call"]).collect();
    let row: Value = serde_json::from_str(&hub.logged(&words).await).unwrap();
    row["fields"].clone()
}

#[tokio::test]
async fn a_call_of_a_plugin_leaves_the_row_of_a_clients_call() {
    let plugins = format!(
        "plugins:\n{}{}",
        guest("echo", "grants: { mcps: [\"liar/*\"] }"),
        guest("liar", ""),
    );
    let start = Start {
        config: &plugins,
        env: &[("AIH_LOG", "debug")],
        ..Start::default()
    };
    let hub = start.run().await;
    for name in ["echo", "liar"] {
        until_state(&hub, name, "up").await;
    }
    let client = hub.legacy().await;
    client.call("liar__good", json!({"n": 1})).await;
    let own = row(&hub, &["good"]).await;
    let other = json!({"server": "liar", "tool": "good", "arguments": {"n": 2}});
    client.call("echo__call", other).await;
    let nested = row(&hub, &["good", "through"]).await;
    for field in ["key", "server", "tool", "outcome"] {
        assert_eq!(own[field], nested[field], "{field}: {own} {nested}");
    }
    assert_eq!(own["outcome"], "ok", "{own}");
    assert_eq!(own["key"], "admin", "{own}");
    assert!(own["ms"].is_u64() && nested["ms"].is_u64(), "{own} {nested}");
    assert_eq!((&own["depth"], &nested["depth"]), (&json!(0), &json!(1)));
    assert_eq!(nested["through"], "echo", "{nested}");
    // What was refused is written down too.
    let refused = json!({"server": "echo", "tool": "echo", "arguments": {"text": "x"}});
    client.call("echo__call", refused).await;
    let refused = row(&hub, &["through", "grants.mcps"]).await;
    assert_eq!(refused["outcome"], "error", "{refused}");
    let (_, _, rows) = hub
        .get("/api/v1/logs?level=debug&limit=1000", Some(KEY), &[])
        .await;
    assert!(rows.contains("aih::call"), "{rows:.500}");
}

#[tokio::test]
async fn what_is_not_granted_is_refused() {
    let hub = hub(&[guest("echo", "")], &["echo"]).await;
    let client = hub.legacy().await;
    for (tool, arguments) in [
        ("state_counter", json!({})),
        ("secret_length", json!({"name": "TOKEN"})),
        (
            "call",
            json!({"server": "echo", "tool": "echo", "arguments": {"text": "x"}}),
        ),
        ("elicit", json!({"message": "name?"})),
        ("sample", json!({"message": "hello"})),
        ("roots", json!({})),
    ] {
        let result = client.call(&format!("echo__{tool}"), arguments).await.result();
        assert_eq!(result["isError"], true, "{tool}: {result}");
        let why = result["content"][0]["text"].as_str().unwrap().to_lowercase();
        assert!(why.contains("grant"), "{tool}: {why}");
    }
}

#[tokio::test]
async fn secrets_and_settings_are_handed_to_whom_they_are_granted() {
    let plugins = format!(
        "plugins:\n{}",
        guest(
            "echo",
            "grants: { secrets: [\"TOKEN\", \"NONE\"] }, config: { greeting: { a: [1] } }"
        )
    );
    let start = Start {
        config: &plugins,
        env: &[("TOKEN", "not-to-be-seen")],
        ..Start::default()
    };
    let hub = start.run().await;
    until_state(&hub, "echo", "up").await;
    let client = hub.legacy().await;
    assert_eq!(
        text(&client, "echo__secret_length", json!({"name": "TOKEN"})).await,
        "14"
    );
    let unset = client
        .call("echo__secret_length", json!({"name": "NONE"}))
        .await
        .result();
    assert_eq!(unset["isError"], true, "{unset}");
    assert_eq!(
        text(&client, "echo__config", json!({"name": "greeting"})).await,
        "{\"a\":[1]}"
    );
    assert!(!hub.output().contains("not-to-be-seen"));
}

#[tokio::test]
async fn a_plugin_calls_others_with_its_callers_permissions() {
    let plugins = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    - {{ name: narrow, key_hash: \"{}\", permissions: [\"plugins/echo/*\"] }}\nplugins:\n{}{}",
        key_hash(KEY),
        key_hash("aih_narrow-key-for-the-tests"),
        guest("echo", "grants: { mcps: [\"liar/*\", \"echo/call\"] }"),
        guest("liar", ""),
    );
    let hub = Hub::start(&plugins).await;
    for name in ["echo", "liar"] {
        until_state(&hub, name, "up").await;
    }
    let client = hub.legacy().await;
    let other = json!({"server": "liar", "tool": "good", "arguments": {"n": 3}});
    assert_eq!(text(&client, "echo__call", other.clone()).await, "{\"n\":3}");
    let listed = client
        .call("echo__call", json!({"server": "liar"}))
        .await
        .result();
    assert_eq!(
        listed["structuredContent"]["tools"][0]["name"], "good",
        "{listed}"
    );
    // Granted to the plugin, but not to this key.
    let narrow = Legacy::connect(&hub, "/mcp", "aih_narrow-key-for-the-tests").await;
    let refused = narrow.call("echo__call", other).await.result();
    assert_eq!(refused["isError"], true, "{refused}");
    // Allowed to the key, but not granted to the plugin.
    let own = json!({"server": "echo", "tool": "echo", "arguments": {"text": "x"}});
    let refused = client.call("echo__call", own).await.result();
    assert_eq!(refused["isError"], true, "{refused}");
    // A plugin that calls itself ends at a depth.
    let mut nested = json!({"server": "liar", "tool": "good"});
    for _ in 0..20 {
        nested = json!({"server": "echo", "tool": "call", "arguments": nested});
    }
    let deep = client.call("echo__call", nested).await.result();
    assert!(
        deep.to_string().to_lowercase().contains("deep") || deep.to_string().contains("depth"),
        "{deep}"
    );
}

#[tokio::test]
async fn questions_reach_the_client() {
    let hub = hub(
        &[guest(
            "echo",
            "grants: { client: [\"elicit\", \"sample\", \"roots\"] }",
        )],
        &["echo"],
    )
    .await;
    let modern = aih_tests::Modern::new(
        &hub,
        "/mcp",
        KEY,
        json!({"elicitation": {}, "sampling": {}, "roots": {}}),
    );
    let asked = modern
        .call("echo__elicit", json!({"message": "your name?"}))
        .await
        .result();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let (key, _) = asked["inputRequests"].as_object().unwrap().iter().next().unwrap();
    let again = modern
        .request(
            "tools/call",
            json!({
                "name": "echo__elicit", "arguments": {"message": "your name?"},
                "inputResponses": {key: {"action": "accept", "content": {"name": "Ada"}}},
                "requestState": asked["requestState"],
            }),
        )
        .await;
    assert!(again.text().contains("Ada"), "{}", again.raw());
}

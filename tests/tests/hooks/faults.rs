//! Hooks that break, in Rust and in Python: `open` lets the call pass with a warning, `closed` stops it. And hooks that
//! call tools, which would turn in circles.

use aih_tests::{Fixture, Hub, KEY, Legacy, Start, tools};
use serde_json::{Value, json};

use crate::{guest, hook, one, until_ran, until_ready};

/// Does what the arguments of the call say.
const BROKEN: &str = r#"
from aih_plugin import Event, Replace, hook

@hook("tool.before")
def broken(event: Event) -> Replace | None:
    match event["arguments"].get("do"):
        case "trap":
            raise RuntimeError("as the event says")
        case "loop":
            while True:
                pass
        case "memory":
            everything = []
            while True:
                everything.append(bytearray(b"x" * (1 << 20)))
        case "replace":
            return Replace(event["arguments"]["with"])
"#;

/// Entries for plugins that list one tool `good`, which gives its arguments back and wants `n` to be an integer.
fn plugins(names: &[&str]) -> String {
    let file = tools::guest("liar").display().to_string();
    let entry = |name: &&str| format!("  - {{ name: {name}, file: \"{file}\" }}\n");
    format!("plugins:\n{}", names.iter().map(entry).collect::<String>())
}

/// The entry of a hook on the calls of the plugin that has its name.
fn entry(name: &str, trigger: &str, action: &str, on_failure: &str, limits: &str) -> String {
    format!(
        "  - {{ name: {name}, trigger: {trigger}, action: \"{action}\", match: {{ mcps: [{name}] }}, \
         on_failure: {on_failure}, limits: {{ {limits} }} }}\n"
    )
}

/// Calls the tool at a plugin behind a hook that is `open`, and at one behind a hook that is `closed`.
async fn try_both(client: &Legacy, open: &str, closed: &str, arguments: &Value) {
    let passed = client.call(&format!("{open}__good"), arguments.clone()).await;
    let came: Value = serde_json::from_str(&passed.text()).unwrap();
    assert_eq!(&came, arguments, "it passes as it was");
    let stopped = client
        .call(&format!("{closed}__good"), arguments.clone())
        .await
        .result();
    assert_eq!(stopped["isError"], true, "{arguments}: {stopped}");
    let text = stopped["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains(&format!("`{closed}`")) && !text.contains("as the event says"),
        "{text}"
    );
}

/// Each hook failed so often, still serves, and the log says why.
async fn check_failures(hub: &Hub, names: &[&str], failures: usize) {
    for name in names {
        let hook = hook(hub, name).await;
        assert_eq!(hook["failures"], failures, "{hook}");
        assert_eq!(hook["state"], "up", "{hook}");
        assert!(hook["last_error"].is_string(), "{hook}");
        let output = hub.output();
        let warnings = output.lines().filter(|line| {
            line.contains("\"WARN\"")
                && line.contains("failed: ")
                && line.contains(&format!("\"hook\":\"{name}\""))
        });
        assert_eq!(warnings.count(), failures, "{name}: {output}");
    }
}

#[tokio::test]
async fn broken_hooks_in_rust_let_calls_pass_or_stop_them() {
    let judge = guest("judge");
    let limits = "time: 2s, memory: 64MiB";
    let config = format!(
        "{}hooks:\n{}{}{}{}",
        plugins(&["open", "closed", "open-after", "closed-after"]),
        entry("open", "tool.before", &judge, "open", limits),
        entry("closed", "tool.before", &judge, "closed", limits),
        entry("open-after", "tool.after", &judge, "open", limits),
        entry("closed-after", "tool.after", &judge, "closed", limits),
    );
    let hub = Hub::start(&config).await;
    until_ready(&hub).await;
    let client = hub.legacy().await;
    hub.until_tools(
        &client,
        &[
            "open__good",
            "closed__good",
            "open_after__good",
            "closed_after__good",
        ],
    )
    .await;
    let well = client.call("closed__good", json!({ "n": 1 })).await;
    assert_eq!(well.text(), "{\"n\":1}");

    let before = [
        json!({ "do": "trap" }),
        json!({ "do": "loop" }),
        json!({ "do": "memory" }),
        json!({ "do": "fail" }),
        json!({ "do": "raw", "text": "{\"n\": 1" }),
        json!({ "do": "replace", "with": [1, 2] }),
        // `n` is an integer, says the tool's schema.
        json!({ "do": "replace", "with": { "n": "one" } }),
    ];
    for arguments in &before {
        try_both(&client, "open", "closed", arguments).await;
    }
    check_failures(&hub, &["open", "closed"], before.len()).await;
    let after = [
        json!({ "do": "trap" }),
        json!({ "do": "raw", "text": "" }),
        json!({ "do": "replace", "with": { "content": 1 } }),
        json!({ "do": "replace", "with": { "content": [{ "type": "text" }] } }),
    ];
    for arguments in &after {
        let open = client.call("open_after__good", arguments.clone()).await.text();
        assert_eq!(&serde_json::from_str::<Value>(&open).unwrap(), arguments);
        let closed = client
            .call("closed_after__good", arguments.clone())
            .await
            .result();
        assert_eq!(closed["isError"], true, "{arguments}: {closed}");
        assert!(
            !closed.to_string().contains("replace"),
            "the result is kept back: {closed}"
        );
    }
    check_failures(&hub, &["open-after", "closed-after"], after.len()).await;
    // What a hook makes of the arguments is what the tool gets.
    let changed = json!({ "do": "replace", "with": { "n": 2 } });
    assert_eq!(client.call("closed__good", changed).await.text(), "{\"n\":2}");
}

#[tokio::test]
async fn broken_hooks_in_python_let_calls_pass_or_stop_them() {
    let limits = "time: 5s, memory: 128MiB";
    let config = format!(
        "{}hooks:\n{}{}",
        plugins(&["open", "closed"]),
        entry("open", "tool.before", "./hooks/broken.py", "open", limits),
        entry("closed", "tool.before", "./hooks/broken.py", "closed", limits),
    );
    let hub = Start {
        config: &config,
        files: &[("hooks/broken.py", BROKEN)],
        ..Start::default()
    }
    .run()
    .await;
    until_ready(&hub).await;
    let client = hub.legacy().await;
    hub.until_tools(&client, &["open__good", "closed__good"]).await;
    let well = client.call("closed__good", json!({ "n": 1 })).await;
    assert_eq!(well.text(), "{\"n\":1}");
    let ways = [
        json!({ "do": "trap" }),
        json!({ "do": "loop" }),
        json!({ "do": "memory" }),
        json!({ "do": "replace", "with": [1, 2] }),
        json!({ "do": "replace", "with": { "n": "one" } }),
    ];
    for arguments in &ways {
        try_both(&client, "open", "closed", arguments).await;
    }
    check_failures(&hub, &["open", "closed"], ways.len()).await;
}

/// How often the tool was called at its server.
async fn calls(fixture: &Fixture, tool: &str) -> usize {
    let record = fixture.record("stateful/one").await;
    let call = |request: &&Value| {
        request["method"] == "tools/call" && request["params"]["name"].as_str() == Some(tool)
    };
    record.iter().filter(call).count()
}

#[tokio::test]
async fn hooks_that_call_tools_do_not_turn_in_circles() {
    let fixture = Fixture::start().await;
    let judge = guest("judge");
    // Each calls the tool that woke it.
    let entry = |name: &str, tool: &str, trigger: &str, mode: &str| {
        format!(
            "  - {{ name: {name}, trigger: {trigger}, action: \"{judge}\", mode: {mode}, match: {{ tools: [{tool}] }}, \
             grants: {{ mcps: [\"one/*\"] }}, config: {{ call: {{ server: one, tool: {tool}, with: {{ by: {name} }} }} }} }}\n"
        )
    };
    let config = format!(
        "{}hooks:\n{}{}{}",
        one(&fixture),
        entry("itself", "params", "tool.before", "blocking"),
        entry("ping", "echo", "tool.after", "background"),
        entry("pong", "echo", "tool.after", "background"),
    );
    let hub = Hub::start(&config).await;
    until_ready(&hub).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["one__echo", "one__params"]).await;

    client.call("one__params", json!({})).await.result();
    assert_eq!(calls(&fixture, "params").await, 2, "the client's and the hook's");
    assert_eq!(hook(&hub, "itself").await["runs"], 1);

    // Of each call of the client both are told, and each is told of what the other did then, through the queue: then it
    // ends.
    for round in 1..=2_u64 {
        client.call("one__echo", json!({ "text": "go" })).await.result();
        for name in ["ping", "pong"] {
            until_ran(&hub, name, 2 * round).await;
        }
        for name in ["ping", "pong"] {
            let hook = hook(&hub, name).await;
            assert_eq!(
                (&hook["runs"], &hook["failures"]),
                (&json!(2 * round), &json!(0)),
                "{hook}"
            );
        }
        let calls = calls(&fixture, "echo").await;
        assert_eq!(u64::try_from(calls).unwrap(), 5 * round);
    }
}

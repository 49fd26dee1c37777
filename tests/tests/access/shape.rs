//! Permissions, hooks and servers decide on the same call: what could be read in two ways is refused, and a tool has
//! the same name for all of them.

use aih_tests::{
    Fixture, Hub, KEY, Legacy, Modern, Start, eventually,
    fixture::{external, mcps, with_method},
    key_hash, tools,
};
use serde_json::{Value, json};

const NARROW: &str = "aih_key-with-one-tool-taken-away";

/// The three servers of the tests: one with sessions, one without, one of the modern era.
const SERVERS: [&str; 3] = ["stateful", "stateless", "modern"];

/// Two keys: one that may do all, and one with these permissions.
fn keys(permissions: &[String]) -> String {
    let permissions = json!(permissions);
    format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: narrow, key_hash: \"{}\", permissions: {permissions} }}\n",
        key_hash(KEY),
        key_hash(NARROW)
    )
}

/// What `each` says of every server.
fn of_all(each: &[&str]) -> Vec<String> {
    let of = |server: &str| {
        each.iter()
            .map(|path| path.replace("SERVER", server))
            .collect::<Vec<_>>()
    };
    SERVERS.iter().flat_map(|server| of(server)).collect()
}

/// A hub in front of the three servers.
async fn hub(fixture: &Fixture, tag: &str, of_server: &str, permissions: &[String], rest: &str) -> Hub {
    let servers: String = SERVERS
        .iter()
        .map(|server| external(server, &format!("{}/{server}/{tag}", fixture.url), of_server))
        .collect();
    let start = Start {
        config: &format!("{}{}{rest}", keys(permissions), mcps(&servers, "")),
        env: &[("AIH_LOG", "debug")],
        ..Start::default()
    };
    let hub = start.run().await;
    for server in SERVERS {
        hub.until_up(server).await;
    }
    hub
}

/// A hook of the guest `judge`, and when it is ready.
fn judge(name: &str, pattern: &str) -> String {
    format!(
        "  - {{ name: {name}, trigger: tool.before, action: \"{}\", match: {{ tools: [\"{pattern}\"] }}, on_failure: closed }}\n",
        tools::guest("judge").display()
    )
}

async fn until_hooks(hub: &Hub) {
    eventually("the hooks are up", || async {
        let (_, _, text) = hub.get("/api/v1/registry/hooks", Some(KEY), &[]).await;
        let hooks: Value = serde_json::from_str(&text).unwrap();
        let hooks = hooks["hooks"].as_array()?.clone();
        hooks.iter().all(|hook| hook["state"] == "up").then_some(())
    })
    .await;
}

/// The tool calls that reached a server.
async fn calls(fixture: &Fixture, server: &str, tag: &str) -> Vec<Value> {
    let record = fixture.record(&format!("{server}/{tag}")).await;
    with_method(&record, "tools/call").into_iter().cloned().collect()
}

/// Each way to call a tool of a server: over both endpoints, in both eras.
struct Ways {
    legacy: Vec<(Legacy, String)>,
    modern: Vec<(Modern, String)>,
}

impl Ways {
    async fn to(hub: &Hub, server: &str, key: &str) -> Self {
        let mut ways = Self {
            legacy: Vec::new(),
            modern: Vec::new(),
        };
        for (path, prefix) in [
            ("/mcp".to_owned(), format!("{server}__")),
            (format!("/mcp/{server}"), String::new()),
        ] {
            ways.legacy
                .push((Legacy::connect(hub, &path, key).await, prefix.clone()));
            ways.modern
                .push((Modern::new(hub, &path, key, json!({})), prefix));
        }
        ways
    }

    /// Sends `params` as the text that it is, with `P-` replaced by what stands in front of the server's names, over
    /// each way: the answers.
    async fn send(&self, method: &str, named: &str, params: &str) -> Vec<Value> {
        let mut answers = Vec::new();
        let message =
            |params: String| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
        for (client, prefix) in &self.legacy {
            let reply = client.post(message(params.replace("P-", prefix))).await;
            answers.push(reply.value());
        }
        for (client, prefix) in &self.modern {
            let meta = format!("{{\"_meta\":{},", client.meta());
            let params = params.replace("P-", prefix).replacen('{', &meta, 1);
            let named = named.replace("P-", prefix);
            let reply = client.post(method, Some(&named), message(params)).await;
            answers.push(reply.value());
        }
        answers
    }

    /// Calls a tool over each way: the answers.
    async fn call(&self, tool: &str, arguments: &Value) -> Vec<Value> {
        let params = format!(r#"{{"name":"P-{tool}","arguments":{arguments}}}"#);
        self.send("tools/call", &format!("P-{tool}"), &params).await
    }
}

#[tokio::test]
async fn a_call_with_two_readings_reaches_neither_hook_nor_server() {
    const TAG: &str = "shape";
    let fixture = Fixture::start().await;
    let permissions = of_all(&["mcps/SERVER/*", "!mcps/SERVER/pid"]);
    let hooks = format!("hooks:\n{}", judge("guard", "*"));
    let hub = hub(&fixture, TAG, "", &permissions, &hooks).await;
    until_hooks(&hub).await;
    for server in SERVERS {
        let ways = Ways::to(&hub, server, NARROW).await;
        for params in [
            r#"{"name":"P-echo","name":"P-pid","arguments":{}}"#,
            r#"{"name":"P-pid","name":"P-echo","arguments":{}}"#,
            r#"{"name":"P-echo","n\u0061me":"P-pid"}"#,
            r#"{"name":"P-echo","Name":"P-pid"}"#,
            r#"{"NAME":"P-pid","name":"P-echo"}"#,
            r#"{"name":"P-echo","arguments":{},"arguments":{"do":"deny"}}"#,
            r#"{"name":"P-echo","arguments":{"do":"deny"},"Arguments":{}}"#,
            r#"{"name":"P-echo","argument\u017f":{"do":"deny"}}"#,
            r#"{"name":"P-echo","arguments":{"do":"deny","do":"nothing"}}"#,
            r#"{"name":"P-echo","arguments":{"a":[{"b":{"c":1,"\u0063":2}}]}}"#,
            r#"{"name":"P-echo","arguments":{"do\u0000":"deny"}}"#,
            r#"{"name":"P-echo","arguments":["do","deny"]}"#,
            r#"{"name":"P-echo","arguments":"{\"do\":\"deny\"}"}"#,
            r#"{"name":"P-echo","arguments":1}"#,
            r#"{"name":"P-echo","arguments":false}"#,
            r#"{"name":"P-echo","arguments":{"text":"\ud800"}}"#,
            r#"{"name":"P-echo","arguments":{"n":1e999}}"#,
            r#"{"name":"P-echo","_meta":{},"_Meta":{}}"#,
            r#"{"name":"P-echo","_meta":{"progresstoken":1}}"#,
        ] {
            for answer in ways.send("tools/call", "P-echo", params).await {
                assert_eq!(answer["error"]["code"], -32602, "{server}: {params}: {answer}");
            }
        }
        for ways in [&ways.legacy] {
            for (client, prefix) in ways {
                for envelope in [
                    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"P-echo"},"Params":{"name":"P-pid"}}"#,
                    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"P-echo"},"params":{"name":"P-pid"}}"#,
                    r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"P-pid"}}"#,
                    r#"["2.0",1,"tools/call",{"name":"P-pid"}]"#,
                ] {
                    let reply = client.post(envelope.replace("P-", prefix)).await;
                    assert_eq!(reply.code(), -32600, "{server}: {envelope}");
                }
            }
        }
        let reached = calls(&fixture, server, TAG).await;
        assert_eq!(reached, Vec::<Value>::new(), "{server}");

        // What has one reading arrives, and the hook decides on what the server gets.
        let denied = json!({ "do": "deny", "reason": "guarded" });
        for answer in ways.call("echo", &denied).await {
            assert_eq!(
                answer["result"]["content"][0]["text"], "guarded",
                "{server}: {answer}"
            );
        }
        for answer in ways.call("pid", &json!({})).await {
            assert_eq!(answer["error"]["code"], -32602, "{server}: {answer}");
        }
        assert!(calls(&fixture, server, TAG).await.is_empty(), "{server}");
        let null = ways
            .send(
                "tools/call",
                "P-params",
                r#"{"name":"P-params","arguments":null}"#,
            )
            .await;
        for answer in null {
            let seen = answer["result"]["content"][0]["text"]
                .as_str()
                .unwrap_or_default();
            assert!(
                seen.contains("params") && !seen.contains("arguments"),
                "{server}: {answer}"
            );
        }
        let spaced = ways
            .send(
                "tools/call",
                "P-params",
                r#"{"name":"P-params","x-Name":1.50,"arguments":{ "NAME":1.0, "name":[1e2] }}"#,
            )
            .await;
        for answer in spaced {
            let seen = answer["result"]["content"][0]["text"]
                .as_str()
                .unwrap_or_default();
            for part in [r#""x-Name":1.50"#, r#"{ "NAME":1.0, "name":[1e2] }"#] {
                assert!(seen.contains(part), "{server}: {part} is not in {answer}");
            }
        }
    }
}

#[tokio::test]
async fn prompts_resources_and_completions_have_one_reading() {
    const TAG: &str = "shape-others";
    let fixture = Fixture::start().await;
    let permissions = of_all(&[
        "mcps/SERVER/*",
        "!mcps/SERVER/greet",
        "!mcps/SERVER/test://secret",
    ]);
    let hub = hub(&fixture, TAG, "", &permissions, "").await;
    for server in SERVERS {
        let ways = Ways::to(&hub, server, NARROW).await;
        for (method, params) in [
            ("prompts/get", r#"{"name":"P-x","name":"P-greet"}"#),
            ("prompts/get", r#"{"name":"P-x","NAME":"P-greet"}"#),
            ("prompts/get", r#"{"name":"P-x","arguments":[]}"#),
            ("resources/read", r#"{"uri":"test://a","uri":"test://secret"}"#),
            ("resources/read", r#"{"uri":"test://a","URI":"test://secret"}"#),
            (
                "resources/read",
                r#"{"uri":"test://a","ur\u0131":"test://secret"}"#,
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"P-x"},"Ref":{"type":"ref/prompt","name":"P-greet"}}"#,
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"P-x","Name":"P-greet"},"argument":{"name":"a","value":""}}"#,
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","name":"P-x","uri":"test://secret"},"argument":{"name":"a","value":""}}"#,
            ),
            ("completion/complete", r#"{"ref":["ref/prompt","P-greet"]}"#),
            ("tasks/get", r#"{"taskId":"a","taskID":"b"}"#),
        ] {
            let named = match method {
                "resources/read" => "test://a",
                "tasks/get" => "a",
                _ => "P-x",
            };
            for answer in ways.send(method, named, params).await {
                assert_eq!(
                    answer["error"]["code"], -32602,
                    "{server}: {method} {params}: {answer}"
                );
            }
        }
        let record = fixture.record(&format!("{server}/{TAG}")).await;
        for method in [
            "prompts/get",
            "resources/read",
            "completion/complete",
            "tasks/get",
        ] {
            assert!(with_method(&record, method).is_empty(), "{server}: {method}");
        }
    }
}

#[tokio::test]
async fn a_renamed_tool_is_the_same_tool_for_permissions_hooks_and_the_log() {
    let fixture = Fixture::start().await;
    let renamed = ", tools: { rename: { pid: process, params: shown } }";
    for (n, (permissions, may)) in [
        (&["mcps/SERVER/*", "!mcps/SERVER/pid"][..], false),
        (&["mcps/SERVER/*", "!mcps/SERVER/process"][..], false),
        (&["mcps/SERVER/*", "!mcps/SERVER/p*d"][..], false),
        (&["mcps/SERVER/pid"][..], true),
        (&["mcps/SERVER/process"][..], true),
        (&["mcps/SERVER/pid", "!mcps/SERVER/process"][..], false),
        (&["mcps/SERVER/process", "!mcps/SERVER/pid"][..], false),
        (&["mcps/SERVER/echo"][..], false),
    ]
    .into_iter()
    .enumerate()
    {
        let tag = format!("renamed-{n}");
        let hub = hub(&fixture, &tag, renamed, &of_all(permissions), "").await;
        for server in SERVERS {
            let ways = Ways::to(&hub, server, NARROW).await;
            for (client, prefix) in &ways.legacy {
                let names = client.tool_names().await;
                let listed = names.contains(&format!("{prefix}process"));
                assert_eq!(listed, may, "{permissions:?}: {server}: {names:?}");
                assert!(!names.contains(&format!("{prefix}pid")), "{names:?}");
            }
            for answer in ways.call("process", &json!({})).await {
                let answered = answer["result"]["content"][0]["text"].is_string();
                assert_eq!(answered, may, "{permissions:?}: {server}: {answer}");
                if !may {
                    let message = answer["error"]["message"].as_str().unwrap_or_default();
                    assert!(message.starts_with("unknown tool: "), "{answer}");
                }
            }
            for answer in ways.call("pid", &json!({})).await {
                assert_eq!(
                    answer["error"]["code"], -32602,
                    "the name is taken away: {answer}"
                );
            }
            let reached = calls(&fixture, server, &tag).await;
            assert_eq!(
                reached.len(),
                if may { 4 } else { 0 },
                "{permissions:?}: {server}"
            );
            assert!(
                reached.iter().all(|call| call["params"]["name"] == "pid"),
                "{reached:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_guard_stands_before_a_renamed_tool_by_either_name() {
    const TAG: &str = "guarded";
    let fixture = Fixture::start().await;
    let renamed = ", tools: { rename: { pid: process, params: shown } }";
    let hooks = format!(
        "hooks:\n{}{}plugins:\n  - {{ name: echo, file: \"{}\", grants: {{ mcps: [\"stateful/*\", \"!stateful/params\"] }} }}\n",
        judge("by-own-name", "pid"),
        judge("by-shown-name", "shown"),
        tools::guest("echo").display()
    );
    let permissions = [
        of_all(&["mcps/SERVER/*", "!mcps/SERVER/echo"]),
        vec!["plugins/echo/*".to_owned()],
    ]
    .concat();
    let hub = hub(&fixture, TAG, renamed, &permissions, &hooks).await;
    until_hooks(&hub).await;
    let deny = json!({ "do": "deny", "reason": "guarded" });
    for server in SERVERS {
        let ways = Ways::to(&hub, server, KEY).await;
        for tool in ["process", "shown"] {
            for answer in ways.call(tool, &deny).await {
                assert_eq!(
                    answer["result"]["content"][0]["text"], "guarded",
                    "{server}: {tool}: {answer}"
                );
            }
        }
        assert!(calls(&fixture, server, TAG).await.is_empty(), "{server}");
        for answer in ways.call("process", &json!({})).await {
            assert!(
                answer["result"]["content"][0]["text"].is_string(),
                "{server}: {answer}"
            );
        }
    }
    // The record of a call holds the server's own name.
    hub.logged(&["aih::call", "\"tool\":\"pid\""]).await;
    assert_eq!(hub.rows("\"tool\":\"process\""), 0);

    // A plugin's calls pass the same guards, permissions and grants.
    let client = Legacy::connect(&hub, "/mcp", NARROW).await;
    hub.until_tools(&client, &["echo__call"]).await;
    let before = calls(&fixture, "stateful", TAG).await.len();
    for (tool, arguments, expected) in [
        ("process", deny.clone(), "guarded"),
        ("process", json!({}), ""),
        ("shown", json!({}), "grant"),
        ("pid", json!({}), "no tool"),
        ("echo", json!({ "text": "x" }), "no tool"),
    ] {
        let nested = json!({ "server": "stateful", "tool": tool, "arguments": arguments });
        let result = client.call("echo__call", nested).await.result();
        assert!(result.to_string().contains(expected), "{tool}: {result}");
    }
    let reached = calls(&fixture, "stateful", TAG).await;
    assert_eq!(reached.len(), before + 1, "{reached:?}");
}

#[tokio::test]
async fn the_result_of_a_task_passes_the_hooks() {
    const TAG: &str = "task-results";
    let fixture = Fixture::start().await;
    let hooks = format!(
        "hooks:\n  - {{ name: redact, trigger: tool.after, action: \"{}\", match: {{ tools: [pid] }}, on_failure: closed }}\n",
        tools::guest("judge").display()
    );
    let hub = hub(&fixture, TAG, "", &of_all(&["mcps/SERVER/*"]), &hooks).await;
    until_hooks(&hub).await;
    for server in SERVERS {
        let ways = Ways::to(&hub, server, NARROW).await;
        let order = json!({ "later": true, "text": "secret", "do": "deny", "reason": "redacted" });
        let made = ways.call("pid", &order).await;
        let ids: Vec<String> = made
            .iter()
            .map(|answer| {
                let result = &answer["result"];
                let id = result["task"]["taskId"].as_str().or(result["taskId"].as_str());
                id.unwrap_or_else(|| panic!("{server}: no task: {answer}"))
                    .to_owned()
            })
            .collect();
        let (legacy, modern) = ids.split_at(ways.legacy.len());
        let fetched = |result: Value| {
            let text = result.to_string();
            assert!(!text.contains("secret"), "{server}: {text}");
            text
        };
        for ((client, _), id) in ways.legacy.iter().zip(legacy) {
            let result = client
                .request("tasks/result", json!({ "taskId": id }))
                .await
                .result();
            assert!(fetched(result).contains("redacted"), "{server}");
            fetched(
                client
                    .request("tasks/get", json!({ "taskId": id }))
                    .await
                    .result(),
            );
        }
        for ((client, _), id) in ways.modern.iter().zip(modern) {
            let result = client
                .request("tasks/get", json!({ "taskId": id }))
                .await
                .result();
            // A server of the modern era answers with the result in the task.
            let text = fetched(result);
            assert_eq!(text.contains("redacted"), server == "modern", "{server}: {text}");
            fetched(
                client
                    .request("tasks/result", json!({ "taskId": id }))
                    .await
                    .result(),
            );
        }
    }
}

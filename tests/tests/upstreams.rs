//! Real servers behind the hub: each is listed and called through real clients.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{path::Path, process::Command};

use aih_tests::{
    Hub, KEY,
    real::{self, EVERYTHING, Everything},
};
use serde_json::{Value, json};

async fn start(local: Value, external: Value) -> Hub {
    let names: Vec<String> = [&local, &external]
        .iter()
        .flat_map(|list| list.as_array().unwrap())
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect();
    let hub = Hub::start(&real::mcps(&local, &external)).await;
    for name in names {
        hub.until_up(&name).await;
    }
    hub
}

/// Lists all and makes the calls, with a client of each SDK and era; gives the answers.
async fn ask(hub: &Hub, calls: Value) -> Vec<Value> {
    let job = |era: &str| json!({"transport": "http", "url": hub.url("/mcp"), "key": KEY, "era": era, "calls": calls});
    vec![
        real::typescript_v1(&job("legacy")).await,
        real::typescript_v2(&job("auto")).await,
        real::python(&job("auto")).await,
    ]
}

fn tool_is_listed(answer: &Value, name: &str) -> bool {
    answer["tools"].as_array().unwrap().contains(&json!(name))
}

/// The text of call `at`, which must not be an error.
fn text(answer: &Value, at: usize) -> String {
    let call = &answer["calls"][at];
    assert_ne!(call["isError"], true, "{call}");
    call["content"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["text"].as_str())
        .collect()
}

#[tokio::test]
async fn server_everything_over_every_transport() {
    let http = Everything::start("streamableHttp").await;
    let sse = Everything::start("sse").await;
    let hub = start(
        json!([real::node_server("over-stdio", EVERYTHING, &["stdio"])]),
        json!([
            {"name": "over-http", "url": format!("http://127.0.0.1:{}/mcp", http.port)},
            {"name": "over-sse", "url": format!("http://127.0.0.1:{}/sse", sse.port), "transport": "sse"},
            {"name": "found-out", "url": format!("http://127.0.0.1:{}/sse", sse.port)},
        ]),
    )
    .await;
    let servers = ["over_stdio", "over_http", "over_sse", "found_out"];
    let calls: Vec<Value> = servers
        .iter()
        .flat_map(|s| {
            [
                json!({"name": format!("{s}__get-sum"), "arguments": {"a": 20, "b": 3}}),
                json!({"name": format!("{s}__trigger-sampling-request"), "arguments": {"prompt": "hello"}}),
                json!({"name": format!("{s}__trigger-long-running-operation"), "arguments": {"duration": 0.2, "steps": 2}}),
            ]
        })
        .collect();
    for answer in ask(&hub, json!(calls)).await {
        for (i, server) in servers.iter().enumerate() {
            assert!(
                tool_is_listed(&answer, &format!("{server}__echo")),
                "{server}: {answer}"
            );
            assert_eq!(text(&answer, 3 * i), "The sum of 20 and 3 is 23.", "{server}");
            assert!(
                text(&answer, 3 * i + 1).contains("sampled by the test"),
                "{server}"
            );
            assert!(text(&answer, 3 * i + 2).contains("Steps: 2"), "{server}");
        }
    }
}

#[tokio::test]
async fn server_filesystem() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join("note.txt"), "a line in a file").unwrap();
    let script = "@modelcontextprotocol/server-filesystem/dist/index.js";
    let hub = start(
        json!([real::node_server("files", script, &[root.to_str().unwrap()])]),
        json!([]),
    )
    .await;
    let calls = json!([
        {"name": "files__list_directory", "arguments": {"path": root}},
        {"name": "files__read_text_file", "arguments": {"path": root.join("note.txt")}},
        {"name": "files__read_text_file", "arguments": {"path": "/etc/passwd"}},
    ]);
    // The SDK clients offer a root of their own, which would replace the folder of the command line.
    let client = hub.legacy().await;
    assert!(
        client
            .tool_names()
            .await
            .contains(&"files__read_text_file".to_owned())
    );
    for (call, expected, fails) in [
        (0, "note.txt", false),
        (1, "a line in a file", false),
        (2, "denied", true),
    ] {
        let call: &Value = &calls[call];
        let reply = client
            .call(call["name"].as_str().unwrap(), call["arguments"].clone())
            .await;
        let result = reply.result();
        assert_eq!(result["isError"] == json!(true), fails, "{result}");
        assert!(result.to_string().contains(expected), "{result}");
    }
    let modern = hub
        .modern()
        .call("files__read_text_file", json!({"path": root.join("note.txt")}))
        .await;
    assert!(
        modern.result().to_string().contains("a line in a file"),
        "{}",
        modern.raw()
    );
    let url = hub.url("/mcp");
    let call = [
        "--method",
        "tools/call",
        "--tool-name",
        "files__read_text_file",
        "--transport",
        "http",
    ];
    let argument = format!("path={}", root.join("note.txt").display());
    let result = real::inspector(&url, KEY, &[&call[..], &["--tool-arg", &argument]].concat()).await;
    assert!(result.to_string().contains("a line in a file"), "{result}");
}

#[tokio::test]
async fn server_memory_remembers_across_clients() {
    let folder = tempfile::tempdir().unwrap();
    let mut memory = real::node_server("memory", "@modelcontextprotocol/server-memory/dist/index.js", &[]);
    memory["env"] = json!({"MEMORY_FILE_PATH": folder.path().join("memory.jsonl")});
    let hub = start(json!([memory]), json!([])).await;
    let entity = json!({"name": "hub", "entityType": "program", "observations": ["it fronts many servers"]});
    let calls = json!([
        {"name": "memory__create_entities", "arguments": {"entities": [entity]}},
        {"name": "memory__search_nodes", "arguments": {"query": "hub"}},
    ]);
    for answer in ask(&hub, calls).await {
        assert!(tool_is_listed(&answer, "memory__read_graph"), "{answer}");
        assert!(text(&answer, 1).contains("it fronts many servers"), "{answer}");
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
    let output = Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn mcp_server_git() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    git(root, &["init", "--quiet", "."]);
    std::fs::write(root.join("note.txt"), "a line in a file").unwrap();
    git(root, &["add", "note.txt"]);
    git(root, &["commit", "--quiet", "--message", "the only commit"]);
    let hub = start(
        json!([real::python_server(
            "git",
            "mcp-server-git",
            &["--repository", root.to_str().unwrap()]
        )]),
        json!([]),
    )
    .await;
    let calls = json!([
        {"name": "git__git_log", "arguments": {"repo_path": root, "max_count": 1}},
        {"name": "git__git_status", "arguments": {"repo_path": root}},
    ]);
    for answer in ask(&hub, calls).await {
        assert!(tool_is_listed(&answer, "git__git_diff"), "{answer}");
        assert!(text(&answer, 0).contains("the only commit"), "{answer}");
        assert!(text(&answer, 1).contains("clean"), "{answer}");
    }
}

#[tokio::test]
async fn mcp_server_time() {
    let hub = start(
        json!([real::python_server(
            "time",
            "mcp-server-time",
            &["--local-timezone", "Europe/Berlin"]
        )]),
        json!([]),
    )
    .await;
    let arguments = json!({"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"});
    let calls = json!([
        {"name": "time__convert_time", "arguments": arguments},
        {"name": "time__get_current_time", "arguments": {"timezone": "UTC"}},
    ]);
    for answer in ask(&hub, calls).await {
        assert!(text(&answer, 0).contains("21:00"), "{answer}");
        assert!(text(&answer, 1).contains("UTC"), "{answer}");
    }
}

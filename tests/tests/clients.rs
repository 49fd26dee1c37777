//! Real clients use a real server, skills and prompts through the hub: every transport, both eras.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use aih_tests::{
    Hub, KEY, Start, config,
    real::{self, EVERYTHING},
    tools,
};
use serde_json::{Value, json};

const SKILL: &str = "---\nname: greet\ndescription: How to greet\n---\nSay hello to $NAME.\n";

fn configuration() -> String {
    let everything = real::node_server("everything", EVERYTHING, &["stdio"]);
    let mut rest = real::mcps(&json!([everything]), &json!([]));
    rest.push_str("skills:\n  - name: greet\n    file: ./skills/greet.md\n");
    rest
}

async fn hub() -> Hub {
    let start = Start {
        config: &configuration(),
        files: &[("skills/greet.md", SKILL)],
        ..Start::default()
    };
    let hub = start.run().await;
    hub.until_up("everything").await;
    hub
}

/// A job that uses all a server can offer; `prefix` is the hub's, or nothing.
fn job(connection: Value, prefix: &str) -> Value {
    let call =
        |name: &str, arguments: Value| json!({"name": format!("{prefix}{name}"), "arguments": arguments});
    let mut job = connection;
    job["calls"] = json!([
        call("get-sum", json!({"a": 2, "b": 3})),
        call(
            "trigger-long-running-operation",
            json!({"duration": 0.4, "steps": 4})
        ),
        call("trigger-sampling-request", json!({"prompt": "hello"})),
        call("trigger-elicitation-request", json!({})),
        call("get-structured-content", json!({"location": "Chicago"})),
        call("get-tiny-image", json!({})),
    ]);
    job["prompts"] = json!([{"name": format!("{prefix}simple-prompt"), "arguments": {}}]);
    job
}

fn http(url: String, era: &str) -> Value {
    json!({"transport": "http", "url": url, "key": KEY, "era": era})
}

fn sse(url: String) -> Value {
    json!({"transport": "sse", "url": url, "key": KEY, "era": "legacy"})
}

fn holds(value: &Value, text: &str) -> bool {
    value.to_string().contains(text)
}

/// What every client must have got from [`job`].
fn check(answer: &Value, version: &str, prefix: &str) {
    let tools: Vec<&str> = answer["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for tool in ["get-sum", "get-tiny-image"] {
        assert!(tools.contains(&format!("{prefix}{tool}").as_str()), "{tools:?}");
    }
    let own = !prefix.is_empty();
    assert_eq!(tools.contains(&"aih__get_skill"), own, "{tools:?}");
    assert!(!answer["resources"].as_array().unwrap().is_empty(), "{answer}");
    assert!(
        holds(&answer["prompts"], &format!("{prefix}simple-prompt")),
        "{answer}"
    );
    assert!(holds(&answer["calls"][0], "The sum of 2 and 3 is 5."), "{answer}");
    assert!(holds(&answer["calls"][1], "Steps: 4"), "{answer}");
    // The last one and the answer may overtake each other.
    assert!(
        answer["progress"].as_u64().unwrap() >= 3,
        "progress is lost: {answer}"
    );
    assert!(holds(&answer["calls"][2], "sampled by the test"), "{answer}");
    assert!(holds(&answer["calls"][3], "elicited by the test"), "{answer}");
    assert!(
        answer["calls"][4]["structuredContent"]["temperature"].is_number(),
        "{answer}"
    );
    assert!(holds(&answer["calls"][5], "image/png"), "{answer}");
    assert!(holds(&answer["got"][0], "simple prompt"), "{answer}");
    let asked = &answer["asked"];
    assert!(
        holds(asked, "sampling/createMessage") && holds(asked, "elicitation/create"),
        "{asked}"
    );
    // Clients behind a transport that does not say it give none.
    if let Some(found) = answer["version"].as_str() {
        assert_eq!(found, version);
    }
}

const ALL: &str = "everything__";

#[tokio::test]
async fn typescript_v1_over_http() {
    let hub = hub().await;
    let answer = real::typescript_v1(&job(http(hub.url("/mcp"), "legacy"), ALL)).await;
    check(&answer, "2025-11-25", ALL);
}

#[tokio::test]
async fn typescript_v1_over_sse() {
    let hub = hub().await;
    let answer = real::typescript_v1(&job(sse(hub.url("/mcp/sse")), ALL)).await;
    check(&answer, "2025-11-25", ALL);
}

#[tokio::test]
async fn typescript_v1_with_one_server_only() {
    let hub = hub().await;
    let answer = real::typescript_v1(&job(http(hub.url("/mcp/everything"), "legacy"), "")).await;
    check(&answer, "2025-11-25", "");
    let answer = real::typescript_v1(&job(sse(hub.url("/mcp/everything/sse")), "")).await;
    check(&answer, "2025-11-25", "");
}

#[tokio::test]
async fn typescript_v2_of_the_legacy_era() {
    let hub = hub().await;
    let answer = real::typescript_v2(&job(http(hub.url("/mcp"), "legacy"), ALL)).await;
    check(&answer, "2025-11-25", ALL);
    let answer = real::typescript_v2(&job(sse(hub.url("/mcp/sse")), ALL)).await;
    check(&answer, "2025-11-25", ALL);
}

#[tokio::test]
async fn typescript_v2_of_the_modern_era() {
    let hub = hub().await;
    for era in ["auto", "modern"] {
        let answer = real::typescript_v2(&job(http(hub.url("/mcp"), era), ALL)).await;
        check(&answer, "2026-07-28", ALL);
    }
    let answer = real::typescript_v2(&job(http(hub.url("/mcp/everything"), "auto"), "")).await;
    check(&answer, "2026-07-28", "");
}

#[tokio::test]
async fn python_of_the_legacy_era() {
    let hub = hub().await;
    let answer = real::python(&job(http(hub.url("/mcp"), "legacy"), ALL)).await;
    check(&answer, "2025-11-25", ALL);
    let answer = real::python(&job(sse(hub.url("/mcp/sse")), ALL)).await;
    check(&answer, "2025-11-25", ALL);
}

#[tokio::test]
async fn python_of_the_modern_era() {
    let hub = hub().await;
    for era in ["auto", "modern"] {
        let answer = real::python(&job(http(hub.url("/mcp"), era), ALL)).await;
        check(&answer, "2026-07-28", ALL);
    }
}

#[tokio::test]
async fn python_finds_the_era_over_sse() {
    let hub = hub().await;
    let mut connection = sse(hub.url("/mcp/sse"));
    connection["era"] = json!("auto");
    let answer = real::python(&job(connection, ALL)).await;
    let version = answer["version"].as_str().unwrap().to_owned();
    check(&answer, &version, ALL);
}

#[tokio::test]
async fn mcp_remote_over_http_and_sse() {
    let hub = hub().await;
    let home = tempfile::tempdir().unwrap();
    for (path, transport) in [("/mcp", "http-only"), ("/mcp/sse", "sse-only")] {
        let connection = real::mcp_remote(&hub.url(path), transport, KEY, home.path());
        let answer = real::typescript_v1(&job(connection, ALL)).await;
        check(&answer, "2025-11-25", ALL);
    }
}

#[tokio::test]
async fn clients_that_start_a_command() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("skills")).unwrap();
    std::fs::write(folder.path().join("skills/greet.md"), SKILL).unwrap();
    let file = folder.path().join("aih-config.yaml");
    std::fs::write(&file, config(&configuration())).unwrap();
    let command = json!([tools::binary("aih"), "stdio", "--config", file]);
    // The hub starts with the client, so its servers may still be starting when the client lists tools.
    let connection = |era: &str| json!({"transport": "stdio", "command": command, "era": era, "until": "everything__get-sum"});
    let answer = real::typescript_v1(&job(connection("legacy"), ALL)).await;
    check(&answer, "2025-11-25", ALL);
    for era in ["legacy", "auto"] {
        let answer = real::typescript_v2(&job(connection(era), ALL)).await;
        check(
            &answer,
            if era == "auto" { "2026-07-28" } else { "2025-11-25" },
            ALL,
        );
        let answer = real::python(&job(connection(era), ALL)).await;
        check(
            &answer,
            if era == "auto" { "2026-07-28" } else { "2025-11-25" },
            ALL,
        );
    }
}

#[tokio::test]
async fn skills_and_the_hubs_own_tools_through_a_real_client() {
    let hub = hub().await;
    for era in ["legacy", "auto"] {
        let mut job = http(hub.url("/mcp"), era);
        job["calls"] = json!([
            {"name": "aih__list_mcps", "arguments": {}},
            {"name": "aih__get_skill", "arguments": {"name": "greet"}},
            {"name": "aih__health", "arguments": {}},
            {"name": "aih__get_skill", "arguments": {"name": "nothing-here"}},
        ]);
        let answer = real::typescript_v2(&job).await;
        let calls = &answer["calls"];
        assert!(holds(&calls[0]["structuredContent"], "everything"), "{calls}");
        assert!(holds(&calls[1], "Say hello"), "{calls}");
        assert!(holds(&calls[2], "everything"), "{calls}");
        assert_eq!(calls[3]["isError"], true, "{calls}");
        let skill = answer["resources"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .find(|u| u.starts_with("skill://"));
        let prompt = answer["prompts"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .find(|p| p.contains("greet"));
        let mut job = http(hub.url("/mcp"), era);
        job["reads"] = json!([skill.unwrap()]);
        job["prompts"] = json!([{"name": prompt.unwrap(), "arguments": {}}]);
        let answer = real::typescript_v2(&job).await;
        assert!(holds(&answer["reads"], "Say hello"), "{answer}");
        assert!(holds(&answer["got"], "Say hello"), "{answer}");
    }
}

#[tokio::test]
async fn inspector_over_http_and_sse() {
    let hub = hub().await;
    let runs: &[(&str, &[&str])] = &[
        ("/mcp", &["--transport", "http"]),
        ("/mcp", &["--transport", "http", "--protocol-era", "auto"]),
        ("/mcp", &["--transport", "http", "--protocol-era", "modern"]),
        ("/mcp/sse", &["--transport", "sse"]),
    ];
    for (path, how) in runs {
        let ask = |what: &[&str]| {
            let arguments: Vec<String> = how.iter().chain(what).map(|&a| a.to_owned()).collect();
            let url = hub.url(path);
            async move {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                real::inspector(&url, KEY, &arguments).await
            }
        };
        let tools = ask(&["--method", "tools/list"]).await;
        assert!(
            holds(&tools, "everything__get-sum") && holds(&tools, "aih__health"),
            "{tools}"
        );
        let call = ["--method", "tools/call", "--tool-name", "everything__get-sum"];
        let result = ask(&[&call[..], &["--tool-arg", "a=2", "b=3"]].concat()).await;
        assert!(holds(&result, "The sum of 2 and 3 is 5."), "{how:?}: {result}");
        let prompts = ask(&["--method", "prompts/list"]).await;
        assert!(holds(&prompts, "everything__simple-prompt"), "{prompts}");
    }
    let skills = real::inspector(
        &hub.url("/mcp"),
        KEY,
        &[
            "--transport",
            "http",
            "--protocol-era",
            "modern",
            "--method",
            "skills/list",
        ],
    )
    .await;
    assert!(holds(&skills, "greet"), "{skills}");
}

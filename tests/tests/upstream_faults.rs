//! What upstream servers must not do, against the real program: each fault stays with the server that has it,
//! ends in time, and heals without anybody's help.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../src/hostile/harness.rs"]
mod harness;

use std::time::{Duration, Instant};

use harness::{
    Fixture, Hub, KEY, Legacy, Modern, SOON, Start, eventually, fixture_program, memory_kb, no_answers,
    processes, read_record, servers, with_method,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// One external server.
fn external(name: &str, url: &str, more: &str) -> String {
    format!("    - {{ name: {name}, url: \"{url}\"{more} }}\n")
}

/// One local server that plays `mode`.
fn local(name: &str, mode: &str, arguments: &[&str], more: &str) -> String {
    let arguments: String = arguments.iter().map(|a| format!(", \"{a}\"")).collect();
    let program = fixture_program();
    format!(
        "    - {{ name: {name}, command: \"{program}\", args: [\"--stdio\", \"{mode}\"{arguments}]{more} }}\n"
    )
}

fn mcps(external: &str, local: &str) -> String {
    let mut config = "mcps:\n".to_owned();
    if !external.is_empty() {
        config.push_str("  external:\n");
        config.push_str(external);
    }
    if !local.is_empty() {
        config.push_str("  local:\n");
        config.push_str(local);
    }
    config
}

async fn health_of(hub: &Hub, name: &str) -> Value {
    let (_, _, body) = hub.get("/api/v1/health", Some(KEY), &[]).await;
    let health: Value = serde_json::from_str(&body).unwrap();
    let all = health["mcps"].as_array().unwrap();
    all.iter()
        .find(|m| m["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {body}"))
        .clone()
}

#[tokio::test]
async fn servers_that_are_sick_from_the_start_harm_nobody() {
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let with_lists = ["silent-list", "garbage-list"];
    let dead = [
        "garbage",
        "silent",
        "half-close",
        "wrong-id",
        "redirect",
        "unauthorized",
        "broken",
    ];
    let short = ", timeout: 2s";
    let mut outside = external("well", &format!("{url}/stateful/w"), "");
    for mode in dead.iter().chain(&with_lists) {
        outside.push_str(&external(mode, &format!("{url}/{mode}"), short));
    }
    outside.push_str(&external("noise", &fixture.noise, short));
    outside.push_str(&external("hole", &fixture.hole, short));
    outside.push_str(&external("refused", "http://127.0.0.1:1/", short));
    let mut inside = local("well-child", "stateless", &[], "");
    let children = [
        "garbage",
        "silent",
        "half-close",
        "wrong-id",
        "broken",
        "silent-list",
        "garbage-list",
    ];
    for mode in children {
        inside.push_str(&local(&format!("child-{mode}"), mode, &[], short));
    }
    inside.push_str("    - { name: child-missing, command: /nowhere/at/all }\n");
    let began = Instant::now();
    let hub = Hub::start(&mcps(&outside, &inside)).await;
    let up = began.elapsed();
    assert!(
        up < Duration::from_secs(10),
        "start waits for sick servers: {up:?}"
    );
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    tokio::time::sleep_until(tokio::time::Instant::from_std(
        began + up + Duration::from_secs(2),
    ))
    .await;
    let asked = Instant::now();
    let tools = client.tool_names().await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "the list waits: {:?}",
        asked.elapsed()
    );
    for name in ["well__echo", "well_child__echo", "aih__health"] {
        assert!(
            tools.iter().any(|t| t == name),
            "{name} is not listed 2 s after start: {tools:?}"
        );
    }
    // Each is asked by its own endpoint: an error, in time, and the others go on.
    let sick: Vec<String> = dead
        .iter()
        .map(|m| (*m).to_owned())
        .chain(["noise", "hole", "refused"].map(str::to_owned))
        .chain(["garbage", "half-close", "wrong-id", "broken", "missing"].map(|m| format!("child-{m}")))
        .collect();
    let hub = &hub;
    let calls = sick.iter().map(|name| async move {
        let direct = Modern::new(hub, &format!("/mcp/{name}"), KEY, json!({}));
        let outcome = tokio::time::timeout(SOON, direct.call("echo", json!({}))).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{name}: no answer within {SOON:?}"));
        let error = outcome.error();
        assert!(
            error["message"].as_str().unwrap().contains(name.as_str()),
            "{name}: the error does not say who: {error}"
        );
        assert!(
            outcome.took < Duration::from_secs(8),
            "{name}: {:?} with `timeout: 2s`",
            outcome.took
        );
    });
    let others = async {
        for n in 0..50 {
            let sent = Instant::now();
            assert_eq!(
                client
                    .call("well__echo", json!({ "text": n.to_string() }))
                    .await
                    .text(),
                n.to_string()
            );
            assert!(
                sent.elapsed() < Duration::from_secs(5),
                "a well server waits for a sick one"
            );
        }
        assert_eq!(
            client
                .call("well_child__echo", json!({ "text": "x" }))
                .await
                .text(),
            "x"
        );
    };
    tokio::join!(futures::future::join_all(calls), others);
    for name in &sick {
        // A wrong id is no answer: the hub goes on waiting, as for one that is silent.
        eventually(&format!("health says what is wrong with {name}"), || async {
            let health = health_of(hub, name).await;
            assert_ne!(health["state"], "up", "{health}");
            health["last_error"].is_string().then_some(())
        })
        .await;
        hub.logged(&["WARN", &format!("\"{name}\"")]).await;
    }
    // Whose list cannot be had still takes calls.
    for name in ["silent-list", "garbage-list", "child-silent-list"] {
        let direct = Modern::new(hub, &format!("/mcp/{name}"), KEY, json!({}));
        assert_eq!(
            direct.call("echo", json!({ "text": "y" })).await.text(),
            "y",
            "{name}"
        );
    }
    for name in ["garbage-list"] {
        hub.logged(&["WARN", &format!("\"{name}\"")]).await;
    }
    assert_eq!(health_of(hub, "well").await["state"], "up");
    let strangers = fixture.record("strangers").await;
    assert_eq!(
        strangers,
        [] as [Value; 0],
        "a redirect to another host was followed"
    );
}

/// Servers over every way of carriage, with a short timeout for calls.
async fn all_ways(fixture: &Fixture, more: &str) -> Hub {
    let url = &fixture.url;
    let outside = external("stateful", &format!("{url}/stateful/f"), more)
        + &external("stateless", &format!("{url}/stateless/f"), more)
        + &external("modern", &format!("{url}/modern/f"), more)
        + &external("other", &format!("{url}/stateful/other"), "");
    let hub = Hub::start(&mcps(&outside, &local("child", "stateless", &[], more))).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(
        &client,
        &[
            "stateful__echo",
            "stateless__echo",
            "modern__echo",
            "other__echo",
            "child__echo",
        ],
    )
    .await;
    hub
}

const WAYS: [&str; 4] = ["stateful", "stateless", "modern", "child"];

async fn faults(fault: &str, arguments: Value) {
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, ", timeout: 2s").await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    for way in WAYS {
        for era in ["legacy", "modern"] {
            let what = format!("{fault} of {way} for a {era} client");
            let name = format!("{way}__{fault}");
            let sick = async {
                let call = async {
                    if era == "legacy" {
                        legacy.call(&name, arguments.clone()).await
                    } else {
                        modern.call(&name, arguments.clone()).await
                    }
                };
                tokio::time::timeout(SOON, call)
                    .await
                    .unwrap_or_else(|_| panic!("{what}: no answer"))
            };
            let well = legacy.call("other__echo", json!({ "text": "meanwhile" }));
            let (outcome, other) = tokio::join!(sick, well);
            assert_eq!(other.text(), "meanwhile", "{what}");
            let error = outcome.error();
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains(way),
                "{what}: the error does not say who: {error}"
            );
            assert!(
                outcome.took < Duration::from_secs(6),
                "{what}: took {:?}",
                outcome.took
            );
            if fault == "silent" {
                assert_eq!(error["code"], -32001, "{what}: {error}");
            }
            // The same server goes on, or is back soon.
            eventually(&format!("{way} works again after {what}"), || async {
                let again = legacy
                    .call(&format!("{way}__echo"), json!({ "text": "again" }))
                    .await;
                (again.value().get("result").is_some()).then_some(())
            })
            .await;
        }
    }
    for way in WAYS {
        hub.logged(&["WARN", &format!("\"{way}\"")]).await;
    }
}

#[tokio::test]
async fn a_call_that_is_never_answered() {
    faults("silent", json!({})).await;
}

#[tokio::test]
async fn a_call_answered_with_garbage() {
    faults("garbage", json!({})).await;
}

#[tokio::test]
async fn a_call_whose_answer_breaks_off() {
    faults("cut", json!({})).await;
}

#[tokio::test]
async fn a_call_whose_stream_breaks_off() {
    faults("cut_stream", json!({})).await;
}

#[tokio::test]
async fn a_call_answered_with_another_id() {
    faults("wrong_id", json!({})).await;
}

#[tokio::test]
async fn a_call_answered_with_a_hundred_megabytes() {
    faults("huge", json!({ "bytes": 100_000_000 })).await;
}

#[tokio::test]
async fn twenty_megabytes_arrive_or_are_refused_and_are_not_kept() {
    const BYTES: usize = 20_000_000;
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, ", timeout: 20s").await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    for way in WAYS {
        let name = format!("{way}__huge");
        for outcome in [
            legacy.call(&name, json!({ "bytes": BYTES })).await,
            modern.call(&name, json!({ "bytes": BYTES })).await,
        ] {
            if outcome.value().get("error").is_some() {
                assert!(outcome.raw().contains(way), "{}", outcome.raw());
            } else {
                assert_eq!(outcome.text().len(), BYTES, "{way}");
            }
        }
        assert_eq!(
            legacy.call("other__echo", json!({ "text": "o" })).await.text(),
            "o"
        );
    }
    let most = memory_kb(hub.pid, "VmHWM");
    assert!(
        most < 300 * 1024,
        "the hub grew to {most} kB for 20 MB answers, one at a time"
    );
    eventually("the memory is given back", || {
        std::future::ready((memory_kb(hub.pid, "VmRSS") < 150 * 1024).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn five_thousand_tools_and_lists_that_are_wrong() {
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let mut outside = String::new();
    for mode in ["many", "duplicate", "endless-list", "stateful"] {
        outside.push_str(&external(mode, &format!("{url}/{mode}"), ""));
    }
    let inside = local("child-many", "many", &[], "") + &local("child-duplicate", "duplicate", &[], "");
    let hub = Hub::start(&mcps(&outside, &inside)).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    let last = [
        "many__tool_4999",
        "child_many__tool_4999",
        "duplicate__other",
        "child_duplicate__other",
        "stateful__echo",
        "endless_list__echo",
    ];
    hub.until_tools(&client, &last).await;
    // Servers that come up between two pages move them: read again until all are up.
    let names = eventually("all tools are listed", || async {
        let names = client.tool_names().await;
        let count = |prefix: &str| names.iter().filter(|n| n.starts_with(prefix)).count();
        ((count("many__"), count("child_many__")) == (5_000, 5_000)).then_some(names)
    })
    .await;
    let count = |prefix: &str| names.iter().filter(|n| n.starts_with(prefix)).count();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a tool is listed twice");
    assert_eq!(count("duplicate__"), 2);
    for name in ["\"duplicate\"", "\"child-duplicate\"", "\"endless-list\""] {
        hub.logged(&["WARN", name]).await;
    }
    // Both eras, and by itself.
    for path in ["/mcp", "/mcp/many"] {
        let modern = Modern::new(&hub, path, KEY, json!({}));
        let (mut seen, mut params) = (0, json!({}));
        loop {
            let page = modern.request("tools/list", params).await.result();
            let tools = page["tools"].as_array().unwrap();
            seen += tools
                .iter()
                .filter(|t| t["name"].as_str().unwrap().contains("tool_"))
                .count();
            match page.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => break,
            }
        }
        assert_eq!(seen, if path == "/mcp" { 10_000 } else { 5_000 }, "{path}");
    }
    let wrong = client
        .request("tools/list", json!({ "cursor": "no-such-cursor" }))
        .await;
    assert_eq!(wrong.code(), -32602);
    assert_eq!(
        client
            .call("many__tool_4321", json!({ "text": "t" }))
            .await
            .text(),
        "t"
    );
}

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

/// A client that has a level, a subscription and the stream to hear of changes.
async fn subscribed(hub: &Hub, server: &str) -> (Legacy, harness::Events, Value) {
    let client = Legacy::connect(hub, "/mcp", KEY).await;
    let events = client.standing().await;
    client
        .request("logging/setLevel", json!({ "level": "warning" }))
        .await
        .result();
    let listed = client.request("resources/list", json!({})).await.result();
    let all = listed["resources"].as_array().unwrap();
    let uri = all
        .iter()
        .map(|r| r["uri"].clone())
        .find(|u| u.as_str().unwrap().contains(server))
        .unwrap_or_else(|| panic!("no resource of {server}: {listed}"));
    client
        .request("resources/subscribe", json!({ "uri": uri }))
        .await
        .result();
    (client, events, uri)
}

#[tokio::test]
async fn an_http_server_that_forgets_its_sessions_heals() {
    let fixture = Fixture::start().await;
    let config = mcps(&external("up", &format!("{}/stateful/heal", fixture.url), ""), "");
    let hub = Hub::start(&config).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["up__echo"]).await;
    let (client, mut events, uri) = subscribed(&hub, "up").await;
    client
        .call("up__touch", json!({ "uri": "test://a" }))
        .await
        .text();
    assert_eq!(
        events.until("notifications/resources/updated").await["params"]["uri"],
        uri
    );
    let before = fixture.record("stateful/heal").await.len();
    fixture.control("stateful/heal", json!({ "do": "forget" })).await;
    assert_eq!(
        client.call("up__echo", json!({ "text": "healed" })).await.text(),
        "healed"
    );
    replayed(&fixture, "stateful/heal", before).await;
    fixture
        .control("stateful/heal", json!({ "do": "touch", "uri": "test://a" }))
        .await;
    assert_eq!(
        events.until("notifications/resources/updated").await["params"]["uri"],
        uri
    );
}

async fn replayed(fixture: &Fixture, path: &str, from: usize) {
    eventually("level and subscription are replayed", || async {
        let record = fixture.record(path).await;
        let new = record.get(from..).unwrap_or_default();
        let level = with_method(new, "logging/setLevel")
            .iter()
            .any(|m| m["params"]["level"] == "warning");
        let subscription = with_method(new, "resources/subscribe")
            .iter()
            .any(|m| m["params"]["uri"] == "test://a");
        (level && subscription).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_http_server_that_is_restarted_heals() {
    let fixture = Fixture::start().await;
    let port = fixture.port();
    let url = fixture.url.clone();
    let outside = external("up", &format!("{url}/stateful/re"), "")
        + &external("plain", &format!("{url}/stateless/re"), "")
        + &external("new", &format!("{url}/modern/re"), "");
    let hub = Hub::start(&mcps(&outside, "")).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["up__echo", "plain__echo", "new__echo"])
        .await;
    let (client, mut events, uri) = subscribed(&hub, "up").await;
    fixture.kill().await;
    for name in ["up", "plain", "new"] {
        let outcome = tokio::time::timeout(SOON, client.call(&format!("{name}__echo"), json!({}))).await;
        outcome.expect("a call to a dead server hangs").error();
    }
    let fixture = Fixture::start_at(port).await;
    for name in ["up", "plain", "new"] {
        eventually(&format!("{name} is back in the same session"), || async {
            let again = client
                .call(&format!("{name}__echo"), json!({ "text": "back" }))
                .await;
            again.value().get("result").is_some().then_some(())
        })
        .await;
    }
    replayed(&fixture, "stateful/re", 0).await;
    fixture
        .control("stateful/re", json!({ "do": "touch", "uri": "test://a" }))
        .await;
    assert_eq!(
        events.until("notifications/resources/updated").await["params"]["uri"],
        uri
    );
    // What the new one has is listed.
    fixture
        .control("modern/re", json!({ "do": "add-tool", "name": "fresh" }))
        .await;
    hub.until_tools(&client, &["new__fresh"]).await;
}

#[tokio::test]
async fn a_child_that_is_killed_heals() {
    let place = tempfile::tempdir().unwrap();
    let record = place.path().join("record.jsonl");
    let inside = local("child", "stateless", &["--record", record.to_str().unwrap()], "");
    let hub = Hub::start(&mcps("", &inside)).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["child__echo"]).await;
    let (client, mut events, uri) = subscribed(&hub, "child").await;
    for round in 0..3 {
        let pid: i32 = client.call("child__pid", json!({})).await.text().parse().unwrap();
        let before = read_record(&record).len();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let new = eventually(&format!("the child is back, round {round}"), || async {
            let again = client.call("child__pid", json!({})).await;
            let text = again.value()["result"]["content"][0]["text"].as_str()?.to_owned();
            (text != pid.to_string()).then_some(text)
        })
        .await;
        eventually("level and subscription are replayed to the new child", || async {
            let all = read_record(&record);
            let fresh: Vec<_> = all
                .get(before..)?
                .iter()
                .filter(|m| m["pid"].as_u64().is_some_and(|pid| new.parse() == Ok(pid)))
                .cloned()
                .collect();
            let level = with_method(&fresh, "logging/setLevel")
                .iter()
                .any(|m| m["params"]["level"] == "warning");
            let follows = !with_method(&fresh, "resources/subscribe").is_empty();
            (level && follows).then_some(())
        })
        .await;
        client
            .call("child__touch", json!({ "uri": "test://a" }))
            .await
            .text();
        assert_eq!(
            events.until("notifications/resources/updated").await["params"]["uri"],
            uri
        );
    }
    assert_eq!(servers(record.to_str().unwrap()), 1);
}

#[tokio::test]
async fn a_new_tool_is_heard_of_in_both_eras() {
    let fixture = Fixture::start().await;
    let hub = all_ways(&fixture, "").await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let mut standing = legacy.standing().await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    let mut listening = modern
        .stream(
            "subscriptions/listen",
            json!({ "notifications": { "toolsListChanged": true } }),
        )
        .await;
    let ack = listening.until("notifications/subscriptions/acknowledged").await;
    assert_eq!(ack["params"]["notifications"]["toolsListChanged"], true, "{ack}");
    for way in WAYS {
        if way == "stateless" {
            continue; // It has no way to tell.
        }
        let name = format!("fresh_{way}");
        legacy
            .call(&format!("{way}__add_tool"), json!({ "name": name }))
            .await
            .text();
        standing.until("notifications/tools/list_changed").await;
        listening.until("notifications/tools/list_changed").await;
        let full = format!("{way}__{name}");
        hub.until_tools(&legacy, &[&full]).await;
        assert_eq!(legacy.call(&full, json!({ "text": "l" })).await.text(), "l");
        assert_eq!(modern.call(&full, json!({ "text": "m" })).await.text(), "m");
    }
}

fn answers(method: &str, params: &Value) -> Value {
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

fn all_capabilities() -> Value {
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
        .collect();
    let inside = local("child", "stateless", &["--record", file.to_str().unwrap()], "");
    let hub = Hub::start(&mcps(&outside, &inside)).await;
    let legacy = Legacy::connect(&hub, "/mcp", KEY).await;
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    hub.until_tools(
        &legacy,
        &["stateful__echo", "stateless__echo", "modern__echo", "child__echo"],
    )
    .await;
    for way in WAYS {
        let record = async || match way {
            "child" => read_record(&file),
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
                let mut events = harness::Events::new(response);
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

#[tokio::test]
async fn sigterm_lets_a_call_finish_and_leaves_no_child() {
    let fixture = Fixture::start().await;
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let inside = local("child", "stateless", &["--record", mark.to_str().unwrap()], "")
        + &local("deaf", "silent", &["--record", mark.to_str().unwrap()], "");
    let mut hub = Hub::start(&mcps(
        &external("up", &format!("{}/stateful/t", fixture.url), ""),
        &inside,
    ))
    .await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["child__echo", "up__echo"]).await;
    let mut standing = client.standing().await;
    let (one, two) = {
        let started = with_method(&read_record(&mark), "tools/call").len();
        let one = client.call("child__slow", json!({ "ms": 3_000 }));
        let two = client.call("up__slow", json!({ "ms": 3_000 }));
        let stop = async {
            eventually("both calls run", || async {
                let child = with_method(&read_record(&mark), "tools/call").len() > started;
                let up = !with_method(&fixture.record("stateful/t").await, "tools/call").is_empty();
                (child && up).then_some(())
            })
            .await;
            hub.signal(Signal::SIGTERM);
        };
        let (one, two, ()) = tokio::join!(one, two, stop);
        (one, two)
    };
    assert_eq!((one.text(), two.text()), ("done".to_owned(), "done".to_owned()));
    tokio::time::timeout(SOON, async { while standing.next().await.is_some() {} })
        .await
        .expect("the standing stream holds the hub up");
    let code = tokio::time::timeout(SOON, hub.child.wait()).await;
    let code = code.expect("the hub does not stop").unwrap();
    assert_eq!(code.code(), Some(0), "{}", hub.output());
    assert_eq!(processes(mark.to_str().unwrap()), [], "children are left");
}

#[tokio::test]
async fn sigterm_cuts_off_what_does_not_end() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let inside = local("child", "stateless", &["--record", mark.to_str().unwrap()], "");
    let config = mcps("", &inside);
    let start = Start {
        config: &config,
        args: &["--grace", "1"],
        ..Start::default()
    };
    let mut hub = start.run().await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["child__echo"]).await;
    let call = client.builder(reqwest::Method::POST).body(
        json!({ "jsonrpc": "2.0", "id": 1000, "method": "tools/call", "params": { "name": "child__silent" } }).to_string(),
    );
    let call = tokio::spawn(call.send());
    eventually("the call runs", || async {
        (!with_method(&read_record(&mark), "tools/call").is_empty()).then_some(())
    })
    .await;
    let began = Instant::now();
    hub.signal(Signal::SIGTERM);
    tokio::time::timeout(SOON, hub.child.wait())
        .await
        .expect("the hub does not stop")
        .unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?} with --grace 1",
        began.elapsed()
    );
    assert_eq!(processes(mark.to_str().unwrap()), [], "children are left");
    call.abort();
}

#[tokio::test]
async fn no_child_outlives_a_hub_that_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    // One under a shell, as npx and uvx put it: a grandchild of the hub.
    let inside = local("child", "stateless", &["--record", mark], "")
        + &local("deaf", "silent", &["--record", mark], "")
        + &format!(
            "    - {{ name: under-a-shell, command: sh, args: [\"-c\", \"'{}' --stdio stateless --record {mark}; true\"] }}\n",
            fixture_program()
        );
    let mut hub = Hub::start(&mcps("", &inside)).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["child__echo", "under_a_shell__echo"])
        .await;
    assert!(servers(mark) >= 3);
    hub.child.kill().await.unwrap();
    eventually("all children are gone", || {
        std::future::ready(processes(mark).is_empty().then_some(()))
    })
    .await;
}

#[tokio::test]
async fn sessions_that_are_dropped_leave_nothing_behind() {
    let fixture = Fixture::start().await;
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    let inside = local("child", "stateless", &["--record", mark], "")
        + &local("own", "stateless", &["--record", mark], ", sessions: per_client");
    let config = mcps(
        &external("up", &format!("{}/stateful/many-sessions", fixture.url), ""),
        &inside,
    );
    let hub = Hub::start(&config).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["child__echo", "own__echo", "up__echo"])
        .await;
    first.call("own__echo", json!({ "text": "x" })).await.text();
    first.close().await;
    eventually("the first client's child is gone", || {
        std::future::ready((servers(mark) == 2).then_some(()))
    })
    .await;
    let files = || {
        std::fs::read_dir(format!("/proc/{}/fd", hub.pid))
            .unwrap()
            .count()
    };
    let before = files();
    let mut most = 0;
    for round in 0..50 {
        let ten = (0..10).map(|n| {
            let hub = &hub;
            async move {
                // Every other one could be asked, and so has a child of its own.
                let capabilities = if n % 2 == 0 { json!({}) } else { all_capabilities() };
                let client = Legacy::connect_with(hub, "/mcp", KEY, capabilities, answers).await;
                client.call("child__echo", json!({ "text": "c" })).await.text();
                client.call("up__echo", json!({ "text": "u" })).await.text();
                if round % 10 == 0 {
                    client.call("own__echo", json!({ "text": "o" })).await.text();
                }
                assert_eq!(client.close().await, 204);
            }
        });
        futures::future::join_all(ten).await;
        most = most.max(servers(mark));
    }
    eventually("no process is left beyond the two shared ones", || {
        std::future::ready((servers(mark) == 2).then_some(()))
    })
    .await;
    assert!(most <= 2 + 2 * 16, "{most} processes at once");
    eventually("open files are given back", || {
        std::future::ready((files() <= before + 20).then_some(()))
    })
    .await;
    // Every session that was opened at the stateful server was ended there too.
    eventually("sessions are ended at the server", || async {
        let record = fixture.record("stateful/many-sessions").await;
        let opened = with_method(&record, "initialize").len();
        let ended = with_method(&record, "DELETE").len();
        (opened >= 500 && ended + 2 >= opened).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_that_just_vanish_leave_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    let inside = local("child", "stateless", &["--record", mark], "");
    let hub = Hub::start(&mcps("", &inside)).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["child__echo"]).await;
    for _ in 0..50 {
        let ten = (0..10).map(|_| async {
            // Neither DELETE nor goodbye.
            let client = Legacy::connect(&hub, "/mcp", KEY).await;
            client.call("child__echo", json!({ "text": "c" })).await.text();
        });
        futures::future::join_all(ten).await;
    }
    assert_eq!(servers(mark), 1);
    assert_eq!(
        first.call("child__echo", json!({ "text": "on" })).await.text(),
        "on"
    );
    // The old transport's session ends with its stream, and so does what it had.
    let capable = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2024-11-05",
        "capabilities": all_capabilities(), "clientInfo": { "name": "t", "version": "1" } } });
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": { "name": "child__pid", "arguments": {} } });
    for _ in 0..20 {
        let response = harness::http()
            .get(format!("{}/mcp/sse", hub.url))
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap();
        let mut events = harness::Events::new(response);
        let path = events.next().await.unwrap();
        for message in [&capable, &call] {
            let sent = harness::http()
                .post(format!("{}{path}", hub.url))
                .bearer_auth(KEY)
                .header("content-type", "application/json")
                .body(message.to_string())
                .send();
            assert_eq!(sent.await.unwrap().status(), 202);
            tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap();
        }
    }
    eventually("only the shared child is left", || {
        std::future::ready((servers(mark) == 1).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn a_server_that_goes_up_and_down_tells_and_heals() {
    let fixture = Fixture::start().await;
    let config = mcps(
        &external(
            "flaky",
            &format!("{}/stateful/flaky", fixture.url),
            ", timeout: 2s",
        ),
        "",
    );
    let hub = Hub::start(&config).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["flaky__echo"]).await;
    for _ in 0..3 {
        fixture.control("stateful/flaky", json!({ "do": "down" })).await;
        let outcome = tokio::time::timeout(SOON, client.call("flaky__echo", json!({}))).await;
        outcome.expect("a call to a server that is down hangs").error();
        client.call("aih__health", json!({})).await.result();
        fixture.control("stateful/flaky", json!({ "do": "up" })).await;
        eventually("it is back", || async {
            let again = client.call("flaky__echo", json!({ "text": "back" })).await;
            again.value().get("result").is_some().then_some(())
        })
        .await;
    }
}

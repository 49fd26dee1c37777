//! Sessions over a restart of the hub.

use aih_tests::{
    Fixture, Hub, KEY, Legacy,
    client::http,
    eventually,
    fixture::{external, mcps},
    key_hash, real,
};
use serde_json::{Value, json};

/// The server's path at the fixture.
const RECORD: &str = "stateful/restart";
const OTHER: &str = "aih_another-key-for-tests";

fn servers(fixture: &Fixture) -> String {
    mcps(&external("far", &format!("{}/{RECORD}", fixture.url), ""), "")
}

fn keys(names: &[(&str, &str, &str)]) -> String {
    let entries: String = names
        .iter()
        .map(|(name, key, permissions)| {
            let hash = key_hash(key);
            format!("    - {{ name: {name}, key_hash: \"{hash}\", permissions: [{permissions}] }}\n")
        })
        .collect();
    format!("auth:\n  api_keys:\n{entries}")
}

const BOTH: &[(&str, &str, &str)] = &[("admin", KEY, "\"*\""), ("other", OTHER, "\"*\"")];

async fn hub(fixture: &Fixture) -> Hub {
    let config = format!("{}{}", servers(fixture), keys(BOTH));
    let hub = Hub::start(&config).await;
    hub.until_up("far").await;
    hub
}

/// Answers what a server asks.
fn answers(method: &str, _: &Value) -> Value {
    match method {
        "elicitation/create" => json!({ "action": "accept", "content": { "name": "Zoe" } }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn a_session_goes_on_after_a_restart_with_all_that_its_client_said() {
    let fixture = Fixture::start().await;
    let mut hub = hub(&fixture).await;
    let capabilities = json!({ "elicitation": {} });
    let client = Legacy::connect_with(&hub, "/mcp", KEY, capabilities, answers).await;
    let at_one = Legacy::connect(&hub, "/mcp/far", KEY).await;
    let listed = client.request("resources/list", json!({})).await.result();
    let all = listed["resources"].as_array().unwrap().clone();
    let mut uris = all.iter().map(|resource| resource["uri"].as_str().unwrap());
    let uri = uris.find(|uri| uri.contains("far")).unwrap();
    client
        .request("resources/subscribe", json!({ "uri": uri }))
        .await
        .result();
    client
        .request("logging/setLevel", json!({ "level": "error" }))
        .await
        .result();
    let seen = async |method: &str| {
        let record = fixture.record(RECORD).await;
        record
            .into_iter()
            .filter(|e| e["method"] == method)
            .collect::<Vec<_>>()
    };
    // An orderly end, and a crash.
    for (run, crash) in [(1, false), (2, true)] {
        hub = hub.restart_here(crash).await;
        let mut standing = client.standing().await;
        for list in ["tools", "prompts", "resources"] {
            standing
                .until(&format!("notifications/{list}/list_changed"))
                .await;
        }
        hub.until_up("far").await;
        assert_eq!(
            client.call("far__echo", json!({ "text": "hello" })).await.text(),
            "hello"
        );
        assert_eq!(
            at_one.call("echo", json!({ "text": "there" })).await.text(),
            "there"
        );
        let asked = client.call("far__ask", json!({ "kind": "elicitation" })).await;
        assert!(asked.text().contains("Zoe"), "{}", asked.text());
        eventually("the subscription is there again", || async {
            (seen("resources/subscribe").await.len() > run).then_some(())
        })
        .await;
        eventually("the log level is there again", || async {
            (seen("logging/setLevel").await.len() > run).then_some(())
        })
        .await;
        let level = seen("logging/setLevel").await.pop().unwrap();
        assert_eq!(level["params"]["level"], "error", "{level}");
        client.call("far__touch", json!({ "uri": "test://a" })).await;
        let updated = standing.until("notifications/resources/updated").await;
        assert_eq!(updated["params"]["uri"], uri);
    }
}

/// The status of a `ping` in this session.
async fn ping(hub: &Hub, path: &str, key: &str, session: &str) -> u16 {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let sent = http()
        .post(hub.url(path))
        .bearer_auth(key)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-session-id", session)
        .body(body.to_string());
    sent.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_session_of_an_earlier_run_is_its_keys_own_and_stays_dead_when_it_has_ended() {
    let fixture = Fixture::start().await;
    let hub = hub(&fixture).await;
    let open = async |path: &str, key: &str| Legacy::connect(&hub, path, key).await.session;
    let mine = open("/mcp", KEY).await;
    let gone = open("/mcp", OTHER).await;
    let ended = Legacy::connect(&hub, "/mcp", KEY).await;
    assert_eq!(ended.close().await, 204);
    let ended = ended.session;
    // The key `other` is taken away while the hub is down.
    let config = format!("version: \"1.0\"\n{}{}", servers(&fixture), keys(&BOTH[..1]));
    std::fs::write(hub.folder.path().join("aih-config.yaml"), config).unwrap();
    let hub = hub.restart_here(false).await;
    assert_eq!(ping(&hub, "/mcp", OTHER, &gone).await, 401);
    assert_eq!(ping(&hub, "/mcp", KEY, &gone).await, 404, "another key's");
    assert_eq!(ping(&hub, "/mcp", KEY, &ended).await, 404, "ended");
    assert_eq!(
        ping(&hub, "/mcp/far", KEY, &mine).await,
        404,
        "of another endpoint"
    );
    let unknown = "x".repeat(mine.len());
    assert_eq!(ping(&hub, "/mcp", KEY, &unknown).await, 404);
    // Two requests at once find one session.
    let (one, other) = tokio::join!(ping(&hub, "/mcp", KEY, &mine), ping(&hub, "/mcp", KEY, &mine));
    assert_eq!((one, other), (200, 200));
    let resumed = hub
        .output()
        .matches("a session of an earlier run goes on")
        .count();
    assert!(resumed <= 1, "{resumed}");
    // Ended after the restart, it is dead in this run and in the next.
    let end = http()
        .delete(hub.url("/mcp"))
        .bearer_auth(KEY)
        .header("mcp-session-id", &mine);
    assert_eq!(end.send().await.unwrap().status(), 204);
    assert_eq!(ping(&hub, "/mcp", KEY, &mine).await, 404);
    let hub = hub.restart_here(false).await;
    assert_eq!(ping(&hub, "/mcp", KEY, &mine).await, 404);
    // The store does not hold what opens a session.
    let store = std::fs::read(hub.folder.path().join("data/aih.db")).unwrap();
    for id in [&mine, &gone] {
        assert!(!store.windows(id.len()).any(|part| part == id.as_bytes()));
    }
}

/// Real clients of the legacy era, which never send `initialize` a second time.
#[tokio::test(flavor = "multi_thread")]
async fn real_clients_go_on_after_a_restart() {
    let fixture = Fixture::start().await;
    for client in ["typescript", "python"] {
        let hub = hub(&fixture).await;
        let pause = hub.folder.path().join("pause");
        let call = |text: &str| json!({ "name": "far__echo", "arguments": { "text": text } });
        let job = json!({ "transport": "http", "url": hub.url("/mcp"), "key": KEY, "era": "legacy",
            "calls": [call("before"), { "pause": pause }, call("after"), call("again")] });
        let run = tokio::spawn(async move {
            match client {
                "typescript" => real::typescript_v1(&job).await,
                _ => real::python(&job).await,
            }
        });
        let waits = pause.with_extension("waits");
        eventually("the client waits", || {
            std::future::ready(waits.exists().then_some(()))
        })
        .await;
        let hub = hub.restart_here(client == "python").await;
        hub.until_up("far").await;
        std::fs::write(&pause, "").unwrap();
        let answer = run.await.unwrap();
        let texts: Vec<&str> = answer["calls"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|call| call["content"][0]["text"].as_str())
            .collect();
        assert_eq!(texts, ["before", "after", "again"], "{client}: {answer}");
        assert!(!answer["resources"].as_array().unwrap().is_empty(), "{client}");
    }
}

//! Permissions filter MCP.

use aih_tests::{Fixture, KEY, Legacy, Modern, Reply, client::http};
use serde_json::{Value, json};

use crate::{LIMITED, NOTHING, names, two};

#[tokio::test]
async fn permissions_filter_mcp() {
    let fixture = Fixture::start().await;
    let hub = two(&fixture).await;
    let limited = Legacy::connect(&hub, "/mcp", LIMITED).await;
    let tools = limited.tool_names().await;
    assert!(tools.iter().any(|t| t == "one__echo"));
    assert!(
        tools.iter().any(|t| t == "aih__get_skill"),
        "the hub's own tools are open to all"
    );
    assert!(!tools.iter().any(|t| t == "one__pid"), "taken away");
    assert!(!tools.iter().any(|t| t.starts_with("two__")), "never granted");
    assert_eq!(
        limited.call("one__echo", json!({ "text": "hello" })).await.text(),
        "hello"
    );

    // What is hidden and what is not there look the same.
    let hidden = limited.call("one__pid", json!({})).await.error();
    let absent = limited.call("one__nope", json!({})).await.error();
    assert_eq!(hidden["code"], absent["code"]);
    let as_if = |e: &Value, name: &str| e["message"].as_str().unwrap().replace(name, "X");
    assert_eq!(as_if(&hidden, "one__pid"), as_if(&absent, "one__nope"));
    let other = limited.call("two__echo", json!({})).await.error();
    assert_eq!(as_if(&other, "two__echo"), as_if(&absent, "one__nope"));

    let modern = Modern::new(&hub, "/mcp", LIMITED, json!({}));
    let listed = modern.request("tools/list", json!({})).await.result();
    assert_eq!(listed["cacheScope"], "private");
    assert!(!names(&listed["tools"]).contains(&"one__pid"));
    assert_eq!(
        modern.call("two__echo", json!({})).await.error()["code"],
        absent["code"]
    );
    assert_eq!(modern.call("one__echo", json!({ "text": "m" })).await.text(), "m");

    // The endpoint of one MCP.
    let direct = Legacy::connect(&hub, "/mcp/one", LIMITED).await;
    let tools = direct.tool_names().await;
    assert!(
        tools.iter().any(|t| t == "echo") && !tools.iter().any(|t| t == "pid"),
        "{tools:?}"
    );
    assert_eq!(
        direct.call("pid", json!({})).await.error()["code"],
        absent["code"]
    );
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } });
    let mut refusals = Vec::new();
    for name in ["two", "absent"] {
        let answer = http()
            .post(format!("{}/mcp/{name}", hub.base))
            .bearer_auth(LIMITED)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(initialize.to_string())
            .send()
            .await
            .unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(body.contains("error"), "{body}");
        refusals.push((status, body.replace(name, "X")));
    }
    assert_eq!(refusals[0], refusals[1], "hidden and absent differ");

    // Resources, prompts and completions follow the same paths.
    for method in ["resources/list", "prompts/list", "resources/templates/list"] {
        let listed = limited.request(method, json!({})).await.result().to_string();
        assert!(!listed.contains("two"), "{method}: {listed}");
        assert!(!listed.contains("closed"), "{method}: {listed}");
    }
    let nothing = Legacy::connect(&hub, "/mcp", NOTHING).await;
    assert!(nothing.tool_names().await.iter().all(|t| t.starts_with("aih__")));
    for method in ["resources/list", "prompts/list"] {
        let listed = nothing.request(method, json!({})).await.result().to_string();
        assert!(
            !listed.contains("one") && !listed.contains("open"),
            "{method}: {listed}"
        );
    }
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    let resources = admin.request("resources/list", json!({})).await.result();
    let own = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r.to_string().contains("two"));
    let uri = own.unwrap()["uri"].clone();
    admin
        .request("resources/read", json!({ "uri": uri }))
        .await
        .result();
    limited
        .request("resources/read", json!({ "uri": uri }))
        .await
        .error();
    limited
        .request("resources/subscribe", json!({ "uri": uri }))
        .await
        .error();
    limited
        .request("prompts/get", json!({ "name": "two__greet" }))
        .await
        .error();

    // The hub's own tools answer what the key may see.
    let said = limited.call("aih__list_mcps", json!({})).await.raw().to_owned();
    assert!(
        said.contains("one") && !said.contains("\"two\"") && !said.contains("two__"),
        "{said}"
    );
    let said = limited.call("aih__list_skills", json!({})).await.raw().to_owned();
    assert!(said.contains("open") && !said.contains("closed"), "{said}");
    let hidden = limited.call("aih__get_skill", json!({ "name": "closed" })).await;
    let absent = limited.call("aih__get_skill", json!({ "name": "absent" })).await;
    let without_id = |o: &Reply, name: &str| {
        let mut value = o.value();
        value["id"] = json!(0);
        value.to_string().replace(name, "X")
    };
    assert_eq!(without_id(&hidden, "closed"), without_id(&absent, "absent"));
    assert!(
        !limited
            .call("aih__get_config", json!({ "name": "closed" }))
            .await
            .raw()
            .contains(": true}")
    );
}

//! Lists that are long, wrong or new.

use aih_tests::{
    Fixture, Hub, KEY, Legacy, Modern, eventually,
    fixture::{external, local, mcps},
};
use serde_json::json;

use crate::{WAYS, all_ways};

#[tokio::test]
async fn five_thousand_tools_and_lists_that_are_wrong() {
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let mut outside = String::new();
    for mode in ["many", "duplicate", "endless-list", "stateful"] {
        outside.push_str(&external(mode, &format!("{url}/{mode}"), ""));
    }
    for mode in ["many", "duplicate"] {
        let (name, url) = (format!("old-{mode}"), format!("{url}/sse/{mode}"));
        outside.push_str(&external(&name, &url, ", transport: sse"));
    }
    let inside = local("child-many", "many", &[], "") + &local("child-duplicate", "duplicate", &[], "");
    let hub = Hub::start(&mcps(&outside, &inside)).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    let last = [
        "many__tool_4999",
        "child_many__tool_4999",
        "old_many__tool_4999",
        "duplicate__other",
        "child_duplicate__other",
        "old_duplicate__other",
        "stateful__echo",
        "endless_list__echo",
    ];
    hub.until_tools(&client, &last).await;
    // Servers that come up between two pages move them: read again until all are up.
    let names = eventually("all tools are listed", || async {
        let names = client.tool_names().await;
        let count = |prefix: &str| names.iter().filter(|n| n.starts_with(prefix)).count();
        let counts = ["many__", "child_many__", "old_many__"].map(count);
        (counts == [5_000; 3]).then_some(names)
    })
    .await;
    let count = |prefix: &str| names.iter().filter(|n| n.starts_with(prefix)).count();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a tool is listed twice");
    assert_eq!(count("duplicate__"), 2);
    for name in [
        "\"duplicate\"",
        "\"child-duplicate\"",
        "\"old-duplicate\"",
        "\"endless-list\"",
    ] {
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
        assert_eq!(seen, if path == "/mcp" { 15_000 } else { 5_000 }, "{path}");
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
async fn a_new_tool_is_notified_in_both_eras() {
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

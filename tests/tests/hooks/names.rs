//! Tools under names that a `list.tools` hook gave them: the same tools for permissions and guards.

use aih_tests::{Fixture, KEY, Legacy, Modern, Start, fixture::with_method, key_hash, tools};
use serde_json::json;

use crate::{events::LISTS, guest, one, until_ready};

const WITHOUT_ECHO: &str = "aih_key-without-the-servers-name";
const WITHOUT_SAY: &str = "aih_key-without-the-hooks-name";

#[tokio::test]
async fn a_name_that_a_hook_gave_opens_nothing() {
    let fixture = Fixture::start().await;
    let judge = guest("judge");
    let key = |name: &str, key: &str, permissions: &[&str]| {
        let (hash, permissions) = (key_hash(key), json!(permissions));
        format!("    - {{ name: {name}, key_hash: \"{hash}\", permissions: {permissions} }}\n")
    };
    let config = format!(
        "{}hooks:\n  - {{ name: lists, trigger: list.tools, action: ./hooks/lists.js }}\n  \
         - {{ name: guard, trigger: tool.before, action: \"{judge}\", match: {{ tools: [echo] }} }}\n\
         auth:\n  api_keys:\n{}{}{}",
        one(&fixture),
        key("admin", KEY, &["*"]),
        key("a", WITHOUT_ECHO, &["mcps/one/*", "!mcps/one/echo"]),
        key("b", WITHOUT_SAY, &["mcps/one/*", "!mcps/one/say"]),
    );
    let start = Start {
        config: &config,
        files: &[("hooks/lists.js", LISTS)],
        ..Start::default()
    };
    let hub = start.run().await;
    until_ready(&hub).await;
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&admin, &["say"]).await;

    let deny = json!({ "do": "deny", "reason": "guarded" });
    let modern = Modern::new(&hub, "/mcp", KEY, json!({}));
    assert_eq!(admin.call("say", deny.clone()).await.text(), "guarded");
    assert_eq!(modern.call("say", deny).await.text(), "guarded");
    for key in [WITHOUT_ECHO, WITHOUT_SAY] {
        let client = Legacy::connect(&hub, "/mcp", key).await;
        let names = client.tool_names().await;
        assert!(names.iter().any(|name| name == "one__pid"), "{names:?}");
        for hidden in ["say", "one__echo"] {
            assert!(!names.iter().any(|name| name == hidden), "{key}: {names:?}");
            let modern = Modern::new(&hub, "/mcp", key, json!({}));
            for error in [
                client.call(hidden, json!({ "text": "x" })).await.error(),
                modern.call(hidden, json!({ "text": "x" })).await.error(),
            ] {
                let absent = client.call("nope", json!({})).await.error();
                let message = error["message"].as_str().unwrap().replace(hidden, "nope");
                assert_eq!(
                    (&error["code"], message.as_str()),
                    (&absent["code"], absent["message"].as_str().unwrap())
                );
            }
        }
    }
    let record = fixture.record("stateful/one").await;
    assert!(with_method(&record, "tools/call").is_empty(), "{record:?}");
}

/// Hides what takes a header.
const WITHOUT_HEADERS: &str = r#"
import { defineHook } from "aih-plugin";
defineHook((event) => ({
  replace: { hide: event.payload.tools.map((tool) => tool.name).filter((name) => name.endsWith("custom_header")) },
}));
"#;

#[tokio::test]
async fn headers_of_a_tool_that_a_hook_hid_are_not_looked_at() {
    let program = tools::binary("fixture-conformance");
    let config = format!(
        "mcps:\n  local:\n    - {{ name: conf, command: \"{}\", args: [--stdio] }}\n\
         hooks:\n  - {{ name: lists, trigger: list.tools, action: ./hooks/lists.js }}\n\
         auth:\n  api_keys:\n    - {{ name: a, key_hash: \"{}\", permissions: [\"*\"] }}\n",
        program.display(),
        key_hash(KEY),
    );
    let start = Start {
        config: &config,
        files: &[("hooks/lists.js", WITHOUT_HEADERS)],
        ..Start::default()
    };
    let hub = start.run().await;
    hub.until_up("conf").await;
    until_ready(&hub).await;
    let client = Modern::new(&hub, "/mcp", KEY, json!({}));
    // Its argument would have to be repeated in a header, and is not.
    let hidden = "conf__test_http_custom_header";
    let arguments = json!({ "region": "north" });
    for _ in 0..2 {
        let error = client.call(hidden, arguments.clone()).await.error();
        let absent = client.call("conf__nope", arguments.clone()).await.error();
        let message = error["message"].as_str().unwrap().replace(hidden, "conf__nope");
        assert_eq!(error["code"], absent["code"], "{error}");
        assert_eq!(message, absent["message"].as_str().unwrap());
    }
}

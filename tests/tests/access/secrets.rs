//! Secrets are said nowhere, and a missing one switches off its entry only.

use aih_tests::{Fixture, Hub, KEY, Legacy, Start, tools};
use serde_json::{Value, json};

use crate::json_of;

/// Everything that the hub says, in every way it has of saying it.
async fn all_it_says(hub: &Hub) -> String {
    let mut said = String::new();
    for path in [
        "/api/v1/registry",
        "/api/v1/registry/mcps",
        "/api/v1/health",
        "/api/v1/logs?limit=2000",
        "/api/v1/openapi.json",
    ] {
        said.push_str(&hub.get(path, Some(KEY), &[]).await.2);
    }
    let admin = Legacy::connect(hub, "/mcp", KEY).await;
    for tool in admin.tools().await {
        said.push_str(&tool.to_string());
    }
    for tool in ["aih__list_mcps", "aih__health"] {
        said.push_str(admin.call(tool, json!({})).await.raw());
    }
    said.push_str(&hub.output());
    said
}

#[tokio::test]
async fn secrets_are_said_nowhere() {
    const TOKEN: &str = "very-secret-token-8842";
    const HEADER: &str = "very-secret-header-3317";
    const ENV: &str = "very-secret-env-5501";
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let config = format!(
        "mcps:\n  external:\n    \
         - {{ name: well, url: \"{url}/stateful/s\", auth: {{ type: bearer, token: \"${{TOKEN_A}}\" }}, headers: {{ X-Extra: \"${{HEADER_A}}\" }} }}\n    \
         - {{ name: sick, url: \"{url}/unauthorized/s\", auth: {{ type: oauth, token: \"${{TOKEN_A}}\" }} }}\n    \
         - {{ name: away, url: \"{url}/redirect/s\", auth: {{ type: bearer, token: \"${{TOKEN_A}}\" }}, headers: {{ X-Extra: \"${{HEADER_A}}\" }} }}\n    \
         - {{ name: noisy, url: \"{noise}/${{TOKEN_A}}?key=${{TOKEN_A}}\", auth: {{ type: header, name: X-Key, value: \"${{TOKEN_A}}\" }} }}\n    \
         - {{ name: gone, url: \"http://user:${{TOKEN_A}}@127.0.0.1:1/${{TOKEN_A}}\" }}\n  \
         local:\n    - {{ name: child, command: \"{program}\", args: [\"--stdio\", \"stateless\", \"--note\", \"${{TOKEN_A}}\"], env: {{ SECRET: \"${{ENV_A}}\" }} }}\n    \
         - {{ name: dead, command: \"/nowhere/${{TOKEN_A}}\", env: {{ SECRET: \"${{ENV_A}}\" }} }}\n",
        noise = fixture.noise,
        program = tools::binary("fixture-hostile").display(),
    );
    let start = Start {
        config: &config,
        env: &[("TOKEN_A", TOKEN), ("HEADER_A", HEADER), ("ENV_A", ENV)],
        args: &["--log", "trace"],
        ..Start::default()
    };
    let hub = start.run().await;
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&admin, &["well__echo", "child__echo"]).await;
    admin.call("well__echo", json!({ "text": "x" })).await.text();
    for name in ["sick", "away", "noisy", "gone", "dead"] {
        hub.logged(&[name, "WARN"]).await;
        admin.call(&format!("{name}__echo"), json!({})).await.error();
    }
    let leak = admin.call("well__leak", json!({})).await;
    assert!(
        !leak.raw().contains(TOKEN) && leak.error()["message"].as_str().unwrap().contains("[redacted]"),
        "the credentials reach the server, whose own error goes on without them: {}",
        leak.raw()
    );
    let sent = fixture.record("stateful/s").await;
    let first = &sent[0]["headers"];
    assert_eq!(first["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(first["x-extra"], HEADER);
    let said = all_it_says(&hub).await;
    for secret in [TOKEN, HEADER, ENV, KEY] {
        if let Some(at) = said.find(secret) {
            let from = said[..at].char_indices().rev().nth(300).map_or(0, |(i, _)| i);
            panic!("`{secret}` was said: {}", &said[from..at + secret.len()]);
        }
    }
    let strangers = fixture.record("strangers").await;
    let seen = Value::Array(strangers).to_string();
    assert!(
        !seen.contains(TOKEN) && !seen.contains(HEADER),
        "credentials followed a redirect: {seen}"
    );
}

#[tokio::test]
async fn a_missing_variable_switches_off_its_entry_only() {
    let fixture = Fixture::start().await;
    let url = &fixture.url;
    let config = format!(
        "mcps:\n  external:\n    - {{ name: well, url: \"{url}/stateless/v\" }}\n    \
         - {{ name: off, url: \"{url}/stateless/off\", auth: {{ type: bearer, token: \"${{AIH_TEST_NOT_SET}}\" }} }}\n"
    );
    let hub = Hub::start(&config).await;
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    let tools = hub.until_tools(&admin, &["well__echo"]).await;
    assert!(!tools.iter().any(|t| t.starts_with("off__")));
    hub.logged(&["off", "AIH_TEST_NOT_SET", "WARN"]).await;
    let mcps = json_of(&hub, "/api/v1/registry/mcps", KEY).await;
    let off = mcps["mcps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["name"] == "off")
        .unwrap();
    assert_eq!(
        (&off["enabled"], &off["state"]),
        (&json!(false), &json!("disabled"))
    );
    assert!(
        off["last_error"].as_str().unwrap().contains("AIH_TEST_NOT_SET"),
        "{off}"
    );
    admin.call("off__echo", json!({})).await.error();
    assert!(
        fixture.record("stateless/off").await.is_empty(),
        "it was spoken to"
    );
}

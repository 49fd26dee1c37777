//! What a reload says: which parts and entries still run with old values, and which keys of the file do nothing.

use aih_tests::{Fixture, Hub, KEY, Legacy, Start, key_hash};
use serde_json::{Value, json};

/// Expects these parts and entries, and no others.
async fn needs(hub: &Hub, parts: &[&str], entries: &[&str], after: &str) {
    let answer = hub.reload().await;
    assert_eq!(answer["restart_needed"], json!(parts), "after {after}: {answer}");
    assert_eq!(
        answer["restart_entries"],
        json!(entries),
        "after {after}: {answer}"
    );
}

#[tokio::test]
async fn a_reload_names_what_still_runs_with_an_old_secret() {
    let fixture = Fixture::start().await;
    let config = format!(
        "secrets: {{ provider: file, path: ./secrets.d, mappings: {{ NAMED: \"Key ${{MAPPED}}\" }} }}\n\
         server: {{ public_url: \"http://${{PUBLIC}}\" }}\n\
         mcps:\n  external:\n    \
         - {{ name: one, url: \"{url}/stateful/one\", auth: {{ type: bearer, token: \"${{TOKEN}}\" }} }}\n    \
         - {{ name: two, url: \"{url}/stateless/two\", headers: {{ X-Key: \"${{NAMED}}\" }} }}\n    \
         - {{ name: three, url: \"{url}/stateless/three?k=${{IN_URL}}\" }}\n  \
         local:\n    - {{ name: child, command: sleep, args: [\"600\"], env: {{ A: \"${{ENV}}\" }} }}\n\
         plugins:\n  - {{ name: plugin, file: ./gone.wasm, grants: {{ secrets: [GRANTED] }} }}\n\
         hooks:\n  - {{ name: hook, trigger: http, action: ./gone.wasm, webhook: {{ secret: HOOK }} }}\n",
        url = fixture.url
    );
    const VARIABLES: [&str; 7] = ["PUBLIC", "TOKEN", "MAPPED", "IN_URL", "ENV", "GRANTED", "HOOK"];
    let dotenv = |changed: &str, value: &str| -> String {
        let line = |name: &&str| {
            let value = if *name == changed {
                value
            } else {
                "first.value-of-it"
            };
            format!("{name}={value}\n")
        };
        VARIABLES.iter().map(line).collect()
    };
    let start = Start {
        config: &config,
        files: &[(".env", &dotenv("", "")), ("secrets.d/FROM_FILE", "x")],
        ..Start::default()
    };
    let hub = start.run().await;
    needs(&hub, &[], &[], "no change").await;
    for (variable, part, entry) in [
        ("TOKEN", "mcps", Some("mcps/one")),
        ("MAPPED", "mcps", Some("mcps/two")),
        ("IN_URL", "mcps", Some("mcps/three")),
        ("ENV", "mcps", Some("mcps/child")),
        ("GRANTED", "plugins", Some("plugins/plugin")),
        ("HOOK", "hooks", Some("hooks/hook")),
        ("PUBLIC", "server", None),
    ] {
        let entries: Vec<&str> = entry.into_iter().collect();
        let path = hub.folder.path().join(".env");
        std::fs::write(&path, dotenv(variable, "second.value-of-it")).unwrap();
        needs(&hub, &[part], &entries, variable).await;
        needs(
            &hub,
            &[part],
            &entries,
            "the same once more: the old value still runs",
        )
        .await;
        std::fs::write(&path, dotenv("", "")).unwrap();
        needs(&hub, &[], &[], "the first value again").await;
        // Over .env lies the folder of secrets.
        let file = hub.folder.path().join("secrets.d").join(variable);
        std::fs::write(&file, "third.value-of-it\n").unwrap();
        needs(&hub, &[part], &entries, "a file of secrets").await;
        std::fs::remove_file(&file).unwrap();
    }
    std::fs::write(hub.folder.path().join(".env"), dotenv("TOKEN", "")).unwrap();
    needs(&hub, &["mcps"], &["mcps/one"], "a variable without a value").await;
    let said = hub.output();
    assert!(!said.contains(".value-of-it"), "{said}");
    assert!(said.contains("\"restart_entries\":\"mcps/one\""), "{said}");
    // What was named is done by a restart, and by nothing less.
    let hub = hub.restart().await;
    needs(&hub, &[], &[], "a restart").await;
}

#[tokio::test]
async fn keys_of_the_file_count_at_once_and_need_no_restart() {
    const OLD: &str = "aih_key-that-is-rotated";
    const NEW: &str = "aih_key-after-the-rotation";
    let config = |key: &str| {
        let hash = key_hash(key);
        format!(
            "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
             - {{ name: worker, key_hash: \"{hash}\", permissions: [\"*\"] }}\n",
            key_hash(KEY)
        )
    };
    let hub = Hub::start(&config(OLD)).await;
    Legacy::connect(&hub, "/mcp", OLD).await;
    std::fs::write(
        hub.folder.path().join("aih-config.yaml"),
        aih_tests::config(&config(NEW)),
    )
    .unwrap();
    needs(&hub, &[], &[], "a rotated key").await;
    for (key, status) in [(OLD, 401), (NEW, 200)] {
        let (found, _, body) = hub.get("/api/v1/registry", Some(key), &[]).await;
        assert_eq!(found, status, "{body}");
    }
}

#[tokio::test]
async fn keys_of_the_file_that_do_nothing_are_named_at_the_start_in_health_and_by_a_reload() {
    const KEYS: [&str; 5] = ["rate_limits", "audit", "cache", "git", "auth.oauth"];
    let config = format!(
        "rate_limits: {{ per_ip: {{ requests: 1 }} }}\naudit: {{ keep: 30d }}\ncache: {{ url: \"redis://h\" }}\n\
         git: {{ interval: 1m }}\nauth:\n  oauth: {{ provider: github, client_id: a }}\n  api_keys:\n    \
         - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n",
        key_hash(KEY)
    );
    let hub = Hub::start(&config).await;
    let (_, _, health) = hub.get("/api/v1/health", Some(KEY), &[]).await;
    let health: Value = serde_json::from_str(&health).unwrap();
    let answer = hub.reload().await;
    for key in KEYS {
        let warning = format!("`{key}` is accepted and does nothing in this version");
        assert_eq!(hub.rows(&warning), 1, "at the start: {}", hub.output());
        for (place, text) in [("health", &health), ("reload", &answer)] {
            let told = text["warnings"].as_array().unwrap().iter();
            let found = told
                .filter(|told| told.as_str().unwrap().contains(&warning))
                .count();
            assert_eq!(found, 1, "{place}: {text}");
        }
    }
    // They do nothing, so a restart would not help either.
    let without = aih_tests::config("").replace("version: \"1.0\"\n", "version: \"1.0\"\nrate_limits: {}\n");
    std::fs::write(hub.folder.path().join("aih-config.yaml"), without).unwrap();
    needs(&hub, &[], &[], "other values of keys that do nothing").await;
    let told = hub.reload().await["warnings"].to_string();
    assert_eq!(told.matches("does nothing in this version").count(), 1, "{told}");
}

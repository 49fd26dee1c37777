//! The examples of docs/hooks.md as they are printed: the configuration, what is sent with curl, and the commands.

use std::{path::Path, process::Command};

use aih_tests::{Hub, KEY, Start, eventually, tools};
use serde_json::{Value, json};

use crate::{JSON, guest, hook, post, until_up};

/// Answers by hand what it was handed, and lets everything else pass.
const GUARD: &str = r#"
import { defineHook, log } from "aih-plugin";
defineHook((event) => {
  log.info("asked", { of: event.name });
  return event.name === "manual" ? { result: event.payload.payload } : { result: { tool: event.payload.tool } };
});
"#;
const ON_PUSH: &str = r#"
import { defineHook } from "aih-plugin";
defineHook((event) => ({ result: { pushed: JSON.parse(event.payload.body).ref } }));
"#;
const MORNING: &str = "
from aih_plugin import Event, hook

@hook(\"schedule\")
def morning(event: Event) -> None:
    pass
";

/// The code blocks of docs/hooks.md in a language.
fn blocks(language: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hooks.md");
    let text = std::fs::read_to_string(file).unwrap();
    let blocks = text.split("```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .map(str::to_owned)
        .collect()
}

/// A command of the documentation, run in the hub's folder: its output.
async fn shell(hub: &Hub, line: &str) -> String {
    let programs = tools::binary("aih");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", programs.parent().unwrap().display());
    let line = line.replace("http://127.0.0.1:8787", &hub.base);
    let mut command = Command::new("sh");
    command
        .args(["-euc", &line])
        .env("PATH", path)
        .env("KEY", KEY)
        .env("GITHUB_WEBHOOK_SECRET", SECRET)
        .env_remove("AIH_CONFIG")
        .current_dir(hub.folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "`{line}`: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

const SECRET: &str = "the secret of the webhook";

/// The ids of the events that were given up.
async fn dead(hub: &Hub) -> Vec<String> {
    let (status, _, text) = hub.get("/api/v1/hooks/dead", Some(KEY), &[]).await;
    assert_eq!(status, 200, "{text}");
    let page: Value = serde_json::from_str(&text).unwrap();
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn until_dead(hub: &Hub, count: usize) -> Vec<String> {
    eventually(&format!("{count} events are given up"), || async {
        Some(dead(hub).await).filter(|events| events.len() == count)
    })
    .await
}

#[tokio::test]
async fn the_examples_of_the_documentation_work() {
    let mut config = blocks("yaml").concat();
    assert!(config.starts_with("hooks:"), "{config}");
    // Without an address it gives up at once.
    config.push_str(&format!(
        "  - {{ name: audit, trigger: manual, action: \"{}\", mode: background }}\n",
        guest("audit-webhook")
    ));
    let hub = Start {
        config: &config,
        files: &[
            ("hooks/guard.js", GUARD),
            ("hooks/on-push.js", ON_PUSH),
            ("hooks/morning.py", MORNING),
            ("file", r#"{"tool": "delete_repo"}"#),
        ],
        env: &[("GITHUB_WEBHOOK_SECRET", SECRET)],
        ..Start::default()
    }
    .run()
    .await;
    for name in ["guard", "on-push", "audit"] {
        until_up(&hub, name).await;
    }
    let commands = blocks("sh");
    let [given_up, by_hand, webhook] = commands.as_slice() else {
        panic!("{commands:?}");
    };

    let ran: Value = serde_json::from_str(&shell(&hub, by_hand).await).unwrap();
    assert_eq!(
        (&ran["decision"], &ran["result"]),
        (&json!("proceed"), &json!({ "dry": true }))
    );
    assert_eq!(ran["logs"][0]["message"], "asked", "{ran}");
    assert!(ran["duration_ms"].is_number(), "{ran}");
    let client = hub.legacy().await;
    let same = client
        .call(
            "aih__trigger_hook",
            json!({ "name": "guard", "payload": { "dry": true } }),
        )
        .await
        .result();
    let same = &same["structuredContent"];
    assert_eq!(
        (&same["result"], &same["logs"][0]["message"]),
        (&json!({ "dry": true }), &json!("asked")),
        "{same}"
    );
    assert!(same["duration_ms"].is_number(), "{same}");

    let pushed = shell(&hub, webhook).await;
    assert!(pushed.starts_with("HTTP/1.1 200"), "{pushed}");
    assert!(pushed.ends_with(r#"{"pushed":"refs/heads/main"}"#), "{pushed}");
    let repeated = shell(&hub, webhook).await;
    assert!(repeated.contains(r#""status":"repeated""#), "{repeated}");
    let wrong = webhook.replace("$GITHUB_WEBHOOK_SECRET", "another");
    let wrong = shell(&hub, &wrong).await;
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");

    let (status, queued) = post(&hub, "/api/v1/hooks/audit/trigger", Some(KEY), &[JSON], "{}").await;
    assert_eq!(status, 202, "{queued}");
    let id = queued["event"].as_str().unwrap();
    assert_eq!(until_dead(&hub, 1).await, [id]);
    let lines: Vec<&str> = given_up.lines().collect();
    let [list, replay, purge] = lines.as_slice() else {
        panic!("{given_up}");
    };
    let listed = shell(&hub, list).await;
    assert!(
        listed.contains(id) && listed.contains("`config.url` is missing"),
        "{listed}"
    );
    let runs = hook(&hub, "audit").await["runs"].clone();
    let replayed = shell(&hub, &replay.replace("ID", id)).await;
    assert_eq!(replayed, "1 event put back\n");
    eventually("it runs again", || async {
        (hook(&hub, "audit").await["runs"] != runs).then_some(())
    })
    .await;
    assert_eq!(until_dead(&hub, 1).await, [id], "its id stays");
    let (status, told) = post(
        &hub,
        &format!("/api/v1/hooks/dead/{id}/replay"),
        Some(KEY),
        &[],
        "",
    )
    .await;
    assert_eq!((status.as_u16(), &told["events"]), (200, &json!(1)), "{told}");
    until_dead(&hub, 1).await;
    assert_eq!(shell(&hub, &purge.replace("ID", id)).await, "1 event removed\n");
    assert_eq!(dead(&hub).await, Vec::<String>::new());

    let command = "aih hook run guard --payload @file";
    let ran: Value = serde_json::from_str(&shell(&hub, command).await).unwrap();
    assert_eq!(ran["result"], json!({ "tool": "delete_repo" }), "{ran}");
    let ran = shell(&hub, &format!("{command} --event tool.before")).await;
    let ran: Value = serde_json::from_str(&ran).unwrap();
    assert_eq!(ran["result"], json!({ "tool": "delete_repo" }), "{ran}");

    let (_, _, text) = hub.get("/api/v1/health", Some(KEY), &[]).await;
    let health: Value = serde_json::from_str(&text).unwrap();
    let hooks = health["hooks"].as_array().unwrap();
    let audit = hooks.iter().find(|hook| hook["name"] == "audit").unwrap();
    assert!(
        audit["last_error"].as_str().unwrap().contains("config.url"),
        "{audit}"
    );
    for count in ["runs", "failures", "lost"] {
        assert!(audit[count].is_u64(), "{audit}");
    }
}

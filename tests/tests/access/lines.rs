//! No text of a client, a server or a plugin forges a line of the log or controls a terminal.

use std::process::Command;

use aih_tests::{Hub, KEY, Legacy, Program, Start, eventually, tools};
use serde_json::{Value, json};

/// Everything that ends a line, moves a cursor or turns text around, before what looks like a row of the log.
const EVIL: &str = "x\r\n12:34:56  WARN forged\u{85}12:34:56 ERROR forged\u{2028}forged\u{2029}forged\u{b}\u{c}forged\u{1b}[2K\u{1b}]0;t\u{7}\u{9b}31m\u{8}\u{7f}\u{0}\u{202e}\u{2066}forged";

/// Logs, answers and throws it.
const PLUGIN: &str = r#"
import { defineTool, log } from "aih-plugin";
const input = { type: "object", properties: { text: { type: "string" } } };
defineTool({
  name: "say", description: "Says it", input,
  handler: async ({ text }) => { console.log(text); log.warn(text, { [text]: text }); throw new Error(text); },
});
"#;

fn unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Sends the text in every way in which it can reach a log.
async fn provoke(hub: &Hub) {
    let client = Legacy::connect(hub, "/mcp", KEY).await;
    eventually("the plugin is up", || async {
        let names = client.tool_names().await;
        names.iter().any(|name| name == "evil__say").then_some(())
    })
    .await;
    client.call("evil__say", json!({ "text": EVIL })).await;
    client.call(EVIL, json!({})).await;
    client.call(&format!("evil__{EVIL}"), json!({})).await;
    client.request(EVIL, json!({})).await;
    client.notify(EVIL, json!({ "x": EVIL })).await;
    client
        .request("resources/read", json!({ "uri": format!("file:///{EVIL}") }))
        .await;
    client.request("prompts/get", json!({ "name": EVIL })).await;
    // A client may call itself anything.
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": EVIL, "version": EVIL } });
    client.request("initialize", hello).await;
    client.post(format!("no JSON {EVIL}")).await;
    let path: String = EVIL.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for path in [
        format!("/mcp/{path}"),
        format!("/{path}"),
        format!("/api/v1/skills/{path}?q={path}"),
    ] {
        hub.get(&path, Some(KEY), &[("user-agent", "a\u{85}b\tc")]).await;
        hub.get(
            &path,
            Some("wrong\tkey"),
            &[("host", "evil.test"), ("origin", "http://evil.test")],
        )
        .await;
    }
}

#[tokio::test]
async fn one_event_is_one_line_in_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evil.txt");
    std::fs::write(&file, EVIL).unwrap();
    let print = format!("cat '{}'; cat '{}' >&2; exit 3", file.display(), file.display());
    let config = format!(
        "mcps:\n  local:\n    - {{ name: shell, command: sh, args: [\"-c\", \"{print}\"] }}\n\
         plugins:\n  - {{ name: evil, file: ./evil.js }}\n"
    );
    for format in ["text", "json"] {
        let start = Start {
            config: &config,
            files: &[("evil.js", PLUGIN)],
            args: &["--log-format", format, "--log", "aih=trace"],
            ..Start::default()
        };
        let hub = start.run().await;
        provoke(&hub).await;
        hub.logged(&["shell", "forged"]).await;
        hub.logged(&["evil", "forged"]).await;
        let output = hub.output();
        for line in output.lines() {
            assert!(!line.contains(unprintable), "{line:?}");
            if format == "json" {
                let row: Value = serde_json::from_str(line).unwrap();
                assert!(row["timestamp"].is_string(), "{line}");
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            let time: Vec<&str> = words.next().unwrap().split(':').collect();
            assert!(
                time.len() == 3
                    && time
                        .iter()
                        .all(|part| part.len() == 2 && part.parse::<u8>().is_ok()),
                "{line:?}"
            );
            let level = words.next().unwrap();
            assert!(
                ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level),
                "{line:?}"
            );
            assert!(!words.next().unwrap().starts_with("forged"), "{line:?}");
        }
    }
}

#[tokio::test]
async fn commands_print_nothing_that_controls_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("evil.js"), PLUGIN).unwrap();
    let arguments = json!({ "text": EVIL }).to_string();
    let aih = || {
        let mut command: Command = Program::command(&tools::binary("aih"));
        command.current_dir(folder.path());
        command
    };
    let mut run = aih();
    run.args(["plugin", "run", "evil.js", "say", &arguments]);
    let mut unknown = aih();
    unknown.args(["plugin", "run", "evil.js", EVIL.split('\0').next().unwrap()]);
    std::fs::write(
        folder.path().join("aih-config.yaml"),
        format!("version: \"1.0\"\nname: {}\nno\u{202e}ne: 1\n", json!(EVIL)),
    )
    .unwrap();
    let mut check = aih();
    check.args(["config", "check"]);
    for (command, limit) in [(run, 300), (unknown, 300), (check, 60)] {
        let output = Program::run("aih", command, std::time::Duration::from_secs(limit)).await;
        assert!(!output.text.is_empty());
        let bad = output
            .text
            .chars()
            .find(|c| unprintable(*c) && !matches!(c, '\n' | '\t'));
        assert_eq!(bad, None, "{:?}", output.text);
    }
}

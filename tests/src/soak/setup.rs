//! What the load runs against: a hub with servers of every transport, plugins in every language, and hooks of each kind.

use tokio::sync::Mutex;

use aih_tests::{
    Fixture, Hub, KEY, Start,
    client::http,
    config, eventually,
    fixture::{external, local, mcps},
    tools,
};
use serde_json::Value;

/// The secret that webhooks are signed with.
pub(crate) const WEBHOOK_SECRET: &str = "the-secret-of-the-soak-webhook";

/// A plugin that keeps a counter for each key, in JavaScript.
const COUNTER_JS: &str = r#"
import { defineTool, host } from "aih-plugin";
defineTool({
  name: "count", description: "Counts its calls.",
  input: { type: "object", properties: { key: { type: "string" } }, required: ["key"] },
  handler: async ({ key }) => String(await host.state.update(key, (count) => (count ?? 0) + 1)),
});
"#;

/// A plugin that adds numbers, in Python.
const ADDER_PY: &str = r#"
from aih_plugin import tool

@tool
def add(a: int, b: int) -> str:
    """Adds two numbers."""
    return str(a + b)
"#;

/// See the module.
pub(crate) struct Setup {
    pub(crate) hub: Hub,
    /// Is never killed.
    _steady: Fixture,
    /// Is killed and started again on its port.
    pub(crate) killed: Mutex<Option<Fixture>>,
    pub(crate) killed_port: u16,
    configuration: String,
}

impl Setup {
    /// Starts everything, and waits until all of it is up.
    pub(crate) async fn start() -> Self {
        let (steady, killed) = (Fixture::start().await, Fixture::start().await);
        let configuration = configuration(&steady, &killed);
        let files = [
            ("plugins/counter.js", COUNTER_JS),
            ("plugins/adder.py", ADDER_PY),
            (
                "skills/one.md",
                "---\nname: one\ndescription: A skill.\n---\n\nBe steady.\n",
            ),
        ];
        let start = Start {
            config: &configuration,
            files: &files,
            env: &[("SOAK_WEBHOOK_SECRET", WEBHOOK_SECRET)],
            ..Start::default()
        };
        let hub = start.run().await;
        let setup = Self {
            hub,
            _steady: steady,
            killed_port: killed.port(),
            killed: Mutex::new(Some(killed)),
            configuration,
        };
        setup.until_up().await;
        setup
    }

    async fn until_up(&self) {
        for _ in 0..4 {
            // Sources are built at the first start: that may take longer than one wait.
            let all_up = tokio::time::timeout(
                aih_tests::SOON,
                eventually("every server, plugin and hook is up", || async {
                    let (_, _, text) = self.hub.get("/api/v1/health", Some(KEY), &[]).await;
                    let health: Value = serde_json::from_str(&text).ok()?;
                    let all = ["mcps", "plugins", "hooks"]
                        .iter()
                        .flat_map(|kind| health[*kind].as_array());
                    all.flatten().all(|entry| entry["state"] == "up").then_some(())
                }),
            );
            if all_up.await.is_ok() {
                return;
            }
        }
        panic!("not everything came up:\n{}", self.hub.output());
    }

    /// Writes the configuration anew and asks for a reload; `round` decides what is different.
    pub(crate) async fn reload(&self, round: u64) -> u16 {
        let mut text = self.configuration.clone();
        if round % 2 == 1 {
            text.push_str("configs:\n  extra: { file: ./skills/one.md }\n");
        }
        let path = self.hub.folder.path().join("aih-config.yaml");
        std::fs::write(path, config(&text)).unwrap();
        let answer = http()
            .post(self.hub.url("/api/v1/reload"))
            .bearer_auth(KEY)
            .send()
            .await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// The last lines that the hub printed.
    pub(crate) fn print_log_tail(&self) {
        let output = self.hub.output();
        let lines: Vec<_> = output.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(60)) {
            println!("  hub: {line}");
        }
    }
}

fn configuration(steady: &Fixture, killed: &Fixture) -> String {
    let servers = external("steady", &format!("{}/stateless/steady", steady.url), "")
        + &external("modern", &format!("{}/modern/modern", steady.url), "")
        + &external("stateful", &format!("{}/stateful/stateful", steady.url), "")
        + &external(
            "events",
            &format!("{}/sse/stateful/events", steady.url),
            ", transport: sse",
        )
        + &external(
            "killed",
            &format!("{}/stateless/killed", killed.url),
            ", timeout: 5s",
        );
    let processes = local("process", "stateless", &[], ", sessions: shared, instances: 2")
        + &local("fragile", "stateless", &[], ", sessions: shared, timeout: 5s");
    let guest = |name: &str| tools::guest(name).display().to_string();
    let mut text = mcps(&servers, &processes);
    text.push_str("skills:\n  - { name: one, file: ./skills/one.md }\n");
    text.push_str(&format!(
        "plugins:
  - {{ name: echo, file: \"{}\", grants: {{ state: {{ max_bytes: 1MiB }}, mcps: [\"steady/*\"] }} }}
  - {{ name: hostile, file: \"{}\", limits: {{ time: 1s, memory: 64MiB }} }}
  - {{ name: counter, file: ./plugins/counter.js, grants: {{ state: {{ max_bytes: 1MiB }} }} }}
  - {{ name: adder, file: ./plugins/adder.py }}
",
        guest("echo"),
        guest("hostile")
    ));
    let judge = guest("judge");
    text.push_str(&format!(
        "hooks:
  - {{ name: guard, trigger: tool.before, action: \"{judge}\", match: {{ mcps: [stateful] }}, on_failure: closed, limits: {{ time: 5s }} }}
  - {{ name: after, trigger: tool.after, action: \"{judge}\", match: {{ mcps: [stateful] }} }}
  - {{ name: noted, trigger: tool.after, mode: background, action: \"{judge}\", match: {{ mcps: [modern, echo] }} }}
  - {{ name: failed, trigger: tool.error, mode: background, action: \"{judge}\" }}
  - {{ name: begun, trigger: conversation.start, action: \"{judge}\" }}
  - {{ name: ended, trigger: conversation.end, action: \"{judge}\" }}
  - {{ name: called, trigger: http, action: \"{judge}\", webhook: {{ secret: SOAK_WEBHOOK_SECRET, scheme: github }} }}
  - {{ name: by-hand, trigger: manual, action: \"{judge}\" }}
  - {{ name: timed, trigger: schedule, schedule: \"* * * * *\", action: \"{judge}\" }}
"
    ));
    text
}

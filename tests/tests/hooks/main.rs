//! Hooks, against the real program: every trigger by the real event, the example hooks of this repository with
//! real MCP clients, hooks that break, and the examples of the documentation.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod commands;
mod data_folder;
mod discord;
mod events;
mod examples;
mod faults;
mod guards;
mod names;
mod queue;

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aih_tests::{Fixture, Hub, KEY, Program, client::http, eventually, tools};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    routing,
};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for a source to be built, on a machine that is busy with other builds.
const BUILDS: Duration = Duration::from_secs(280);

/// Sends every event to `config.url`; a background hook's receiver.
const RECORD: &str = r#"
import { defineHook, host } from "aih-plugin";
defineHook(async (event) => {
  const response = await fetch(host.config.get("url"), {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...event.payload, attempt: event.attempt }),
  });
  if (!response.ok) throw new Error(`the receiver said ${response.status}`);
});
"#;

/// A server that keeps what it is sent.
#[derive(Clone, Default)]
struct Receiver {
    events: Arc<Mutex<Vec<Value>>>,
    /// How many requests to refuse first.
    refuse: Arc<Mutex<usize>>,
    delay: Duration,
}

impl Receiver {
    /// Starts it; answers its address.
    async fn start(self) -> (Self, String) {
        async fn take(State(this): State<Receiver>, body: String) -> StatusCode {
            tokio::time::sleep(this.delay).await;
            {
                let mut refuse = this.refuse.lock().unwrap();
                if *refuse > 0 {
                    *refuse -= 1;
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
            }
            this.events
                .lock()
                .unwrap()
                .push(serde_json::from_str(&body).unwrap());
            StatusCode::NO_CONTENT
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/", routing::post(take))
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (self, url)
    }

    fn of(&self, trigger: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .filter(|event| event["trigger"] == trigger)
            .cloned()
            .collect()
    }

    /// Waits for an event of a trigger that `fits`.
    async fn until(&self, hub: &Hub, trigger: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let what = format!("an event `{trigger}`; the hub says:\n{}", hub.output());
        eventually(&what, || {
            std::future::ready(self.of(trigger).into_iter().find(&fits))
        })
        .await
    }
}

fn record(name: &str, trigger: &str, url: &str, more: &str) -> String {
    format!(
        "  - {{ name: {name}, trigger: {trigger}, action: ./hooks/record.js, {more} \
         grants: {{ http: [\"{url}\"] }}, config: {{ url: \"{url}/\" }} }}\n"
    )
}

fn one(fixture: &Fixture) -> String {
    format!(
        "mcps:\n  external:\n    - {{ name: one, url: \"{}/stateful/one\" }}\n",
        fixture.url
    )
}

/// What the hub says of its hooks.
async fn hooks(hub: &Hub) -> Vec<Value> {
    let (_, _, text) = hub.get("/api/v1/registry/hooks", Some(KEY), &[]).await;
    let list: Value = serde_json::from_str(&text).unwrap();
    list["hooks"].as_array().unwrap().clone()
}

/// What the hub says of one hook.
async fn hook(hub: &Hub, name: &str) -> Value {
    let all = hooks(hub).await;
    all.into_iter().find(|hook| hook["name"] == name).unwrap()
}

/// Waits until a hook is built.
async fn until_up(hub: &Hub, name: &str) {
    let until = Instant::now() + BUILDS;
    loop {
        let hook = hook(hub, name).await;
        match hook["state"].as_str() {
            Some("up" | "disabled") => return,
            Some("down") => panic!("{hook}"),
            _ => {}
        }
        assert!(Instant::now() < until, "it is not built: {hook}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until all hooks that are switched on are built.
async fn until_ready(hub: &Hub) {
    for hook in hooks(hub).await {
        until_up(hub, hook["name"].as_str().unwrap()).await;
    }
}

/// Waits until a background hook ran so often, and nothing waits any more.
async fn until_ran(hub: &Hub, name: &str, runs: u64) {
    let what = format!("`{name}` ran {runs} times and nothing waits");
    eventually(&what, || async {
        let ran = hook(hub, name).await["runs"].as_u64().unwrap() >= runs;
        let (_, _, text) = hub.get("/api/v1/hooks/dead", Some(KEY), &[]).await;
        let counts = serde_json::from_str::<Value>(&text).unwrap()["counts"].clone();
        (ran && counts["waiting"] == 0 && counts["running"] == 0).then_some(())
    })
    .await;
}

/// A component that `cargo xtask guests` builds, as the value of `action`.
fn guest(name: &str) -> String {
    tools::guest(name).display().to_string()
}

async fn post(
    hub: &Hub,
    path: &str,
    key: Option<&str>,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, Value) {
    let mut request = http().post(hub.url(path)).body(body.to_owned());
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn signature(secret: &str, body: &str) -> String {
    use std::io::Write as _;
    let mut openssl = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let out = openssl.wait_with_output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    format!("sha256={}", text.rsplit(' ').next().unwrap().trim())
}

/// Starts the program again on the folder of a hub that is gone.
async fn again(folder: TempDir, env: &[(&str, &str)]) -> Hub {
    let mut command = Program::command(&tools::binary("aih"));
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--config",
        ])
        .arg(folder.path().join("aih-config.yaml"))
        .envs(env.iter().copied())
        .current_dir(folder.path());
    let program = Program::spawn("aih", command);
    let line = program.wait_for_line("listening on ").await;
    let (_, rest) = line.split_once("listening on ").unwrap();
    let end = rest.find(|c: char| c == '"' || c == '\\' || c.is_whitespace());
    Hub {
        base: rest[..end.unwrap_or(rest.len())].to_owned(),
        program,
        folder,
    }
}

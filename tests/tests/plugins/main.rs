//! Plugins in a real hub: components in Rust, sources in JavaScript and Python, and hostile ones.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod ahead;
mod bad_components;
mod calls;
mod computing;
mod documents;
mod examples;
mod folders;
mod globals;
mod hostile;
mod languages;
mod packages;
mod pressure;
mod redirects;
mod sources;
mod texts;
mod updates;

use std::time::{Duration, Instant};

use aih_tests::{Hub, KEY, Legacy, tools};
use serde_json::Value;

/// Longest wait for a source to be built, on a machine that is busy with other builds.
const BUILDS: Duration = Duration::from_secs(300);

/// One entry of `plugins` for a component that `cargo xtask guests` builds.
fn guest(name: &str, rest: &str) -> String {
    plugin(name, &tools::guest(name).display().to_string(), rest)
}

/// One entry of `plugins`; `rest` is YAML in flow style, such as `limits: { time: "1s" }`.
fn plugin(name: &str, file: &str, rest: &str) -> String {
    let comma = if rest.is_empty() { "" } else { ", " };
    format!("  - {{ name: \"{name}\", file: \"{file}\"{comma}{rest} }}\n")
}

/// A hub with these entries of `plugins`, once each of `up` is up.
async fn hub(plugins: &[String], up: &[&str]) -> Hub {
    let hub = Hub::start(&format!("plugins:\n{}", plugins.concat())).await;
    for name in up {
        until_state(&hub, name, "up").await;
    }
    hub
}

/// What health says of a plugin, once it is in this state.
async fn until_state(hub: &Hub, name: &str, state: &str) -> Value {
    let until = Instant::now() + BUILDS;
    loop {
        let found = health(hub, name).await;
        if let Some(found) = found.as_ref().filter(|found| found["state"] == state) {
            return found.clone();
        }
        assert!(
            Instant::now() < until,
            "plugin `{name}` did not become {state}: {found:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What health says of a plugin now.
async fn health(hub: &Hub, name: &str) -> Option<Value> {
    let (_, _, text) = hub.get("/api/v1/health", Some(KEY), &[]).await;
    let health: Value = serde_json::from_str(&text).ok()?;
    let plugins = health["plugins"].as_array()?;
    plugins.iter().find(|plugin| plugin["name"] == name).cloned()
}

/// The text of a call's result.
async fn text(client: &Legacy, tool: &str, arguments: Value) -> String {
    client.call(tool, arguments).await.text()
}

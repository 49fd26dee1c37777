//! Keys, permissions and what people see of them, against the real program.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod authority;
mod endpoints;
mod existence;
mod files;
mod lines;
mod mcp;
mod reload;
mod rest;
mod secrets;
mod shape;
mod spill;
mod start;

use aih_tests::{Fixture, Hub, KEY, Legacy, Start, key_hash};
use serde_json::Value;

const LIMITED: &str = "aih_key-with-few-permissions";
const NOTHING: &str = "aih_key-without-permissions";

fn keys() -> String {
    format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: limited, key_hash: \"{}\", permissions: [\"mcps/one/*\", \"!mcps/one/pid\", \"skills/open\", \"configs/open\"] }}\n    \
         - {{ name: nothing, key_hash: \"{}\" }}\n",
        key_hash(KEY),
        key_hash(LIMITED),
        key_hash(NOTHING)
    )
}

const FILES: &[(&str, &str)] = &[
    (
        "skills/open.md",
        "---\nname: open\ndescription: Open to all\n---\n# Open\n",
    ),
    ("skills/closed.md", "# Closed\n"),
    (
        "skills/folder/SKILL.md",
        "---\nname: folder\ndescription: A folder\n---\nRead more.md\n",
    ),
    ("skills/folder/more.md", "more\n"),
    ("configs/open.md", "open config\n"),
    ("configs/closed.json", "{\"closed\": true}\n"),
    ("secret.txt", "must-never-be-served\n"),
];

async fn two(fixture: &Fixture) -> Hub {
    let config = format!(
        "{}mcps:\n  external:\n    - {{ name: one, url: \"{url}/stateful/one\" }}\n    \
         - {{ name: two, url: \"{url}/stateless/two\" }}\nskills:\n  - {{ name: open, file: ./skills/open.md }}\n  \
         - {{ name: closed, description: Closed, file: ./skills/closed.md }}\n  \
         - {{ name: folder, file: ./skills/folder/SKILL.md }}\nconfigs:\n  open: {{ file: ./configs/open.md }}\n  \
         closed: {{ file: ./configs/closed.json }}\n",
        keys(),
        url = fixture.url
    );
    let start = Start {
        config: &config,
        files: FILES,
        ..Start::default()
    };
    let hub = start.run().await;
    let admin = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&admin, &["one__echo", "two__echo"]).await;
    hub
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|e| e["name"].as_str().unwrap()).collect()
}

async fn json_of(hub: &Hub, path: &str, key: &str) -> Value {
    let (status, _, body) = hub.get(path, Some(key), &[]).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

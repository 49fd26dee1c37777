//! Plugins from their sources: built by the hub itself, with no program on its PATH, built anew when they change.

use aih_tests::{Start, eventually};
use serde_json::json;

use crate::{text, until_state};

const JS: &str = r#"
import { defineTool } from "aih-plugin";
defineTool({
  name: "greet",
  description: "Greets",
  input: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
  handler: async ({ name }) => `Hello, ${name}!`,
});
"#;

const TS: &str = r#"
import { defineTool } from "aih-plugin";
interface Args { name: string }
defineTool({
  name: "greet",
  description: "Greets",
  input: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
  handler: async ({ name }: Args): Promise<string> => `Hello, ${name}!`,
});
"#;

const PY: &str = r#"
from aih_plugin import tool

@tool
def greet(name: str) -> str:
    """Greets."""
    return f"Hello, {name}!"
"#;

const CONFIG: &str = "plugins:
  - { name: js, file: ./plugins/hello.js }
  - { name: ts, file: ./plugins/hello.ts }
  - { name: py, file: ./plugins/hello.py }
  - { name: broken, file: ./plugins/broken.js }
  - { name: broken-py, file: ./plugins/broken.py }
";

#[tokio::test]
async fn sources_are_built_without_node_and_python_and_again_when_they_change() {
    let start = Start {
        config: CONFIG,
        files: &[
            ("plugins/hello.js", JS),
            ("plugins/hello.ts", TS),
            ("plugins/hello.py", PY),
            (
                "plugins/broken.js",
                "import { defineTool } from \"aih-plugin\";\n\nconst x = = 1;\n",
            ),
            ("plugins/broken.py", "def f(:\n    pass\n"),
        ],
        env: &[("PATH", "")],
        own_cache: true,
        ..Start::default()
    };
    let hub = start.run().await;
    for name in ["js", "ts", "py"] {
        until_state(&hub, name, "up").await;
    }
    let client = hub.legacy().await;
    for name in ["js", "ts", "py"] {
        let answer = text(&client, &format!("{name}__greet"), json!({"name": "Ada"})).await;
        assert_eq!(answer, "Hello, Ada!", "{name}");
    }
    let broken = until_state(&hub, "broken", "down").await;
    let error = broken["last_error"].as_str().unwrap();
    assert!(error.contains("broken.js:3:11"), "{error}");
    let broken = until_state(&hub, "broken-py", "down").await;
    let error = broken["last_error"].as_str().unwrap();
    assert!(error.contains("broken.py:1:"), "{error}");
    std::fs::write(
        hub.folder.path().join("plugins/hello.js"),
        JS.replace("Hello", "Goodbye"),
    )
    .unwrap();
    std::fs::write(hub.folder.path().join("plugins/broken.js"), JS).unwrap();
    until_state(&hub, "broken", "up").await;
    eventually("the changed source answers", || async {
        let answer = text(&client, "js__greet", json!({"name": "Ada"})).await;
        (answer == "Goodbye, Ada!").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hub_without_a_folder_for_temporary_files_builds_beside_its_cache() {
    let start = Start {
        config: "plugins:\n  - { name: js, file: ./plugins/hello.js }\n",
        files: &[("plugins/hello.js", JS)],
        env: &[("TMPDIR", "/there/is/no/such/folder")],
        own_cache: true,
        ..Start::default()
    };
    let hub = start.run().await;
    until_state(&hub, "js", "up").await;
    let answer = text(&hub.legacy().await, "js__greet", json!({"name": "Ada"})).await;
    assert_eq!(answer, "Hello, Ada!");
}

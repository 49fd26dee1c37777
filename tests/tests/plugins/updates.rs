//! Many calls that change one value of the state at the same time, in each language.

use aih_tests::{Hub, Legacy, Start};
use serde_json::{Value, json};

use crate::{guest, hostile::outcome, until_state};

const JAVASCRIPT: &str = r#"
import { defineTool, host } from "aih-plugin";
const state = host.state;
defineTool({
  name: "count",
  description: "Counts",
  input: { type: "object" },
  handler: async ({ key = "count" }) => String(await state.update(key, (n) => (n ?? 0) + 1)),
});
defineTool({
  name: "nested",
  description: "Changes two keys within each other, and one of them twice",
  input: { type: "object" },
  handler: async ({ outer, inner }) => {
    await state.update(outer, async (n) => {
      await state.update(inner, (m) => (m ?? 0) + 1);
      return (n ?? 0) + 1;
    });
    return String(await state.update(outer, (n) => n));
  },
});
defineTool({
  name: "hold",
  description: "Keeps its turn for the time given",
  input: { type: "object" },
  handler: async ({ key, ms }) => {
    let tries = 0;
    await state.update(key, async (n) => {
      if (tries++ === 0) {
        await state.set("holding", true);
        await new Promise((resolve) => setTimeout(resolve, ms));
      }
      return (n ?? 0) + 1;
    });
    return String(tries);
  },
});
defineTool({
  name: "holds",
  description: "Whether a call keeps its turn",
  input: { type: "object" },
  handler: async () => String(await state.get("holding")),
});
defineTool({
  name: "fill",
  description: "Writes so many bytes",
  input: { type: "object" },
  handler: ({ key, size }) => state.update(key, () => "x".repeat(size)).then((text) => String(text.length), (error) => error.code),
});
"#;

const PYTHON: &str = r#"
from aih_plugin import state, tool


@tool
def count(key: str = "count") -> str:
    """Counts"""
    return str(state.update_json(key, lambda n: n + 1, default=0))
"#;

async fn start() -> (Hub, Legacy) {
    let rest = "grants: { state: { max_bytes: \"100kB\" } }, limits: { time: \"120s\", concurrency: 100 }";
    let config = format!(
        "plugins:\n{}  - {{ name: js, file: ./js.js, {rest} }}\n  - {{ name: py, file: ./py.py, {rest} }}\n",
        guest("echo", rest),
    );
    let start = Start {
        config: &config,
        files: &[("js.js", JAVASCRIPT), ("py.py", PYTHON)],
        ..Start::default()
    };
    let hub = start.run().await;
    for name in ["echo", "js", "py"] {
        until_state(&hub, name, "up").await;
    }
    let client = hub.legacy().await;
    (hub, client)
}

/// What calls of a tool at the same time answer.
async fn at_once(client: &Legacy, calls: usize, tool: &str, arguments: Value) -> Vec<String> {
    let calls = (0..calls).map(|_| outcome(client, tool, arguments.clone()));
    futures::future::join_all(calls).await
}

#[tokio::test]
async fn a_hundred_updates_at_once_all_succeed() {
    let (_hub, client) = start().await;
    for tool in ["echo__state_counter", "js__count", "py__count"] {
        let mut counts = at_once(&client, 100, tool, json!({"key": "hundred"})).await;
        counts.sort_by_key(|count| (count.len(), count.clone()));
        let expected: Vec<_> = (1..=100).map(|count| format!("answered: {count}")).collect();
        assert_eq!(counts, expected, "{tool}");
    }
}

#[tokio::test]
async fn updates_within_each_other_end_and_lose_nothing() {
    let (_hub, client) = start().await;
    // Half of the calls take the keys in the other order: with two turns at a time they would wait for each other.
    let (one, two) = tokio::join!(
        at_once(&client, 3, "js__nested", json!({"outer": "a", "inner": "b"})),
        at_once(&client, 3, "js__nested", json!({"outer": "b", "inner": "a"})),
    );
    for answer in one.into_iter().chain(two) {
        assert!(answer.starts_with("answered: "), "{answer}");
    }
    // A call that begins again has changed the inner key more than once; no outer change is lost.
    for key in ["a", "b"] {
        let counted = outcome(&client, "js__count", json!({"key": key})).await;
        let counted: u32 = counted.trim_start_matches("answered: ").parse().unwrap();
        assert!(counted >= 7, "{key}: {counted}");
    }
}

#[tokio::test]
async fn a_call_that_keeps_its_turn_is_passed_by_and_begins_again() {
    let (_hub, client) = start().await;
    let (held, counted) = tokio::join!(
        outcome(&client, "js__hold", json!({"key": "held", "ms": 5_000})),
        async {
            let holds = || async {
                let holds = outcome(&client, "js__holds", json!({})).await;
                (holds == "answered: true").then_some(())
            };
            aih_tests::eventually("a call has the turn", holds).await;
            at_once(&client, 10, "js__count", json!({"key": "held"})).await
        }
    );
    assert!(
        counted.iter().all(|answer| answer.starts_with("answered: ")),
        "{counted:?}"
    );
    assert_eq!(held, "answered: 2");
    assert_eq!(
        outcome(&client, "js__count", json!({"key": "held"})).await,
        "answered: 12"
    );
}

#[tokio::test]
async fn a_quota_holds_for_updates_and_frees_the_turn() {
    let (_hub, client) = start().await;
    let fill = async |size: u32| outcome(&client, "js__fill", json!({"key": "full", "size": size})).await;
    assert_eq!(fill(200_000).await, "answered: quota");
    assert_eq!(fill(50_000).await, "answered: 50000");
    assert_eq!(fill(200_000).await, "answered: quota");
    let filled = at_once(&client, 10, "js__fill", json!({"key": "full", "size": 10})).await;
    assert!(filled.iter().all(|answer| answer == "answered: 10"), "{filled:?}");
}

//! What upstream servers must not do, against the real program: each fault stays with the server that has it,
//! ends in time, and heals without anybody's help.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod abandoned;
mod calls;
mod crashes;
mod dialects;
mod first_lists;
mod greeting;
mod heal;
mod lifetime;
mod lists;
mod own_lists;
mod pauses;
mod questions;
mod start;
mod through;
mod words;

use aih_tests::{
    Fixture, Hub, KEY, Legacy,
    fixture::{external, local, mcps},
    key_hash,
};
use serde_json::Value;

async fn health_of(hub: &Hub, name: &str) -> Value {
    let (_, _, body) = hub.get("/api/v1/health", Some(KEY), &[]).await;
    let health: Value = serde_json::from_str(&body).unwrap();
    let all = health["mcps"].as_array().unwrap();
    all.iter()
        .find(|m| m["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {body}"))
        .clone()
}

/// The keys of two people who may both use everything.
const ALICE: &str = "aih_key-of-alice-for-tests";
/// See [`ALICE`].
const BOB: &str = "aih_key-of-bob-for-tests";

/// A configuration with [`ALICE`], [`BOB`] and [`KEY`].
fn for_two(mcps: &str) -> String {
    let keys: String = [("admin", KEY), ("alice", ALICE), ("bob", BOB)]
        .iter()
        .map(|(name, key)| {
            format!(
                "    - {{ name: {name}, key_hash: \"{}\", permissions: [\"*\"] }}\n",
                key_hash(key)
            )
        })
        .collect();
    format!("{mcps}auth:\n  api_keys:\n{keys}")
}

/// Servers over every way of carriage, with a short timeout for calls.
async fn all_ways(fixture: &Fixture, more: &str) -> Hub {
    let url = &fixture.url;
    let outside = external("stateful", &format!("{url}/stateful/f"), more)
        + &external("stateless", &format!("{url}/stateless/f"), more)
        + &external("modern", &format!("{url}/modern/f"), more)
        + &external(
            "old",
            &format!("{url}/sse/stateful/f"),
            &format!(", transport: sse{more}"),
        )
        + &external("other", &format!("{url}/stateful/other"), "");
    let hub = Hub::start(&mcps(&outside, &local("child", "stateless", &[], more))).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(
        &client,
        &[
            "stateful__echo",
            "stateless__echo",
            "modern__echo",
            "old__echo",
            "other__echo",
            "child__echo",
        ],
    )
    .await;
    hub
}

/// The servers of [`all_ways`]: streamable HTTP with sessions, without, of the modern era; HTTP with SSE; stdio.
const WAYS: [&str; 5] = ["stateful", "stateless", "modern", "old", "child"];

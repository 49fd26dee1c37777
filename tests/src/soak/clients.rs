//! What each kind of client does in one round.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use aih_tests::{KEY, Legacy, Modern, Reply, client::http};
use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::{
    setup::{Setup, WEBHOOK_SECRET},
    tally::{Expected, Tally, success_only},
};

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Calls that nothing disturbs, with a session.
    SteadyLegacy,
    /// The same without a session.
    SteadyModern,
    /// Calls through blocking hooks, and answers what the server asks.
    Guarded,
    /// Changes shared state.
    Counting,
    /// Plugins that compute for ever or take all memory.
    Computing,
    /// Plugins that crash.
    Crashing,
    /// A local server that its calls crash, and calls beside it.
    Fragile,
    /// A server that is killed and started again.
    Killed,
    /// Waits for changes of lists that it provokes.
    Listening,
    /// Webhooks and hooks that are run by hand.
    Hooks,
    /// Comes, calls once, and goes or is gone.
    Passing,
}

/// The 64 clients.
pub(crate) const ROLES: [(Role, usize); 11] = [
    (Role::SteadyLegacy, 14),
    (Role::SteadyModern, 14),
    (Role::Guarded, 6),
    (Role::Counting, 6),
    (Role::Computing, 4),
    (Role::Crashing, 3),
    (Role::Fragile, 4),
    (Role::Killed, 4),
    (Role::Listening, 3),
    (Role::Hooks, 3),
    (Role::Passing, 3),
];

impl Role {
    /// Its name in the report. Kinds that begin with `ill` never succeed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SteadyLegacy => "steady, with a session",
            Self::SteadyModern => "steady, without a session",
            Self::Guarded => "guarded by hooks, answers questions",
            Self::Counting => "counts in shared state",
            Self::Computing => "ill: computes or takes all memory",
            Self::Crashing => "ill: crashes its plugin",
            Self::Fragile => "beside calls that crash the server",
            Self::Killed => "a server that is killed",
            Self::Listening => "waits for changes of lists",
            Self::Hooks => "webhooks and hooks by hand",
            Self::Passing => "comes and goes",
        }
    }

    /// How long it waits between two rounds; no two clients keep the same time.
    pub(crate) fn pause(self, number: usize) -> Duration {
        let base = match self {
            Self::SteadyLegacy | Self::SteadyModern => 150,
            Self::Computing => 100,
            _ => 400,
        };
        Duration::from_millis(base + (number as u64 * 37) % 100)
    }
}

/// Increments that were acknowledged, and those whose outcome is not known, for each counter.
#[derive(Default)]
pub(crate) struct Counted {
    acknowledged: [AtomicU64; 2],
    open: [AtomicU64; 2],
}

/// The tools that count, by the place of their counter in [`Counted`].
const COUNTERS: [&str; 2] = ["echo__state_counter", "counter__count"];

impl Counted {
    /// Compares the counters with what was acknowledged.
    pub(crate) async fn check(&self, setup: &Setup) -> Vec<String> {
        let client = setup.hub.legacy().await;
        let mut faults = Vec::new();
        for ((tool, acknowledged), open) in COUNTERS.iter().zip(&self.acknowledged).zip(&self.open) {
            let text = client.call(tool, json!({ "key": "soak" })).await.text();
            let stored = text.parse::<u64>().unwrap_or(0).saturating_sub(1);
            let least = acknowledged.load(Ordering::SeqCst);
            let most = least + open.load(Ordering::SeqCst);
            if !(least..=most).contains(&stored) {
                faults.push(format!(
                    "{tool}: {least} to {most} increments were made, and {stored} are stored"
                ));
            }
        }
        faults
    }
}

enum Connection {
    Legacy(Legacy),
    Modern(Modern),
}

/// One client.
pub(crate) struct Client {
    role: Role,
    number: usize,
    round: usize,
    connection: Connection,
}

impl Client {
    /// Connects it.
    pub(crate) async fn new(role: Role, number: usize, setup: &Setup) -> Self {
        let connection = match role {
            Role::SteadyModern => Connection::Modern(setup.hub.modern()),
            Role::Guarded => {
                let capabilities = json!({ "elicitation": {} });
                Connection::Legacy(Legacy::connect_with(&setup.hub, "/mcp", KEY, capabilities, answer).await)
            }
            _ => Connection::Legacy(setup.hub.legacy().await),
        };
        Self {
            role,
            number,
            round: number,
            connection,
        }
    }

    async fn call(&self, tool: &str, arguments: Value) -> Reply {
        match &self.connection {
            Connection::Legacy(client) => client.call(tool, arguments).await,
            Connection::Modern(client) => client.call(tool, arguments).await,
        }
    }

    async fn request(&self, method: &str) -> Reply {
        match &self.connection {
            Connection::Legacy(client) => client.request(method, json!({})).await,
            Connection::Modern(client) => client.request(method, json!({})).await,
        }
    }

    /// One round.
    pub(crate) async fn round(&mut self, setup: &Setup, tally: &Tally, counted: &Counted) {
        self.round += 1;
        let count = |reply: &Reply, expected: Expected| tally.count(self.role.name(), reply, expected);
        let text = json!({ "text": format!("round {}", self.round) });
        match self.role {
            Role::SteadyLegacy | Role::SteadyModern => {
                let reply = match self.round % 8 {
                    0 => self.request("tools/list").await,
                    1 => self.call("aih__list_mcps", json!({})).await,
                    2 => self.call("process__echo", text).await,
                    3 => self.call("adder__add", json!({ "a": self.round, "b": 1 })).await,
                    4 => self.call("modern__echo", text).await,
                    5 => self.call("events__echo", text).await,
                    6 => self.call("echo__echo", text).await,
                    _ => self.call("steady__echo", text).await,
                };
                count(&reply, success_only);
                tally.took(self.role.name(), reply.took);
            }
            Role::Guarded => {
                let reply = match self.round % 3 {
                    0 => self.call("stateful__ask", json!({ "kind": "elicitation" })).await,
                    _ => self.call("stateful__echo", text).await,
                };
                count(&reply, success_only);
            }
            Role::Counting => self.increment(tally, counted).await,
            Role::Computing => {
                let tool = ["endless_loop", "memory_bomb", "deep_recursion"][self.round % 3];
                let reply = self.call(&format!("hostile__{tool}"), json!({})).await;
                count(&reply, of_the_sandbox);
            }
            Role::Crashing => {
                let tool = ["panic", "abort", "never"][self.round % 3];
                let reply = self.call(&format!("hostile__{tool}"), json!({})).await;
                count(&reply, of_the_sandbox);
            }
            Role::Fragile => {
                let crash = self.number.is_multiple_of(4) && self.round.is_multiple_of(12);
                let reply = self
                    .call(if crash { "fragile__exit" } else { "fragile__echo" }, text)
                    .await;
                count(&reply, |what| what.starts_with("error -32050"));
            }
            Role::Killed => {
                let reply = self.call("killed__echo", text).await;
                count(&reply, |what| {
                    what.starts_with("error -32050") || what.starts_with("error -32001")
                });
            }
            Role::Listening => self.listen(tally).await,
            Role::Hooks => hooks(setup, self.round, self.number, tally).await,
            Role::Passing => {
                let client = setup.hub.legacy().await;
                count(&client.call("steady__echo", text).await, success_only);
                if !self.round.is_multiple_of(8) {
                    client.close().await;
                }
            }
        }
    }

    async fn increment(&self, tally: &Tally, counted: &Counted) {
        let at = self.round % COUNTERS.len();
        let (Some(tool), Some(acknowledged), Some(open)) = (
            COUNTERS.get(at),
            counted.acknowledged.get(at),
            counted.open.get(at),
        ) else {
            return;
        };
        // Counted before, for a round that is cut off.
        open.fetch_add(1, Ordering::SeqCst);
        let reply = self.call(tool, json!({ "key": "soak" })).await;
        if tally.count(self.role.name(), &reply, success_only) {
            acknowledged.fetch_add(1, Ordering::SeqCst);
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Opens the standing stream, changes a list, and waits until the change is announced.
    async fn listen(&self, tally: &Tally) {
        let Connection::Legacy(client) = &self.connection else {
            return;
        };
        let mut events = client.standing().await;
        // Each of these clients adds and removes a tool of its own.
        let name = format!("added_{}", self.number);
        let reply = client
            .call("events__add_tool", json!({ "name": name, "toggle": true }))
            .await;
        tally.count(self.role.name(), &reply, success_only);
        let heard = tokio::time::timeout(
            Duration::from_secs(10),
            events.until("notifications/tools/list_changed"),
        );
        let what = match heard.await {
            Ok(_) => "ok",
            Err(_) => "no list_changed in 10 s",
        };
        tally.note(self.role.name(), what.to_owned(), String::new(), success_only);
    }
}

/// How a plugin ends that computes for ever, takes all memory or crashes.
fn of_the_sandbox(what: &str) -> bool {
    ["timed-out", "out-of-memory", "trapped"]
        .iter()
        .any(|kind| what.ends_with(kind))
}

fn answer(_method: &str, _params: &Value) -> Value {
    json!({ "action": "accept", "content": { "name": "soak" } })
}

async fn hooks(setup: &Setup, round: usize, number: usize, tally: &Tally) {
    let body = json!({ "round": round, "number": number }).to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let called = http()
        .post(setup.hub.url("/api/v1/hooks/called/webhook"))
        .header("x-hub-signature-256", format!("sha256={hex}"))
        .header("content-type", "application/json")
        .body(body.clone());
    let by_hand = http()
        .post(setup.hub.url("/api/v1/hooks/by-hand/trigger"))
        .bearer_auth(KEY)
        .header("content-type", "application/json")
        .body(body);
    for request in [called, by_hand] {
        let status = request.send().await.map_or(0, |answer| answer.status().as_u16());
        let what = if (200..300).contains(&status) {
            "ok".to_owned()
        } else {
            format!("status {status}")
        };
        tally.note(Role::Hooks.name(), what, String::new(), success_only);
    }
}

//! The state of the hub, and of everything behind it that a key may see.

use aih_store::{StoreError, StoreHealth};
use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    VERSION,
    code::{HookView, PluginView, hooks, plugins},
    content::BuiltinContent,
    files,
    mcps::visible_mcps,
};
use crate::{
    access::Principal,
    catalogue::Snapshot,
    hooks::Hooks,
    listener,
    memory::{Memory, dropped_events},
    provider::{ProviderState, ProviderStatus},
};

/// The state of the hub in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Everything that is switched on serves or is starting.
    Ok,
    /// Something that is switched on does not serve, or its lists cannot be read; the rest serves.
    Degraded,
}

/// How the store is.
#[derive(Clone, Debug, Default, Serialize, JsonSchema, ToSchema)]
pub struct StoreView {
    /// Version of its schema; 0 where it cannot be read.
    pub schema: i64,
    /// Bytes that its files take.
    pub bytes: u64,
    /// Events for background hooks that are ready to run or run now.
    pub events_queued: u64,
    /// Events that wait for another attempt.
    pub events_waiting: u64,
    /// Events that were given up.
    pub events_dead: u64,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<Result<StoreHealth, StoreError>> for StoreView {
    fn from(health: Result<StoreHealth, StoreError>) -> Self {
        match health {
            Ok(StoreHealth {
                schema,
                bytes,
                events,
            }) => Self {
                schema,
                bytes,
                events_queued: events.ready.saturating_add(events.claimed),
                events_waiting: events.waiting,
                events_dead: events.dead,
                error: None,
            },
            Err(error) => Self {
                error: Some(error.to_string()),
                ..Self::default()
            },
        }
    }
}

/// Connections that were refused or closed by the hub.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct ClosedView {
    /// Why: `address`, `full`, `crowded`, `handshake`, `silent`, `slow_head`, `idle`, `stalled` or `flood`.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Clients of the hub: their connections, and the bytes that the hub holds for them.
#[derive(Clone, Debug, Default, Serialize, JsonSchema, ToSchema)]
pub struct ClientsView {
    /// Connections that have shown a valid key.
    pub keyed: usize,
    /// Connections that have not shown a valid key.
    pub strangers: usize,
    /// How many connections there may be.
    pub limit: usize,
    /// Connections that were refused or closed by the hub since it started.
    pub closed: Vec<ClosedView>,
    /// Bytes of requests that arrive or are being worked on.
    pub request_bytes: usize,
    /// Bytes of requests without a key that arrive or are being worked on.
    pub stranger_bytes: usize,
    /// Bytes of answers and notifications that wait to be fetched.
    pub waiting_bytes: usize,
    /// Bytes that were delivered and are kept for clients that were cut off.
    pub kept_bytes: usize,
    /// Requests and answers that were refused because of a memory limit.
    pub refused: u64,
    /// Notifications that were dropped because no client fetched them.
    pub dropped: u64,
}

impl ClientsView {
    /// What is there now.
    pub fn of(connections: Option<&listener::Registry>, memory: &Memory) -> Self {
        let counts = connections.map(listener::Registry::counts).unwrap_or_default();
        let closed = counts.closed.iter().map(|(reason, count)| ClosedView {
            reason: reason.name().to_owned(),
            count: *count,
        });
        let (requests, strangers) = (memory.requests.all(), memory.unauthenticated.all());
        let (answers, kept) = (memory.answers.all(), memory.kept.all());
        Self {
            keyed: counts.keyed,
            strangers: counts.unauthenticated,
            limit: counts.limit,
            closed: closed.collect(),
            request_bytes: requests.used(),
            stranger_bytes: strangers.used(),
            waiting_bytes: answers.used().saturating_add(memory.notes.all().used()),
            kept_bytes: kept.used(),
            refused: requests.refused() + strangers.refused() + answers.refused(),
            dropped: dropped_events(),
        }
    }
}

/// A skill or a config that is not served.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct UnreadableView {
    /// `skill` or `config`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Why it is not served, and what to do.
    pub error: String,
}

/// Those of them that `principal` may see.
fn unreadable(content: &BuiltinContent, principal: &Principal) -> Vec<UnreadableView> {
    let skills = files::skills(content, principal).into_iter();
    let skills = skills.filter_map(|skill| Some(("skill", skill.name, skill.error?)));
    let configs = files::configs(content, principal).into_iter();
    let configs = configs.filter_map(|config| Some(("config", config.name, config.error?)));
    skills
        .chain(configs)
        .map(|(kind, name, error)| UnreadableView { kind, name, error })
        .collect()
}

/// The state of the hub, and of everything behind it that the key may see.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Health {
    /// The state in one word.
    pub status: HealthStatus,
    /// The hub's name.
    pub name: String,
    /// The hub's version.
    pub version: String,
    /// Whole seconds since the hub started.
    pub uptime_seconds: u64,
    /// MCP servers.
    pub mcps: Vec<ProviderStatus>,
    /// Plugins.
    pub plugins: Vec<PluginView>,
    /// Hooks.
    pub hooks: Vec<HookView>,
    /// Skills and configs that are not served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableView>,
    /// The store; in the REST API, and only for keys with `admin/store`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Box<StoreView>>,
    /// Connections and memory of clients; in the REST API, and only for keys with `admin/metrics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Box<ClientsView>>,
    /// Warnings about the configuration; only for keys with `admin/logs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How everything is that `principal` may see. `uptime` is since the hub started.
pub fn health(
    content: &BuiltinContent,
    snapshot: &Snapshot,
    running: &Hooks,
    uptime: std::time::Duration,
    principal: &Principal,
) -> Health {
    let mcps: Vec<ProviderStatus> = visible_mcps(snapshot, principal)
        .map(|(_, status)| status)
        .collect();
    let plugins = plugins(content, snapshot, principal);
    let hooks = hooks(content, running, principal);
    let unreadable = unreadable(content, principal);
    let states = mcps.iter().map(|mcp| mcp.state);
    let states = states.chain(plugins.iter().map(|plugin| plugin.state));
    let mut states = states.chain(hooks.iter().map(|hook| hook.state));
    let faulty = !unreadable.is_empty()
        || states.any(|state| matches!(state, ProviderState::Down | ProviderState::Degraded));
    Health {
        status: if faulty {
            HealthStatus::Degraded
        } else {
            HealthStatus::Ok
        },
        name: content.name.clone(),
        version: VERSION.to_owned(),
        uptime_seconds: uptime.as_secs(),
        mcps,
        plugins,
        hooks,
        unreadable,
        store: None,
        clients: None,
        warnings: if principal.permissions().allows("admin/logs") {
            content.warnings.clone()
        } else {
            Vec::new()
        },
    }
}

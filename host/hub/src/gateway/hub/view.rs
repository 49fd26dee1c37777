//! What a key may know of everything registered: the one shape in which both the hub's tools and the REST
//! API show it.
//!
//! Every function takes the caller and leaves out what it may not see. Nothing here holds a secret: no
//! address of an upstream, no header, no environment.

use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use super::content::HubContent;
use crate::{
    access::Principal,
    catalogue::{ListKind, Offering, Snapshot, skills_mcp},
    gateway::stream::dropped_events,
    hooks::{Hooks, State},
    listener,
    memory::Memory,
    provider::{ProviderKind, ProviderState, ProviderStatus},
    store::{StoreError, StoreHealth},
};

/// Where an MCP runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum McpKind {
    /// Reached over HTTP.
    External,
    /// Started by the hub and spoken to over stdio.
    Local,
}

/// Paths of the hub at which one MCP is reached by itself, its names without prefix.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Endpoints {
    /// Streamable HTTP.
    pub mcp: String,
    /// HTTP with SSE.
    pub sse: String,
}

/// One MCP server behind the hub.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct McpView {
    /// Its name in the configuration.
    pub name: String,
    /// Where it runs.
    pub kind: McpKind,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How it is reached: `http`, `sse` or `stdio`.
    pub transport: String,
    /// Whether it serves.
    pub state: ProviderState,
    /// Whether the configuration lets it serve.
    pub enabled: bool,
    /// The last error, also after recovery; where it is disabled, the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How many of its tools this key may use.
    pub tools: usize,
    /// How many of its prompts this key may use.
    pub prompts: usize,
    /// How many of its resources this key may use.
    pub resources: usize,
    /// The revision of MCP that was negotiated with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Where it is reached by itself.
    pub endpoints: Endpoints,
}

/// One skill.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SkillView {
    /// Its name.
    pub name: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for; may be empty.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its `file` in the configuration.
    pub file: String,
    /// Its resource URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Why it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One file of a folder skill, other than its `SKILL.md`.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SkillFileView {
    /// Its path in the skill's folder.
    pub path: String,
    /// Its resource URI.
    pub uri: String,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: usize,
}

/// A skill with its text.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SkillContent {
    /// Its name.
    pub name: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for; may be empty.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its resource URI.
    pub uri: String,
    /// The markdown as written, with its head.
    pub content: String,
    /// The files beside it.
    pub files: Vec<SkillFileView>,
}

/// One config.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct ConfigView {
    /// Its key.
    pub name: String,
    /// Its `file` in the configuration.
    pub file: String,
    /// Its media type, with the charset of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Its resource URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Why it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One plugin.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The language of its source: `node`, `python` or `wasm`.
    pub runtime: String,
    /// Its `file` in the configuration.
    pub file: String,
    /// Whether it serves.
    pub state: ProviderState,
    /// Whether the configuration lets it serve.
    pub enabled: bool,
    /// The last error, also after recovery; where it is disabled, the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How many of its tools this key may use.
    pub tools: usize,
    /// Calls that run now.
    pub running: usize,
    /// Calls since the hub started that it crashed or was stopped in.
    pub crashes: u64,
}

/// One hook.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct HookView {
    /// Its name.
    pub name: String,
    /// The event that it waits for.
    pub trigger: String,
    /// Its `action` in the configuration.
    pub action: String,
    /// Whether it serves.
    pub state: ProviderState,
    /// Whether the configuration lets it serve.
    pub enabled: bool,
    /// The last error, also after recovery; where it is disabled, the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Whether its event waits for it.
    pub blocking: bool,
    /// How often it ran since the hub started.
    pub runs: u64,
    /// How often it failed since the hub started.
    pub failures: u64,
    /// How often it got no turn to run since the hub started, because the machine or all its places were busy.
    pub busy: u64,
    /// How many of its events were lost since the hub started, because too many waited.
    pub lost: u64,
}

/// Everything registered that the key may see.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Registry {
    /// The hub's name.
    pub name: String,
    /// The hub's version.
    pub version: String,
    /// MCP servers.
    pub mcps: Vec<McpView>,
    /// Skills.
    pub skills: Vec<SkillView>,
    /// Plugins.
    pub plugins: Vec<PluginView>,
    /// Hooks.
    pub hooks: Vec<HookView>,
    /// Configs.
    pub configs: Vec<ConfigView>,
}

/// In one word, how the hub is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Everything that is switched on serves or is starting.
    Ok,
    /// Something that is switched on does not serve; the rest does.
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
    /// Connections that have not.
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
    /// Requests and answers that found no room.
    pub refused: u64,
    /// Notifications that were dropped because nobody fetched them.
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
        let (requests, strangers) = (memory.requests.all(), memory.strangers.all());
        let (answers, kept) = (memory.answers.all(), memory.kept.all());
        Self {
            keyed: counts.keyed,
            strangers: counts.strangers,
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

/// How the hub and everything behind it that the key may see is.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Health {
    /// In one word.
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
    /// The store; in the REST API, and only for keys with `admin/store`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Box<StoreView>>,
    /// Connections and memory of clients; in the REST API, and only for keys with `admin/metrics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Box<ClientsView>>,
    /// What is to be looked at in the configuration; only for keys with `admin/logs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why what the configuration switches on does not serve in this version.
const NOT_YET: &str = "not run by this version of the hub";

/// Why a hook that the configuration names does not run.
const NOT_RUN: &str = "not run since the hub started; restart the hub to run it";

/// `text` as one segment of a path: all but `[A-Za-z0-9-._~]` percent-encoded.
pub(super) fn segment(text: &str) -> impl Display {
    const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, SEGMENT)
}

fn visible_mcps<'s>(
    snapshot: &'s Snapshot,
    principal: &'s Principal,
) -> impl Iterator<Item = (&'s Offering, ProviderStatus)> {
    snapshot
        .offerings()
        .iter()
        .map(|offering| (&**offering, offering.provider.status()))
        .filter(|(offering, status)| status.kind == ProviderKind::Mcp && offering.visible_to(principal))
        .map(|(offering, mut status)| {
            let may = |name: &str| principal.permissions().allows(&offering.permission(name));
            status.parked.retain(|parked| may(&parked.name));
            (offering, status)
        })
}

fn count(offering: &Offering, kind: ListKind, principal: &Principal) -> usize {
    let items = offering.items(kind).iter();
    items.filter(|item| item.visible_to(principal)).count()
}

/// The MCP servers that `principal` may use anything of.
pub fn mcps(snapshot: &Snapshot, principal: &Principal) -> Vec<McpView> {
    visible_mcps(snapshot, principal)
        .map(|(offering, status)| {
            let info = offering
                .offers
                .server_info
                .as_ref()
                .map(crate::mcp::RawJson::to_value);
            let said = |key: &str| {
                let text = info.as_ref()?.get(key)?.as_str()?;
                (!text.is_empty()).then(|| text.to_owned())
            };
            McpView {
                kind: if status.transport == "stdio" {
                    McpKind::Local
                } else {
                    McpKind::External
                },
                description: said("description").or_else(|| said("title")),
                tools: count(offering, ListKind::Tools, principal),
                prompts: count(offering, ListKind::Prompts, principal),
                resources: count(offering, ListKind::Resources, principal),
                endpoints: Endpoints {
                    mcp: format!("/mcp/{}", segment(&status.name)),
                    sse: format!("/mcp/{}/sse", segment(&status.name)),
                },
                name: status.name,
                transport: status.transport,
                enabled: status.state != ProviderState::Disabled,
                state: status.state,
                last_error: status.last_error.map(String::from),
                protocol: status.protocol,
            }
        })
        .collect()
}

/// The skills that `principal` may use, also those that could not be read.
pub fn skills(content: &HubContent, principal: &Principal) -> Vec<SkillView> {
    let entries = content.skills.entries();
    entries
        .filter(|entry| may_skill(principal, &entry.source.name))
        .map(|entry| {
            let skill = entry.outcome.as_ref().ok();
            SkillView {
                name: entry.source.name.clone(),
                title: skill.and_then(|skill| skill.title.clone()),
                description: skill.map_or_else(
                    || entry.source.description.clone().unwrap_or_default(),
                    |skill| skill.description.clone(),
                ),
                tags: skill.map_or_else(|| entry.source.tags.clone(), |skill| skill.tags.clone()),
                file: entry.source.file.clone(),
                uri: skill.map(|skill| skills_mcp::manifest_uri(skill)),
                error: entry.outcome.as_ref().err().map(ToString::to_string),
            }
        })
        .collect()
}

/// Looks one thing up: nothing there and not allowed are the same `None`.
pub fn skill(
    content: &HubContent,
    name: &str,
    principal: &Principal,
) -> Option<Result<SkillContent, String>> {
    let entry = content
        .skills
        .entry(name)
        .filter(|_| may_skill(principal, name))?;
    Some(match &entry.outcome {
        Err(error) => Err(error.to_string()),
        Ok(skill) => {
            let uri = skills_mcp::manifest_uri(skill);
            let folder = uri.rsplit_once('/').map_or("", |(folder, _)| folder);
            let files = skill.files.iter().map(|file| SkillFileView {
                uri: file
                    .path
                    .split('/')
                    .fold(folder.to_owned(), |uri, part| format!("{uri}/{}", segment(part))),
                path: file.path.clone(),
                media_type: file.media_type.to_owned(),
                size: file.bytes.len(),
            });
            Ok(SkillContent {
                name: skill.name.clone(),
                title: skill.title.clone(),
                description: skill.description.clone(),
                tags: skill.tags.clone(),
                content: skill.text.clone(),
                files: files.collect(),
                uri,
            })
        }
    })
}

/// The configs that `principal` may read, also those that could not be read from disk.
pub fn configs(content: &HubContent, principal: &Principal) -> Vec<ConfigView> {
    let entries = content.configs.entries();
    entries
        .filter(|entry| may_config(principal, &entry.source.key))
        .map(|entry| {
            let config = entry.outcome.as_ref().ok();
            ConfigView {
                name: entry.source.key.clone(),
                file: entry.source.file.clone(),
                content_type: config.map(|config| config.content_type()),
                size: config.map(|config| config.bytes.len()),
                uri: config.map(|config| config.uri()),
                error: entry.outcome.as_ref().err().map(ToString::to_string),
            }
        })
        .collect()
}

/// The plugins that `principal` may use anything of.
pub fn plugins(content: &HubContent, snapshot: &Snapshot, principal: &Principal) -> Vec<PluginView> {
    let plugins = content.plugins.iter();
    plugins
        .filter(|plugin| {
            let path = format!("plugins/{}", plugin.name);
            principal.permissions().allows_any_under(&path)
        })
        .map(|plugin| {
            let running = snapshot
                .provider(&plugin.name)
                .map(|offering| (offering, offering.provider.status()))
                .filter(|(_, status)| status.kind == ProviderKind::Plugin);
            let (state, last_error, tools, running, crashes) = match running {
                Some((offering, status)) => (
                    status.state,
                    status.last_error,
                    count(offering, ListKind::Tools, principal),
                    status.connections,
                    status.restarts,
                ),
                None => (ProviderState::Disabled, None, 0, 0, 0),
            };
            PluginView {
                name: plugin.name.clone(),
                description: plugin.description.clone(),
                runtime: plugin.runtime.to_owned(),
                file: plugin.file.clone(),
                enabled: plugin.disabled.is_none(),
                last_error: plugin
                    .disabled
                    .clone()
                    .or(last_error.map(String::from))
                    .or_else(|| (state == ProviderState::Disabled).then(|| NOT_YET.to_owned())),
                state,
                tools,
                running,
                crashes,
            }
        })
        .collect()
}

/// The hooks that `principal` may use.
pub fn hooks(content: &HubContent, hooks: &Hooks, principal: &Principal) -> Vec<HookView> {
    let entries = content.hooks.iter();
    entries
        .filter(|hook| may_hook(principal, &hook.name))
        .map(|hook| {
            let state = hooks.state(&hook.name);
            let count = |of: fn(&State) -> u64| state.as_ref().map_or(0, of);
            let error = state.as_ref().and_then(|state| state.last_error.clone());
            HookView {
                name: hook.name.clone(),
                trigger: hook.trigger.clone(),
                action: hook.action.clone(),
                enabled: hook.disabled.is_none(),
                last_error: hook
                    .disabled
                    .clone()
                    .or(error)
                    .or_else(|| state.is_none().then(|| NOT_RUN.to_owned())),
                state: state
                    .as_ref()
                    .map_or(ProviderState::Disabled, |state| state.state),
                blocking: state.as_ref().is_some_and(|state| state.blocking),
                runs: count(|state| state.runs),
                failures: count(|state| state.failures),
                busy: count(|state| state.busy),
                lost: count(|state| state.lost),
            }
        })
        .collect()
}

/// All five lists.
pub fn registry(
    content: &HubContent,
    snapshot: &Snapshot,
    running: &Hooks,
    principal: &Principal,
) -> Registry {
    Registry {
        name: content.name.clone(),
        version: VERSION.to_owned(),
        mcps: mcps(snapshot, principal),
        skills: skills(content, principal),
        plugins: plugins(content, snapshot, principal),
        hooks: hooks(content, running, principal),
        configs: configs(content, principal),
    }
}

/// How everything is that `principal` may see. `uptime` is since the hub started.
pub fn health(
    content: &HubContent,
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
    let down = mcps.iter().any(|mcp| mcp.state == ProviderState::Down)
        || plugins.iter().any(|plugin| plugin.state == ProviderState::Down)
        || hooks.iter().any(|hook| hook.state == ProviderState::Down);
    Health {
        status: if down {
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
        store: None,
        clients: None,
        warnings: if principal.permissions().allows("admin/logs") {
            content.warnings.clone()
        } else {
            Vec::new()
        },
    }
}

/// Whether `principal` may use the skill called `name`.
pub fn may_skill(principal: &Principal, name: &str) -> bool {
    principal.permissions().allows(&format!("skills/{name}"))
}

/// Whether `principal` may read the config with the key `name`.
pub fn may_config(principal: &Principal, name: &str) -> bool {
    principal.permissions().allows(&format!("configs/{name}"))
}

/// Whether `principal` may see and trigger the hook called `name`.
pub fn may_hook(principal: &Principal, name: &str) -> bool {
    principal.permissions().allows(&format!("hooks/{name}"))
}

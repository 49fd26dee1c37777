//! Plugins and hooks as a key may see them.

use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use super::{content::BuiltinContent, mcps::count};
use crate::{
    access::Principal,
    catalogue::{ListKind, Snapshot},
    hooks::{Hooks, State},
    provider::{ProviderKind, ProviderState},
};

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
    /// Calls since the hub started in which it crashed or was stopped.
    pub crashes: u64,
}

/// One hook.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct HookView {
    /// Its name.
    pub name: String,
    /// The event that it runs on.
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
    /// Whether the event waits until the hook has answered.
    pub blocking: bool,
    /// How often it ran since the hub started.
    pub runs: u64,
    /// How often it failed since the hub started.
    pub failures: u64,
    /// How often it could not run since the hub started, because the machine was busy or too many of its runs were in progress.
    pub busy: u64,
    /// How many of its events were lost since the hub started, because too many waited.
    pub lost: u64,
}

/// Why what the configuration switches on does not serve in this version.
const NOT_YET: &str = "not run by this version of the hub";

/// Why a hook that the configuration names does not run.
const NOT_RUN: &str = "not run since the hub started; restart the hub to run it";

/// The plugins that `principal` may use anything of.
pub fn plugins(content: &BuiltinContent, snapshot: &Snapshot, principal: &Principal) -> Vec<PluginView> {
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
pub fn hooks(content: &BuiltinContent, hooks: &Hooks, principal: &Principal) -> Vec<HookView> {
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

/// Whether `principal` may see and trigger the hook called `name`.
pub fn may_hook(principal: &Principal, name: &str) -> bool {
    principal.permissions().allows(&format!("hooks/{name}"))
}

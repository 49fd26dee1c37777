//! What a key may know of everything registered: the one shape in which the hub's tools and the REST API show it.
//!
//! [`Inventory`] holds what is registered now. [`mcps`](self::mcps()), [`files`] (skills and configs), [`code`] (plugins
//! and hooks) and [`health`](self::health()) say what of it a principal sees: every function takes the caller and leaves
//! out what it may not see. [`content`] is what the configuration registers, read once. Nothing here holds a secret: no
//! address of an upstream, no header, no environment.

mod code;
pub mod content;
mod files;
mod health;
mod inventory;
mod mcps;

use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{access::Principal, catalogue::Snapshot, hooks::Hooks};

pub use self::{
    code::{HookView, PluginView, hooks, may_hook, plugins},
    content::{BuiltinContent, HookInfo, PluginInfo},
    files::{
        ConfigView, SkillContent, SkillFileView, SkillView, configs, may_config, may_skill, skill, skills,
    },
    health::{ClientsView, ClosedView, Health, HealthStatus, StoreView, health},
    inventory::Inventory,
    mcps::{Endpoints, McpKind, McpView, mcps},
};

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

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All five lists.
pub fn registry(
    content: &BuiltinContent,
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

//! `GET /api/v1/registry…`, `/skills`, `/configs`: what is registered and visible to the key.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiState, problem::Problem, respond};
use crate::{
    access::Caller,
    registry::{self, ConfigView, HookView, McpView, PluginView, Registry, SkillView},
};

#[derive(Serialize, ToSchema)]
pub(super) struct Mcps {
    /// MCP servers that this key may use anything of.
    mcps: Vec<McpView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Skills {
    /// Skills that this key may use.
    skills: Vec<SkillView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Plugins {
    /// Plugins that this key may use anything of.
    plugins: Vec<PluginView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Hooks {
    /// Hooks that this key may trigger.
    hooks: Vec<HookView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Configs {
    /// Configs that this key may read.
    configs: Vec<ConfigView>,
}

/// Everything registered that the key may see.
#[utoipa::path(get, path = "/api/v1/registry", tag = "registry", responses((status = 200, body = Registry)))]
pub(super) async fn registry(
    State(state): State<ApiState>,
    Caller(who): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let snapshot = state.catalogue.snapshot_full();
    let registry = registry::registry(
        &state.inventory.content(),
        &snapshot,
        state.inventory.hooks(),
        &who,
    );
    respond::json(&headers, &registry)
}

/// The MCP servers.
#[utoipa::path(get, path = "/api/v1/registry/mcps", tag = "registry", responses((status = 200, body = Mcps)))]
pub(super) async fn mcps(
    State(state): State<ApiState>,
    Caller(who): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mcps = registry::mcps(&state.catalogue.snapshot_full(), &who);
    respond::json(&headers, &Mcps { mcps })
}

/// The skills.
#[utoipa::path(get, path = "/api/v1/registry/skills", tag = "registry", responses((status = 200, body = Skills)))]
pub(super) async fn skills(
    State(state): State<ApiState>,
    Caller(who): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let skills = registry::skills(&state.inventory.content(), &who);
    respond::json(&headers, &Skills { skills })
}

/// The skills; the same as `/api/v1/registry/skills`.
#[utoipa::path(get, path = "/api/v1/skills", tag = "resources", responses((status = 200, body = Skills)))]
pub(super) async fn skill_list(
    state: State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    skills(state, caller, headers).await
}

/// The plugins.
#[utoipa::path(get, path = "/api/v1/registry/plugins", tag = "registry", responses((status = 200, body = Plugins)))]
pub(super) async fn plugins(
    State(state): State<ApiState>,
    Caller(who): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let plugins = registry::plugins(&state.inventory.content(), &state.catalogue.snapshot_full(), &who);
    respond::json(&headers, &Plugins { plugins })
}

/// The hooks.
#[utoipa::path(get, path = "/api/v1/registry/hooks", tag = "registry", responses((status = 200, body = Hooks)))]
pub(super) async fn hooks(
    State(state): State<ApiState>,
    Caller(who): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hooks = registry::hooks(&state.inventory.content(), state.inventory.hooks(), &who);
    respond::json(&headers, &Hooks { hooks })
}

/// The configs.
#[utoipa::path(get, path = "/api/v1/registry/configs", tag = "registry", responses((status = 200, body = Configs)))]
pub(super) async fn configs(
    State(state): State<ApiState>,
    Caller(who): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let configs = registry::configs(&state.inventory.content(), &who);
    respond::json(&headers, &Configs { configs })
}

/// The configs; the same as `/api/v1/registry/configs`.
#[utoipa::path(get, path = "/api/v1/configs", tag = "resources", responses((status = 200, body = Configs)))]
pub(super) async fn config_list(
    state: State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    configs(state, caller, headers).await
}

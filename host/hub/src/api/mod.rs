//! The REST API under `/api/v1`: what is registered, skills and configs as files, health, metrics, logs, and the
//! description of the API itself.
//!
//! [`crate::access::protect`] runs first and says who calls. Every answer is filtered by the key of the caller: what the
//! key may not see is absent, or gets the same 404 as what does not exist. No handler may show a secret or read a
//! file: everything comes from memory.
//!
//! Each file holds the endpoints of one subject: [`registry`], [`resources`] (skills and configs), [`hooks`],
//! [`manage`] (health, logs, reload) and [`metrics`]. [`problem`] makes errors, [`respond`] makes answers, and
//! [`describe`] makes the OpenAPI document.

mod describe;
mod hooks;
mod manage;
mod metrics;
pub mod problem;
mod registry;
mod resources;
mod respond;

use std::sync::Arc;

use aih_store::Store;
use axum::Router;
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{
    catalogue::{Catalogue, files::sha256_hex},
    listener::{Registry, compression},
    memory::Memory,
    observe::LogBuffer,
    registry::Inventory,
    reload::Reloader,
};

pub use describe::description;

/// Largest body of a request, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// What the API answers from. Clones share it.
#[derive(Clone)]
pub struct ApiState {
    catalogue: Arc<Catalogue>,
    inventory: Arc<Inventory>,
    logs: LogBuffer,
    reloader: Option<Arc<Reloader>>,
    store: Option<Store>,
    memory: Arc<Memory>,
    connections: Option<Arc<Registry>>,
    /// Tag and text of the OpenAPI document.
    description: Arc<(String, Bytes)>,
}

impl ApiState {
    /// Puts together what the API answers from.
    pub fn new(catalogue: Arc<Catalogue>, inventory: Arc<Inventory>, logs: LogBuffer) -> Self {
        let text = Bytes::from(description().to_string());
        Self {
            catalogue,
            inventory,
            logs,
            reloader: None,
            store: None,
            memory: Arc::default(),
            connections: None,
            description: Arc::new((format!("\"{}\"", sha256_hex(&text)), text)),
        }
    }

    /// Lets `POST /api/v1/reload` work.
    #[must_use]
    pub fn with_reloader(mut self, reloader: Arc<Reloader>) -> Self {
        self.reloader = Some(reloader);
        self
    }

    /// Lets bodies be accounted for together with those of the MCP endpoints.
    #[must_use]
    pub fn with_memory(self, memory: Arc<Memory>) -> Self {
        Self { memory, ..self }
    }

    /// Lets health and metrics tell of connections.
    #[must_use]
    pub fn with_connections(self, connections: Arc<Registry>) -> Self {
        Self {
            connections: Some(connections),
            ..self
        }
    }

    /// Lets health tell of the store too.
    #[must_use]
    pub fn with_store(self, store: Store) -> Self {
        Self {
            store: Some(store),
            ..self
        }
    }
}

fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(describe::frame())
        .routes(routes!(registry::registry))
        .routes(routes!(registry::mcps))
        .routes(routes!(registry::skills))
        .routes(routes!(registry::plugins))
        .routes(routes!(registry::hooks))
        .routes(routes!(registry::configs))
        .routes(routes!(registry::skill_list))
        .routes(routes!(registry::config_list))
        .routes(routes!(resources::skill))
        .routes(routes!(resources::skill_file))
        .routes(routes!(resources::config))
        .routes(routes!(hooks::trigger))
        .routes(routes!(hooks::webhook))
        .routes(routes!(hooks::schema))
        .routes(routes!(hooks::dead))
        .routes(routes!(hooks::replay))
        .routes(routes!(hooks::purge))
        .routes(routes!(manage::health))
        .routes(routes!(manage::logs))
        .routes(routes!(metrics::metrics))
        .routes(routes!(manage::reload))
        .routes(routes!(manage::openapi))
}

/// Everything under `/api`, and the answer to paths that no route serves, to merge into the hub's router. The caller
/// puts [`crate::access::protect`] in front.
pub fn router(state: ApiState) -> Router {
    let (router, _) = routes().split_for_parts();
    compression::all(router)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .with_state(state)
}

#[cfg(test)]
mod tests;

//! The MCP client side: connections to the servers behind the hub, their health, lists and sessions.
//!
//! Each server is one [`UpstreamServer`], a [`Provider`](crate::catalogue::provider::Provider). One that is
//! sick never slows or blanks another. This module knows nothing of exposed names, keys or permissions.

mod backoff;
mod clients;
mod common;
mod connect;
mod connection;
mod connector;
mod core;
mod crashes;
mod error;
mod flight;
pub mod guard;
pub mod http;
mod http_client;
mod inbound;
mod lifecycle;
mod listen;
mod lists;
mod named;
mod outgoing;
mod pending;
mod questions;
mod server;
mod spec;
pub mod sse;
pub mod stdio;
mod stdio_env;
mod subscriptions;
mod supervisor;
pub mod transport;
mod users;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use connect::RealConnector;
pub use connector::{Connector, Way};
pub use http_client::{HttpClient, http_client};
pub use server::UpstreamServer;
pub use spec::{Kind, UpstreamSpec};
pub(crate) use stdio_env::inherited as is_inherited;

use std::sync::Arc;

use crate::catalogue::provider::ChangeSignal;

/// Starts all servers side by side; each connects in the background. `connector` makes what opens the
/// transports of one server. Needs a tokio runtime.
pub fn start_with(
    specs: impl IntoIterator<Item = UpstreamSpec>,
    changes: &ChangeSignal,
    connector: impl Fn(&UpstreamSpec) -> Arc<dyn Connector>,
) -> Vec<Arc<UpstreamServer>> {
    specs
        .into_iter()
        .map(|spec| {
            let connector = connector(&spec);
            UpstreamServer::start(spec, connector, changes.clone())
        })
        .collect()
}

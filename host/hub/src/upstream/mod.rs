//! The MCP client side: connections to the servers behind the hub, their health, lists and sessions.
//!
//! Each server is one [`UpstreamServer`], a [`Provider`](crate::provider::Provider). A server that fails never slows
//! down or hides another. This module knows nothing of exposed names, keys or permissions.
//!
//! From the rest of the hub to the wire, each layer uses only those below it:
//! - [`server`] is one server as the rest of the hub sees it: it finds out how the server talks, keeps its connections
//!   up, reads its lists, and chooses a connection for each request.
//! - [`link`] is one connection: ids, requests in flight, time limits, cancellation, and which client a message of the
//!   server concerns.
//! - [`transport`] carries messages: streamable HTTP, HTTP with SSE, or the standard input and output of a child.
//!
//! [`spec`] is the configuration of one server, for all three layers. [`known_lists`] keeps what servers listed for the
//! next start of the hub.

mod known_lists;
mod link;
mod server;
mod spec;
pub mod transport;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use known_lists::KnownLists;
pub use server::UpstreamServer;
pub use spec::{ServerAddress, UpstreamSpec};
pub use transport::{
    connect::RealConnector,
    connector::{Connector, TransportKind},
    http_client::{HttpClient, http_client},
};

use std::sync::Arc;

use crate::provider::ChangeSignal;

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

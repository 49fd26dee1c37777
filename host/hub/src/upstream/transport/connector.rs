//! The interface that opens transports, so that everything above can be tested without a network.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Inbox, Transport, TransportError};

/// Which transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// Streamable HTTP.
    Http,
    /// HTTP with SSE, the transport of 2024-11-05.
    Sse,
    /// A child process.
    Stdio,
}

impl TransportKind {
    /// The word for people and registry answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Stdio => "stdio",
        }
    }
}

/// Opens transports to one configured server.
#[async_trait]
pub trait Connector: Send + Sync {
    /// A new transport to instance number `instance` (an address; for stdio all are alike).
    ///
    /// # Errors
    /// [`TransportError::Connect`] and whatever the transport finds while it opens.
    async fn open(
        &self,
        transport_kind: TransportKind,
        instance: usize,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<dyn Transport>, TransportError>;
}

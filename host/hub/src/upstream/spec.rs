//! Everything that the hub must know to reach one upstream server, from any part of the configuration.

use std::{path::PathBuf, time::Duration};

use http::HeaderName;
use secrecy::SecretString;

use crate::config::{
    Endpoint, EntryState, ExternalMcp, LocalMcp, Protocol, Sessions, Text, ToolRules, Transport,
};

/// One upstream server as the configuration describes it. Debug output holds no secret.
#[derive(Clone, Debug)]
pub struct UpstreamSpec {
    /// Its name in the configuration.
    pub name: String,
    /// How it is reached.
    pub kind: ServerAddress,
    /// How long one call may take without progress.
    pub call_timeout: Duration,
    /// How many requests of clients run at one time.
    pub concurrency: Option<u32>,
    /// Whether clients share a connection.
    pub sessions: Sessions,
    /// Which era to try.
    pub protocol: Protocol,
    /// Which tools are offered, and under what name.
    pub tools: ToolRules,
    /// Whether it serves.
    pub state: EntryState,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum ServerAddress {
    /// Over HTTP.
    Http {
        /// Addresses of the same server, at least one when it is enabled.
        endpoints: Vec<Endpoint>,
        /// Which HTTP transport.
        transport: Transport,
        /// What goes with every request, authentication included.
        headers: Vec<(HeaderName, SecretString)>,
    },
    /// As a child process.
    Stdio {
        /// The program.
        command: Text,
        /// Its arguments.
        args: Vec<Text>,
        /// Added to the few variables that every child gets.
        env: Vec<(String, Text)>,
        /// Where it runs.
        cwd: PathBuf,
        /// How many processes share the calls.
        instances: u32,
        /// How long a process may take to answer its greeting without working or printing.
        start_timeout: Duration,
    },
}

impl UpstreamSpec {
    /// How many shared connections it gets; never 0.
    pub fn instances(&self) -> usize {
        match &self.kind {
            ServerAddress::Http { endpoints, .. } => endpoints.len().max(1),
            ServerAddress::Stdio { instances, .. } => usize::try_from(*instances).unwrap_or(1).max(1),
        }
    }

    /// Whether it is a child process.
    pub fn is_stdio(&self) -> bool {
        matches!(self.kind, ServerAddress::Stdio { .. })
    }
}

impl From<ExternalMcp> for UpstreamSpec {
    fn from(mcp: ExternalMcp) -> Self {
        Self {
            name: mcp.name,
            kind: ServerAddress::Http {
                endpoints: mcp.endpoints,
                transport: mcp.transport,
                headers: mcp.headers,
            },
            call_timeout: mcp.call_timeout,
            concurrency: mcp.concurrency,
            sessions: mcp.sessions,
            protocol: mcp.protocol,
            tools: mcp.tools,
            state: mcp.state,
        }
    }
}

impl From<LocalMcp> for UpstreamSpec {
    fn from(mcp: LocalMcp) -> Self {
        Self {
            name: mcp.name,
            kind: ServerAddress::Stdio {
                command: mcp.command,
                args: mcp.args,
                env: mcp.env,
                cwd: mcp.cwd,
                instances: mcp.instances,
                start_timeout: mcp.start_timeout,
            },
            call_timeout: mcp.call_timeout,
            concurrency: mcp.concurrency,
            sessions: mcp.sessions,
            protocol: mcp.protocol,
            tools: mcp.tools,
            state: mcp.state,
        }
    }
}

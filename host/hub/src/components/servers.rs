//! The port through which components call servers (`aih:host/mcp`).
//!
//! The module `calls` makes the calls of components. It is above this module, because it knows hooks and the
//! catalogue. So a component gets a [`ServerCalls`] when it is created, and knows nothing else of the hub.

use aih_runtime::host::McpError;
use async_trait::async_trait;

use crate::{
    access::{PermissionError, PermissionSet},
    provider::Call,
};

/// What components may do with servers, under their grants and their caller's permissions together.
#[async_trait]
pub trait ServerCalls: Send + Sync {
    /// The tools of `server` that may be called, as a JSON array. `call` is the call that the component works on.
    ///
    /// # Errors
    /// See `aih:host/mcp`.
    fn list_tools(&self, server: &str, grants: &PermissionSet, call: &Call) -> Result<String, McpError>;

    /// Calls a tool for the component `through` and answers its result as JSON.
    ///
    /// # Errors
    /// See `aih:host/mcp`.
    async fn call_tool(
        &self,
        through: &str,
        server: &str,
        tool: &str,
        arguments: &str,
        grants: &PermissionSet,
        call: &Call,
    ) -> Result<String, McpError>;
}

/// There are no servers: for a component that runs without a hub.
pub(crate) struct NoServers;

#[async_trait]
impl ServerCalls for NoServers {
    fn list_tools(&self, server: &str, _: &PermissionSet, _: &Call) -> Result<String, McpError> {
        Err(not_found(server))
    }

    async fn call_tool(
        &self,
        _: &str,
        server: &str,
        _: &str,
        _: &str,
        _: &PermissionSet,
        _: &Call,
    ) -> Result<String, McpError> {
        Err(not_found(server))
    }
}

/// The answer where there is no server of that name, or none that the caller may see.
pub(crate) fn not_found(server: &str) -> McpError {
    McpError::NotFound(format!("there is no server `{server}`"))
}

/// `grants.mcps` as permissions: `github/*` grants the tools of `github`, be it an MCP or a plugin.
///
/// # Errors
/// A pattern that cannot be read.
pub(crate) fn read_grants(patterns: &[String]) -> Result<PermissionSet, PermissionError> {
    PermissionSet::parse(patterns.iter().map(|pattern| match pattern.strip_prefix('!') {
        Some(pattern) => format!("!mcps/{pattern}"),
        None => format!("mcps/{pattern}"),
    }))
}

//! Calls that a component makes through `aih:host/mcp`: with the caller's permissions and the component's
//! grants together, and never too deep.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Instant,
};

use aih_runtime::host::McpError;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    access::{PermissionError, PermissionSet},
    catalogue::{
        Catalogue, ListKind, Offering,
        provider::{Call, Peer, ProviderKind, ProviderState},
    },
    gateway::{bridge::complete, record::Row},
    hooks::Hooks,
    mcp::{ErrorCode, ErrorObject, RawJson, method},
};

/// How deep calls may nest: a client's own call is 0.
pub(crate) const MAX_DEPTH: u8 = 8;

/// What else is on offer in this hub. Weak, because the catalogue holds the plugins.
#[derive(Clone, Debug, Default)]
pub struct Neighbours(Arc<OnceLock<(Weak<Catalogue>, Weak<Hooks>)>>);

impl Neighbours {
    /// Lets plugins see what else is on offer, and calls of theirs pass the hooks; only the first call counts.
    pub fn attach(&self, catalogue: &Arc<Catalogue>, hooks: &Arc<Hooks>) {
        let _ = self.0.set((Arc::downgrade(catalogue), Arc::downgrade(hooks)));
    }

    fn offering(&self, server: &str) -> Option<Arc<Offering>> {
        let catalogue = self.0.get()?.0.upgrade()?;
        catalogue.snapshot().provider(server).cloned()
    }

    fn hooks(&self) -> Option<Arc<Hooks>> {
        self.0.get()?.1.upgrade()
    }

    /// The server of that name, if the caller and the grants allow anything of it.
    fn find(&self, server: &str, grants: &PermissionSet, call: &Call) -> Result<Arc<Offering>, McpError> {
        let offering = self
            .offering(server)
            .filter(|offering| offering.visible_to(&call.client.principal))
            .ok_or_else(|| McpError::NotFound(format!("there is no server `{server}`")))?;
        if !grants.allows_any_under(&format!("mcps/{server}/")) {
            return Err(McpError::NotGranted(format!(
                "grants.mcps does not allow `{server}`"
            )));
        }
        Ok(offering)
    }

    /// The tools of a server that may be called, as a JSON array.
    ///
    /// # Errors
    /// See `aih:host/mcp`.
    pub(crate) fn list_tools(
        &self,
        server: &str,
        grants: &PermissionSet,
        call: &Call,
    ) -> Result<String, McpError> {
        let offering = self.find(server, grants, call)?;
        let tools = offering.items(ListKind::Tools).iter().filter(|tool| {
            granted(grants, server, &tool.original) && permitted(&offering, &tool.original, call)
        });
        let tools: Vec<_> = tools.map(|tool| tool.direct.clone()).collect();
        serde_json::to_string(&tools).map_err(|error| McpError::Other(error.to_string()))
    }

    /// Calls a tool for the component `through` and answers its result as JSON. It leaves the log row of a client's call.
    ///
    /// # Errors
    /// See `aih:host/mcp`.
    pub(crate) async fn call_tool(
        &self,
        through: &str,
        server: &str,
        tool: &str,
        arguments: &str,
        grants: &PermissionSet,
        call: &Call,
    ) -> Result<String, McpError> {
        let row = Row {
            call,
            server,
            through: Some(through),
            begun: Instant::now(),
        };
        let (offering, params) = self
            .admit(server, tool, arguments, grants, call)
            .inspect_err(|error| row.refused(tool, said(error)))?;
        let cancel = call.cancel.child_token();
        // Dropped when the component's own time is over: what it called then ends too.
        let _ended = cancel.clone().drop_guard();
        let nested = Call {
            client: call.client.clone(),
            peer: Arc::new(NestedPeer(call.peer.clone())),
            cancel,
            depth: call.depth + 1,
            trail: call.trail.clone(),
        };
        let hooks = self.hooks().unwrap_or_default();
        let outcome = hooks
            .around(
                &offering,
                method::TOOLS_CALL,
                Some(params.clone()),
                &nested,
                |params| complete(&offering, method::TOOLS_CALL, params, &nested),
            )
            .await;
        row.ended(Some(&params), &outcome);
        let answer = outcome.map_err(error)?;
        Ok(answer.result.text().into_owned())
    }

    /// Whether a call may be made: where it goes, and its parameters.
    fn admit(
        &self,
        server: &str,
        tool: &str,
        arguments: &str,
        grants: &PermissionSet,
        call: &Call,
    ) -> Result<(Arc<Offering>, RawJson), McpError> {
        if call.depth >= MAX_DEPTH {
            return Err(McpError::DepthExceeded);
        }
        let offering = self.find(server, grants, call)?;
        if !granted(grants, server, tool) {
            return Err(McpError::NotGranted(format!(
                "grants.mcps does not allow `{server}/{tool}`"
            )));
        }
        let known = offering.tool(tool).is_some() && permitted(&offering, tool, call);
        if !known {
            let state = offering.provider.status().state;
            return Err(McpError::NotFound(match state {
                ProviderState::Up => format!("`{server}` has no tool `{tool}`"),
                _ => format!("`{server}` is not up"),
            }));
        }
        let arguments: Value = match arguments {
            "" => json!({}),
            text => serde_json::from_str(text)
                .map_err(|error| McpError::InvalidArguments(format!("no JSON: {error}")))?,
        };
        if !arguments.is_object() {
            return Err(McpError::InvalidArguments("not a JSON object".to_owned()));
        }
        let params = RawJson::of(&json!({ "name": tool, "arguments": arguments }));
        Ok((offering, params))
    }
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

fn granted(grants: &PermissionSet, server: &str, tool: &str) -> bool {
    grants.allows(&format!("mcps/{server}/{tool}"))
}

fn permitted(offering: &Offering, tool: &str, call: &Call) -> bool {
    offering.visible_to(&call.client.principal) && offering.provider.status().kind == ProviderKind::Hub
        || call
            .client
            .principal
            .permissions()
            .allows(&offering.permission(tool))
}

/// The text of a refusal, for the log.
fn said(error: &McpError) -> &str {
    match error {
        McpError::NotGranted(why)
        | McpError::NotFound(why)
        | McpError::InvalidArguments(why)
        | McpError::Upstream(why)
        | McpError::Other(why) => why,
        McpError::TimedOut => "timed out",
        McpError::Cancelled => "cancelled",
        McpError::DepthExceeded => "calls are nested too deep",
    }
}

fn error(error: ErrorObject) -> McpError {
    match error.code {
        ErrorCode::TIMED_OUT => McpError::TimedOut,
        ErrorCode::CANCELLED => McpError::Cancelled,
        ErrorCode::INVALID_PARAMS => McpError::InvalidArguments(error.message),
        ErrorCode::UPSTREAM_UNAVAILABLE => McpError::Other(error.message),
        _ => McpError::Upstream(error.message),
    }
}

/// The client behind a nested call: it can be asked, and hears nothing of a call that it did not make.
struct NestedPeer(Arc<dyn Peer>);

#[async_trait]
impl Peer for NestedPeer {
    fn notify(&self, provider: &str, method: &str, params: Option<RawJson>) {
        if method == method::LOG_MESSAGE {
            self.0.notify(provider, method, params);
        }
    }

    async fn ask(
        &self,
        provider: &str,
        method: &str,
        params: Option<RawJson>,
    ) -> Result<RawJson, ErrorObject> {
        self.0.ask(provider, method, params).await
    }
}

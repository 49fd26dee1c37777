//! Calls that a component makes through `aih:host/mcp`. A call needs the permission of the caller and the grant of the
//! component, and has a limited depth. [`Calls::make`] makes it, like every other call.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use aih_mcp::{ErrorCode, ErrorObject, Params, RawJson, method};
use aih_runtime::host::McpError;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    CallFailure, Calls,
    record::{Ended, Item, Record},
};
use crate::{
    access::PermissionSet,
    catalogue::{Catalogue, ListKind, Offering, ProviderRequest, Target, ToolNames},
    components::{ServerCalls, servers::not_found},
    provider::{Call, Peer},
};

/// How deep calls may nest: a client's own call is 0.
pub(crate) const MAX_DEPTH: u8 = 8;

/// Calls of plugins and hooks to what the catalogue offers.
///
/// Weak, because the catalogue holds the plugins.
pub(crate) struct ComponentCalls {
    catalogue: Weak<Catalogue>,
    calls: Calls,
}

impl ComponentCalls {
    /// Calls of what `catalogue` offers.
    pub(crate) fn new(catalogue: &Arc<Catalogue>, calls: Calls) -> Arc<Self> {
        Arc::new(Self {
            catalogue: Arc::downgrade(catalogue),
            calls,
        })
    }

    fn offering(&self, server: &str) -> Option<Arc<Offering>> {
        let catalogue = self.catalogue.upgrade()?;
        catalogue.snapshot().provider(server).cloned()
    }

    /// The server of that name, if the caller and the grants allow anything of it.
    fn find(&self, server: &str, grants: &PermissionSet, call: &Call) -> Result<Arc<Offering>, McpError> {
        let offering = self
            .offering(server)
            .filter(|offering| offering.visible_to(&call.client.principal))
            .ok_or_else(|| not_found(server))?;
        if !grants.allows_any_under(&format!("mcps/{server}/")) {
            return Err(McpError::NotGranted(format!(
                "grants.mcps does not allow `{server}`"
            )));
        }
        Ok(offering)
    }

    /// Whether the component may make a call, and the call. Whether its caller may is asked when the call is made.
    fn admit(
        &self,
        server: &str,
        tool: &str,
        arguments: &str,
        grants: &PermissionSet,
        call: &Call,
    ) -> Result<ProviderRequest, McpError> {
        if call.depth >= MAX_DEPTH {
            return Err(McpError::DepthExceeded);
        }
        let offering = self.find(server, grants, call)?;
        let names = offering
            .tool_names(tool)
            .ok_or_else(|| not_there(&offering, tool))?;
        if !granted(grants, server, &names) {
            return Err(McpError::NotGranted(format!(
                "grants.mcps does not allow `{server}/{tool}`"
            )));
        }
        if offering.tool(tool).is_none() {
            return Err(not_there(&offering, tool));
        }
        let arguments: Value = match arguments {
            "" => json!({}),
            text => serde_json::from_str(text)
                .map_err(|error| McpError::InvalidArguments(format!("not JSON: {error}")))?,
        };
        if !arguments.is_object() {
            return Err(McpError::InvalidArguments("not a JSON object".to_owned()));
        }
        let params = Params::of([
            ("name", RawJson::of(tool)),
            ("arguments", RawJson::of(&arguments)),
        ]);
        let target = Target::tool(names);
        Ok(ProviderRequest::new(
            &offering,
            method::TOOLS_CALL,
            target,
            params,
        ))
    }
}

#[async_trait]
impl ServerCalls for ComponentCalls {
    fn list_tools(&self, server: &str, grants: &PermissionSet, call: &Call) -> Result<String, McpError> {
        let offering = self.find(server, grants, call)?;
        let tools = offering.items(ListKind::Tools).iter().filter(|tool| {
            let names = tool.names.as_deref();
            names.is_some_and(|names| granted(grants, server, names))
                && tool.visible_to(&call.client.principal)
        });
        let tools: Vec<_> = tools.map(|tool| tool.direct.clone()).collect();
        serde_json::to_string(&tools).map_err(|error| McpError::Other(error.to_string()))
    }

    async fn call_tool(
        &self,
        through: &str,
        server: &str,
        tool: &str,
        arguments: &str,
        grants: &PermissionSet,
        call: &Call,
    ) -> Result<String, McpError> {
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
        let begun = Instant::now();
        let request = self.admit(server, tool, arguments, grants, call);
        let request = request.inspect_err(|refused| {
            self.calls.record(&Record {
                call: &nested,
                method: method::TOOLS_CALL,
                server: Some(server),
                item: Item::Tool(tool),
                through: Some(through),
                result: Ended::Refused(message_of(refused)),
                took: begun.elapsed(),
            });
        })?;
        let offering = request.offering.clone();
        match self.calls.make(request, &nested, Some(through)).await {
            Ok(made) => Ok(made.answer.result.text().into_owned()),
            Err(CallFailure::Error(failed)) => Err(error(failed)),
            Err(CallFailure::NotPermitted) => Err(not_there(&offering, tool)),
        }
    }
}

/// The answer to a call of a tool that the caller may not use or that does not exist.
fn not_there(offering: &Offering, tool: &str) -> McpError {
    let (server, state) = (offering.provider.name(), offering.provider.status().state);
    McpError::NotFound(match state {
        state if state.serves() => format!("`{server}` has no tool `{tool}`"),
        _ => format!("`{server}` is not up"),
    })
}

/// Whether the grants name a tool: by its server's own name or by the listed one, and take neither away.
fn granted(grants: &PermissionSet, server: &str, names: &ToolNames) -> bool {
    let own = format!("mcps/{server}/{}", names.own);
    let listed = format!("mcps/{server}/{}", names.listed);
    grants.allows_one_of(&[&own, &listed])
}

/// The text of a refusal, for the log.
fn message_of(error: &McpError) -> &str {
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

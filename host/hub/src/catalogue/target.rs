//! The target of a request: the provider, the item that the request names, and the parameters, read once.
//!
//! Permissions, `match` of hooks and the record compare the names in this module, and no others. No later step reads a
//! name from the parameters again.

use std::sync::Arc;

use aih_mcp::{Params, RawJson};

use super::Offering;

/// The names of one tool at its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolNames {
    /// The server's own name.
    pub own: Box<str>,
    /// The name under which the hub lists it on the endpoint of its server: another than `own` where
    /// `tools.rename` says so. The provider is called with this one.
    pub listed: Box<str>,
}

impl ToolNames {
    /// The listed name where it differs from the server's own.
    pub fn renamed(&self) -> Option<&str> {
        (self.own != self.listed).then_some(&*self.listed)
    }
}

/// The thing that a request names at its provider.
#[derive(Clone, Debug)]
pub enum Target {
    /// A tool.
    Tool {
        /// Its names at the server.
        names: Arc<ToolNames>,
        /// The name that a `list.tools` hook gave it for this client, where one did.
        shown: Option<Box<str>>,
    },
    /// A prompt, by the provider's name.
    Prompt(Box<str>),
    /// A resource or a resource template, by the provider's URI.
    Resource(Box<str>),
    /// What the client itself made at the server, such as its tasks.
    Own,
    /// Something that the hub does not know: the whole server is meant.
    Server,
}

impl Target {
    /// A tool that no hook gave another name.
    pub fn tool(names: Arc<ToolNames>) -> Self {
        Self::Tool { names, shown: None }
    }
}

/// One request to one provider, read once. It is what is decided on, and what is sent.
pub struct ProviderRequest {
    /// The provider with its lists.
    pub offering: Arc<Offering>,
    /// The method.
    pub method: Box<str>,
    /// What it names.
    pub target: Target,
    /// Its parameters, with the names that the provider is called with.
    pub params: Params,
    /// The arguments of the call that made the task which this request is about.
    pub made_with: Option<RawJson>,
}

impl ProviderRequest {
    /// A request about nothing but its target.
    pub fn new(offering: &Arc<Offering>, method: &str, target: Target, params: Params) -> Self {
        Self {
            offering: offering.clone(),
            method: method.into(),
            target,
            params,
            made_with: None,
        }
    }
}

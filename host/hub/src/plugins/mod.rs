//! Plugins: WebAssembly components as providers, like the upstream MCPs.
//!
//! [`PluginServer::request`] checks the arguments of a call against the tool's schema and makes the
//! [`CallHost`](crate::components::CallHost) of the caller. It gives both to the runtime, which runs the component in
//! a sandbox of its own. [`convert`] writes the component's answer as MCP, and [`answer`] checks it. [`manifest`]
//! shows what grants a component asks for.

mod answer;
mod convert;
pub mod manifest;
mod server;

pub(crate) use convert::{result as result_json, tool as tool_json};
pub use server::PluginServer;

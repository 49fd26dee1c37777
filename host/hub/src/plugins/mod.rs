//! Plugins: WebAssembly components as providers beside the upstream MCPs.
//!
//! The way of a call: [`PluginServer::request`] checks the arguments against the tool's schema, makes the
//! [`CallHost`](crate::components::CallHost) that stands for the caller, and hands both to the runtime, which runs the
//! component in a sandbox of its own. [`convert`] writes what it answers as MCP, which [`answer`] checks. [`manifest`]
//! tells an author what a component offers.

mod answer;
mod convert;
pub mod manifest;
mod server;

pub(crate) use convert::{result as result_json, tool as tool_json};
pub use server::PluginServer;

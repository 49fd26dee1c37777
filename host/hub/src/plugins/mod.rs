//! Plugins: WebAssembly components as providers beside the upstream MCPs.
//!
//! The way of a call: [`PluginServer::request`] checks the arguments against the tool's schema, makes the
//! [`host::CallHost`] that stands for the caller, and hands both to the runtime, which runs the component in a
//! sandbox of its own. What a component asks of the hub comes back through `CallHost`; calls of other servers
//! go through [`nested`], under the caller's permissions and the component's grants together.

mod answer;
mod convert;
pub(crate) mod host;
pub(crate) mod keeper;
pub mod manifest;
mod nested;
mod prepare;
pub(crate) mod schema;
mod server;
mod spec;

pub(crate) use convert::{result as result_json, tool as tool_json};
pub use host::LogLine;
pub(crate) use host::{CallHost, Record, Surroundings, alone};
pub use nested::Neighbours;
pub(crate) use nested::read_grants;
pub use prepare::{PrepareError, Prepared, Workshop};
pub use server::PluginServer;
pub(crate) use spec::{entry_spec, hook_spec};

//! What plugins and hooks share: WebAssembly components that are kept ready, and the host functions for their calls.
//!
//! [`loader`] makes a component from a file: it builds a source, compiles it and links it. [`live`] keeps a component
//! ready and prepares it again when its files change. [`spec`] reads the grants and limits of an entry of the
//! configuration. [`host`] answers the host functions of a call, with the permissions of its caller. Calls of other
//! servers leave through the port in [`servers`]. [`schema`] checks values against the JSON Schemas that components
//! declare.

pub(crate) mod host;
pub(crate) mod live;
mod loader;
pub(crate) mod schema;
pub(crate) mod servers;
mod spec;

pub use host::LogLine;
pub(crate) use host::{CallHost, HostContext, RunLog, alone};
pub use loader::{ComponentLoader, PrepareError, Prepared};
pub use servers::ServerCalls;
pub(crate) use servers::{NoServers, read_grants};
pub(crate) use spec::{entry_spec, hook_spec};

//! What plugins and hooks share: WebAssembly components that are kept ready, and what one of their calls may ask of the
//! hub.
//!
//! [`loader`] makes a component of a file: it builds a source, compiles, and links. [`live`] keeps one ready and makes it
//! anew when its files change. [`spec`] reads what an entry of the configuration grants it. [`host`] answers what a call
//! of a component asks, in the name of its caller; calls of other servers leave through the port of [`servers`].
//! [`schema`] checks values against the JSON Schemas that components give.

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

//! Authentication and authorization: keys, permission paths, Host, Origin and address rules.
//!
//! Every request passes [`protect`] before the gateway or the REST API sees it. Of MCP this module knows only how an error
//! is written; it knows nothing of the catalogue or of files other than `data/keys.json`. It must never log, print or return a presented key, and must
//! never allow a request when it lacks what it needs to decide.
//!
//! [`guard`] checks address, Host and Origin. [`key`] checks the key. [`authority`] holds the keys that are valid now,
//! and ends the work of all others. [`permission`] says what a principal may do, and [`uri`] how permissions name
//! resources. [`first_key`] makes the key of a hub that has none. [`cors`] lets pages of other origins read answers.
//! [`refusal`] is the answer to a refused request.

pub mod authority;
mod cors;
pub mod first_key;
pub mod guard;
pub mod key;
mod layer;
pub mod permission;
mod refusal;
mod uri;

pub use authority::Authority;
pub use guard::{Guard, GuardConfig, GuardError, Rejection};
pub use key::{ApiKey, AuthError, Compat, KeyEntry, KeyHash, KeyId, KeyRing, Principal};
pub use layer::{AccessState, Caller, Keyed, KeyedConnection, Listener, NoAuthError, OPEN_PATH, protect};
pub use permission::{PermissionError, PermissionSet, RELOAD};
pub use uri::ResourcePath;

//! Who is calling, and may they: keys, permission paths, Host, Origin and address rules.
//!
//! Every request passes [`layer`] before anything of the gateway or the REST API sees it. This module
//! knows nothing of MCP, of the catalogue or of files other than `data/keys.json`; it must never log,
//! print or return a presented key, and must never decide "yes" when it lacks what it needs to decide.
//!
//! [`guard`] checks address, Host and Origin, [`key`] the key; [`authority`] holds the keys that count now, and ends what
//! belongs to those that do not. [`permission`] is what a principal may do, [`uri`] how resources are named in it.
//! [`first_key`] makes the key of a hub that has none, and [`refusal`] is what a caller is answered.

pub mod authority;
pub mod first_key;
pub mod guard;
pub mod key;
mod layer;
pub mod permission;
mod refusal;
mod uri;

pub use authority::Authority;
pub use guard::{Guard, GuardConfig, GuardError, Rejection};
pub use key::{ApiKey, AuthError, KeyEntry, KeyHash, KeyId, KeyRing, Principal};
pub use layer::{AccessState, Caller, Keyed, KeyedConnection, Listener, NoAuthError, OPEN_PATH, layer};
pub use permission::{PermissionError, PermissionSet, RELOAD};
pub use uri::ResourcePath;

//! Who is calling, and may they: keys, permission paths, Host, Origin and address rules.
//!
//! Every request passes this module before anything of the gateway or the REST API sees it. This module
//! knows nothing of MCP, of the catalogue or of files other than `data/keys.json`; it must never log,
//! print or return a presented key, and must never decide "yes" when it lacks what it needs to decide.

pub mod key;
pub mod permission;

pub use key::{ApiKey, AuthError, KeyEntry, KeyHash, KeyId, KeyRing, Principal};
pub use permission::{PermissionError, PermissionSet};

//! The way to the hub: imports in a sandbox, [`crate::testing`] elsewhere.
//!
//! Everything that this crate asks of the hub goes through these functions, in the contract's own types, so that
//! the modules above are the same code in a unit test.

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::current::*;
#[cfg(target_family = "wasm")]
pub(crate) use sandbox::*;

#[cfg(target_family = "wasm")]
mod sandbox {
    use crate::wit::host;

    pub(crate) use host::{
        client::{elicit, roots, sample},
        config::{get as config_get, secret},
        http::send,
        log::write,
        mcp::{call_tool, list_tools},
        progress::{cancelled, report},
        state::{delete, get, get_for_update, keys, set},
        system::{random, sleep},
    };
}

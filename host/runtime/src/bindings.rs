//! The Rust side of `wit/`: generated types, and the names under which the rest of the crate uses them.

#![expect(missing_docs, reason = "generated from documented WIT")]
#![allow(clippy::all, reason = "generated code")]

/// What every component imports.
pub(crate) mod base {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "base",
        imports: { default: async | trappable },
    });
}

/// The exports of a plugin.
pub(crate) mod plugin {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: { "aih:host": super::base::aih::host },
    });
}

/// The exports of a hook.
pub(crate) mod hook {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "hook",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "aih:host": super::base::aih::host,
            "aih:plugin/types": super::plugin::aih::plugin::types,
        },
    });
}

pub use hook::exports::aih::plugin::hooks::{Decision, Event, Outcome};
pub use plugin::aih::plugin::types::{Call as ToolCall, Content, Failure, Output, Tool};

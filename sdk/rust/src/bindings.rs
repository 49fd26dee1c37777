//! What `wit/` says, in Rust: generated, and used by everything else here.
//!
//! Two worlds, for an export cannot be left out of a world: a component is a plugin, a hook, or both. They share
//! their types and imports. The `export_*` macros that come with them write the symbols.

/// The world `plugin`, and the types and imports of both worlds.
pub mod plugin {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "aih:plugin/plugin",
        generate_all,
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_plugin",
        default_bindings_module: "aih_plugin::__private::plugin",
        runtime_path: "::aih_plugin::__private::rt",
    });
}

/// The world `hook`.
pub mod hook {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "aih:plugin/hook",
        with: {
            "aih:plugin/types@1.0.0": crate::bindings::plugin::aih::plugin::types,
            "aih:host/log@1.0.0": crate::bindings::plugin::aih::host::log,
            "aih:host/config@1.0.0": crate::bindings::plugin::aih::host::config,
            "aih:host/state@1.0.0": crate::bindings::plugin::aih::host::state,
            "aih:host/mcp@1.0.0": crate::bindings::plugin::aih::host::mcp,
            "aih:host/http@1.0.0": crate::bindings::plugin::aih::host::http,
            "aih:host/progress@1.0.0": crate::bindings::plugin::aih::host::progress,
            "aih:host/client@1.0.0": crate::bindings::plugin::aih::host::client,
            "aih:host/system@1.0.0": crate::bindings::plugin::aih::host::system,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_hook",
        default_bindings_module: "aih_plugin::__private::hook",
        runtime_path: "::aih_plugin::__private::rt",
    });
}

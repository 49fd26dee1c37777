//! Plugins and hooks of the AI Infrastructure Hub, in Rust.
//!
//! A plugin is a WebAssembly component that offers tools. Every call runs in a fresh sandbox that can do what the
//! operator granted in `aih-config.yaml` and nothing else, so globals do not outlive a call: what must, goes into
//! [`state`].
//!
//! ```
//! use aih_plugin::{arguments, plugin, tool};
//!
//! #[arguments]
//! struct Greet {
//!     /// Whom to greet.
//!     name: String,
//! }
//!
//! /// Greets someone.
//! #[tool(read_only)]
//! async fn greet(args: Greet) -> String {
//!     format!("Hello, {}!", args.name)
//! }
//!
//! plugin! { tools: [greet] }
//! # fn main() {
//! #     let args = Greet { name: "Ada".into() };
//! #     assert_eq!(aih_plugin::testing::block_on(greet(args)), "Hello, Ada!");
//! # }
//! ```
//!
//! What the hub offers is in the modules: [`http`], [`state`], [`mcp`], [`secrets`], [`config`], [`log`],
//! [`progress`], [`client`], [`system`]. Its functions wait for their answer without `.await`: the sandbox has one
//! thread, and the hub runs other sandboxes meanwhile. What was not granted is an error of its own, never a trap.
//!
//! Outside WebAssembly the same code compiles for unit tests, where [`testing`] stands in for the hub.

extern crate self as aih_plugin;

mod backend;
#[expect(missing_docs, reason = "generated from wit/, where the documentation is")]
mod bindings;
pub mod client;
pub mod config;
mod context;
mod error;
mod hooks;
pub mod http;
pub mod log;
pub mod mcp;
mod output;
pub mod progress;
pub mod secrets;
pub mod state;
pub mod system;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod tool;

pub use aih_plugin_macros::{arguments, hook, structured, tool};
pub use context::Context;
pub use error::{Error, Result};
pub use hooks::{Event, Outcome};
pub use output::{Content, IntoOutput, Json, Output};
pub use tool::Tool;
pub use {schemars, serde, serde_json};

/// The contract itself, for what this crate does not wrap. Its functions trap outside WebAssembly.
pub mod wit {
    pub use crate::bindings::{
        hook::exports::aih::plugin::hooks,
        plugin::{
            aih::{host, plugin::types},
            exports::aih::plugin::tools,
        },
    };
}

/// For the macros alone: may change with every release.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        bindings::{hook, plugin},
        hooks::outcome,
        tool::{NoArguments, arguments, describe, finish, panics_in_one_line, unknown},
    };
    pub use wit_bindgen::rt;

    pub use crate::{__export_hook as export_hook, __export_plugin as export_plugin};
}

/// Makes the crate a plugin that offers these tools, in this order. Each is a function with [`macro@tool`].
///
/// Once in a crate, which is a `cdylib`. See the example at the top of this page.
#[macro_export]
macro_rules! plugin {
    (tools: [$($tool:ty),+ $(,)?] $(,)?) => {
        const _: () = {
            #[allow(dead_code, reason = "exported from WebAssembly alone")]
            struct Plugin;

            impl $crate::wit::tools::Guest for Plugin {
                fn list_tools() -> ::core::result::Result<
                    ::std::vec::Vec<$crate::wit::types::Tool>,
                    $crate::wit::types::Failure,
                > {
                    $crate::__private::panics_in_one_line();
                    ::core::result::Result::Ok(::std::vec![$(<$tool as $crate::Tool>::describe()),+])
                }

                async fn call_tool(
                    call: $crate::wit::types::Call,
                ) -> ::core::result::Result<$crate::wit::types::Output, $crate::wit::types::Failure> {
                    $crate::__private::panics_in_one_line();
                    $(
                        if call.tool == <$tool as $crate::Tool>::NAME {
                            return $crate::__private::finish(<$tool as $crate::Tool>::call(call).await);
                        }
                    )+
                    ::core::result::Result::Err($crate::__private::unknown(call))
                }
            }

            $crate::__private::export_plugin!(Plugin);
        };
    };
}

/// Exports a type that implements [`wit::tools::Guest`] by hand, for plugins whose tools are not functions: those
/// that are read from a configuration, say. [`plugin!`] does it for all others.
#[macro_export]
macro_rules! export {
    ($plugin:ident) => {
        $crate::__private::export_plugin!($plugin);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    ($plugin:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::__private::plugin::export_plugin!($plugin with_types_in $crate::__private::plugin);
        // Elsewhere nothing is exported, and the tools must still not count as dead code.
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn exported<T: $crate::wit::tools::Guest>() {}
            exported::<$plugin>();
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    ($hook:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::__private::hook::export_hook!($hook with_types_in $crate::__private::hook);
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn exported<T: $crate::wit::hooks::Guest>() {}
            exported::<$hook>();
        };
    };
}

//! The attributes of `aih-plugin`, which re-exports them and documents them with examples.

mod data;
mod hook;
mod options;
mod tool;

use proc_macro::TokenStream;

/// Makes a tool of a function.
///
/// The function takes at most one argument that is `Deserialize + JsonSchema` (see [`macro@arguments`]) and at
/// most one `aih_plugin::Context`, and returns anything that is `aih_plugin::IntoOutput`. Its doc comment is the
/// description that models read. It stays callable as it was written.
///
/// Options, all of them optional:
/// - `name = "…"`: the tool's name; the function's name otherwise.
/// - `title = "…"`: the name for people.
/// - `description = "…"`: in the place of the doc comment.
/// - `read_only`, `destructive`, `idempotent`, `open_world`: MCP's hints. `destructive = false` says the opposite.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(tool::expand(options.into(), item.into()))
}

/// Makes the component a hook: the function gets each event that the configuration gives it.
///
/// The function takes an `aih_plugin::Event` and returns an `aih_plugin::Outcome`, or a `Result` of one with any
/// error. One function of a component can have this attribute. It stays callable as it was written.
#[proc_macro_attribute]
pub fn hook(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(hook::expand(options.into(), item.into()))
}

/// Makes a type the arguments of a tool: it derives `Deserialize` and `JsonSchema` from the crates that
/// `aih_plugin` brings. Unknown arguments are refused.
///
/// The doc comments of the fields are the descriptions that models read. `Option` fields, and fields with
/// `#[serde(default)]`, can be left out.
#[proc_macro_attribute]
pub fn arguments(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(data::arguments(options.into(), item.into()))
}

/// Makes a type a structured result (`aih_plugin::Json`): it derives `Serialize` and `JsonSchema` from the crates
/// that `aih_plugin` brings.
#[proc_macro_attribute]
pub fn structured(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(data::structured(options.into(), item.into()))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}

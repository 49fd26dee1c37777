//! `#[arguments]` and `#[structured]`: derives that need no crate but `aih-plugin`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Error;

pub(crate) fn arguments(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    none(options)?;
    Ok(quote! {
        #[derive(::aih_plugin::serde::Deserialize, ::aih_plugin::schemars::JsonSchema)]
        #[serde(crate = "::aih_plugin::serde", deny_unknown_fields)]
        #[schemars(crate = "::aih_plugin::schemars")]
        #item
    })
}

pub(crate) fn structured(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    none(options)?;
    Ok(quote! {
        #[derive(::aih_plugin::serde::Serialize, ::aih_plugin::schemars::JsonSchema)]
        #[serde(crate = "::aih_plugin::serde")]
        #[schemars(crate = "::aih_plugin::schemars")]
        #item
    })
}

fn none(options: TokenStream) -> syn::Result<()> {
    if options.is_empty() {
        Ok(())
    } else {
        Err(Error::new_spanned(options, "this attribute takes no options"))
    }
}

//! `#[hook]`: exports the function as `aih:plugin/hooks`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, ItemFn};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !options.is_empty() {
        return Err(Error::new_spanned(
            options,
            "this attribute takes no options: the configuration says which events a hook gets",
        ));
    }
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    if signature.inputs.len() != 1
        || !signature
            .inputs
            .iter()
            .all(|input| matches!(input, FnArg::Typed(_)))
    {
        return Err(Error::new_spanned(
            signature,
            "a hook takes one argument, an `aih_plugin::Event`",
        ));
    }
    let identifier = &signature.ident;
    let wait = signature.asyncness.map(|_| quote!(.await));
    Ok(quote! {
        #function

        const _: () = {
            struct Hook;

            impl ::aih_plugin::wit::hooks::Guest for Hook {
                async fn on_event(
                    event: ::aih_plugin::wit::hooks::Event,
                ) -> ::core::result::Result<::aih_plugin::wit::hooks::Outcome, ::aih_plugin::wit::types::Failure> {
                    ::aih_plugin::__private::panics_in_one_line();
                    ::aih_plugin::__private::outcome(#identifier(::aih_plugin::Event::new(event))#wait)
                }
            }

            ::aih_plugin::__private::export_hook!(Hook);
        };
    })
}

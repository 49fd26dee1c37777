//! `#[tool]`: beside the function a type of the same name, which is how `plugin!` finds all there is to know.
//!
//! Types and functions have namespaces of their own, so the two never meet, and `use other::hash` brings both.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, ItemFn, ReturnType, Type, spanned::Spanned as _};

use crate::options::{Options, doc};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let options = Options::parse(options)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            "a tool cannot be generic: MCP has to know its arguments",
        ));
    }

    let identifier = &signature.ident;
    let name = match &options.name {
        Some(name) => name.value(),
        None => identifier.to_string().trim_start_matches("r#").to_owned(),
    };
    check_name(
        &name,
        options
            .name
            .as_ref()
            .map_or(identifier.span(), |name| name.span()),
    )?;
    let description = match &options.description {
        Some(description) => description.value(),
        None => doc(&function.attrs),
    };
    if description.is_empty() {
        return Err(Error::new_spanned(
            identifier,
            "a tool needs a doc comment: models choose by it",
        ));
    }
    let title = match &options.title {
        Some(title) => quote!(::core::option::Option::Some(#title)),
        None => quote!(::core::option::Option::None),
    };
    let hints = options.hints.iter().map(|(hint, value)| quote!((#hint, #value)));

    let mut arguments = None;
    let mut passed = Vec::new();
    for input in &signature.inputs {
        let FnArg::Typed(input) = input else {
            return Err(Error::new_spanned(input, "a tool is a function, not a method"));
        };
        if is_context(&input.ty) {
            passed.push(quote!(::aih_plugin::Context::new(&__call)));
        } else if arguments.is_none() {
            arguments = Some(&*input.ty);
            passed.push(quote!(__arguments));
        } else {
            return Err(Error::new_spanned(
                input,
                "a tool takes one argument: a struct with a field for each value",
            ));
        }
    }
    let arguments = match arguments {
        Some(arguments) => quote!(#arguments),
        None => quote!(::aih_plugin::__private::NoArguments),
    };
    // The names of these locals are ones that no function has. Without arguments, they are checked all the same.
    let output = match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => quote!(#output),
    };
    let wait = signature.asyncness.map(|_| quote!(.await));
    let visibility = &function.vis;

    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "named as the function, by which `plugin!` lists it")]
        #visibility struct #identifier {}

        impl ::aih_plugin::Tool for #identifier {
            const NAME: &'static str = #name;

            fn describe() -> ::aih_plugin::wit::types::Tool {
                ::aih_plugin::__private::describe::<#arguments, #output>(
                    #name,
                    #title,
                    #description,
                    &[#(#hints),*],
                )
            }

            async fn call(
                __call: ::aih_plugin::wit::types::Call,
            ) -> ::core::result::Result<::aih_plugin::Output, ::aih_plugin::Error> {
                let __arguments: #arguments = ::aih_plugin::__private::arguments(&__call.arguments_json)?;
                ::aih_plugin::IntoOutput::into_output(#identifier(#(#passed),*)#wait)
            }
        }
    })
}

/// `Context`, by whatever path: the macro sees names, not types.
fn is_context(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Context"))
}

/// MCP's rule for names of tools: 1 to 128 letters, digits, `_`, `-` and `.`.
fn check_name(name: &str, span: proc_macro2::Span) -> syn::Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=128).contains(&name.len()) && name.chars().all(legal) {
        Ok(())
    } else {
        Err(Error::new(
            span.span(),
            format!("`{name}` cannot be the name of a tool: use 1 to 128 of A-Z, a-z, 0-9, `_`, `-` and `.`"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(options: TokenStream, item: TokenStream) -> String {
        expand(options, item).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_said() {
        let documented = quote! {
            /// Does it.
            async fn f() {}
        };
        for (options, item, expected) in [
            (
                quote!(),
                quote!(
                    async fn f() {}
                ),
                "needs a doc comment",
            ),
            (quote!(colour = "red"), documented.clone(), "unknown option"),
            (quote!(name = "a b"), documented, "cannot be the name of a tool"),
            (
                quote!(),
                quote! {
                    /// Does it.
                    async fn f(a: A, b: B) {}
                },
                "takes one argument",
            ),
            (
                quote!(),
                quote! {
                    /// Does it.
                    async fn f<T>(a: T) {}
                },
                "cannot be generic",
            ),
        ] {
            let found = error(options, item);
            assert!(found.contains(expected), "{found}");
        }
    }
}

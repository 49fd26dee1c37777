//! What stands in the brackets of `#[tool(…)]`, and the doc comment above.

use proc_macro2::TokenStream;
use syn::{Attribute, Expr, ExprLit, Lit, LitBool, LitStr, Meta, meta::ParseNestedMeta, parse::Parser as _};

/// The options of `#[tool]`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) title: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    /// MCP's name of each hint that was given, and its value.
    pub(crate) hints: Vec<(&'static str, bool)>,
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut options = Self::default();
        syn::meta::parser(|meta| options.one(&meta)).parse2(tokens)?;
        Ok(options)
    }

    fn one(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let text = match () {
            () if meta.path.is_ident("name") => &mut self.name,
            () if meta.path.is_ident("title") => &mut self.title,
            () if meta.path.is_ident("description") => &mut self.description,
            () => return self.hint(meta),
        };
        *text = Some(meta.value()?.parse()?);
        Ok(())
    }

    fn hint(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        const HINTS: [(&str, &str); 4] = [
            ("read_only", "readOnlyHint"),
            ("destructive", "destructiveHint"),
            ("idempotent", "idempotentHint"),
            ("open_world", "openWorldHint"),
        ];
        let Some((_, hint)) = HINTS.iter().find(|(option, _)| meta.path.is_ident(option)) else {
            return Err(meta.error(
                "unknown option: there are name, title, description, read_only, destructive, idempotent, \
                 open_world",
            ));
        };
        let value = match meta.input.peek(syn::Token![=]) {
            true => meta.value()?.parse::<LitBool>()?.value,
            false => true,
        };
        self.hints.push((hint, value));
        Ok(())
    }
}

/// The doc comment: lines without the space that follows the slashes, no empty lines at the ends.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }) = &meta.value
        {
            let text = text.value();
            // A block comment is one attribute of several lines.
            lines.extend(
                text.lines()
                    .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()),
            );
            if text.is_empty() {
                lines.push(String::new());
            }
        }
    }
    lines.join("\n").trim().to_owned()
}

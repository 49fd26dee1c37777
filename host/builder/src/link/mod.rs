//! One module of the many that a dynamically linked component is made of.
//!
//! The engines of JavaScript and Python are linked like shared libraries: a module with the memory, a table
//! of functions and trampolines, a module for each library that brings its own part of the table, and one that
//! fills in what the libraries want of each other. A runtime can prepare the table of a module, but not
//! the parts of a table that the module imports: each sandbox then begins with thousands of references to
//! functions that it writes and never uses. So the libraries become one module with a table of its own. On
//! the way, their calls of each other become direct, and the addresses that they were given at the start
//! become constants.
//!
//! What is done is what the component model's rules of instantiation would do, so nothing changes for who
//! calls the component. Whatever does not look as expected is left as it is: see [`CannotLink`].

mod component;
mod library;
mod merge;
mod plan;

use wasm_encoder::{Component, ComponentSectionId, RawSection, reencode};
use wasmparser::{Chunk, Parser, Payload, Validator, WasmFeatures};

use component::Inner;
use library::Library;

/// Why the libraries of a component stay apart.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CannotLink(String);

impl CannotLink {
    fn because(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<wasmparser::Error> for CannotLink {
    fn from(error: wasmparser::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<reencode::Error<Self>> for CannotLink {
    fn from(error: reencode::Error<Self>) -> Self {
        match error {
            reencode::Error::UserError(apart) => apart,
            other => Self(other.to_string()),
        }
    }
}

impl From<reencode::Error> for CannotLink {
    fn from(error: reencode::Error) -> Self {
        Self(error.to_string())
    }
}

type Result<T> = std::result::Result<T, CannotLink>;

/// The component with its libraries as one module.
///
/// # Errors
/// Why it must stay as it is.
pub(crate) fn together(component: &[u8]) -> Result<Vec<u8>> {
    let linked = rewritten(Parser::new(0), component, component, 0)?
        .ok_or_else(|| CannotLink::because("it has no libraries"))?
        .finish();
    // No slip of this module may become a component that does something else.
    Validator::new_with_features(WasmFeatures::all()).validate_all(&linked)?;
    Ok(linked)
}

/// How deep components may lie in components.
const DEPTH: usize = 8;

/// A component again, with the libraries in it, or in one that it contains, together; `None` when there are none.
fn rewritten(parser: Parser, data: &[u8], whole: &[u8], depth: usize) -> Result<Option<Component>> {
    if depth > DEPTH {
        return Err(CannotLink::because("components are nested too deep"));
    }
    let sections = sections(parser.clone(), data)?;
    for section in &sections {
        if let Payload::ModuleSection { unchecked_range, .. } = section
            && Library::is_one(part(whole, unchecked_range)?)?
        {
            return Inner::new(sections, whole)?.linked().map(Some);
        }
    }
    let mut found = false;
    let mut component = Component::new();
    for section in &sections {
        if let Payload::ComponentSection {
            parser,
            unchecked_range,
        } = section
            && let Some(inner) = rewritten(parser.clone(), part(whole, unchecked_range)?, whole, depth + 1)?
        {
            found = true;
            component.section(&wasm_encoder::NestedComponentSection(&inner));
        } else {
            copy(&mut component, section, whole)?;
        }
    }
    Ok(found.then_some(component))
}

/// The sections of one component, without what is inside of modules and components in it.
fn sections<'a>(mut parser: Parser, mut data: &'a [u8]) -> Result<Vec<Payload<'a>>> {
    let mut sections = Vec::new();
    while !data.is_empty() {
        let (consumed, payload) = match parser.parse(data, true)? {
            Chunk::Parsed { consumed, payload } => (consumed, payload),
            Chunk::NeedMoreData(_) => return Err(CannotLink::because("it is cut off")),
        };
        let inside = match &payload {
            Payload::ModuleSection { unchecked_range, .. }
            | Payload::ComponentSection { unchecked_range, .. } => unchecked_range.len(),
            _ => 0,
        };
        data = data
            .get(consumed + inside..)
            .ok_or_else(|| CannotLink::because("it is cut off"))?;
        sections.push(payload);
    }
    match sections.first() {
        Some(Payload::Version {
            encoding: wasmparser::Encoding::Component,
            ..
        }) => Ok(sections),
        _ => Err(CannotLink::because("it is not a component")),
    }
}

/// A section as it is.
fn copy(component: &mut Component, section: &Payload<'_>, whole: &[u8]) -> Result<()> {
    if let Some((id, range)) = section.as_section() {
        component.section(&RawSection {
            id,
            data: part(whole, &range)?,
        });
    }
    Ok(())
}

fn raw_module(component: &mut Component, module: &[u8]) {
    component.section(&RawSection {
        id: ComponentSectionId::CoreModule.into(),
        data: module,
    });
}

fn part<'a>(whole: &'a [u8], range: &std::ops::Range<usize>) -> Result<&'a [u8]> {
    whole
        .get(range.clone())
        .ok_or_else(|| CannotLink::because("it is cut off"))
}

/// What an index means, or that it means nothing.
fn at<T>(items: &[T], index: u32) -> Result<&T> {
    usize::try_from(index)
        .ok()
        .and_then(|index| items.get(index))
        .ok_or_else(|| CannotLink::because(format!("there is no item {index}")))
}

/// An index behind others.
fn past(first: u32, index: u32) -> Result<u32> {
    first
        .checked_add(index)
        .ok_or_else(|| CannotLink::because(format!("there is no item {index}")))
}

#[cfg(test)]
mod tests;

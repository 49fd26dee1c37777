//! Goes through a tree along the tables: every value that they know, with its key, its path and its kind.
//!
//! What the tables do not know, and values of a wrong type, are passed over: `check` reports them.

use super::node::{Key, Node};
use super::table::{Field, Kind, Shape};

/// A value that the tables know.
pub(crate) struct Visited<'a, 'n> {
    /// The key and its entry in the table; `None` for items of lists and values of free maps.
    pub(crate) field: Option<(&'n Key, &'a Field)>,
    pub(crate) node: &'n Node,
    pub(crate) kind: &'a Kind,
    /// Such as `mcps.external[0].url`.
    pub(crate) path: &'a str,
}

/// Visits all values below `node`, which is of this kind and at this path, in the order of the file. `visit` says
/// whether to go on below a value. Keys without a value are not there.
pub(crate) fn below<'n>(
    node: &'n Node,
    kind: &Kind,
    path: &str,
    visit: &mut impl FnMut(&Visited<'_, 'n>) -> bool,
) {
    match kind {
        Kind::Object(shape) => object(node, shape, path, visit),
        Kind::List(inner) => {
            for (index, item) in node.items().iter().enumerate() {
                value(None, item, inner, &format!("{path}[{index}]"), visit);
            }
        }
        Kind::Map(_, inner) => {
            for (key, item) in node.entries() {
                value(None, item, inner, &join(path, &key.text), visit);
            }
        }
        Kind::Tagged { tag, variants, .. } => {
            let word = node.get(tag).and_then(Node::text);
            if let Some((_, shape)) = variants.iter().find(|(name, _)| Some(*name) == word) {
                object(node, shape, path, visit);
            }
        }
        Kind::Text | Kind::Form(_) | Kind::Bool | Kind::Int { .. } | Kind::OneOf(_) | Kind::Json => {}
    }
}

/// The same for the keys of an object.
pub(crate) fn object<'n>(
    node: &'n Node,
    shape: &Shape,
    path: &str,
    visit: &mut impl FnMut(&Visited<'_, 'n>) -> bool,
) {
    for (key, item) in node.entries() {
        if let Some(field) = shape.fields.iter().find(|field| field.key == key.text) {
            value(
                Some((key, field)),
                item,
                field.kind,
                &join(path, field.key),
                visit,
            );
        }
    }
}

fn value<'n>(
    field: Option<(&'n Key, &Field)>,
    node: &'n Node,
    kind: &Kind,
    path: &str,
    visit: &mut impl FnMut(&Visited<'_, 'n>) -> bool,
) {
    if node.is_null() {
        return;
    }
    let visited = Visited {
        field,
        node,
        kind,
        path,
    };
    if visit(&visited) {
        below(node, kind, path, visit);
    }
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

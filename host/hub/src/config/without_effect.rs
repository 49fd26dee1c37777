//! Keys that the file may hold and that this version does not act on. Each one that is given causes one warning.
//!
//! The field tables mark such keys, so the check, the JSON Schema and the reference page agree. When a key starts to
//! work, remove its mark in the table, and the warning disappears.

use super::node::{Node, SourcePosition};
use super::table::Shape;
use super::walk;

/// A key that is there and does nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WithoutEffect {
    pub(crate) position: SourcePosition,
    /// The key's path such as `auth.oauth`.
    pub(crate) key: String,
    /// What is wrong, as a warning says it.
    pub(crate) what: String,
}

/// What to do about such a key.
pub(crate) const INSTEAD: &str = "remove it, or keep it for a later version that reads it";

/// The marked keys of `node`, which has the keys of `shape`, in the order of the file. A key without a value is not
/// there. What is below a marked key is part of it and gives no warning of its own.
pub(crate) fn without_effect(node: &Node, shape: &Shape) -> Vec<WithoutEffect> {
    let mut found = Vec::new();
    walk::object(node, shape, "", &mut |visited| {
        let Some((key, field)) = visited.field else {
            return true;
        };
        let Some(consequence) = field.without_effect else {
            return true;
        };
        let path = visited.path;
        found.push(WithoutEffect {
            position: key.position,
            key: path.to_owned(),
            what: format!("`{path}` is accepted and does nothing in this version: {consequence}"),
        });
        false
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{forms, node, table, table::Kind};

    static INNER: Shape = Shape {
        name: "inner",
        doc: "",
        fields: &[
            table::optional("works", &Kind::Text, "", ""),
            table::optional("planned", &Kind::Text, "", "").without_effect("nobody reads it"),
        ],
    };
    static OUTER: Shape = Shape {
        name: "outer",
        doc: "",
        fields: &[
            table::optional("list", &Kind::List(&Kind::Object(&INNER)), "", ""),
            table::optional("map", &Kind::Map(&forms::NAME, &Kind::Object(&INNER)), "", ""),
            table::optional("whole", &Kind::Object(&INNER), "", "").without_effect("it is for later"),
        ],
    };

    fn keys(text: &str) -> Vec<String> {
        let node = node::parse(text, &mut Vec::new()).unwrap();
        let found = without_effect(&node, &OUTER);
        found.into_iter().map(|found| found.key).collect()
    }

    #[test]
    fn marked_keys_are_found_at_any_depth_and_once_each() {
        assert_eq!(keys("list: [{works: 1}, {planned: 1}]"), ["list[1].planned"]);
        assert_eq!(keys("map: {a: {planned: 1, works: 2}}"), ["map.a.planned"]);
        assert_eq!(keys("whole: {planned: 1, works: 2}"), ["whole"]);
        assert_eq!(
            keys("whole: {}\nlist: [{planned: x}]"),
            ["whole", "list[0].planned"]
        );
    }

    #[test]
    fn a_key_without_a_value_is_not_there() {
        assert_eq!(
            keys("whole:\nlist: [{planned: ~}]\nmap: {a: null}"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn values_of_a_wrong_type_and_unknown_keys_are_left_to_the_check() {
        assert_eq!(
            keys("list: 3\nmap: [x]\nother: {planned: 1}"),
            Vec::<String>::new()
        );
        assert_eq!(keys("whole: 3"), ["whole"]);
    }
}

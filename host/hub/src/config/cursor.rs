//! A node of the configuration with its path, and typed getters for the model.
//!
//! The getters do not report wrong types, because [`check`](super::check) has reported them already. In that case a
//! getter returns the default.

use std::str::FromStr;
use std::time::Duration;

use super::check::{bool_of, int_of};
use super::node::{Node, SourcePosition};
use super::units::{ByteSize, HumanDuration};

/// A node with its path.
#[derive(Debug, Clone)]
pub(crate) struct At<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: String,
}

impl<'n> At<'n> {
    /// The file's root.
    pub(crate) fn root(node: &'n Node) -> Self {
        Self {
            node,
            path: String::new(),
        }
    }

    pub(crate) fn position(&self) -> SourcePosition {
        self.node.position
    }

    /// The value of a key, unless it is missing or null.
    pub(crate) fn get(&self, key: &str) -> Option<At<'n>> {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        self.node.get(key).map(|node| At { node, path })
    }

    /// The items of the list at a key.
    pub(crate) fn list(&self, key: &str) -> Vec<At<'n>> {
        let Some(at) = self.get(key) else {
            return Vec::new();
        };
        let items = at.node.items().iter().enumerate();
        items
            .map(|(index, node)| At {
                node,
                path: format!("{}[{index}]", at.path),
            })
            .collect()
    }

    /// The entries of the map at a key. Null values are left in.
    pub(crate) fn map(&self, key: &str) -> Vec<(&'n str, At<'n>)> {
        let Some(at) = self.get(key) else {
            return Vec::new();
        };
        let entries = at.node.entries().iter();
        entries
            .map(|(key, node)| {
                (
                    key.text.as_str(),
                    At {
                        node,
                        path: format!("{}.{}", at.path, key.text),
                    },
                )
            })
            .collect()
    }

    /// The scalar as it is written.
    pub(crate) fn text(&self) -> Option<&'n str> {
        self.node.text()
    }

    pub(crate) fn get_text(&self, key: &str) -> Option<&'n str> {
        self.node.get(key).and_then(Node::text)
    }

    pub(crate) fn string(&self, key: &str) -> Option<String> {
        self.get_text(key).map(str::to_owned)
    }

    pub(crate) fn strings(&self, key: &str) -> Vec<String> {
        self.list(key)
            .iter()
            .filter_map(At::text)
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn parsed<T: FromStr>(&self, key: &str) -> Option<T> {
        self.get_text(key)?.parse().ok()
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        self.parsed::<HumanDuration>(key).map(|d| d.0)
    }

    pub(crate) fn size(&self, key: &str) -> Option<ByteSize> {
        self.parsed(key)
    }

    pub(crate) fn bool(&self, key: &str, default: bool) -> bool {
        self.node.get(key).and_then(bool_of).unwrap_or(default)
    }

    pub(crate) fn int<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        T::try_from(self.node.get(key).and_then(int_of)?).ok()
    }

    /// The value that stands for the word at a key.
    pub(crate) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.get_text(key)?;
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
    }
}

//! How things of many providers are named under one address.
//!
//! A client remembers names: in prompts, in permission lists, in saved chats. So a name is a pure function
//! of the provider's name and the thing's own name, and must never depend on what else is configured. It
//! must also be legal in every client: `^[A-Za-z0-9_-]{1,64}$` is the narrowest rule in the field.
//!
//! Reading a name back is a look-up in a [`Snapshot`](crate::catalogue::Snapshot), never a split: a cut name has lost its
//! tail.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Longest exposed name, in characters (all ASCII, so also bytes): `server.max_tool_name`.
///
/// Clients put a prefix in front of a name (`mcp__ai-hub__`), and many cut what is longer than 60 to 64 then: the limit of
/// Claude and OpenAI models is 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameLimit(usize);

impl NameLimit {
    /// Leaves room for a prefix of 14 characters in 64.
    pub const DEFAULT: Self = Self(50);
    /// The smallest and the largest limit.
    pub const RANGE: std::ops::RangeInclusive<usize> = 20..=128;

    /// A limit within [`NameLimit::RANGE`].
    pub fn new(limit: usize) -> Option<Self> {
        Self::RANGE.contains(&limit).then_some(Self(limit))
    }

    /// The limit in characters.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for NameLimit {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Longest namespace, in characters: leaves a tool at least half of the name.
pub const MAX_NAMESPACE: usize = 30;

/// What stands between namespace and tool. No namespace contains it or ends with its first character, so
/// the first occurrence is always the border.
pub const SEPARATOR: &str = "__";

/// The namespace of the hub's own tools, skills and configs. No provider may take it.
pub const BUILTIN: &str = "aih";

/// The file at the root of a folder skill.
pub const SKILL_MD: &str = "SKILL.md";

/// Names that no MCP and no plugin can have: as `/mcp/{name}` they are endpoints of the hub itself.
pub const RESERVED: &[&str] = &["sse", "messages"];

/// Length of the short hash, in hex digits.
const HASH_LEN: usize = 8;

/// The first eight hex digits of the SHA-256 of `text`.
fn short_hash(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(HASH_LEN);
    for byte in Sha256::digest(text.as_bytes()).iter().take(HASH_LEN / 2) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// The first part of an exposed name: a provider's name made legal.
///
/// Only `[A-Za-z0-9_]`; never empty, never more than [`MAX_NAMESPACE`] characters, no `__` inside, no `_` at
/// either end. Two providers can fall together (`my-mcp`, `my_mcp`): the check of the configuration refuses
/// that, and the hub's own namespace, [`BUILTIN`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The namespace of the provider called `provider`.
    ///
    /// Every character outside `[A-Za-z0-9]` becomes `_`, runs of `_` become one, and `_` at the ends goes.
    /// A longer result is cut and ends in a short hash of the provider's name; a name without a single legal
    /// character becomes `mcp_` and that hash.
    pub fn new(provider: &str) -> Self {
        let mut out = String::with_capacity(provider.len());
        for c in provider.chars() {
            if c.is_ascii_alphanumeric() {
                out.push(c);
            } else if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
        }
        if out.ends_with('_') {
            out.pop();
        }
        if out.is_empty() {
            out = format!("mcp_{}", short_hash(provider));
        } else if out.len() > MAX_NAMESPACE {
            out.truncate(MAX_NAMESPACE - HASH_LEN - 1);
            if !out.ends_with('_') {
                out.push('_');
            }
            out.push_str(&short_hash(provider));
        }
        Self(out.into())
    }

    /// The hub's own namespace, [`BUILTIN`].
    pub fn hub() -> Self {
        Self(BUILTIN.into())
    }

    /// The namespace as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name under which the hub offers a provider's tool or prompt: `{namespace}__{tool}`.
///
/// At most as long as its [`NameLimit`], all of `[A-Za-z0-9_-]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExposedName(Arc<str>);

/// The most characters behind the hash of a name that was cut. They are the end of the tool's name, and what a client
/// takes off that cuts once more.
const TAIL: usize = 12;

impl ExposedName {
    /// The exposed name of `tool` (its name at the provider, any text).
    ///
    /// A tool whose name is legal and short enough keeps it. In any other, each illegal character (dots and
    /// slashes too) becomes `_`, and a short hash of the full original name is added, so that `a.b`, `a/b` and `a_b` stay
    /// three names. The hash stands at the end. In a name that is cut to fit it stands further in front, in place of what
    /// was cut out: some clients cut names again, and would cut the hash off.
    ///
    /// ```
    /// use aih::names::{ExposedName, NameLimit, Namespace};
    /// let ns = Namespace::new("my-files");
    /// let name = |tool| ExposedName::new(&ns, tool, NameLimit::DEFAULT).to_string();
    /// assert_eq!(name("read-file"), "my_files__read-file");
    /// assert_eq!(name("read.file"), "my_files__read_file_b5b7198f");
    /// assert_eq!(
    ///     name("list_all_files_of_a_folder_and_of_the_folders_in_it"),
    ///     "my_files__list_all_files_of__c15c5040_olders_in_it"
    /// );
    /// ```
    pub fn new(namespace: &Namespace, tool: &str, limit: NameLimit) -> Self {
        let limit = limit.get();
        let mut altered = tool.is_empty();
        let mut name = String::with_capacity(limit);
        name.push_str(namespace.as_str());
        name.push_str(SEPARATOR);
        for c in tool.chars() {
            if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
                name.push(c);
            } else {
                name.push('_');
                altered = true;
            }
        }
        let hash = || short_hash(&format!("{namespace}{SEPARATOR}{tool}"));
        if altered && name.len() + 1 + HASH_LEN <= limit {
            name.push('_');
            name.push_str(&hash());
        } else if altered || name.len() > limit {
            let tail = TAIL.min(limit / 4);
            let head = limit - HASH_LEN - 2 - tail;
            // All ASCII by now, so a cut at any byte is a cut between characters.
            let end = name.split_off(name.len().saturating_sub(tail).max(head.min(name.len())));
            name.truncate(head);
            name = format!("{name}_{}_{end}", hash());
        }
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )*};
}
text_traits!(Namespace, ExposedName);

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;

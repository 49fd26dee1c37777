//! A text that came from outside and has passed the filter.

use std::fmt;
use std::ops::Deref;

use serde::Serialize;

/// A text that holds words of a server, a plugin, a hook, a build or a system, without any secret of the hub. It can
/// be made in no other way than through the filter, so a place that keeps one cannot keep a secret.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize)]
pub struct OutsideText(Box<str>);

impl<T: AsRef<str>> From<T> for OutsideText {
    fn from(text: T) -> Self {
        Self(super::text(text.as_ref()).into())
    }
}

impl From<OutsideText> for String {
    fn from(text: OutsideText) -> Self {
        text.0.into()
    }
}

impl Deref for OutsideText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OutsideText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OutsideText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

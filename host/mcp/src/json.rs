//! A JSON value that passes through unread: a shared slice of the bytes it arrived in.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use aih_redact as redact;

/// Valid JSON text (RFC 8259), kept as the bytes that arrived. Cloning shares the buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(Bytes);

impl RawJson {
    /// The empty object, `{}`.
    pub const EMPTY_OBJECT: Self = Self(Bytes::from_static(b"{}"));
    /// The literal `null`.
    pub const NULL: Self = Self(Bytes::from_static(b"null"));

    /// The part of `buffer` that `value` was parsed from, without a copy.
    ///
    /// # Panics
    /// `value` does not lie in `buffer`.
    pub fn slice_of(buffer: &Bytes, value: &RawValue) -> Self {
        Self(buffer.slice_ref(value.get().as_bytes()))
    }

    /// Takes text that the caller knows to be JSON because it just wrote it. It is not checked in a release build.
    pub fn trusted(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        debug_assert!(
            serde_json::from_slice::<&RawValue>(&bytes).is_ok(),
            "not JSON: {bytes:?}"
        );
        Self(bytes)
    }

    /// Checks that `bytes` are one JSON value and keeps them.
    ///
    /// # Errors
    /// What `serde_json` found wrong, with line and column.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, serde_json::Error> {
        let bytes: Bytes = bytes.into();
        let value: &RawValue = serde_json::from_slice(&bytes)?;
        Ok(Self::slice_of(&bytes, value))
    }

    /// Writes `value` as JSON. A value that cannot be written (a map with keys that are not strings)
    /// becomes `null`; none of the hub's types is such a value.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        serde_json::to_vec(value).map_or(Self::NULL, |v| Self(v.into()))
    }

    /// The value without secrets of the hub in its strings and numbers, for a client; see [`redact`].
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        Self(redact::json(&self.0))
    }

    /// Reads the value into a type.
    ///
    /// # Errors
    /// When the value has another shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// Reads the value into a type that may borrow from it.
    ///
    /// # Errors
    /// When the value has another shape.
    pub fn read_borrowed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// The value as a tree; `null` if it nests deeper than `serde_json` reads (128).
    pub fn to_value(&self) -> serde_json::Value {
        self.read().unwrap_or_default()
    }

    /// A copy that shares nothing: what is kept for long must not keep the message that it came with.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The text. JSON is UTF-8 and was checked on the way in.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: the shortest JSON value has one byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// This object with `fields` (`"a":1,"b":2`, no braces) written in front of its own. A value that is
    /// no object stays as it is. One copy, no parse: for what every answer of an era must carry.
    pub fn with_leading_fields(&self, fields: &str) -> Self {
        let Some(rest) = self.0.strip_prefix(b"{") else {
            return self.clone();
        };
        let mut out = Vec::with_capacity(self.0.len() + fields.len() + 1);
        out.push(b'{');
        out.extend_from_slice(fields.as_bytes());
        if rest.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'}') {
            out.push(b',');
        }
        out.extend_from_slice(rest);
        Self(out.into())
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        match text.char_indices().nth(200) {
            Some((cut, _)) => write!(
                f,
                "{}… ({} bytes)",
                text.get(..cut).unwrap_or_default(),
                self.0.len()
            ),
            None => f.write_str(&text),
        }
    }
}

impl Serialize for RawJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(String::from(Box::<str>::from(raw)).into()))
    }
}

impl schemars::JsonSchema for RawJson {
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_fields_keep_the_rest_untouched() {
        let add = |s: &str| {
            RawJson::parse(s.to_owned())
                .unwrap()
                .with_leading_fields(r#""r":1"#)
                .text()
                .into_owned()
        };
        assert_eq!(add(r#"{"a": 2 }"#), r#"{"r":1,"a": 2 }"#);
        assert_eq!(add("{ }"), r#"{"r":1 }"#);
        assert_eq!(add("[1]"), "[1]");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = r#"{"n":1.0000000000000000000001,"big":123456789012345678901234567890}"#;
        assert_eq!(RawJson::parse(text).unwrap().text(), text);
    }
}

//! Editing one level of a JSON object while everything below stays the bytes that arrived.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::RawJson;

/// The fields of one JSON object in the order in which they came; the values are unread.
///
/// Fields that the hub does not know keep their place and their bytes.
#[derive(Clone, Debug, Default)]
pub struct RawObject<'a> {
    fields: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
}

/// What becomes of one field; see [`RawObject::edit`].
#[derive(Clone, Debug)]
pub enum Edit {
    /// It stays as it is.
    Keep,
    /// It goes.
    Remove,
    /// It gets this value.
    Set(RawJson),
}

impl<'a> RawObject<'a> {
    /// Splits `json` into its fields.
    ///
    /// # Errors
    /// When `json` is not an object.
    pub fn parse(json: &'a RawJson) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json.bytes())
    }

    /// The value of `key`; of the last one, when it stands twice.
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.fields
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_ref())
    }

    /// The value of `key` read into a type; `None` when it is absent or of another shape.
    pub fn read<'s, T: Deserialize<'s>>(&'s self, key: &str) -> Option<T> {
        serde_json::from_str(self.get(key)?.get()).ok()
    }

    /// The value of `key` as raw JSON of its own.
    pub fn raw(&self, key: &str) -> Option<RawJson> {
        self.get(key)
            .map(|v| RawJson::trusted(v.get().as_bytes().to_vec()))
    }

    /// The value of `key`, if it is a string.
    pub fn str(&self, key: &str) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Text<'t>(#[serde(borrow)] Cow<'t, str>);
        self.read::<Text<'_>>(key).map(|t| t.0)
    }

    /// Sets `key`, in its place or at the end.
    pub fn set(&mut self, key: &'static str, value: &RawJson) {
        let Ok(raw) = serde_json::from_slice::<Box<RawValue>>(value.bytes()) else {
            return;
        };
        let mut found = false;
        self.fields.retain_mut(|(k, v)| {
            if k != key {
                return true;
            }
            let first = !found;
            found = true;
            if first {
                *v = Cow::Owned(raw.clone());
            }
            first
        });
        if !found {
            self.fields.push((Cow::Borrowed(key), Cow::Owned(raw)));
        }
    }

    /// Goes through the fields in order, and says whether any became another one.
    pub fn edit(&mut self, mut change: impl FnMut(&str, &RawValue) -> Edit) -> bool {
        let mut changed = false;
        self.fields.retain_mut(|(key, value)| match change(key, value) {
            Edit::Keep => true,
            Edit::Remove => {
                changed = true;
                false
            }
            Edit::Set(json) => {
                if let Ok(raw) = serde_json::from_slice::<Box<RawValue>>(json.bytes()) {
                    changed = true;
                    *value = Cow::Owned(raw);
                }
                true
            }
        });
        changed
    }

    /// Takes `key` away.
    pub fn remove(&mut self, key: &str) {
        self.fields.retain(|(k, _)| k != key);
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.fields.iter().map(|(k, v)| (k.as_ref(), v.as_ref()))
    }

    /// Writes the object.
    pub fn to_json(&self) -> RawJson {
        let len: usize = self.fields.iter().map(|(k, v)| k.len() + v.get().len() + 6).sum();
        let mut out = Vec::with_capacity(len + 2);
        out.push(b'{');
        for (i, (key, value)) in self.fields.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(RawJson::of(key).bytes());
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        RawJson::trusted(out)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> de::Visitor<'de> for Visitor<'a> {
            type Value = RawObject<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Key<'k>(#[serde(borrow)] Cow<'k, str>);
                let mut fields = Vec::with_capacity(8);
                while let Some(Key(key)) = map.next_key::<Key<'a>>()? {
                    fields.push((key, Cow::Borrowed(map.next_value::<&'a RawValue>()?)));
                }
                Ok(RawObject { fields })
            }
        }
        deserializer.deserialize_map(Visitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_keep_place_and_bytes() {
        let json = RawJson::parse(r#"{"x-new": [1.50, {"a":null}], "name":"a\"b","z":1}"#).unwrap();
        let mut object = RawObject::parse(&json).unwrap();
        assert_eq!(object.str("name").unwrap(), "a\"b");
        object.set("name", &RawJson::of("n"));
        object.set("source", &RawJson::of("s"));
        object.remove("z");
        assert_eq!(
            object.to_json().text(),
            r#"{"x-new":[1.50, {"a":null}],"name":"n","source":"s"}"#
        );
    }
}

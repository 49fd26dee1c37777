//! The parameters of one request, split into their members once.

use std::borrow::Cow;

use serde::Deserialize;

use super::{ErrorObject, RawJson, RawObject, method};

/// The members of `params`, their values unread.
///
/// Parameters that nobody changes stay the bytes that arrived.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// The bytes that arrived; `None` where there were none, or where something was changed.
    unchanged: Option<RawJson>,
    members: Vec<(Cow<'static, str>, RawJson)>,
    is_object: bool,
}

impl Params {
    /// Splits the parameters of a request, and leaves no room for two readings of them: `arguments` and `_meta` that
    /// are `null` are taken out, as if they were absent.
    ///
    /// # Errors
    /// `-32602` for `arguments` or `_meta` that are not objects (2025-11-25 and 2026-07-28, `CallToolRequestParams`,
    /// `GetPromptRequestParams` and `RequestParams`).
    pub fn read(method: &str, params: Option<RawJson>) -> Result<Self, ErrorObject> {
        let Some(json) = params else {
            return Ok(Self::default());
        };
        let Ok(object) = RawObject::parse(&json) else {
            // Only methods that the hub does not know can do something with it.
            return Ok(Self {
                unchanged: Some(json),
                ..Self::default()
            });
        };
        let members = object.iter().map(|(name, value)| {
            let name = match READ_MEMBERS.iter().find(|known| **known == name) {
                Some(known) => Cow::Borrowed(*known),
                None => Cow::Owned(name.to_owned()),
            };
            (name, RawJson::slice_of(json.bytes(), value))
        });
        let mut this = Self {
            members: members.collect(),
            unchanged: None,
            is_object: true,
        };
        drop(object);
        this.unchanged = Some(json);
        if matches!(method, method::TOOLS_CALL | method::PROMPTS_GET) {
            this.expect_object("arguments")?;
        }
        this.expect_object("_meta")?;
        Ok(this)
    }

    /// Parameters that the hub writes itself.
    pub fn of(members: impl IntoIterator<Item = (&'static str, RawJson)>) -> Self {
        let members = members.into_iter();
        Self {
            unchanged: None,
            members: members.map(|(name, value)| (name.into(), value)).collect(),
            is_object: true,
        }
    }

    fn expect_object(&mut self, key: &'static str) -> Result<(), ErrorObject> {
        match self.get(key) {
            Some(value) if *value == RawJson::NULL => self.remove(key),
            Some(value) if !value.is_object() => {
                return Err(ErrorObject::invalid_params(format!(
                    "`params.{key}` must be an object"
                )));
            }
            _ => {}
        }
        Ok(())
    }

    /// The value of a member.
    pub fn get(&self, key: &str) -> Option<&RawJson> {
        // The last one, as `serde_json` reads; what a client sends has each name once.
        self.members
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, v)| v)
    }

    /// The value of a member, if it is a string.
    pub fn str(&self, key: &str) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Text<'t>(#[serde(borrow)] Cow<'t, str>);
        let text: Text<'_> = self.get(key)?.read_borrowed().ok()?;
        Some(text.0)
    }

    /// Sets a member, in its place or at the end.
    pub fn set(&mut self, key: &'static str, value: RawJson) {
        self.unchanged = None;
        self.is_object = true;
        match self.members.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.members.push((Cow::Borrowed(key), value)),
        }
    }

    /// Takes a member away.
    pub fn remove(&mut self, key: &str) {
        self.unchanged = None;
        self.members.retain(|(name, _)| name != key);
    }

    /// The parameters as JSON: the bytes that arrived, unless something was changed. `None` where there are none.
    pub fn to_json(&self) -> Option<RawJson> {
        if self.unchanged.is_some() || !self.is_object {
            return self.unchanged.clone();
        }
        let len: usize = self.members.iter().map(|(k, v)| k.len() + v.len() + 6).sum();
        let mut out = Vec::with_capacity(len + 2);
        out.push(b'{');
        for (i, (name, value)) in self.members.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(RawJson::of(&**name).bytes());
            out.push(b':');
            out.extend_from_slice(value.bytes());
        }
        out.push(b'}');
        Some(RawJson::trusted(out))
    }
}

/// The members of `params` that the hub reads, over all methods that it knows.
pub(crate) const READ_MEMBERS: &[&str] = &[
    "name",
    "arguments",
    "uri",
    "_meta",
    "ref",
    "argument",
    "cursor",
    "level",
    "taskId",
    "requestId",
    "requestState",
    "inputResponses",
    "notifications",
    "progressToken",
    "protocolVersion",
    "capabilities",
    "clientInfo",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Params, ErrorObject> {
        Params::read(method::TOOLS_CALL, Some(RawJson::parse(text.to_owned()).unwrap()))
    }

    #[test]
    fn what_nobody_changes_stays_the_bytes_that_arrived() {
        let json = RawJson::parse(r#"{ "x-new" : [1.50], "name":"a" }"#).unwrap();
        let params = Params::read(method::TOOLS_CALL, Some(json.clone())).unwrap();
        assert_eq!(params.to_json().unwrap().bytes().as_ptr(), json.bytes().as_ptr());
        assert_eq!(params.str("name").unwrap(), "a");
        assert!(Params::read(method::PING, None).unwrap().to_json().is_none());
        let list = RawJson::parse("[1]").unwrap();
        let params = Params::read("acme/x", Some(list.clone())).unwrap();
        assert_eq!(params.to_json(), Some(list));
    }

    #[test]
    fn a_change_leaves_the_other_members_as_they_are() {
        let mut params = read(r#"{ "x-\u006eew" : [1.50, 2], "name":"a","z":1}"#).unwrap();
        params.set("name", RawJson::of("b"));
        params.set("arguments", RawJson::EMPTY_OBJECT);
        params.remove("z");
        assert_eq!(
            params.to_json().unwrap().text(),
            r#"{"x-new":[1.50, 2],"name":"b","arguments":{}}"#
        );
    }

    #[test]
    fn arguments_and_meta_are_objects_or_absent() {
        let params = read(r#"{"name":"a","arguments":null,"_meta":null,"x":null}"#).unwrap();
        assert_eq!(params.to_json().unwrap().text(), r#"{"name":"a","x":null}"#);
        for bad in [
            r#"{"arguments":[]}"#,
            r#"{"arguments":"{}"}"#,
            r#"{"arguments":0}"#,
            r#"{"arguments":false}"#,
            r#"{"_meta":[]}"#,
        ] {
            assert_eq!(
                read(bad).unwrap_err().code,
                super::super::ErrorCode::INVALID_PARAMS,
                "{bad}"
            );
        }
    }
}

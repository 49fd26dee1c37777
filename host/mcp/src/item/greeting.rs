//! What a server says of itself in a greeting, as every client takes it: its capabilities and its `serverInfo`.
//!
//! A client that cannot read one of them does not connect at all.

use super::{Path, Problems, shape};
use crate::{RawJson, RawObject, object::Edit};

/// The lists whose changes can be notified.
const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// The capabilities that `server` declared, without members of a wrong type, and with `listChanged` for each of its
/// lists: the hub notifies clients of all changes, whether or not the server does.
pub fn capabilities(server: &RawJson) -> RawJson {
    let fixed = fixed(shape::CAPABILITIES, server);
    let Ok(mut object) = RawObject::parse(&fixed) else {
        return RawJson::EMPTY_OBJECT;
    };
    object.edit(|key, value| match LISTS.contains(&key) {
        true => match serde_json::from_str::<RawObject<'_>>(value.get()) {
            Ok(mut list) => {
                list.set("listChanged", &RawJson::of(&true));
                Edit::Set(list.to_json())
            }
            Err(_) => Edit::Remove,
        },
        false => Edit::Keep,
    });
    object.to_json()
}

/// The `serverInfo` of a server, without members of a wrong type; `None` where it has not even a name.
pub fn implementation(server: &RawJson) -> Option<RawJson> {
    let fixed = fixed(shape::IMPLEMENTATION, server);
    fixed.is_object().then_some(fixed)
}

/// What is left of `json`; `null` where nothing is.
fn fixed(shape: shape::Shape, json: &RawJson) -> RawJson {
    let Ok(value) = serde_json::from_slice(json.bytes()) else {
        return RawJson::NULL;
    };
    match shape::fix(shape, value, Path::ITEM, &mut Problems::default()) {
        shape::Fix::Keep => json.clone(),
        shape::Fix::Set(json) => json,
        shape::Fix::Remove | shape::Fix::Refuse => RawJson::NULL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn lists_have_their_notifications_and_wrong_members_go() {
        for (said, told) in [
            ("{}", "{}"),
            ("null", "{}"),
            ("[]", "{}"),
            (
                r#"{"tools":{},"prompts":null,"resources":{"subscribe":true,"listChanged":false,"x":1.0},"logging":7,"completions":{},"y":2.0}"#,
                r#"{"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true,"x":1.0},"completions":{},"y":2.0}"#,
            ),
            (
                r#"{"tools":{"listChanged":"yes"},"experimental":{"a":{},"b":1},"extensions":[]}"#,
                r#"{"tools":{"listChanged":true},"experimental":{"a":{}}}"#,
            ),
        ] {
            assert_eq!(capabilities(&raw(said)).text(), told, "{said}");
        }
    }

    #[test]
    fn a_server_has_a_name_and_a_version() {
        let good = r#"{"name":"a", "version":"1","x":1.0}"#;
        assert_eq!(implementation(&raw(good)).unwrap().text(), good);
        assert_eq!(
            implementation(&raw(
                r#"{"name":"a","title":null,"icons":[{"src":1}],"websiteUrl":7}"#
            ))
            .unwrap()
            .text(),
            r#"{"name":"a","icons":[],"version":""}"#
        );
        for without in ["null", "{}", r#"{"version":"1"}"#, r#"{"name":7}"#] {
            assert_eq!(implementation(&raw(without)), None, "{without}");
        }
    }
}

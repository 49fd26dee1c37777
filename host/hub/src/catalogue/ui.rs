//! The views of MCP Apps: a tool, a result or a resource names its view by a `ui://` URI in its `_meta`.
//!
//! The URI stands in `_meta.ui.resourceUri`, and in `_meta["ui/resourceUri"]` in the older form (ext-apps, 2026-01-26).

use aih_mcp::{RawJson, RawObject, object::Edit};
use serde_json::value::RawValue;

/// Writes the URIs of views in the `_meta` of `owner` anew: with what `change` says, and without those for which it says
/// `None`. All else keeps its bytes. Answers whether anything became another.
pub fn rewrite(owner: &mut RawObject<'_>, change: &dyn Fn(&str) -> Option<String>) -> bool {
    let Some(meta) = owner.raw("_meta") else {
        return false;
    };
    let Ok(mut fields) = RawObject::parse(&meta) else {
        return false;
    };
    let changed = fields.edit(|key, value| match key {
        "ui/resourceUri" => uri(value, change),
        "ui" => match serde_json::from_str::<RawObject<'_>>(value.get()) {
            Ok(mut ui) => {
                let changed = ui.edit(|key, value| match key {
                    "resourceUri" => uri(value, change),
                    _ => Edit::Keep,
                });
                match changed {
                    true => Edit::Set(ui.to_json()),
                    false => Edit::Keep,
                }
            }
            Err(_) => Edit::Keep,
        },
        _ => Edit::Keep,
    });
    if changed {
        let meta = fields.to_json();
        owner.set("_meta", &meta);
    }
    changed
}

fn uri(value: &RawValue, change: &dyn Fn(&str) -> Option<String>) -> Edit {
    match serde_json::from_str::<String>(value.get()) {
        Ok(uri) => match change(&uri) {
            Some(new) if new == uri => Edit::Keep,
            Some(new) => Edit::Set(RawJson::of(&new)),
            None => Edit::Remove,
        },
        Err(_) => Edit::Keep,
    }
}

/// The URIs of the views that `owner` names.
pub fn uris(owner: &RawObject<'_>) -> Vec<String> {
    let Some(meta) = owner.raw("_meta") else {
        return Vec::new();
    };
    let Ok(fields) = RawObject::parse(&meta) else {
        return Vec::new();
    };
    let ui = fields.raw("ui").unwrap_or(RawJson::EMPTY_OBJECT);
    let inner = RawObject::parse(&ui).ok();
    let inner = inner.and_then(|ui| ui.str("resourceUri").map(|uri| uri.into_owned()));
    let older = fields.str("ui/resourceUri").map(|uri| uri.into_owned());
    inner.into_iter().chain(older).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(json: &str, change: &dyn Fn(&str) -> Option<String>) -> String {
        let json = RawJson::parse(json.to_owned()).unwrap();
        let mut object = RawObject::parse(&json).unwrap();
        rewrite(&mut object, change);
        object.to_json().text().into_owned()
    }

    #[test]
    fn both_forms_are_rewritten_and_the_rest_keeps_its_bytes() {
        let json = r#"{"a":1.0,"_meta":{"n":1.50,"ui":{"resourceUri":"ui://p","x":[1e2]},"ui/resourceUri":"ui://q"},"z":2}"#;
        let changed = rewritten(json, &|uri| Some(uri.replace("ui://", "ui://s/")));
        assert_eq!(
            changed,
            r#"{"a":1.0,"_meta":{"n":1.50,"ui":{"resourceUri":"ui://s/p","x":[1e2]},"ui/resourceUri":"ui://s/q"},"z":2}"#
        );
        let without = rewritten(json, &|uri| (uri == "ui://q").then(|| uri.to_owned()));
        assert_eq!(
            without,
            r#"{"a":1.0,"_meta":{"n":1.50,"ui":{"x":[1e2]},"ui/resourceUri":"ui://q"},"z":2}"#
        );
        let parsed = RawJson::parse(json.to_owned()).unwrap();
        assert_eq!(uris(&RawObject::parse(&parsed).unwrap()), ["ui://p", "ui://q"]);
    }

    #[test]
    fn whatever_else_meta_is_stays() {
        for json in [
            r#"{"_meta":[]}"#,
            r#"{"_meta":null}"#,
            r#"{"_meta":{"ui":7,"ui/resourceUri":{}}}"#,
            r#"{"_meta":{"ui":{"resourceUri":null}}}"#,
            r#"{"x":{"_meta":{"ui":{"resourceUri":"ui://p"}}}}"#,
        ] {
            assert_eq!(rewritten(json, &|_| None), json);
        }
    }
}

//! What must change in a request on its way to a server: the progress token, and the `_meta` of the other era.
//!
//! Where nothing must change nothing is copied. Fields that the hub does not know keep their bytes.

use std::sync::Arc;

use aih_mcp::{Era, ProtocolVersion, RawJson, RawObject, method::meta};

use crate::provider::Client;

/// The capabilities that the hub declares for itself, so that a server lists all that it has.
pub(crate) const HUB_CAPABILITIES: &str = r#"{"sampling":{},"elicitation":{},"roots":{"listChanged":true}}"#;

/// The hub's own `clientInfo`.
pub(crate) fn hub_info() -> RawJson {
    RawJson::of(&serde_json::json!({ "name": "aih", "version": env!("CARGO_PKG_VERSION") }))
}

/// A request ready to go.
pub(crate) struct Prepared {
    /// Its parameters.
    pub(crate) params: Option<RawJson>,
    /// The client's progress token, which ours replaced.
    pub(crate) token: Option<RawJson>,
    /// The member that was asked for, cut to [`MAX_MEMBER`] bytes.
    pub(crate) member: Option<Arc<str>>,
    /// Whether the server is asked to make a task of it (2025-11-25, Tasks).
    pub(crate) task: bool,
}

/// The longest text of a member that is kept, in bytes.
const MAX_MEMBER: usize = 200;

/// Makes the client's `params` fit a server of era `upstream`; `id` becomes the progress token. `member` is the name
/// of a member whose text is wanted.
pub(crate) fn prepare(
    params: Option<RawJson>,
    id: u64,
    upstream: Era,
    client: &Client,
    member: Option<&str>,
) -> Prepared {
    let mut prepared = Prepared {
        params: None,
        token: None,
        member: None,
        task: false,
    };
    let Some(json) = params else {
        if upstream == Era::Legacy {
            return prepared;
        }
        let mut fields = RawObject::default();
        let mut meta = RawObject::default();
        introduce(&mut meta, Some(client));
        fields.set("_meta", &meta.to_json());
        prepared.params = Some(fields.to_json());
        return prepared;
    };
    let Ok(mut fields) = RawObject::parse(&json) else {
        prepared.params = Some(json);
        return prepared;
    };
    prepared.member = member.and_then(|m| fields.str(m)).map(|text| {
        let end = text.floor_char_boundary(MAX_MEMBER);
        text.get(..end).unwrap_or_default().into()
    });
    prepared.task = fields.get("task").is_some();
    let old = fields.raw("_meta");
    let Some(old) = old else {
        if upstream == Era::Legacy {
            prepared.params = Some(json);
            return prepared;
        }
        let mut meta = RawObject::default();
        introduce(&mut meta, Some(client));
        fields.set("_meta", &meta.to_json());
        prepared.params = Some(fields.to_json());
        return prepared;
    };
    let Ok(mut new) = RawObject::parse(&old) else {
        prepared.params = Some(json);
        return prepared;
    };
    let token = new.raw(meta::PROGRESS_TOKEN);
    let mut changed = token.is_some();
    if token.is_some() {
        new.set(meta::PROGRESS_TOKEN, &RawJson::of(&id));
    }
    match upstream {
        Era::Modern => changed |= introduce(&mut new, Some(client)),
        Era::Legacy => {
            for key in [
                meta::PROTOCOL_VERSION,
                meta::CLIENT_INFO,
                meta::CLIENT_CAPABILITIES,
                meta::LOG_LEVEL,
            ] {
                if new.get(key).is_some() {
                    new.remove(key);
                    changed = true;
                }
            }
        }
    }
    prepared.token = token;
    prepared.params = if !changed {
        Some(json)
    } else if new.is_empty() {
        fields.remove("_meta");
        Some(fields.to_json())
    } else {
        fields.set("_meta", &new.to_json());
        Some(fields.to_json())
    };
    prepared
}

/// Adds what every modern request must say and this one does not yet. `None` is the hub itself.
/// Says whether something was added.
fn introduce(meta: &mut RawObject<'_>, client: Option<&Client>) -> bool {
    let mut changed = false;
    if meta.get(meta::PROTOCOL_VERSION).is_none() {
        meta.set(
            meta::PROTOCOL_VERSION,
            &RawJson::of(ProtocolVersion::LATEST.as_str()),
        );
        changed = true;
    }
    if meta.get(meta::CLIENT_INFO).is_none() {
        let info = match client {
            Some(client) => client.info.clone(),
            None => Some(hub_info()),
        };
        if let Some(info) = info {
            meta.set(meta::CLIENT_INFO, &info);
            changed = true;
        }
    }
    if meta.get(meta::CLIENT_CAPABILITIES).is_none() {
        let capabilities = match client {
            Some(client) => client.capabilities.clone(),
            None => RawJson::trusted(HUB_CAPABILITIES),
        };
        meta.set(meta::CLIENT_CAPABILITIES, &capabilities);
        changed = true;
    }
    if meta.get(meta::LOG_LEVEL).is_none()
        && let Some(level) = client
            .filter(|c| c.era() == Era::Legacy)
            .and_then(Client::log_level)
    {
        meta.set(meta::LOG_LEVEL, &RawJson::of(level.as_str()));
        changed = true;
    }
    changed
}

/// Parameters of a request of the hub's own; `fields` are its members besides `_meta`.
pub(crate) fn own_params(upstream: Era, fields: &[(&'static str, RawJson)]) -> Option<RawJson> {
    let mut object = RawObject::default();
    for (key, value) in fields {
        object.set(key, value);
    }
    if upstream == Era::Modern {
        let mut meta = RawObject::default();
        introduce(&mut meta, None);
        object.set("_meta", &meta.to_json());
    }
    (!object.is_empty()).then(|| object.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{provider::LogLevel, upstream::testing::client};

    fn raw(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn nothing_to_change_copies_nothing() {
        let client = client("a", ProtocolVersion::V2025_11_25, "{}");
        let params = raw(r#"{"name":"x","_meta":{"other":1.0}}"#);
        let out = prepare(Some(params.clone()), 1, Era::Legacy, &client, None)
            .params
            .unwrap();
        assert_eq!(out.bytes().as_ptr(), params.bytes().as_ptr());
    }

    #[test]
    fn the_progress_token_becomes_ours() {
        let client = client("a", ProtocolVersion::V2025_11_25, "{}");
        let params = raw(r#"{"name":"x","_meta":{"progressToken":"p","z":1.50},"u":[1]}"#);
        let out = prepare(Some(params), 7, Era::Legacy, &client, None);
        assert_eq!(out.token.unwrap().text(), r#""p""#);
        assert_eq!(
            out.params.unwrap().text(),
            r#"{"name":"x","_meta":{"progressToken":7,"z":1.50},"u":[1]}"#
        );
    }

    #[test]
    fn a_modern_request_loses_its_meta_for_a_legacy_server() {
        let client = client("a", ProtocolVersion::V2026_07_28, "{}");
        let params = raw(
            r#"{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/logLevel":"error"}}"#,
        );
        let out = prepare(Some(params), 7, Era::Legacy, &client, None);
        assert_eq!(out.params.unwrap().text(), r#"{"name":"x"}"#);
    }

    #[test]
    fn a_legacy_client_is_introduced_to_a_modern_server() {
        let client = client("a", ProtocolVersion::V2025_11_25, r#"{"roots":{}}"#);
        client
            .log_level
            .store(LogLevel::Warning.rank(), std::sync::atomic::Ordering::Relaxed);
        let out = prepare(Some(raw(r#"{"name":"x"}"#)), 7, Era::Modern, &client, None);
        let value = out.params.unwrap().to_value();
        assert_eq!(value["_meta"][meta::PROTOCOL_VERSION], "2026-07-28");
        assert_eq!(
            value["_meta"][meta::CLIENT_CAPABILITIES]["roots"],
            serde_json::json!({})
        );
        assert_eq!(value["_meta"][meta::LOG_LEVEL], "warning");
    }

    #[test]
    fn a_modern_request_passes_unchanged_to_a_modern_server() {
        let client = client("a", ProtocolVersion::V2026_07_28, "{}");
        let params = raw(
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{},"io.modelcontextprotocol/clientCapabilities":{}}}"#,
        );
        let out = prepare(Some(params.clone()), 7, Era::Modern, &client, None)
            .params
            .unwrap();
        assert_eq!(out.bytes().as_ptr(), params.bytes().as_ptr());
    }
}

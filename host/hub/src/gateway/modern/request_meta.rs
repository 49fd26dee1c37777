//! What a modern request says about itself in `_meta`, and in the headers that repeat it.

use aih_mcp::{
    ErrorCode, ErrorObject, ProtocolVersion, RawJson, RawObject, headers,
    method::{self, header, meta},
};
use http::HeaderMap;
use serde_json::json;

use crate::provider::LogLevel;

/// What a modern request's `_meta` says.
#[derive(Debug)]
pub struct RequestMeta {
    pub(super) version: ProtocolVersion,
    pub(super) info: Option<RawJson>,
    pub(super) capabilities: RawJson,
    pub(super) log_level: Option<LogLevel>,
}

/// Whether a message belongs to the modern era: its `_meta` or its header says so.
pub fn is_modern(headers: &HeaderMap, method: &str, params: Option<&RawJson>) -> bool {
    let by_header = headers
        .get(header::PROTOCOL_VERSION)
        .is_some_and(|v| v.to_str().ok().and_then(ProtocolVersion::parse) == Some(ProtocolVersion::LATEST));
    by_header || method == method::DISCOVER || says_version(params)
}

/// Whether `_meta` carries a protocol version.
pub fn says_version(params: Option<&RawJson>) -> bool {
    // The key is long and rare: most legacy requests are spared the parse.
    params.is_some_and(|p| memchr::memmem::find(p.bytes(), meta::PROTOCOL_VERSION.as_bytes()).is_some())
        && params
            .and_then(|p| RawObject::parse(p).ok()?.raw("_meta"))
            .is_some_and(|m| RawObject::parse(&m).is_ok_and(|m| m.get(meta::PROTOCOL_VERSION).is_some()))
}

impl RequestMeta {
    /// Reads and checks a request's `_meta`; over HTTP also the headers that repeat it.
    ///
    /// # Errors
    /// `-32602`, `-32020` or `-32022`; over HTTP all three go with status 400.
    pub fn read(
        headers: Option<&HeaderMap>,
        method: &str,
        params: Option<&RawJson>,
    ) -> Result<Self, ErrorObject> {
        let mismatch = |text: String| ErrorObject::new(ErrorCode::HEADER_MISMATCH, text);
        let object = params.map(RawObject::parse).transpose().ok().flatten();
        let said = match headers {
            None => None,
            Some(h) => {
                let value = h.get(header::PROTOCOL_VERSION);
                value.map(|v| v.to_str().unwrap_or_default().to_owned())
            }
        };
        let absent = |what: &str| ErrorObject::invalid_params(format!("`params._meta` lacks `{what}`"));
        let json = object
            .as_ref()
            .and_then(|o| o.raw("_meta"))
            .ok_or_else(|| absent(meta::PROTOCOL_VERSION))?;
        let fields = RawObject::parse(&json).map_err(|_| absent(meta::PROTOCOL_VERSION))?;
        let requested: String = fields
            .read(meta::PROTOCOL_VERSION)
            .ok_or_else(|| absent(meta::PROTOCOL_VERSION))?;
        if headers.is_some() {
            match &said {
                None => return Err(mismatch("the MCP-Protocol-Version header is missing".to_owned())),
                Some(said) if *said != requested => {
                    return Err(mismatch(format!(
                        "MCP-Protocol-Version says `{said}`, `_meta` says `{requested}`"
                    )));
                }
                Some(_) => {}
            }
        }
        let version = ProtocolVersion::parse(&requested)
            .filter(|v| v.era() == aih_mcp::Era::Modern)
            .ok_or_else(|| unsupported(&requested))?;
        if let Some(headers) = headers {
            headers::check(headers, method, object.as_ref()).map_err(mismatch)?;
        }
        let capabilities = fields.raw(meta::CLIENT_CAPABILITIES).filter(RawJson::is_object);
        Ok(Self {
            version,
            info: fields.raw(meta::CLIENT_INFO),
            capabilities: capabilities.ok_or_else(|| absent(meta::CLIENT_CAPABILITIES))?,
            log_level: fields
                .read::<String>(meta::LOG_LEVEL)
                .and_then(|l| LogLevel::parse(&l)),
        })
    }
}

fn unsupported(requested: &str) -> ErrorObject {
    ErrorObject::new(
        ErrorCode::UNSUPPORTED_VERSION,
        format!("protocol version `{requested}` is not supported"),
    )
    .with_data(&json!({ "supported": [ProtocolVersion::LATEST.as_str()], "requested": requested }))
}

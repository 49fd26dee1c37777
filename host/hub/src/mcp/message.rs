//! JSON-RPC 2.0 envelopes: split for routing, payload unread.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ErrorObject, RawJson};

/// The id of a request: a string or an integer, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(RawJson);

impl Id {
    /// An id of the hub's own.
    pub fn number(n: u64) -> Self {
        Self(RawJson::trusted(n.to_string()))
    }

    /// The id as JSON.
    pub fn json(&self) -> &RawJson {
        &self.0
    }

    /// The number, if it is one that the hub gave.
    pub fn as_u64(&self) -> Option<u64> {
        std::str::from_utf8(self.0.bytes()).ok()?.parse().ok()
    }

    /// Reads an id out of JSON; `None` if it is neither a string nor a number.
    pub fn from_json(json: RawJson) -> Option<Self> {
        matches!(json.bytes().first(), Some(b'"' | b'-' | b'0'..=b'9')).then_some(Self(json))
    }
}

impl std::hash::Hash for Id {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.bytes().hash(state);
    }
}

/// One JSON-RPC message.
#[derive(Clone, Debug)]
pub enum Message {
    /// Wants an answer.
    Request {
        /// Chosen by the sender.
        id: Id,
        /// What to do.
        method: Box<str>,
        /// `None` where the member is absent.
        params: Option<RawJson>,
    },
    /// Wants none.
    Notification {
        /// What happened.
        method: Box<str>,
        /// `None` where the member is absent.
        params: Option<RawJson>,
    },
    /// An answer; `id` is `None` when the peer could not read the request's.
    Response {
        /// The request's id.
        id: Option<Id>,
        /// The result, or why there is none.
        outcome: Result<RawJson, ErrorObject>,
    },
}

/// Why bytes are no JSON-RPC message.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// No JSON at all: answered with -32700.
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    /// JSON of another shape: answered with -32600.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    Shape(&'static str),
}

/// A member that is there, even when it is `null`: `Option` alone would take that for absent.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(d: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

impl Message {
    /// Splits one message. The payloads share `bytes`.
    ///
    /// # Errors
    /// [`ParseError`]; nesting is limited only where a payload is read.
    pub fn parse(bytes: &Bytes) -> Result<Self, ParseError> {
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => ParseError::Shape("its members have the wrong types"),
            _ => ParseError::Json(e),
        })?;
        if envelope.jsonrpc.as_deref() != Some("2.0") {
            return Err(ParseError::Shape("`jsonrpc` must be \"2.0\""));
        }
        let raw = |v: &RawValue| RawJson::slice_of(bytes, v);
        let id = envelope.id.map(raw).filter(|j| *j != RawJson::NULL);
        let id = match id {
            None => None,
            Some(json) => {
                Some(Id::from_json(json).ok_or(ParseError::Shape("`id` must be a string or a number"))?)
            }
        };
        let params = envelope.params.map(raw).filter(|j| *j != RawJson::NULL);
        if let Some(params) = &params
            && !matches!(params.bytes().first(), Some(b'{' | b'['))
        {
            return Err(ParseError::Shape("`params` must be an object"));
        }
        match (envelope.method, envelope.result, envelope.error) {
            (Some(method), None, None) => Ok(match id {
                Some(id) => Self::Request {
                    id,
                    method: method.into(),
                    params,
                },
                None if envelope.id.is_some() => return Err(ParseError::Shape("`id` must not be null")),
                None => Self::Notification {
                    method: method.into(),
                    params,
                },
            }),
            (None, Some(result), None) => Ok(Self::Response {
                id,
                outcome: Ok(raw(result)),
            }),
            (None, None, Some(error)) => {
                let error = raw(error)
                    .read()
                    .map_err(|_| ParseError::Shape("`error` has no `code`"))?;
                Ok(Self::Response {
                    id,
                    outcome: Err(error),
                })
            }
            _ => Err(ParseError::Shape(
                "it needs one of `method`, `result` and `error`",
            )),
        }
    }

    /// A response.
    pub fn response(id: Id, outcome: Result<RawJson, ErrorObject>) -> Self {
        Self::Response {
            id: Some(id),
            outcome,
        }
    }

    /// A notification.
    pub fn notification(method: &str, params: Option<RawJson>) -> Self {
        Self::Notification {
            method: method.into(),
            params,
        }
    }

    /// The message as JSON text.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(96 + self.payload_len());
        out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
        let mut member = |name: &str, value: &[u8]| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value);
        };
        match self {
            Self::Request { id, method, params } => {
                member("id", id.0.bytes());
                member("method", RawJson::of(method).bytes());
                if let Some(params) = params {
                    member("params", params.bytes());
                }
            }
            Self::Notification { method, params } => {
                member("method", RawJson::of(method).bytes());
                if let Some(params) = params {
                    member("params", params.bytes());
                }
            }
            Self::Response { id, outcome } => {
                member("id", id.as_ref().map_or(b"null".as_slice(), |id| id.0.bytes()));
                match outcome {
                    Ok(result) => member("result", result.bytes()),
                    Err(error) => member("error", RawJson::of(error).bytes()),
                }
            }
        }
        out.push(b'}');
        out.into()
    }

    fn payload_len(&self) -> usize {
        match self {
            Self::Request { params, .. } | Self::Notification { params, .. } => {
                params.as_ref().map_or(0, RawJson::len)
            }
            Self::Response { outcome, .. } => outcome.as_ref().map_or(0, RawJson::len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, ParseError> {
        Message::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_request_comes_back_byte_for_byte() {
        for text in [
            r#"{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"x","new":[1.0e3]}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/unheard","params":{"a":1}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"hologram"}]}}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"m","data":{"x":1.50}}}"#,
        ] {
            assert_eq!(parse(text).unwrap().to_bytes(), text);
        }
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        assert!(matches!(parse("{"), Err(ParseError::Json(_))));
        for text in [
            "[]",
            "1",
            "{}",
            r#"{"jsonrpc":"1.0","method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","method":"m","params":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","result":1}"#,
        ] {
            assert!(matches!(parse(text), Err(ParseError::Shape(_))), "{text}");
        }
    }
}

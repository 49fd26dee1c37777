//! JSON-RPC 2.0 envelopes: split for routing, payload unread.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ErrorCode, ErrorObject, RawJson, method, received, strict};

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

    /// The number, if it is written as the hub writes its own.
    pub fn as_u64(&self) -> Option<u64> {
        std::str::from_utf8(self.0.bytes()).ok()?.parse().ok()
    }

    /// The number that it says, in whatever form: `7`, `7.0` and `"7"` are one id for the official SDKs.
    pub fn value(&self) -> Option<u64> {
        let number = received::whole_number(std::str::from_utf8(self.0.bytes()).ok()?)?;
        u64::try_from(number).ok()
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

/// Why bytes are not a JSON-RPC message.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// No JSON at all: answered with -32700.
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    /// JSON of another shape: answered with -32600.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    Shape(&'static str),
    /// Several messages in an array, which only revision 2025-03-26 has: answered with -32600.
    #[error("a batch of messages is not supported: send each message in a request of its own")]
    Batch,
}

/// Why a message of a client is not taken.
#[derive(Debug)]
pub struct Refusal {
    /// The id of the request, where it could be read.
    pub id: Option<Id>,
    /// The answer: `-32700`, `-32600`, or `-32602` where `params` are at fault.
    pub error: ErrorObject,
}

impl Refusal {
    /// The message itself has more than one reading.
    fn unclear(why: &str) -> Self {
        let text = format!("the message cannot be used: {why}");
        Self {
            id: None,
            error: ErrorObject::new(ErrorCode::INVALID_REQUEST, text),
        }
    }
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Self {
        let code = match error {
            ParseError::Json(_) => ErrorCode::PARSE_ERROR,
            ParseError::Shape(_) | ParseError::Batch => ErrorCode::INVALID_REQUEST,
        };
        Self {
            id: None,
            error: ErrorObject::new(code, error.to_string()),
        }
    }
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
        // An array would do for the struct: a second form of the same message, which JSON-RPC does not have.
        if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            return Err(ParseError::Shape("it is not an object"));
        }
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

    /// Splits a message of a client, which must have one reading only: no member stands twice, those that the hub reads
    /// are written in their own letters, texts are Unicode and numbers fit a double. It nests `max_nesting` levels at
    /// most.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn from_client(bytes: &Bytes, max_nesting: usize) -> Result<Self, Refusal> {
        if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[') {
            return Err(ParseError::Batch.into());
        }
        let message = Self::parse(bytes)?;
        // Everything in it was found to be UTF-8, but what the hub does not read.
        let text = std::str::from_utf8(bytes).map_err(|_| ParseError::Shape("it is not UTF-8"))?;
        let kind = match &message {
            Self::Request { method, .. } | Self::Notification { method, .. } => {
                if method::is_known(method) {
                    strict::Kind::Known
                } else {
                    strict::check_method(method).map_err(|why| Refusal::unclear(&why))?;
                    strict::Kind::Unknown
                }
            }
            Self::Response { .. } => strict::Kind::Answer,
        };
        let Err(fault) = strict::check(text, kind, max_nesting) else {
            return Ok(message);
        };
        Err(match message {
            Self::Request { id, .. } if fault.in_params => Refusal {
                id: Some(id),
                error: ErrorObject::invalid_params(format!("`params` cannot be used: {}", fault.why)),
            },
            _ => Refusal::unclear(&fault.why),
        })
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
    fn a_batch_is_refused_by_its_name() {
        for text in [
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            " \n[{},1]",
            "[no JSON",
        ] {
            let refusal = Message::from_client(&Bytes::copy_from_slice(text.as_bytes()), 8).expect_err(text);
            assert_eq!(
                (refusal.id, refusal.error.code),
                (None, ErrorCode::INVALID_REQUEST)
            );
            assert!(
                refusal.error.message.contains("batch"),
                "{}",
                refusal.error.message
            );
        }
    }

    #[test]
    fn a_client_learns_where_its_message_has_two_readings() {
        let refused = |text: &str| {
            let refusal = Message::from_client(&Bytes::copy_from_slice(text.as_bytes()), 8).expect_err(text);
            (
                refusal.id.map(|id| id.json().text().into_owned()),
                refusal.error.code,
            )
        };
        let in_params =
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","Name":"y"}}"#;
        assert_eq!(
            refused(in_params),
            (Some(r#""a""#.to_owned()), ErrorCode::INVALID_PARAMS)
        );
        let envelope = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","Params":{}}"#;
        assert_eq!(refused(envelope), (None, ErrorCode::INVALID_REQUEST));
        assert_eq!(refused("{").1, ErrorCode::PARSE_ERROR);
        let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestid":1}}"#;
        assert_eq!(refused(note), (None, ErrorCode::INVALID_REQUEST));
        let mut odd = br#"{"jsonrpc":"2.0","id":1,"method":"ping","x":"?"}"#.to_vec();
        let at = odd.iter().position(|b| *b == b'?').unwrap();
        odd[at] = 0xff;
        assert!(Message::from_client(&odd.into(), 8).is_err());
    }

    #[test]
    fn what_is_not_a_message_is_distinguished() {
        assert!(matches!(parse("{"), Err(ParseError::Json(_))));
        for text in [
            "[]",
            r#"["2.0",1,"tools/call",{"name":"x"},null,null]"#,
            r#"["2.0",1,"tools/call",{"name":"x"}]"#,
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

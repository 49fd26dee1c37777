//! HTTP around one MCP message: which endpoint, the body within its limits, what the client accepts, errors, and
//! streams of events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use aih_mcp::{
    ErrorCode, ErrorObject, Id, Message, RawJson, Refusal,
    sse::{Event, KEEP_ALIVE},
};
use axum::{
    body::Body,
    extract::{FromRequestParts, Path},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream as Events, StreamExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header as h, request::Parts};

use super::{MAX_BODY, MAX_NESTING, session::Session, stream};
use crate::{
    catalogue::Scope,
    listener::body::{self, BodyError, held},
    memory::{Account, OutOfBudget, Permit, StreamBudget},
};

/// A request that is silent for this long gets its stream opened, so that nothing on the way gives up.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for a client that would rather have a stream.
const EAGER: Duration = Duration::from_millis(20);
/// Between two signs of life on a silent stream.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// The endpoint of a request: all providers, or the one in the path.
pub struct Endpoint(pub Scope);

impl<S: Send + Sync> FromRequestParts<S> for Endpoint {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::<std::collections::HashMap<String, String>>::from_request_parts(parts, state).await;
        Ok(Self(match path {
            Ok(Path(mut path)) => path
                .remove("name")
                .map_or(Scope::All, |name| Scope::One(name.into())),
            // A name that is not UTF-8: no server is called so.
            Err(_) => Scope::One("\u{fffd}".into()),
        }))
    }
}

/// A JSON-RPC error as an HTTP response.
pub(super) fn error(status: StatusCode, id: Option<Id>, error: ErrorObject) -> Response {
    json(
        status,
        Message::Response {
            id,
            outcome: Err(error),
        }
        .to_bytes(),
    )
}

/// A message as an HTTP response.
pub(super) fn json(status: StatusCode, body: Bytes) -> Response {
    (
        status,
        [(h::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
    )
        .into_response()
}

/// A request that is not MCP, or not acceptable as it is: one log row, and the error.
pub(super) fn refused(status: StatusCode, id: Option<Id>, text: impl Into<String>) -> Response {
    refused_as(status, id, ErrorObject::new(ErrorCode::INVALID_REQUEST, text))
}

fn refused_as(status: StatusCode, id: Option<Id>, e: ErrorObject) -> Response {
    tracing::warn!(target: "aih::gateway", status = status.as_u16(), "refused: {}", e.message);
    error(status, id, e)
}

/// The key holds as many bytes as it may: 503, and when to try again.
pub(super) fn no_room(id: Option<Id>, error: &OutOfBudget) -> Response {
    let text = format!("{error}; fetch the answers that wait or end sessions, then try again");
    tracing::warn!(target: "aih::gateway", status = 503, "refused: {text}");
    try_later(self::error(
        StatusCode::SERVICE_UNAVAILABLE,
        id,
        ErrorObject::internal(text),
    ))
}

fn try_later(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(h::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// An answer as an HTTP response, whose bytes are accounted for until they are sent. Where there is no room for them,
/// the answer is an error that says so.
pub(super) fn answer(
    status: StatusCode,
    room: &StreamBudget,
    id: Id,
    outcome: Result<RawJson, ErrorObject>,
) -> Response {
    let body = Message::response(id.clone(), outcome).to_bytes();
    match room.waiting.take(body.len()) {
        Ok(permit) => {
            let content_type = (h::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (status, [content_type], held(body, permit)).into_response()
        }
        Err(error) => {
            room.waiting.count_refusal();
            try_later(self::error(
                StatusCode::SERVICE_UNAVAILABLE,
                Some(id),
                stream::no_room(&error),
            ))
        }
    }
}

/// Reads a message from a body, within the limits. Its bytes are taken from `account`; whoever works on the message
/// holds the permit.
///
/// # Errors
/// The response to send instead.
pub(super) async fn read_message(
    headers: &HeaderMap,
    body: Body,
    account: &Arc<Account>,
) -> Result<(Message, Permit), Response> {
    let content_type = headers
        .get(h::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let text = format!("Content-Type must be application/json, not `{essence}`");
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, text));
    }
    let mut permit = account.permit();
    let read = body::read(body, body::declared(headers), MAX_BODY, &mut permit).await;
    let bytes = read.map_err(|error| {
        let text = match &error {
            BodyError::TooLarge(limit) => format!("a message may have {limit} bytes at most"),
            other => other.to_string(),
        };
        let response = refused(error.status(), None, text);
        match error {
            BodyError::OutOfBudget(_) => try_later(response),
            _ => response,
        }
    })?;
    let message = Message::from_client(&bytes, MAX_NESTING)
        .map_err(|Refusal { id, error }| refused_as(StatusCode::BAD_REQUEST, id, error))?;
    Ok((message, permit))
}

/// Which kinds of answer the client takes.
#[derive(Clone, Copy)]
pub(super) struct Accepts {
    pub(super) json: bool,
    pub(super) events: bool,
    /// Events are named before JSON, or alone: the client would rather have a stream.
    pub(super) rather_events: bool,
}

impl Accepts {
    /// How long a request may be silent before its stream is opened.
    pub(super) fn patience(self) -> Duration {
        if self.rather_events { EAGER } else { PATIENCE }
    }

    /// Reads the `Accept` headers; none at all takes everything.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut accepts = Self {
            json: false,
            events: false,
            rather_events: false,
        };
        let mut any = false;
        let values = headers.get_all(h::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        for range in values.flat_map(|v| v.split(',')) {
            any = true;
            let range = range.trim().to_ascii_lowercase();
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default();
            if parts.any(|p| matches!(p, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
                continue;
            }
            accepts.json |= matches!(essence, "application/json" | "application/*" | "*/*");
            accepts.events |= matches!(essence, "text/event-stream" | "text/*" | "*/*");
            accepts.rather_events |= accepts.events && !accepts.json;
        }
        if any {
            accepts
        } else {
            Self {
                json: true,
                events: true,
                rather_events: false,
            }
        }
    }
}

/// A response of events, with signs of life where nothing happens.
pub(super) fn events(
    events: impl Events<Item = Event> + Send + 'static,
    first: Option<Event>,
    session: Option<Arc<Session>>,
) -> Response {
    let open = session.map(|session| session.open_stream());
    let events = futures::stream::iter(first).chain(events);
    let body = futures::stream::unfold((Box::pin(events), open), |(mut events, open)| async move {
        let bytes = match tokio::time::timeout(KEEP_ALIVE_EVERY, events.next()).await {
            Ok(event) => event?.encode(),
            Err(_) => KEEP_ALIVE,
        };
        Some((Ok::<_, Infallible>(bytes), (events, open)))
    });
    let headers = [
        (h::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (
            h::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        ),
        (
            http::HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (StatusCode::OK, headers, Body::from_stream(body)).into_response()
}

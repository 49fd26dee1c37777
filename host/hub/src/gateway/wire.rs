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

use super::{MAX_BODY, MAX_NESTING, known_clients::EventLimit, session::Session, stream};
use crate::{
    catalogue::Scope,
    listener::body::{self, BodyError, held},
    memory::{Account, OutOfBudget, Permit, StreamBudget, count_dropped_event},
    provider::Client,
};

/// A request that is silent for this long gets its stream opened, so that nothing on the way gives up.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for a client that would rather have a stream.
const EAGER: Duration = Duration::from_millis(20);
/// The same for a client that cannot read long events: its answer begins as JSON then, which has no place for anything
/// else. Shorter than the time after which the hub speaks of progress itself.
const PATIENCE_FOR_JSON: Duration = Duration::from_secs(10);
/// Between two signs of life on a silent stream.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// A sign of life in front of an answer in JSON.
const WHITE_SPACE: Bytes = Bytes::from_static(b"\n");
/// Tells a reverse proxy to pass each piece on as it comes.
const NO_BUFFERING: (http::HeaderName, HeaderValue) = (
    http::HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);
/// Shorter events are read by every client, so nobody asks how long they may be.
const SHORT_EVENT: usize = 256 * 1024;
/// What the names, the id and the white space of an event take beside its data, in bytes.
const EVENT_FRAME: usize = 128;

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
/// the answer waits ([`StreamBudget::room_for_answer`]), and is an error that says so where it waited in vain.
pub(super) async fn answer(
    status: StatusCode,
    room: &StreamBudget,
    id: Id,
    outcome: Result<RawJson, ErrorObject>,
) -> Response {
    let body = Message::response(id.clone(), outcome).to_bytes();
    match room.room_for_answer(body.len()).await {
        Ok(permit) => {
            let content_type = (h::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (status, [content_type], held(body, permit)).into_response()
        }
        Err(error) => try_later(self::error(
            StatusCode::SERVICE_UNAVAILABLE,
            Some(id),
            stream::no_room(&error),
        )),
    }
}

/// An answer that is not there yet, as JSON for a client that cannot read it as an event. White space in front of it,
/// which JSON allows (RFC 8259, section 2), keeps the connection alive. The answer is dropped with the response.
pub(super) fn answer_later(
    room: StreamBudget,
    id: Id,
    outcome: impl Future<Output = Result<RawJson, ErrorObject>> + Send + 'static,
) -> Response {
    let whole = Box::pin(async move {
        let body = Message::response(id.clone(), outcome.await).to_bytes();
        match room.room_for_answer(body.len()).await {
            Ok(permit) => (body, Some(permit)),
            Err(error) => {
                let outcome = Err(stream::no_room(&error));
                (Message::response(id, outcome).to_bytes(), None)
            }
        }
    });
    // The permit is held until more is asked for: then the answer is sent.
    let state = (Some(whole), None::<Permit>);
    let body = futures::stream::unfold(state, |(whole, sent)| async move {
        drop(sent);
        let mut whole = whole?;
        let (bytes, state) = tokio::select! {
            biased;
            (body, permit) = &mut whole => (body, (None, permit)),
            () = tokio::time::sleep(KEEP_ALIVE_EVERY) => (WHITE_SPACE, (Some(whole), None)),
        };
        Some((Ok::<_, Infallible>(bytes), state))
    });
    let headers = [
        (h::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (
            h::CACHE_CONTROL,
            HeaderValue::from_static("no-store, no-transform"),
        ),
        NO_BUFFERING,
    ];
    // Something at once: some proxies send a head only with the first byte of its body.
    let body = futures::stream::iter([Ok(WHITE_SPACE)]).chain(body);
    (StatusCode::OK, headers, Body::from_stream(body)).into_response()
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
    /// Whether a silent request of a client that cannot read events of more than `limit` bytes is answered with JSON
    /// however long it takes.
    pub(super) fn json_later(self, limit: Option<usize>) -> bool {
        limit.is_some() && self.json && !self.rather_events
    }

    /// How long a request may be silent before its stream is opened; see [`Accepts::json_later`].
    pub(super) fn patience(self, limit: Option<usize>) -> Duration {
        match self.rather_events {
            true => EAGER,
            false if self.json_later(limit) => PATIENCE_FOR_JSON,
            false => PATIENCE,
        }
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

/// A response of events, with signs of life where nothing happens. `limit` is the longest event that the client reads; a
/// session's client may say later who it is.
pub(super) fn events(
    events: impl Events<Item = Event> + Send + 'static,
    first: Option<Event>,
    session: Option<Arc<Session>>,
    limit: EventLimit,
) -> Response {
    let open = session.map(|session| session.open_stream());
    let events = futures::stream::iter(first).chain(events);
    let state = (Box::pin(events), open, limit);
    let body = futures::stream::unfold(state, |(mut events, open, limit)| async move {
        let bytes = match tokio::time::timeout(KEEP_ALIVE_EVERY, events.next()).await {
            Ok(event) => {
                let client = || open.as_ref().and_then(|open| open.session().client());
                readable(event?, limit, client)
            }
            Err(_) => KEEP_ALIVE,
        };
        Some((Ok::<_, Infallible>(bytes), (events, open, limit)))
    });
    let headers = [
        (h::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (
            h::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        ),
        NO_BUFFERING,
    ];
    (StatusCode::OK, headers, Body::from_stream(body)).into_response()
}

/// The event as its client can read it. One that is too long would end the stream with all that comes behind it: an
/// answer becomes an error that says so, and anything else is left out.
fn readable<'c>(event: Event, limit: EventLimit, client: impl FnOnce() -> Option<&'c Arc<Client>>) -> Bytes {
    let length = event.data.len() + EVENT_FRAME;
    if length <= SHORT_EVENT {
        return event.encode();
    }
    let limit = limit.bytes(client().map(|client| &**client));
    let Some(limit) = limit.filter(|limit| length > *limit) else {
        return event.encode();
    };
    match Message::parse(&event.data) {
        Ok(Message::Response { id, .. }) => {
            let text = format!(
                "the request was carried out, but its answer has {} bytes, and this client reads events of at most \
                 {limit} bytes; ask for less, or send the request without a progress token, so that the answer can come as \
                 JSON",
                event.data.len()
            );
            let outcome = Err(ErrorObject::internal(text));
            let data = Message::Response { id, outcome }.to_bytes();
            Event { data, ..event }.encode()
        }
        _ => {
            count_dropped_event();
            // Its id counts: the client resumes behind it.
            let data = Bytes::new();
            if event.id.is_some() {
                Event { data, ..event }.encode()
            } else {
                KEEP_ALIVE
            }
        }
    }
}

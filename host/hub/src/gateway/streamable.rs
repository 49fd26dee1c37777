//! Streamable HTTP, both eras on one endpoint (2025-03-26 and later).
//!
//! A request that is answered at once gets plain JSON; one that speaks before its answer, or takes its
//! time, gets a stream of events. A client that was cut off fetches the rest with `Last-Event-ID`.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream as Events, StreamExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header as h, request::Parts};

use super::{
    Gateway, MAX_BODY, MAX_NESTING,
    dispatch::Request,
    modern::{self, Begun},
    peer::RequestPeer,
    session::Session,
    stream::{Stream, parse_event_id},
};
use crate::{
    access::{Caller, Principal},
    catalogue::Scope,
    mcp::{
        ErrorCode, ErrorObject, Id, Message, ParseError, ProtocolVersion, RawJson, RawObject,
        json::nests_within,
        method::{self, header},
        sse::{Event, KEEP_ALIVE},
    },
};

/// A request that is silent for this long gets its stream opened, so that nothing on the way gives up.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for a client that would rather have a stream.
const EAGER: Duration = Duration::from_millis(20);
/// Between two signs of life on a silent stream.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long a client waits before it fetches the rest of a stream that broke off, in milliseconds.
const RETRY: u64 = 1_000;

/// The endpoint of a request: all providers, or the one in the path.
pub struct Endpoint(pub Scope);

impl<S: Send + Sync> FromRequestParts<S> for Endpoint {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let name = Path::<std::collections::HashMap<String, String>>::from_request_parts(parts, state).await;
        let name = name.ok().and_then(|Path(mut p)| p.remove("name"));
        Ok(Self(name.map_or(Scope::All, |name| Scope::One(name.into()))))
    }
}

/// A JSON-RPC error as an HTTP response.
pub fn error(status: StatusCode, id: Option<Id>, error: ErrorObject) -> Response {
    json(
        status,
        Message::Response {
            id,
            outcome: Err(error),
        }
        .to_bytes(),
    )
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (
        status,
        [(h::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
    )
        .into_response()
}

/// A request that is no MCP, or not acceptable as it is: one log row, and the error.
fn refused(status: StatusCode, text: impl Into<String>) -> Response {
    refused_as(status, ErrorObject::new(ErrorCode::INVALID_REQUEST, text))
}

fn refused_as(status: StatusCode, e: ErrorObject) -> Response {
    tracing::warn!(target: "aih::gateway", status = status.as_u16(), "refused: {}", e.message);
    error(status, None, e)
}

/// Reads a message from a body, within the limits.
///
/// # Errors
/// The response to send instead.
pub async fn read_message(headers: &HeaderMap, body: Body) -> Result<Message, Response> {
    let content_type = headers
        .get(h::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let text = format!("Content-Type must be application/json, not `{essence}`");
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let too_large = || {
        refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a message may have {MAX_BODY} bytes at most"),
        )
    };
    let declared = headers
        .get(h::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    let bytes = axum::body::to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| too_large())?;
    if !nests_within(&bytes, MAX_NESTING) {
        return Err(refused(
            StatusCode::BAD_REQUEST,
            format!("the message nests deeper than {MAX_NESTING} levels"),
        ));
    }
    Message::parse(&bytes).map_err(|e| {
        let code = match e {
            ParseError::Json(_) => ErrorCode::PARSE_ERROR,
            ParseError::Shape(_) => ErrorCode::INVALID_REQUEST,
        };
        refused_as(StatusCode::BAD_REQUEST, ErrorObject::new(code, e.to_string()))
    })
}

/// Which kinds of answer the client takes.
#[derive(Clone, Copy)]
struct Accepts {
    json: bool,
    events: bool,
    /// Events are named before JSON, or alone: the client would rather have a stream.
    rather_events: bool,
}

impl Accepts {
    /// How long a request may be silent before its stream is opened.
    fn patience(self) -> Duration {
        if self.rather_events { EAGER } else { PATIENCE }
    }

    fn of(headers: &HeaderMap) -> Self {
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

/// POST: one message.
pub async fn post(
    State(gateway): State<Arc<Gateway>>,
    Endpoint(scope): Endpoint,
    Caller(principal): Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let accepts = Accepts::of(&headers);
    if !accepts.json && !accepts.events {
        return refused(
            StatusCode::NOT_ACCEPTABLE,
            "Accept must name application/json and text/event-stream",
        );
    }
    let message = match read_message(&headers, body).await {
        Ok(message) => message,
        Err(response) => return response,
    };
    match message {
        Message::Request { id, method, params } => {
            if gateway.stopping.is_cancelled() {
                return error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Some(id),
                    ErrorObject::internal("the hub is stopping"),
                );
            }
            let has_session = headers.contains_key(header::SESSION_ID);
            if modern::says_version(params.as_ref())
                || (!has_session && modern::is_modern(&headers, &method, params.as_ref()))
            {
                return post_modern(gateway, scope, principal, &headers, accepts, id, method, params).await;
            }
            if &*method == method::INITIALIZE {
                return initialize(&gateway, &principal, scope, id, params.as_ref()).await;
            }
            match session(&gateway, &principal, &headers, &scope) {
                Ok(session) => post_legacy(&gateway, &session, accepts, id, method, params).await,
                Err(response) => *response,
            }
        }
        Message::Notification { method, params } => {
            if headers.contains_key(header::SESSION_ID) {
                match session(&gateway, &principal, &headers, &scope) {
                    Ok(session) => notified(&gateway, &session, &method, params),
                    Err(response) => return *response,
                }
            }
            StatusCode::ACCEPTED.into_response()
        }
        Message::Response { id, outcome } => match session(&gateway, &principal, &headers, &scope) {
            Ok(session) => {
                if let Some(id) = id {
                    session.answered(&id, outcome);
                }
                StatusCode::ACCEPTED.into_response()
            }
            Err(response) => *response,
        },
    }
}

/// The session that the request names, if this key opened it on this endpoint.
fn session(
    gateway: &Gateway,
    principal: &Principal,
    headers: &HeaderMap,
    scope: &Scope,
) -> Result<Arc<Session>, Box<Response>> {
    let Some(id) = headers.get(header::SESSION_ID) else {
        let text =
            "the Mcp-Session-Id header is missing: send `initialize` first, and its session id from then on";
        return Err(Box::new(refused(StatusCode::BAD_REQUEST, text)));
    };
    if let Some(version) = headers.get(header::PROTOCOL_VERSION)
        && version.to_str().ok().and_then(ProtocolVersion::parse).is_none()
    {
        let text = format!("protocol version {version:?} is not supported");
        return Err(Box::new(refused(StatusCode::BAD_REQUEST, text)));
    }
    let session = id
        .to_str()
        .ok()
        .and_then(|id| gateway.sessions.get(id, principal));
    let session = session.filter(|s| s.scope == *scope).ok_or_else(|| {
        Box::new(refused(
            StatusCode::NOT_FOUND,
            "no such session: it ended, or another key opened it; send `initialize` anew",
        ))
    })?;
    session.touch();
    Ok(session)
}

async fn initialize(
    gateway: &Arc<Gateway>,
    principal: &Arc<Principal>,
    scope: Scope,
    id: Id,
    params: Option<&RawJson>,
) -> Response {
    let (session, ended) = gateway.sessions.open(principal, scope);
    for old in ended {
        gateway.end_session(&old);
    }
    match gateway.initialize(&session, params).await {
        Ok(result) => {
            let mut response = json(StatusCode::OK, Message::response(id, Ok(result)).to_bytes());
            if let Ok(value) = HeaderValue::from_str(&session.id) {
                response.headers_mut().insert(header::SESSION_ID, value);
            }
            response
        }
        Err(e) => {
            gateway.end_session(&session);
            error(StatusCode::OK, Some(id), e)
        }
    }
}

impl Gateway {
    /// Answers `initialize` on a fresh session.
    ///
    /// # Errors
    /// Parameters of another shape, a server that is not there, or a second `initialize`.
    pub async fn initialize(
        &self,
        session: &Arc<Session>,
        params: Option<&RawJson>,
    ) -> Result<RawJson, ErrorObject> {
        let bad = || {
            ErrorObject::invalid_params(
                "`initialize` needs `protocolVersion`, `capabilities` and `clientInfo`",
            )
        };
        let object = RawObject::parse(params.ok_or_else(bad)?).map_err(|_| bad())?;
        let requested: String = object.read("protocolVersion").ok_or_else(bad)?;
        let version = ProtocolVersion::negotiate_legacy(&requested);
        let capabilities = object
            .raw("capabilities")
            .filter(RawJson::is_object)
            .unwrap_or(RawJson::EMPTY_OBJECT);
        let client = session
            .introduce(version, object.raw("clientInfo"), capabilities)
            .ok_or_else(|| {
                ErrorObject::new(ErrorCode::INVALID_REQUEST, "this session is initialized already")
            })?;
        Ok(self
            .introduction(&session.scope, client)
            .await?
            .initialize_result(version))
    }
}

/// A notification of a client with a session.
pub fn notified(gateway: &Arc<Gateway>, session: &Arc<Session>, method: &str, params: Option<RawJson>) {
    match method {
        method::INITIALIZED => {}
        method::CANCELLED => {
            let id = params
                .as_ref()
                .and_then(|p| RawObject::parse(p).ok()?.raw("requestId"));
            if let Some(id) = id.and_then(Id::from_json) {
                session.cancel(&id);
            }
        }
        _ => {
            let Some(client) = session.client().cloned() else {
                return;
            };
            let (gateway, session, method) = (gateway.clone(), session.clone(), method.to_owned());
            let tasks = gateway.tasks.clone();
            tasks.spawn(async move {
                let snapshot = gateway.catalogue.snapshot_full();
                for offering in snapshot
                    .in_scope(&session.scope)
                    .filter(|o| o.visible_to(&client.principal))
                {
                    offering.provider.notify(&method, params.clone(), &client).await;
                }
            });
        }
    }
}

async fn post_legacy(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    accepts: Accepts,
    id: Id,
    method: Box<str>,
    params: Option<RawJson>,
) -> Response {
    let Some(client) = session.client().cloned() else {
        return refused(StatusCode::BAD_REQUEST, "the session is not initialized");
    };
    let running = match session.begin(&id) {
        Ok(running) => running,
        Err(e) => return error(StatusCode::OK, Some(id), e),
    };
    let resumable = client.version >= ProtocolVersion::V2025_11_25;
    let stream = if accepts.events {
        Stream::new()
    } else {
        session.standing.clone()
    };
    let peer = Arc::new(RequestPeer {
        session: session.clone(),
        stream: stream.clone(),
    });
    let cancel = running.cancel.clone();
    let request = Request {
        scope: session.scope.clone(),
        method,
        params,
        client,
        peer,
        cancel,
    };
    let answering = gateway.clone();
    let mut answer = Box::pin(async move {
        let outcome = answering.answer(request).await;
        let cancelled = running.cancel.is_cancelled();
        drop(running);
        (!cancelled).then_some(outcome)
    });
    if !accepts.events {
        let outcome = answer
            .await
            .unwrap_or_else(|| Err(ErrorObject::new(ErrorCode::CANCELLED, "cancelled")));
        return json(StatusCode::OK, Message::response(id, outcome).to_bytes());
    }
    let mut answered = false;
    if accepts.json {
        tokio::select! {
            biased;
            outcome = &mut answer => {
                let outcome = outcome.unwrap_or_else(|| Err(ErrorObject::new(ErrorCode::CANCELLED, "cancelled")));
                let response = Message::response(id.clone(), outcome);
                if !stream.started() && !accepts.rather_events {
                    return json(StatusCode::OK, response.to_bytes());
                }
                stream.push(&response);
                stream.finish();
                answered = true;
            }
            () = stream.until_started() => {}
            () = tokio::time::sleep(accepts.patience()) => {}
        }
    }
    let kept = session.keep_stream(&stream);
    if !answered {
        // From here on the answer outlives the connection: a client that is cut off fetches it later.
        let out = stream.clone();
        gateway.tasks.spawn(async move {
            if let Some(outcome) = answer.await {
                out.push(&Message::response(id, outcome));
            }
            out.finish();
        });
    }
    let priming = resumable.then(|| stream.priming(kept, RETRY));
    events(stream.read_as(kept, 0, resumable), priming, Some(session.clone()))
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one HTTP request, split once and used once"
)]
async fn post_modern(
    gateway: Arc<Gateway>,
    scope: Scope,
    principal: Arc<Principal>,
    headers: &HeaderMap,
    accepts: Accepts,
    id: Id,
    method: Box<str>,
    params: Option<RawJson>,
) -> Response {
    let begun = gateway
        .begin_modern(&principal, scope, Some(headers), id.clone(), method, params)
        .await;
    match begun {
        Err(e) => error(modern_status(&e), Some(id), e),
        Ok(Begun::Listen(listening)) => {
            let stream = listening.stream.clone();
            events(stream.read().map(move |event| (&listening, event).1), None, None)
        }
        Ok(Begun::Call { mut answer, stream }) => {
            if accepts.json || !accepts.events {
                let patience = async {
                    if accepts.events {
                        tokio::select! {
                            () = stream.until_started() => {}
                            () = tokio::time::sleep(accepts.patience()) => {}
                        }
                    } else {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    biased;
                    outcome = &mut answer => {
                        let status = outcome.as_ref().err().map_or(StatusCode::OK, modern_status);
                        let plain = status != StatusCode::OK || !accepts.rather_events;
                        if (plain && !stream.started()) || !accepts.events {
                            return json(status, Message::response(id, outcome).to_bytes());
                        }
                        stream.push(&Message::response(id, outcome));
                        stream.finish();
                        return events(stream.read(), None, None);
                    }
                    () = patience => {}
                }
            }
            // The client closes the stream to cancel: the answer lives in the body and is dropped with it.
            let out = stream.clone();
            let answered = async move {
                let outcome = answer.await;
                out.push(&Message::response(id, outcome));
                out.finish();
            };
            events(while_running(stream.read(), answered), None, None)
        }
    }
}

/// The events, with `work` polled beside them for as long as they are read.
fn while_running(
    events: impl Events<Item = Event> + Send + 'static,
    work: impl Future<Output = ()> + Send + 'static,
) -> impl Events<Item = Event> + Send + 'static {
    let mut events = Box::pin(events);
    let mut work = Some(Box::pin(work));
    futures::stream::poll_fn(move |cx| {
        if let Some(running) = work.as_mut()
            && running.as_mut().poll(cx).is_ready()
        {
            work = None;
        }
        events.as_mut().poll_next(cx)
    })
}

/// The HTTP status of an error in the modern era (2026-07-28, Transports).
fn modern_status(e: &ErrorObject) -> StatusCode {
    match e.code {
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        ErrorCode::HEADER_MISMATCH | ErrorCode::MISSING_CAPABILITY | ErrorCode::UNSUPPORTED_VERSION => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::INVALID_PARAMS if e.message.starts_with("`params._meta`") => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// Counts an open stream of a session.
struct OpenStream(Arc<Session>);

impl OpenStream {
    fn new(session: Arc<Session>) -> Self {
        session.open_streams.fetch_add(1, Ordering::Relaxed);
        Self(session)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// A response of events, with signs of life where nothing happens.
pub fn events(
    events: impl Events<Item = Event> + Send + 'static,
    first: Option<Event>,
    session: Option<Arc<Session>>,
) -> Response {
    let open = session.map(OpenStream::new);
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

/// GET: the standing stream of a session, or the rest of one that broke off.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    Endpoint(scope): Endpoint,
    Caller(principal): Caller,
    headers: HeaderMap,
) -> Response {
    if !headers.contains_key(header::SESSION_ID) {
        // 2026-07-28 has no GET; a client of an older revision must name its session.
        let mut response = refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "GET needs a session: send `initialize` with POST first",
        );
        response
            .headers_mut()
            .insert(h::ALLOW, HeaderValue::from_static("POST, DELETE"));
        return response;
    }
    if !Accepts::of(&headers).events {
        return refused(StatusCode::NOT_ACCEPTABLE, "Accept must name text/event-stream");
    }
    let session = match session(&gateway, &principal, &headers, &scope) {
        Ok(session) => session,
        Err(response) => return *response,
    };
    let resumable = session
        .client()
        .is_some_and(|c| c.version >= ProtocolVersion::V2025_11_25);
    let last = headers
        .get(header::LAST_EVENT_ID)
        .and_then(|v| parse_event_id(v.to_str().ok()?));
    let (number, after) = last.unwrap_or((0, 0));
    let Some(stream) = session.stream(number) else {
        return refused(
            StatusCode::NOT_FOUND,
            "the stream of this Last-Event-ID is no longer kept",
        );
    };
    let priming = (resumable && last.is_none()).then(|| stream.priming(0, RETRY));
    events(stream.read_as(number, after, true), priming, Some(session))
}

/// DELETE: the client ends its session.
pub async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Endpoint(scope): Endpoint,
    Caller(principal): Caller,
    headers: HeaderMap,
) -> Response {
    match session(&gateway, &principal, &headers, &scope) {
        Ok(session) => {
            gateway.end_session(&session);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(response) => *response,
    }
}

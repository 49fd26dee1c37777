//! Streamable HTTP, both eras on one endpoint (2025-03-26 and later).
//!
//! A request that is answered at once gets plain JSON; one that speaks before its answer, or takes its
//! time, gets a stream of events. A client that was cut off fetches the rest with `Last-Event-ID`. A client that reads no
//! long events ([`EventLimit`]) gets JSON as long as nothing else is said, however long it takes.

use std::sync::Arc;

use aih_mcp::{
    ErrorCode, ErrorObject, Id, Message, ProtocolVersion, RawJson,
    method::{self, header},
    sse::Event,
};
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::{Stream as Events, StreamExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header as h};

use super::{
    Gateway,
    dispatch::Request,
    known_clients::EventLimit,
    legacy::notified,
    modern::{self, StartedRequest},
    session::Session,
    stream::{Stream, parse_event_id},
    wire::{
        Accepts, Endpoint, answer as answered, answer_later, error, events, json, no_room, read_message,
        refused,
    },
};
use crate::{
    access::{Caller, Principal},
    catalogue::Scope,
    listener::compression::Compressible,
    memory::Permit,
};

/// How long a client waits before it fetches the rest of a stream that broke off, in milliseconds.
const RETRY: u64 = 1_000;

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
            None,
            "Accept must name application/json and text/event-stream",
        );
    }
    let account = gateway.memory.requests.of(principal.id);
    let (message, permit) = match read_message(&headers, body, &account).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match message {
        Message::Request { id, method, params } => {
            let is_list = matches!(
                &*method,
                method::TOOLS_LIST | method::PROMPTS_LIST | method::RESOURCES_LIST | method::TEMPLATES_LIST
            );
            let mut response = request(PostedRequest {
                gateway: &gateway,
                scope,
                principal,
                headers: &headers,
                accepts,
                id,
                method,
                params,
                permit,
            })
            .await;
            if is_list {
                response.extensions_mut().insert(Compressible);
            }
            response
        }
        Message::Notification { method, params } => {
            if headers.contains_key(header::SESSION_ID) {
                match session(&gateway, &principal, &headers, &scope).await {
                    Ok(session) => notified(&gateway, &session, &method, params, permit),
                    Err(refusal) => return refusal.answer(None),
                }
            }
            StatusCode::ACCEPTED.into_response()
        }
        Message::Response { id, outcome } => match session(&gateway, &principal, &headers, &scope).await {
            Ok(session) => {
                if let Some(id) = id {
                    session.answered(&id, outcome);
                }
                StatusCode::ACCEPTED.into_response()
            }
            Err(refusal) => refusal.answer(None),
        },
    }
}

/// A request in a POST, taken apart.
struct PostedRequest<'r> {
    gateway: &'r Arc<Gateway>,
    scope: Scope,
    principal: Arc<Principal>,
    headers: &'r HeaderMap,
    accepts: Accepts,
    id: Id,
    method: Box<str>,
    params: Option<RawJson>,
    /// For the bytes of the message.
    permit: Permit,
}

async fn request(posted: PostedRequest<'_>) -> Response {
    let PostedRequest {
        gateway,
        headers,
        ref id,
        ref method,
        ref params,
        ..
    } = posted;
    if gateway.stopping.is_cancelled() {
        let e = ErrorObject::internal("the hub is stopping");
        return error(StatusCode::SERVICE_UNAVAILABLE, Some(id.clone()), e);
    }
    let has_session = headers.contains_key(header::SESSION_ID);
    if modern::says_version(params.as_ref())
        || (!has_session && modern::is_modern(headers, method, params.as_ref()))
    {
        return post_modern(posted).await;
    }
    if &**method == method::INITIALIZE {
        let PostedRequest {
            principal,
            scope,
            id,
            params,
            ..
        } = posted;
        return initialize(gateway, &principal, scope, id, params.as_ref()).await;
    }
    match session(gateway, &posted.principal, headers, &posted.scope).await {
        Ok(session) => post_legacy(posted, &session).await,
        Err(refusal) => refusal.answer(Some(posted.id)),
    }
}

/// Why a request has no session.
#[derive(Debug, thiserror::Error)]
enum NoSession {
    #[error("the Mcp-Session-Id header is missing: send `initialize` first, and its session id from then on")]
    Unnamed,
    #[error("protocol version {0:?} is not supported")]
    Version(HeaderValue),
    #[error("no such session: it ended, or another key opened it; send `initialize` again")]
    Unknown,
}

impl NoSession {
    /// The response to the request with this id.
    fn answer(&self, id: Option<Id>) -> Response {
        let status = match self {
            Self::Unnamed | Self::Version(_) => StatusCode::BAD_REQUEST,
            Self::Unknown => StatusCode::NOT_FOUND,
        };
        refused(status, id, self.to_string())
    }
}

/// The session that the request names, if this key opened it on this endpoint.
async fn session(
    gateway: &Arc<Gateway>,
    principal: &Arc<Principal>,
    headers: &HeaderMap,
    scope: &Scope,
) -> Result<Arc<Session>, NoSession> {
    let id = headers.get(header::SESSION_ID).ok_or(NoSession::Unnamed)?;
    if let Some(version) = headers.get(header::PROTOCOL_VERSION)
        && version.to_str().ok().and_then(ProtocolVersion::parse).is_none()
    {
        return Err(NoSession::Version(version.clone()));
    }
    let id = id.to_str().map_err(|_| NoSession::Unknown)?;
    let session = gateway.session(id, principal, scope).await;
    let session = session.ok_or(NoSession::Unknown)?;
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
    let (session, ended) = match gateway.sessions.open(principal, scope) {
        Ok(opened) => opened,
        Err(error) => return no_room(Some(id), &error),
    };
    for old in ended {
        gateway.end_session(&old);
    }
    match gateway.initialize(&session, params).await {
        Ok(result) => {
            session.last_long();
            gateway.keep(&session);
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

async fn post_legacy(posted: PostedRequest<'_>, session: &Arc<Session>) -> Response {
    let PostedRequest {
        gateway,
        headers,
        accepts,
        id,
        method,
        params,
        permit,
        ..
    } = posted;
    let Some(client) = session.client().cloned() else {
        return refused(
            StatusCode::BAD_REQUEST,
            Some(id),
            "the session is not initialized",
        );
    };
    let running = match session.begin(&id) {
        Ok(running) => running,
        Err(e) => return error(StatusCode::OK, Some(id), e),
    };
    let resumable = client.version >= ProtocolVersion::V2025_11_25;
    let event_limit = EventLimit::by_agent(headers).settled(&client);
    let limit = event_limit.bytes(None);
    let stream = if accepts.events {
        Stream::new(match resumable {
            true => session.room.clone(),
            false => session.room.once(),
        })
    } else {
        session.standing.clone()
    };
    let request = Request::in_session(session, client, &running, &stream, method, params);
    let (answering, within) = (gateway.clone(), session.clone());
    let mut answer = Box::pin(async move {
        let outcome = answering.answer_within(&within, request).await;
        drop(permit);
        let cancelled = running.cancel.is_cancelled();
        drop(running);
        (!cancelled).then_some(outcome)
    });
    if !accepts.events {
        let outcome = answer
            .await
            .unwrap_or_else(|| Err(ErrorObject::new(ErrorCode::CANCELLED, "cancelled")));
        return answered(StatusCode::OK, &session.room, id, outcome).await;
    }
    // The outcome, where it is known before the stream is opened.
    let mut known = None;
    if accepts.json {
        tokio::select! {
            biased;
            outcome = &mut answer => {
                let outcome = outcome.unwrap_or_else(|| Err(ErrorObject::new(ErrorCode::CANCELLED, "cancelled")));
                if !stream.started() && !accepts.rather_events {
                    return answered(StatusCode::OK, &session.room, id, outcome).await;
                }
                known = Some(outcome);
            }
            () = stream.until_started() => {}
            () = tokio::time::sleep(accepts.patience(limit)) => {
                // What is said from now on has a place only if the client listens elsewhere.
                if accepts.json_later(limit) && session.has_open_stream() {
                    stream.redirect(&session.standing);
                    let cancelled = || Err(ErrorObject::new(ErrorCode::CANCELLED, "cancelled"));
                    let outcome = async move { answer.await.unwrap_or_else(cancelled) };
                    return answer_later(session.room.clone(), id, outcome);
                }
            }
        }
    }
    let kept = session.keep_stream(&stream);
    // From here on the answer outlives the connection: a client that is cut off fetches it later.
    let out = stream.clone();
    gateway.tasks.spawn(async move {
        let outcome = match known {
            Some(outcome) => Some(outcome),
            None => answer.await,
        };
        if let Some(outcome) = outcome {
            out.answer(id, outcome).await;
        }
        out.finish();
    });
    let priming = resumable.then(|| stream.priming(kept, RETRY));
    let open = Some(session.clone());
    events(stream.read_as(kept, 0, resumable), priming, open, event_limit)
}

async fn post_modern(posted: PostedRequest<'_>) -> Response {
    let PostedRequest {
        gateway,
        scope,
        principal,
        headers,
        accepts,
        id,
        method,
        params,
        permit,
    } = posted;
    let room = gateway.memory.once(principal.id);
    let served = is_served(&method);
    let begun = gateway
        .begin_modern(
            &principal,
            scope,
            Some(headers),
            id.clone(),
            method,
            params,
            permit,
        )
        .await;
    match begun {
        Err(e) => error(modern_status(&e), Some(id), e),
        Ok(StartedRequest::Listen(listening)) => {
            let stream = listening.stream.clone();
            let read = stream.read().map(move |event| (&listening, event).1);
            events(read, None, None, EventLimit::by_agent(headers))
        }
        Ok(StartedRequest::Call {
            mut answer,
            stream,
            client,
        }) => {
            let event_limit = EventLimit::by_agent(headers).settled(&client);
            let limit = event_limit.bytes(None);
            if accepts.json || !accepts.events {
                let patience = async {
                    if accepts.events {
                        tokio::select! {
                            () = stream.until_started() => {}
                            () = tokio::time::sleep(accepts.patience(limit)) => {}
                        }
                    } else {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    biased;
                    outcome = &mut answer => {
                        let status = outcome
                            .as_ref()
                            .err()
                            .map_or(StatusCode::OK, |e| status_of_answer(served, e));
                        let plain = status != StatusCode::OK || !accepts.rather_events;
                        if (plain && !stream.started()) || !accepts.events {
                            return answered(status, &room, id, outcome).await;
                        }
                        stream.answer(id, outcome).await;
                        stream.finish();
                        return events(stream.read(), None, None, event_limit);
                    }
                    () = patience => {}
                }
                if accepts.json_later(limit) && !stream.started() {
                    // What is said from now on has no place.
                    stream.finish();
                    return answer_later(room, id, answer);
                }
            }
            // The client closes the stream to cancel: the answer lives in the body and is dropped with it.
            let out = stream.clone();
            let work = async move {
                let outcome = answer.await;
                out.answer(id, outcome).await;
                out.finish();
            };
            events(while_running(stream.read(), work), None, None, event_limit)
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

/// The HTTP status of an error of the endpoint's own in the modern era (2026-07-28, Transports).
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

/// Whether this endpoint has the method, whatever stands behind it.
fn is_served(method: &str) -> bool {
    matches!(
        method,
        method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ | method::COMPLETE
    )
}

/// The HTTP status of an error that answers a request. One of the server behind the endpoint says nothing of the endpoint.
fn status_of_answer(served: bool, e: &ErrorObject) -> StatusCode {
    match e.code {
        ErrorCode::METHOD_NOT_FOUND if served => StatusCode::OK,
        ErrorCode::INVALID_PARAMS => StatusCode::OK,
        _ => modern_status(e),
    }
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
            None,
            "GET needs a session: send `initialize` with POST first",
        );
        response
            .headers_mut()
            .insert(h::ALLOW, HeaderValue::from_static("POST, DELETE"));
        return response;
    }
    if !Accepts::of(&headers).events {
        return refused(
            StatusCode::NOT_ACCEPTABLE,
            None,
            "Accept must name text/event-stream",
        );
    }
    let session = match session(&gateway, &principal, &headers, &scope).await {
        Ok(session) => session,
        Err(refusal) => return refusal.answer(None),
    };
    let resumable = session
        .client()
        .is_some_and(|c| c.version >= ProtocolVersion::V2025_11_25);
    let last = headers
        .get(header::LAST_EVENT_ID)
        .and_then(|v| parse_event_id(v.to_str().ok()?));
    let (number, after) = last.unwrap_or((0, 0));
    // What was said outside of any request may have gaps; an answer may not.
    let whole = |stream: &Arc<Stream>| number == 0 || stream.can_resume(after);
    let Some(stream) = session.stream(number).filter(whole) else {
        return refused(
            StatusCode::NOT_FOUND,
            None,
            "the stream of this Last-Event-ID is no longer kept",
        );
    };
    if number == 0 {
        session.stands();
    }
    let priming = (resumable && last.is_none()).then(|| stream.priming(0, RETRY));
    let limit = EventLimit::by_agent(&headers);
    events(stream.read_as(number, after, true), priming, Some(session), limit)
}

/// DELETE: the client ends its session.
pub async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Endpoint(scope): Endpoint,
    Caller(principal): Caller,
    headers: HeaderMap,
) -> Response {
    match session(&gateway, &principal, &headers, &scope).await {
        Ok(session) => {
            gateway.end_session(&session);
            // Also while the hub stops.
            gateway.forget_session(&session);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => refusal.answer(None),
    }
}

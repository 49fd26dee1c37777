//! HTTP with SSE, the transport of 2024-11-05: GET opens one stream for everything, POST sends a message.
//!
//! Deprecated, and still what many clients speak. A POST to the SSE address itself is streamable HTTP, for
//! clients that try that first.

use std::sync::Arc;

use aih_mcp::{
    ErrorObject, Id, Message, RawJson,
    method::{self, header},
    sse::Event,
};
use axum::{
    Extension,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{
    Gateway,
    dispatch::Request,
    known_clients::EventLimit,
    legacy,
    session::Session,
    streamable,
    wire::{self, Endpoint},
};
use crate::{access::Caller, catalogue::Scope, listener::PublicPath, memory::Permit};

/// GET: the stream; its first event says where to POST.
pub async fn get(
    State(gateway): State<Arc<Gateway>>,
    endpoint: Endpoint,
    caller: Caller,
    public_path: Option<Extension<PublicPath>>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::SESSION_ID) {
        return streamable::get(State(gateway), endpoint, caller, headers).await;
    }
    if gateway.stopping.is_cancelled() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let scope = endpoint.0;
    let path = match &scope {
        Scope::All => "/mcp/messages".to_owned(),
        Scope::One(name) => {
            let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            format!("/mcp/{name}/messages")
        }
    };
    let (session, ended) = match gateway.sessions.open(&caller.0, scope) {
        Ok(opened) => opened,
        Err(error) => return wire::no_room(None, &error),
    };
    for old in ended {
        gateway.end_session(&old);
    }
    // Clients resolve it against the address that they know the hub by.
    let below = public_path.as_ref().map_or("", |Extension(path)| &path.0);
    let address = format!("{below}{path}?sessionId={}", session.id);
    let first = Event {
        name: Some("endpoint".to_owned()),
        ..Event::message(address.into())
    };
    let guard = EndWithStream {
        gateway,
        session: session.clone(),
    };
    let events = session.standing.read().map(move |event| {
        let _ = &guard;
        Event {
            name: Some("message".to_owned()),
            ..event
        }
    });
    // Who the client is, its `initialize` will say.
    let limit = EventLimit::by_agent(&headers);
    wire::events(events, Some(first), Some(session), limit)
}

/// The session of this transport lives as long as its stream.
struct EndWithStream {
    gateway: Arc<Gateway>,
    session: Arc<Session>,
}

impl Drop for EndWithStream {
    fn drop(&mut self) {
        self.gateway.end_session(&self.session);
    }
}

/// The query of the address that `endpoint` named.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionQuery {
    session_id: Option<String>,
}

/// POST: one message; its answer comes over the stream.
pub async fn post(
    State(gateway): State<Arc<Gateway>>,
    Endpoint(scope): Endpoint,
    Caller(principal): Caller,
    query: Result<Query<SessionQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let session = query
        .ok()
        .and_then(|Query(query)| query.session_id)
        .and_then(|id| gateway.sessions.get(&id, &principal))
        .filter(|s| s.scope == scope);
    let Some(session) = session else {
        let text =
            "no such session: open the SSE stream first and POST to the address in its `endpoint` event";
        let e = ErrorObject::new(aih_mcp::ErrorCode::INVALID_REQUEST, text);
        return wire::error(StatusCode::NOT_FOUND, None, e);
    };
    if session.standing.is_full() {
        let text = "too many answers of this session wait on its stream; read them, then ask again";
        let e = ErrorObject::new(aih_mcp::ErrorCode::INVALID_REQUEST, text);
        return wire::error(StatusCode::TOO_MANY_REQUESTS, None, e);
    }
    let account = gateway.memory.requests.of(principal.id);
    match wire::read_message(&headers, body, &account).await {
        Ok((message, permit)) => {
            session.touch();
            receive(&gateway, &session, message, permit);
            (StatusCode::ACCEPTED, "Accepted").into_response()
        }
        Err(response) => response,
    }
}

/// Takes a legacy message whose answer goes to the session's one stream.
/// `permit` stands for its bytes.
pub fn receive(gateway: &Arc<Gateway>, session: &Arc<Session>, message: Message, permit: Permit) {
    match message {
        Message::Request { id, method, params } => request(gateway, session, id, method, params, permit),
        Message::Notification { method, params } => {
            legacy::notified(gateway, session, &method, params, permit);
        }
        Message::Response {
            id: Some(id),
            outcome,
        } => session.answered(&id, outcome),
        Message::Response { id: None, .. } => {}
    }
}

fn request(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    id: Id,
    method: Box<str>,
    params: Option<RawJson>,
    permit: Permit,
) {
    let out = session.standing.clone();
    let running = match session.begin(&id) {
        Ok(running) => running,
        Err(e) => {
            // An answer that finds no room becomes an error.
            let _ = out.push(&Message::response(id, Err(e)));
            return;
        }
    };
    let (gateway, session) = (gateway.clone(), session.clone());
    let tasks = gateway.tasks.clone();
    tasks.spawn(async move {
        let outcome = match session.client().cloned() {
            _ if &*method == method::INITIALIZE => gateway.initialize(&session, params.as_ref()).await,
            None if &*method == method::PING => Ok(RawJson::EMPTY_OBJECT),
            None => Err(ErrorObject::new(
                aih_mcp::ErrorCode::INVALID_REQUEST,
                "send `initialize` first",
            )),
            Some(client) => {
                let request = Request::in_session(&session, client, &running, &out, method, params);
                gateway.answer_within(&session, request).await
            }
        };
        drop(permit);
        if !running.cancel.is_cancelled() {
            out.answer(id, outcome).await;
        }
    });
}

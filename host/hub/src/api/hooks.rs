//! `/api/v1/hooks/…`: runs hooks on request and for webhooks, describes their events, and manages dead events.

use std::net::{IpAddr, SocketAddr};

use aih_store::queue::{Dead, EventId, Pick, Queue, QueueError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, MAX_BODY,
    problem::{Path, Problem, Query, require},
    respond,
};
use crate::{
    access::{Caller, Principal},
    hooks::{
        FireError, Fired, Report, WebhookOutcome, WebhookRequest, WebhookRequestError, event, rest_call,
    },
    listener::body::{declared, read},
    registry,
};

/// What a key must be allowed to see and replay events that were given up.
const ADMIN: &str = "admin/hooks";

/// In the place of an id: every event that was given up.
const ALL: &str = "all";

/// Events that one answer holds where the caller names no limit.
const DEFAULT_LIMIT: usize = 100;

/// Runs a hook now, whatever its trigger, on an event `manual`; the body, if there is one, is its payload.
#[utoipa::path(
    post,
    path = "/api/v1/hooks/{name}/trigger",
    tag = "hooks",
    params(("name" = String, Path, description = "Name of the hook")),
    request_body(content = Option<Object>, description = "The payload for the hook; at most 1 MiB"),
    responses(
        (status = 200, body = Report, description = "The hook ran and answered"),
        (status = 202, body = Report, description = "The hook runs in the background: its event waits in the queue"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such hook"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It is switched off"),
        (status = 500, body = Report, description = "The hook ran and failed"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Too many events wait"),
    )
)]
pub(super) async fn trigger(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut permit = state.memory.requests.of(who.id).permit();
    let body = read(body, declared(&headers), MAX_BODY, &mut permit).await?;
    let payload = match body.is_empty() {
        true => None,
        false => payload(&headers, &body)?,
    };
    if !registry::may_hook(&who, &name) {
        return Err(Problem::none("hook", &name));
    }
    let payload = payload.unwrap_or_default();
    let fired = state
        .inventory
        .hooks()
        .fire(&name, &payload, rest_call(who))
        .await;
    let fired = fired.map_err(|error| unfired(&name, error))?;
    let status = match &fired {
        Fired::Answered(_) => StatusCode::OK,
        Fired::Queued(_) => StatusCode::ACCEPTED,
        Fired::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = respond::fresh(fired.report())?;
    *response.status_mut() = status;
    Ok(response)
}

/// The payload; an explicit `null` is none.
fn payload(headers: &HeaderMap, body: &Bytes) -> Result<Option<Map<String, Value>>, Problem> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase())
        .unwrap_or_default();
    if content_type != respond::JSON && !content_type.ends_with("+json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a payload is sent as Content-Type: application/json",
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the payload is not a JSON object: {error}"),
        )
    })
}

fn unfired(name: &str, error: FireError) -> Problem {
    match error {
        FireError::Unknown => Problem::none("hook", name),
        FireError::Off(_) | FireError::Itself => Problem::new(StatusCode::CONFLICT, error.to_string()),
        FireError::Queue(error) => unqueued(&error),
        FireError::Event(why) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why),
    }
}

fn unqueued(error: &QueueError) -> Problem {
    let status = match error {
        QueueError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        QueueError::Cursor => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}

/// A webhook that waits.
#[derive(Serialize, ToSchema)]
pub(super) struct Taken {
    /// `queued`, or `repeated` for a request that came before.
    status: &'static str,
    /// The id of its event.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
}

/// Runs a hook on `http` from outside. The signature of the body, in the header that `webhook.scheme` of the hook
/// names, takes the place of an API key.
#[utoipa::path(
    post,
    path = "/api/v1/hooks/{name}/webhook",
    tag = "hooks",
    security(()),
    params(("name" = String, Path, description = "Name of the hook")),
    request_body(content = String, content_type = "*/*", description = "The payload for the hook; at most 1 MiB"),
    responses(
        (status = 200, body = Object, description = "What the hook answered, or that the request was repeated"),
        (status = 202, body = Taken, description = "The hook runs in the background: its event waits in the queue"),
        (status = 204, description = "The hook ran and answered nothing"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "The signature is wrong, or there is no such webhook"),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "The hook refused it"),
        (status = 500, body = Problem, content_type = "application/problem+json", description = "The hook failed: send it again"),
    )
)]
pub(super) async fn webhook(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    connection: Option<Extension<ConnectInfo<SocketAddr>>>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let peer = connection.map(|Extension(ConnectInfo(peer))| peer.ip().to_canonical());
    let account = state
        .memory
        .unauthenticated
        .of(peer.unwrap_or(IpAddr::from([0; 4])));
    let mut permit = account.permit();
    let body = read(body, declared(&headers), MAX_BODY, &mut permit).await?;
    let request = WebhookRequest {
        method: method.as_str(),
        query: query.as_deref().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    let taken = |status, event, code| -> Result<Response, Problem> {
        let mut response = respond::fresh(&Taken { status, event })?;
        *response.status_mut() = code;
        Ok(response)
    };
    match state.inventory.hooks().receive_webhook(&name, request).await {
        Ok(WebhookOutcome::Ran(None)) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(WebhookOutcome::Ran(Some(result))) => respond::fresh(&result),
        Ok(WebhookOutcome::Denied(reason)) => Err(Problem::new(StatusCode::FORBIDDEN, reason)),
        Ok(WebhookOutcome::Queued(id)) => taken("queued", Some(id), StatusCode::ACCEPTED),
        Ok(WebhookOutcome::Repeated) => taken("repeated", None, StatusCode::OK),
        Ok(WebhookOutcome::Failed) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the hook failed; send the request again",
        )),
        Err(WebhookRequestError::Refused(error)) => {
            let path = format!("/api/v1/hooks/{name}/webhook");
            tracing::warn!(target: "aih::access", peer = peer.map(tracing::field::display), ?path, "refused: {error}");
            state.inventory.hooks().refused(&error.to_string(), peer, &path);
            Err(Problem::new(StatusCode::UNAUTHORIZED, error.to_string()))
        }
        Err(WebhookRequestError::Fire(error)) => Err(unfired(&name, error)),
    }
}

/// The JSON Schema of the event of each trigger.
#[utoipa::path(get, path = "/api/v1/hooks/schema", tag = "hooks", responses((status = 200, body = Object)))]
pub(super) async fn schema(_caller: Caller, headers: HeaderMap) -> Result<Response, Problem> {
    respond::json(&headers, &event::schemas())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeadQuery {
    /// At most so many events, up to 1000; 100 without it.
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// An event that was given up.
#[derive(Serialize, ToSchema)]
pub(super) struct DeadView {
    /// Its id. It stays the same when the event is replayed.
    id: String,
    /// The hook that it was for.
    hook: String,
    /// What happened.
    trigger: String,
    /// How often it was tried.
    attempts: u32,
    /// What the last attempt failed with.
    error: Option<String>,
    /// When it was stored, RFC 3339.
    created: String,
    /// When it was given up, RFC 3339.
    died: String,
    /// The event as the hook got it.
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
}

/// Events that were given up, the last one first.
#[derive(Serialize, ToSchema)]
pub(super) struct DeadPage {
    /// The events.
    events: Vec<DeadView>,
    /// What to send as `cursor` for the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// How many events wait, are with a hook, and were given up.
    counts: Counts,
}

/// How many events wait, run, or were given up.
#[derive(Serialize, ToSchema)]
pub(super) struct Counts {
    /// Events that wait for their first or next attempt.
    waiting: u64,
    /// Events that a hook works on.
    running: u64,
    /// Were given up.
    dead: u64,
}

impl From<Dead> for DeadView {
    fn from(dead: Dead) -> Self {
        Self {
            id: dead.event.id.to_string(),
            hook: dead.event.hook,
            trigger: dead.event.trigger,
            attempts: dead.event.attempt,
            error: dead.event.error,
            created: dead.event.created.to_string(),
            died: dead.died.to_string(),
            payload: dead.event.payload,
        }
    }
}

/// Events that were given up after all attempts; needs the permission `admin/hooks`.
#[utoipa::path(
    get,
    path = "/api/v1/hooks/dead",
    tag = "hooks",
    params(DeadQuery),
    responses((status = 200, body = DeadPage))
)]
pub(super) async fn dead(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<DeadQuery>,
) -> Result<Response, Problem> {
    let Some(queue) = queue(&state, &who)? else {
        return respond::fresh(&DeadPage {
            events: Vec::new(),
            next: None,
            counts: Counts {
                waiting: 0,
                running: 0,
                dead: 0,
            },
        });
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let page = queue.list_dead(query.cursor.as_deref(), limit).await;
    let page = page.map_err(|error| unqueued(&error))?;
    let counts = queue.counts().await.map_err(|error| unqueued(&error.into()))?;
    respond::fresh(&DeadPage {
        events: page.events.into_iter().map(DeadView::from).collect(),
        next: page.next,
        counts: Counts {
            waiting: counts.ready + counts.waiting,
            running: counts.claimed,
            dead: counts.dead,
        },
    })
}

/// How many events were put back, or removed.
#[derive(Serialize, ToSchema)]
pub(super) struct Moved {
    /// How many.
    events: u64,
}

/// Puts an event that was given up back into the queue, or all of them with `all`; needs `admin/hooks`.
#[utoipa::path(
    post,
    path = "/api/v1/hooks/dead/{id}/replay",
    tag = "hooks",
    params(("id" = String, Path, description = "Id of the event, or `all`")),
    responses((status = 200, body = Moved))
)]
pub(super) async fn replay(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    moved(&state, &who, &id, Queue::replay).await
}

/// Removes an event that was given up, or all of them with `all`; needs `admin/hooks`.
#[utoipa::path(
    delete,
    path = "/api/v1/hooks/dead/{id}",
    tag = "hooks",
    params(("id" = String, Path, description = "Id of the event, or `all`")),
    responses((status = 200, body = Moved))
)]
pub(super) async fn purge(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    moved(&state, &who, &id, Queue::purge).await
}

/// Lets `change` do something with what `id` names.
async fn moved(
    state: &ApiState,
    who: &Principal,
    id: &str,
    change: impl AsyncFnOnce(&Queue, Pick) -> Result<u64, QueueError>,
) -> Result<Response, Problem> {
    let events = match queue(state, who)? {
        Some(queue) => change(queue, pick(id)).await.map_err(|error| unqueued(&error))?,
        None => 0,
    };
    if events == 0 && id != ALL {
        return Err(Problem::none("event that was given up", id));
    }
    respond::fresh(&Moved { events })
}

fn pick(id: &str) -> Pick {
    match id {
        ALL => Pick::All,
        id => Pick::One(EventId::from_text(id)),
    }
}

/// The queue, for those who may look into it; `None` in a hub without hooks.
fn queue<'s>(state: &'s ApiState, who: &Principal) -> Result<Option<&'s Queue>, Problem> {
    require(who, ADMIN)?;
    Ok(state.inventory.hooks().queue().map(|queue| &**queue))
}

//! `GET /api/v1/health`, `/logs` and `/openapi.json`, and `POST /api/v1/reload`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState,
    metrics::METRICS,
    problem::{Problem, Query, require},
    respond,
};
use crate::{
    access::{Caller, Principal, RELOAD},
    observe::{CAPACITY, LogLevel, LogQuery, LogRow},
    registry::{ClientsView, Health, HealthStatus, StoreView},
    reload::Reloaded,
};

/// What a key must be allowed to read logs.
const LOGS: &str = "admin/logs";

/// What a key must be allowed to see how the store is.
const STORE: &str = "admin/store";

/// Rows that one answer holds where the caller names no limit.
const DEFAULT_LIMIT: usize = 200;

/// The answer without a key: the hub runs.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// What `GET /api/v1/health` answers.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum HealthReport {
    /// With a key.
    Full(Health),
    /// Without one.
    Alive(Alive),
}

/// Without a key, only that the hub runs. With a key, the state of everything that the key may see. Always 200.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "management",
    security((), ("bearer" = []), ("api_key" = [])),
    responses((status = 200, body = HealthReport))
)]
pub(super) async fn health(
    State(state): State<ApiState>,
    caller: Option<Caller>,
) -> Result<Response, Problem> {
    respond::fresh(&match caller {
        None => HealthReport::Alive(Alive { status: "ok" }),
        Some(Caller(who)) => HealthReport::Full(full_health(&state, &who).await),
    })
}

/// How everything is that `who` may see, the store included.
pub(super) async fn full_health(state: &ApiState, who: &Principal) -> Health {
    let mut health = state.inventory.health(who);
    if let Some(store) = &state.store
        && who.permissions().allows(STORE)
    {
        let view = StoreView::from(store.health().await);
        if view.error.is_some() {
            health.status = HealthStatus::Degraded;
        }
        health.store = Some(Box::new(view));
    }
    if who.permissions().allows(METRICS) {
        let view = ClientsView::of(state.connections.as_deref(), &state.memory);
        health.clients = Some(Box::new(view));
    }
    health
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogsQuery {
    /// Rows of this level and above; all without it.
    #[param(inline)]
    level: Option<LogLevel>,
    /// Rows whose target begins so, such as `aih::upstream`.
    target: Option<String>,
    /// At most so many rows, up to 2000; 200 without it. Without `since` the newest, else the first after it.
    limit: Option<usize>,
    /// Rows after this `seq`.
    since: Option<u64>,
}

/// Recent log rows, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Logs {
    /// The rows.
    #[schema(value_type = Vec<LogRow>)]
    logs: Vec<Row>,
    /// What to send as `since` to get only later rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
}

/// A row of the shared buffer, written without a copy.
struct Row(Arc<LogRow>);

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Recent log rows; needs the permission `admin/logs`.
#[utoipa::path(
    get,
    path = "/api/v1/logs",
    tag = "management",
    params(LogsQuery),
    responses((status = 200, body = Logs))
)]
pub(super) async fn logs(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Problem> {
    require(&who, LOGS)?;
    let rows = state.logs.recent(&LogQuery {
        level: query.level.unwrap_or_default(),
        target: query.target.unwrap_or_default(),
        since: query.since,
        limit: Some(query.limit.unwrap_or(DEFAULT_LIMIT).min(CAPACITY)),
    });
    respond::fresh(&Logs {
        last: rows.last().map(|row| row.seq).or(query.since),
        logs: rows.into_iter().map(Row).collect(),
    })
}

/// Reads the configuration again: skills, configs and keys take effect at once. The answer names what needs a
/// restart. A file with mistakes changes nothing. Needs the permission `admin/reload`.
#[utoipa::path(
    post,
    path = "/api/v1/reload",
    tag = "management",
    responses(
        (status = 200, body = Reloaded),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The file has mistakes, and the hub keeps the old configuration"),
    )
)]
pub(super) async fn reload(State(state): State<ApiState>, Caller(who): Caller) -> Result<Response, Problem> {
    require(&who, RELOAD)?;
    let Some(reloader) = &state.reloader else {
        let what = "this hub was started without a configuration file, so there is nothing to reload";
        return Err(Problem::new(StatusCode::CONFLICT, what));
    };
    match reloader.reload().await {
        Ok(reloaded) => respond::fresh(&reloaded),
        Err(problems) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            problems.to_string(),
        )),
    }
}

/// This description.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "management",
    responses((status = 200, body = Object, description = "OpenAPI 3.1"))
)]
pub(super) async fn openapi(State(state): State<ApiState>, _caller: Caller, headers: HeaderMap) -> Response {
    let (etag, body) = &*state.description;
    respond::entity(&headers, respond::JSON, etag, body.clone())
}

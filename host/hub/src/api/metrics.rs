//! `GET /api/v1/metrics`: numbers for a monitoring system, in the formats of Prometheus and OpenMetrics.
//!
//! The numbers come from [`Health`]. Nothing is counted for this endpoint alone.

use std::fmt;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::{MetricType, exemplar::Exemplar};
use prometheus_client::registry::{Registry, Unit};

use super::{
    ApiState, manage,
    problem::{Problem, require},
    respond,
};
use crate::{
    access::{Caller, Principal},
    provider::ProviderState,
    registry::Health,
};

/// What a key must be allowed to read metrics.
pub(super) const METRICS: &str = "admin/metrics";

/// The media type of OpenMetrics 1.0.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Numbers for a monitoring system: what is up, runs, failures, and events that wait or were lost. As OpenMetrics
/// where `Accept` prefers it, else as Prometheus' text. Needs the permission `admin/metrics`, which shows the names and
/// numbers of everything that is registered.
#[utoipa::path(
    get,
    path = "/api/v1/metrics",
    tag = "management",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(
    State(state): State<ApiState>,
    Caller(who): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    require(&who, METRICS)?;
    let everything = manage::full_health(&state, &Principal::anonymous_admin()).await;
    let mut registry = Registry::with_prefix("aih");
    registry.register_collector(Box::new(Report(everything)));
    let mut body = String::new();
    let (written, media_type) = if respond::prefers(&headers, "application/openmetrics-text", "text/plain") {
        (text::encode(&mut body, &registry), OPENMETRICS)
    } else {
        (
            prometheus_text::encode(&mut body, &registry),
            prometheus_text::CONTENT_TYPE,
        )
    };
    match written {
        Ok(()) => Ok(respond::now(media_type, body.into())),
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot be written: {error}"),
        )),
    }
}

/// One look at everything.
#[derive(Debug)]
struct Report(Health);

impl Collector for Report {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let health = &self.0;
        writer.info("build", "The hub itself", &[("version", &*health.version)])?;
        writer.gauge(
            "uptime",
            "Time since the hub started",
            Some(&Unit::Seconds),
            [(NO_LABELS, health.uptime_seconds)],
        )?;
        let mcps = health.mcps.iter().map(|mcp| ("mcp", &mcp.name, mcp.state));
        let plugins = health
            .plugins
            .iter()
            .map(|plugin| ("plugin", &plugin.name, plugin.state));
        let hooks = health.hooks.iter().map(|hook| ("hook", &hook.name, hook.state));
        let entries = mcps.chain(plugins).chain(hooks);
        writer.gauge(
            "up",
            "Whether an entry of the configuration that is switched on serves",
            None,
            entries
                .filter(|(.., state)| *state != ProviderState::Disabled)
                .map(|(kind, name, state)| {
                    let labels = [("kind", kind), ("name", &**name)];
                    (labels, u64::from(state.serves()))
                }),
        )?;
        writer.gauge(
            "mcp_connections",
            "Open connections to an MCP server, or processes of it",
            None,
            health
                .mcps
                .iter()
                .map(|mcp| ([("mcp", &*mcp.name)], mcp.connections)),
        )?;
        writer.counter(
            "mcp_reconnects",
            "How often the hub connected again to an MCP server",
            health
                .mcps
                .iter()
                .map(|mcp| ([("mcp", &*mcp.name)], mcp.restarts)),
        )?;
        writer.gauge(
            "mcp_parked_tools",
            "Tools of an MCP server whose calls are refused for a while, because they ended its process several times",
            None,
            health
                .mcps
                .iter()
                .map(|mcp| ([("mcp", &*mcp.name)], mcp.parked.len())),
        )?;
        writer.gauge(
            "plugin_calls_running",
            "Calls of a plugin that run now",
            None,
            health
                .plugins
                .iter()
                .map(|plugin| ([("plugin", &*plugin.name)], plugin.running)),
        )?;
        writer.counter(
            "plugin_crashes",
            "Calls of a plugin that crashed or were stopped",
            health
                .plugins
                .iter()
                .map(|plugin| ([("plugin", &*plugin.name)], plugin.crashes)),
        )?;
        self.clients(&mut writer)?;
        self.hooks(&mut writer)
    }
}

impl Report {
    fn clients(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let Some(clients) = &self.0.clients else {
            return Ok(());
        };
        writer.gauge(
            "connections",
            "Open connections of clients: those that have shown a valid key, and those that have not",
            None,
            [("keyed", clients.keyed), ("stranger", clients.strangers)]
                .map(|(who, count)| ([("client", who)], count)),
        )?;
        writer.gauge(
            "connections_limit",
            "How many connections of clients there may be",
            None,
            [(NO_LABELS, clients.limit)],
        )?;
        writer.counter(
            "connections_closed",
            "Connections that the hub refused or closed, with the reason",
            clients
                .closed
                .iter()
                .map(|closed| ([("reason", &*closed.reason)], closed.count)),
        )?;
        writer.gauge(
            "client_memory",
            "Bytes that the hub holds for clients: requests, requests without a valid key, answers that wait, answers that are kept",
            Some(&Unit::Bytes),
            [
                ("requests", clients.request_bytes),
                ("strangers", clients.stranger_bytes),
                ("waiting", clients.waiting_bytes),
                ("kept", clients.kept_bytes),
            ]
            .map(|(what, bytes)| ([("what", what)], bytes)),
        )?;
        writer.counter(
            "client_memory_refused",
            "Requests and answers that the hub refused because of a memory limit",
            [(NO_LABELS, clients.refused)],
        )?;
        writer.counter(
            "client_events_dropped",
            "Notifications that were dropped because no client fetched them",
            [(NO_LABELS, clients.dropped)],
        )
    }

    fn hooks(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let hooks = &self.0.hooks;
        writer.counter(
            "hook_runs",
            "How often a hook ran",
            hooks.iter().map(|hook| ([("hook", &*hook.name)], hook.runs)),
        )?;
        writer.counter(
            "hook_failures",
            "How often a hook failed",
            hooks.iter().map(|hook| ([("hook", &*hook.name)], hook.failures)),
        )?;
        writer.counter(
            "hook_busy",
            "How often a hook could not run because the machine was busy, or because too many of its runs were in progress",
            hooks.iter().map(|hook| ([("hook", &*hook.name)], hook.busy)),
        )?;
        writer.counter(
            "hook_events_lost",
            "Events for a background hook that were lost because the queue was full",
            hooks.iter().map(|hook| ([("hook", &*hook.name)], hook.lost)),
        )?;
        // A store that cannot be read has no numbers.
        let Some(store) = self.0.store.as_deref().filter(|store| store.error.is_none()) else {
            return Ok(());
        };
        writer.gauge(
            "hook_events",
            "Events for background hooks: ready or running, waiting for another attempt, given up",
            None,
            [
                ("queued", store.events_queued),
                ("waiting", store.events_waiting),
                ("dead", store.events_dead),
            ]
            .map(|(state, count)| ([("state", state)], count)),
        )?;
        writer.gauge(
            "store",
            "Size of the files of the store",
            Some(&Unit::Bytes),
            [(NO_LABELS, store.bytes)],
        )
    }
}

/// Families of metrics, one after the other. All names get the prefix of the registry.
struct Writer<'a>(DescriptorEncoder<'a>);

const NO_LABELS: [(&str, &str); 0] = [];
const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;

impl Writer<'_> {
    fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Info)?
            .encode_info(labels)
    }

    fn gauge<L: EncodeLabelSet, V: TryInto<i64>>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        each(family, rows, |mut metric, value| {
            metric.encode_gauge(&value.try_into().unwrap_or(i64::MAX))
        })
    }

    /// `_total` is added to the name.
    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        each(family, rows, |mut metric, value| {
            metric.encode_counter(&value, NO_EXEMPLAR)
        })
    }
}

fn each<L: EncodeLabelSet, V>(
    mut family: MetricEncoder<'_>,
    rows: impl IntoIterator<Item = (L, V)>,
    write: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
) -> fmt::Result {
    rows.into_iter()
        .try_for_each(|(labels, value)| write(family.encode_family(&labels)?, value))
}

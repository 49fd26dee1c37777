//! Hooks: what a blocking one adds to a call, in three languages, and how fast events pass the queue of background ones.

use std::time::{Duration, Instant};

use aih_benches::{http::Connection, report::Report};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    Run,
    hub::{Extras, Hub},
    progress,
    sandbox::{guest, own},
};

/// What the table says, the server whose calls meet the hook, and what stands in front of its tools.
const WAYS: [(&str, &str, &str); 4] = [
    ("no hook", "echo", "echo__"),
    ("Rust hook", "rust", "rust__"),
    ("JavaScript hook", "js", "js__"),
    ("Python hook", "python", "python__"),
];
/// The hook in the background.
const BACKGROUND: &str = "queued";
/// How long the first build of all may take.
const BUILDING: Duration = Duration::from_secs(180);
/// Who sends events at the same time.
const SENDERS: usize = 32;
/// Events that a hub should bring through its queue in a second.
const EVENTS_AIM: f64 = 5_000.0;

fn configuration() -> Result<Extras> {
    let rust = guest("pass")?;
    let mut yaml = "hooks:\n".to_owned();
    for (_, server, _) in WAYS.iter().skip(1) {
        let file = match *server {
            "js" => own("hooks/pass.js"),
            "python" => own("hooks/pass.py"),
            _ => rust.clone(),
        };
        yaml.push_str(&format!(
            "  - {{ name: {server}, trigger: tool.before, action: \"{}\", match: {{ mcps: [{server}] }} }}\n",
            file.display()
        ));
    }
    yaml.push_str(&format!(
        "  - {{ name: {BACKGROUND}, trigger: manual, mode: background, action: \"{}\" }}\n",
        rust.display()
    ));
    Ok(Extras {
        servers: WAYS.iter().skip(1).map(|(_, server, _)| *server).collect(),
        yaml,
    })
}

impl Run<'_> {
    /// Calls with and without hooks, and the queue.
    pub(crate) async fn hooks(&self, report: &mut Report) -> Result<()> {
        let Some(path) = &self.hub else { return Ok(()) };
        let (upstream, direct) = self.upstream(&[]).await?;
        progress("building and loading the hooks");
        let hub = Hub::start(path, upstream.address, &configuration()?).await?;
        all_up(&hub).await?;
        let ways = WAYS.map(|(title, _, prefix)| (title, prefix));
        self.ways(report, ways, &direct, &hub).await?;
        added(report);
        progress("events through the queue");
        let events = if self.arguments.quick { 4_000 } else { 30_000 };
        queue(report, &hub, events).await?;
        hub.program.stop().await?;
        upstream.stop().await
    }
}

/// What each hook adds at one connection, and what it may add: a call in its sandbox, and 20 µs.
fn added(report: &mut Report) {
    let p50 = |title: &str| {
        let mut rows = report.rows.iter();
        let row = rows.find(|row| row.work == title && row.path == "hub" && row.connections == 1);
        row.map(|row| row.numbers.p50)
    };
    let Some(without) = p50("no hook") else { return };
    let values: Vec<_> = WAYS
        .iter()
        .skip(1)
        .filter_map(|(title, _, _)| {
            let language = title.split(' ').next()?;
            let sandbox = report.sandboxes.iter().find(|row| row.language == language);
            let aim = sandbox.map(|row| row.fresh_p50 + 20.0);
            Some((format!("a {title} adds at p50"), p50(title)? - without, aim))
        })
        .collect();
    for (name, value, aim) in values {
        report.value(name, value, "µs", aim);
    }
}

/// Waits until every hook and server is up.
async fn all_up(hub: &Hub) -> Result<()> {
    let end = Instant::now() + BUILDING;
    loop {
        let (_, health) = hub.rest("GET", "/api/v1/health", "").await?;
        let parts = ["mcps", "hooks"].map(|part| health.get(part).and_then(Value::as_array).cloned());
        let states: Vec<_> = parts
            .into_iter()
            .flatten()
            .flatten()
            .map(|part| {
                part.get("state")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        if states.len() > WAYS.len() && states.iter().all(|state| state == "up") {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "not everything is up after {BUILDING:?}: {health}; the hub's last lines:\n{}",
            hub.program.last_lines()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends events as fast as they are taken, and waits until the last one ran.
async fn queue(report: &mut Report, hub: &Hub, events: usize) -> Result<()> {
    let path = format!("/api/v1/hooks/{BACKGROUND}/trigger");
    let request = hub.rest_request("POST", &path, r#"{"text":"an event"}"#);
    let began = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        let (request, address) = (request.clone(), hub.program.address);
        senders.spawn(async move {
            let mut connection = Connection::open(address).await?;
            for _ in 0..events / SENDERS {
                let head = connection.exchange(request.as_bytes()).await?;
                ensure!(
                    head.status == 202,
                    "an event was answered with {}: {}",
                    head.status,
                    String::from_utf8_lossy(connection.body())
                );
            }
            Ok(())
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent?.context("events for the queue")?;
    }
    let taken = began.elapsed();
    let sent = (events / SENDERS * SENDERS) as f64;
    loop {
        let (_, dead) = hub.rest("GET", "/api/v1/hooks/dead", "").await?;
        let count = |name: &str| dead.pointer(&format!("/counts/{name}")).and_then(Value::as_u64);
        ensure!(count("dead") == Some(0), "events were given up: {dead}");
        if ["waiting", "running"].iter().all(|name| count(name) == Some(0)) {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    report.value(
        "events taken into the queue",
        sent / taken.as_secs_f64(),
        "events/s",
        None,
    );
    let through = sent / began.elapsed().as_secs_f64();
    report.value("events through the queue", through, "events/s", Some(EVENTS_AIM));
    Ok(())
}

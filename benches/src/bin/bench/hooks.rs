//! Hooks: what a blocking one adds to a call, in three languages, and how fast events pass the queue of background ones.

use std::time::{Duration, Instant};

use aih_benches::{http::Connection, report::Report};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    Run,
    hub::{Extras, Hub},
    plugins, progress,
    sandbox::{guest, own},
};

/// A language, the server whose calls meet its hook, what stands in front of that server's tools, and in front of those of
/// the plugin in the same language.
const LANGUAGES: [(&str, &str, &str, &str); 3] = [
    ("Rust", "rust", "rust__", "rust_plugin__"),
    ("JavaScript", "js", "js__", "js_plugin__"),
    ("Python", "python", "python__", "python_plugin__"),
];
/// What stands in front of the tools of a server that no hook matches.
const NO_HOOK: &str = "echo__";
/// The ways of a cell: the same tool of a server that no hook matches, of one whose calls meet the hook, and of a plugin.
const WAYS: [&str; 3] = ["no hook", "hook", "plugin"];
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
    let (mut hooks, mut entries) = ("hooks:\n".to_owned(), "plugins:\n".to_owned());
    for (_, server, _, _) in LANGUAGES {
        let file = match server {
            "js" => own("hooks/pass.js"),
            "python" => own("hooks/pass.py"),
            _ => rust.clone(),
        };
        hooks.push_str(&format!(
            "  - {{ name: {server}, trigger: tool.before, action: \"{}\", match: {{ mcps: [{server}] }} }}\n",
            file.display()
        ));
        entries.push_str(&plugins::entry(&format!("{server}-plugin"))?);
    }
    hooks.push_str(&format!(
        "  - {{ name: {BACKGROUND}, trigger: manual, mode: background, action: \"{}\" }}\n",
        rust.display()
    ));
    Ok(Extras {
        servers: LANGUAGES.map(|(_, server, _, _)| server).to_vec(),
        yaml: entries + &hooks,
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
        for (language, _, server, plugin) in LANGUAGES {
            // They take turns: what a hook adds is told by two numbers of the same minute.
            let ways = [(WAYS[0], NO_HOOK), (WAYS[1], server), (WAYS[2], plugin)];
            self.ways(report, &format!("{language} hook"), ways, &direct, &hub)
                .await?;
        }
        added(report);
        progress("events through the queue");
        let events = if self.arguments.quick { 4_000 } else { 30_000 };
        queue(report, &hub, events).await?;
        hub.program.stop().await?;
        upstream.stop().await
    }
}

/// What each hook adds at one connection, and what it may add: a call of a plugin in the same language, and 20 µs.
fn added(report: &mut Report) {
    for (language, ..) in LANGUAGES {
        let work = format!("{language} hook");
        let p50 = |path: &str| {
            let mut rows = report.rows.iter();
            let row = rows.find(|row| row.work == work && row.path == path && row.connections == 1);
            row.map(|row| row.numbers.p50)
        };
        let [Some(without), Some(with), Some(plugin)] = WAYS.map(p50) else {
            continue;
        };
        report.value(
            format!("a {work} adds at p50"),
            with - without,
            "µs",
            Some(plugin + 20.0),
        );
    }
}

/// Waits until every hook and server is up.
async fn all_up(hub: &Hub) -> Result<()> {
    let end = Instant::now() + BUILDING;
    loop {
        let (_, health) = hub.rest("GET", "/api/v1/health", "").await?;
        let parts =
            ["mcps", "plugins", "hooks"].map(|part| health.get(part).and_then(Value::as_array).cloned());
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
        if states.len() > 3 * LANGUAGES.len() && states.iter().all(|state| state == "up") {
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

//! Plugins over MCP: the same tool as the echo server's, in three languages, and a hub that starts with twenty of them.

use std::time::Duration;

use aih_benches::{process::Program, report::Report};
use anyhow::{Context, Result};

use crate::{
    Run,
    hub::{Extras, Hub},
    progress,
    sandbox::{guest, own},
};

/// A plugin's name in tables, its own name, and what stands in front of its tools.
const PLUGINS: [(&str, &str, &str); 6] = [
    ("Rust plugin", "rust", "rust__"),
    ("Rust plugin, warm", "rust-warm", "rust_warm__"),
    ("JavaScript plugin", "js", "js__"),
    ("JavaScript plugin, warm", "js-warm", "js_warm__"),
    ("Python plugin", "python", "python__"),
    ("Python plugin, warm", "python-warm", "python_warm__"),
];
/// How long the first build of all may take.
const BUILDING: Duration = Duration::from_secs(180);
/// Plugins of the hub whose start is measured.
const MANY: usize = 20;
/// How often it is started.
const STARTS: usize = 5;

/// The entry of a plugin; the first part of its name says the language.
pub(crate) fn entry(name: &str) -> Result<String> {
    let file = match name.split('-').next() {
        Some("js") => own("plugins/echo.js"),
        Some("python") => own("plugins/echo.py"),
        _ => guest("echo")?,
    };
    // As many as run at the same time on the cores that are here, and some in stock.
    let warm = if name.ends_with("-warm") { 8 } else { 0 };
    Ok(format!(
        "  - {{ name: {name}, file: \"{}\", limits: {{ warm: {warm} }} }}\n",
        file.display()
    ))
}

impl Run<'_> {
    /// Calls over MCP, and the start of a hub with many plugins.
    pub(crate) async fn plugins(&self, report: &mut Report) -> Result<()> {
        let Some(path) = &self.hub else { return Ok(()) };
        let (upstream, direct) = self.upstream(&[]).await?;
        let mut extras = Extras {
            yaml: "plugins:\n".to_owned(),
            ..Extras::default()
        };
        for (_, name, _) in PLUGINS {
            extras.yaml.push_str(&entry(name)?);
        }
        progress("building and loading the plugins");
        let hub = Hub::start(path, upstream.address, &extras).await?;
        let mut ways = vec![("echo server", "echo__")];
        ways.extend(PLUGINS.map(|(title, _, prefix)| (title, prefix)));
        for (_, prefix) in &ways {
            let tool = format!("{prefix}echo");
            hub.wait_for(&tool, 1, BUILDING).await?;
        }
        for (title, prefix) in ways {
            self.ways(report, title, [("hub", prefix)], &direct, &hub).await?;
        }
        self.memory(report, Some(&hub), "memory, after load of plugins", None)?;
        hub.program.stop().await?;
        self.many(report, &upstream).await?;
        upstream.stop().await
    }

    /// The start of a hub whose plugins are all in its cache.
    async fn many(&self, report: &mut Report, upstream: &Program) -> Result<()> {
        let Some(path) = &self.hub else { return Ok(()) };
        let mut extras = Extras {
            yaml: "plugins:\n".to_owned(),
            ..Extras::default()
        };
        for number in 0..MANY {
            let language = ["rust", "js", "python"]
                .get(number % 3)
                .copied()
                .unwrap_or_default();
            extras.yaml.push_str(&entry(&format!("{language}-p{number}"))?);
        }
        progress("the start of a hub with 20 plugins");
        let mut hub = Hub::start(path, upstream.address, &extras).await?;
        let mut times = Vec::new();
        for start in 0..=STARTS {
            for number in 0..MANY {
                let language = ["rust", "js", "python"]
                    .get(number % 3)
                    .copied()
                    .unwrap_or_default();
                let tool = format!("{language}_p{number}__echo");
                let waited = hub.wait_for(&tool, 1, BUILDING).await;
                waited.with_context(|| format!("start {start}"))?;
            }
            // The first one builds.
            if start > 0 {
                times.push(hub.program.started.elapsed().as_secs_f64() * 1e3);
            }
            if start < STARTS {
                hub = hub.again(path).await?;
            }
        }
        self.memory(report, Some(&hub), "memory, 20 plugins, idle", None)?;
        hub.program.stop().await?;
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
        report.value(
            "time until 20 cached plugins are listed",
            median,
            "ms",
            Some(300.0),
        );
        Ok(())
    }
}

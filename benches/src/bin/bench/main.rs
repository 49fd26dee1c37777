//! `cargo xtask bench`: what the hub adds to a call, in one table from one run.

mod hooks;
mod hub;
mod plugins;
mod sandbox;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use aih_benches::cell::{Plan, Through, measure};
use aih_benches::process::{CHILD_ARGUMENT, Program, become_child, build};
use aih_benches::report::Report;
use aih_benches::session::{Endpoint, Era, Work};
use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use hub::{Extras, Hub};

/// Tools that the echo server has by itself.
const OWN_TOOLS: usize = 2;
/// How often the hub is started to see how long that takes.
const STARTS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Small tool calls, both eras; memory idle and after load.
    Calls,
    /// Tool calls with a 100 kB result.
    Big,
    /// tools/list with 10 and with 1,000 tools.
    List,
    /// Time until the hub answers.
    Startup,
    /// Plugins in three languages: in this process, over MCP, and a hub that starts with twenty.
    Plugins,
    /// Hooks in three languages: what they add to a call, and how fast events pass the queue.
    Hooks,
}

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures what the hub adds to a call")]
struct Arguments {
    /// How long each row is measured, in seconds.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Half a second a row, and only 1 and 32 connections.
    #[arg(long)]
    quick: bool,
    /// Only this part; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Measure this hub program instead of building one.
    #[arg(long, value_name = "FILE")]
    hub_bin: Option<PathBuf>,
    /// Use this echo server instead of building one.
    #[arg(long, value_name = "FILE")]
    upstream_bin: Option<PathBuf>,
    /// Measure the echo server alone.
    #[arg(long, conflicts_with = "hub_bin")]
    no_hub: bool,
    /// Also write the numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.1..=600.0).contains(&number) => Ok(number),
        _ => Err("write a number from 0.1 to 600".to_owned()),
    }
}

impl Arguments {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.5 } else { self.seconds })
    }

    fn connections(&self) -> &'static [usize] {
        if self.quick { &[1, 32] } else { &[1, 8, 32, 128] }
    }
}

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().unwrap_or_default();
    if first == CHILD_ARGUMENT {
        match become_child(arguments)? {}
    }
    if aih_builder::is_child(&first) {
        return Ok(aih_builder::child_main(aih_runtime::precompile));
    }
    // Programs are started from this thread, which lives as long as the process: the kernel takes the end
    // of the thread that started a child for the death of its parent.
    tokio::runtime::Runtime::new()?.block_on(run(Arguments::parse()))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(arguments: Arguments) -> Result<()> {
    let upstream = match &arguments.upstream_bin {
        Some(path) => absolute(path)?,
        None => build("echo-upstream").await?,
    };
    let hub = match (&arguments.hub_bin, arguments.no_hub) {
        (_, true) => None,
        (Some(path), _) => Some(absolute(path)?),
        (None, _) => Some(build("aih").await?),
    };
    let run = Run {
        arguments: &arguments,
        upstream,
        relay: build("relay").await?,
        hub,
    };
    let mut report = Report::default();
    if arguments.wants(Part::Startup) {
        run.startup(&mut report).await.context("startup")?;
    }
    if arguments.wants(Part::Calls) || arguments.wants(Part::Big) {
        run.calls(&mut report).await?;
    }
    if arguments.wants(Part::List) {
        for tools in [10, 1_000] {
            run.list(&mut report, tools)
                .await
                .with_context(|| format!("tools/list with {tools} tools"))?;
        }
    }
    if arguments.wants(Part::Plugins) {
        sandbox::measure(&mut report, arguments.quick)
            .await
            .context("plugins in this process")?;
        run.plugins(&mut report).await.context("plugins")?;
    }
    if arguments.wants(Part::Hooks) {
        run.hooks(&mut report).await.context("hooks")?;
    }
    #[expect(clippy::print_stdout, reason = "the table is what the program is for")]
    {
        print!("{}", report.table());
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("there is no program at {}", path.display()))
}

struct Run<'a> {
    arguments: &'a Arguments,
    upstream: PathBuf,
    relay: PathBuf,
    hub: Option<PathBuf>,
}

impl Run<'_> {
    /// The echo server, and where its own clients go.
    async fn upstream(&self, arguments: &[String]) -> Result<(Program, Endpoint)> {
        let upstream =
            Program::start("echo-upstream", &self.upstream, arguments, &std::env::temp_dir()).await?;
        let direct = Endpoint {
            address: upstream.address,
            key: None,
            prefix: "",
        };
        Ok((upstream, direct))
    }

    /// An echo server that lists so many tools in all, and the hub in front of it.
    async fn servers(&self, tools: usize) -> Result<(Program, Endpoint, Option<Hub>)> {
        let arguments = ["--tools".to_owned(), tools.saturating_sub(OWN_TOOLS).to_string()];
        let (upstream, direct) = self.upstream(&arguments).await?;
        let hub = match &self.hub {
            Some(path) => {
                let hub = Hub::start(path, upstream.address, &Extras::default()).await?;
                hub.wait_for_tools(tools).await?;
                hub.check_permissions().await?;
                Some(hub)
            }
            None => None,
        };
        Ok((upstream, direct, hub))
    }

    async fn calls(&self, report: &mut Report) -> Result<()> {
        let (upstream, direct, hub) = self.servers(10).await?;
        let to = ["--to".to_owned(), upstream.address.to_string()];
        let relay = Program::start("the relay", &self.relay, &to, &std::env::temp_dir()).await?;
        self.memory(report, hub.as_ref(), "memory, idle", Some(40.0))?;
        // Beside the hub, what any process between would add.
        let mut ways = vec![Through {
            path: "relay",
            endpoint: Endpoint {
                address: relay.address,
                ..direct.clone()
            },
            program: &relay,
        }];
        ways.extend(hub.as_ref().map(|hub| hub.through(hub.endpoint())));
        let works = [
            (Part::Calls, "echo", Work::Echo),
            (Part::Big, "100 kB", Work::Big),
        ];
        for (part, name, work) in works {
            if !self.arguments.wants(part) {
                continue;
            }
            for era in [Era::Legacy, Era::Modern] {
                self.cells(report, name, work, era, &direct, &ways).await?;
            }
        }
        self.memory(report, hub.as_ref(), "memory, after load", None)?;
        relay.stop().await?;
        self.stop(upstream, hub).await
    }

    async fn list(&self, report: &mut Report, tools: usize) -> Result<()> {
        let (upstream, direct, hub) = self.servers(tools).await?;
        let name = format!("list {tools}");
        let ways: Vec<_> = hub.iter().map(|hub| hub.through(hub.endpoint())).collect();
        for era in [Era::Legacy, Era::Modern] {
            let work = Work::List { tools };
            self.cells(report, &name, work, era, &direct, &ways).await?;
        }
        if tools > 100 {
            self.memory(report, hub.as_ref(), "memory, after list 1000", None)?;
        }
        self.stop(upstream, hub).await
    }

    /// One kind of work at every number of connections.
    async fn cells(
        &self,
        report: &mut Report,
        name: &str,
        work: Work,
        era: Era,
        direct: &Endpoint,
        ways: &[Through<'_>],
    ) -> Result<()> {
        for connections in self.arguments.connections().iter().copied() {
            // Lists are asked for once in a session; many at once tell nothing new.
            if matches!(work, Work::List { .. }) && connections > 32 {
                continue;
            }
            let plan = Plan {
                era,
                work,
                connections,
                time: self.arguments.time(),
            };
            cell(report, name, plan, direct, ways).await?;
        }
        Ok(())
    }

    /// Calls of `echo` under several names of a hub, with one connection and with many. A way is what the table calls it, and
    /// what stands in front of the tool.
    async fn ways(
        &self,
        report: &mut Report,
        work: &str,
        ways: impl IntoIterator<Item = (&'static str, &'static str)>,
        direct: &Endpoint,
        hub: &Hub,
    ) -> Result<()> {
        let ways: Vec<_> = ways
            .into_iter()
            .map(|(path, prefix)| Through {
                path,
                ..hub.through(hub.endpoint_of(prefix))
            })
            .collect();
        for connections in [1, 32] {
            let plan = Plan {
                era: Era::Modern,
                work: Work::Echo,
                connections,
                time: self.arguments.time(),
            };
            cell(report, work, plan, direct, &ways).await?;
        }
        Ok(())
    }

    fn memory(
        &self,
        report: &mut Report,
        hub: Option<&Hub>,
        name: &'static str,
        aim: Option<f64>,
    ) -> Result<()> {
        if let Some(hub) = hub {
            report.value(name, hub.program.memory()?.resident as f64 / 1024.0, "MB", aim);
        }
        Ok(())
    }

    async fn startup(&self, report: &mut Report) -> Result<()> {
        let Some(path) = &self.hub else { return Ok(()) };
        progress("startup");
        let (upstream, _) = self.upstream(&[]).await?;
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let hub = Hub::start(path, upstream.address, &Extras::default()).await?;
            times.push(hub.ready.as_secs_f64() * 1e3);
            hub.program.stop().await?;
        }
        times.sort_by(f64::total_cmp);
        ensure!(!times.is_empty(), "nothing was measured");
        let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
        report.value("time to ready", median, "ms", Some(200.0));
        upstream.stop().await
    }

    async fn stop(&self, upstream: Program, hub: Option<Hub>) -> Result<()> {
        if let Some(hub) = hub {
            hub.program.stop().await?;
        }
        upstream.stop().await
    }
}

/// Measures one cell, and adds its rows.
async fn cell(
    report: &mut Report,
    name: &str,
    plan: Plan,
    direct: &Endpoint,
    ways: &[Through<'_>],
) -> Result<()> {
    let what = format!("{name}, {}, {} connections", plan.era.name(), plan.connections);
    progress(&what);
    let numbers = measure(direct, ways, plan).await.with_context(|| {
        let said = ways
            .last()
            .map(|way| way.program.last_lines())
            .unwrap_or_default();
        format!("{what}; the last lines of what is between:\n{said}")
    })?;
    report.add(name, plan.era.name(), plan.connections, numbers);
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "a run takes minutes: say what is going on, apart from the table"
)]
fn progress(text: &str) {
    eprintln!("measuring {text}");
}

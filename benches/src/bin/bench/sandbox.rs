//! What a sandbox costs without MCP: calls of one tool in Rust, JavaScript and Python, in this process, fresh and
//! warm; many at once; and many one after the other.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aih_benches::report::{Report, SandboxRow};
use aih_builder::{BuildCache, BuildOptions, Builder, Source};
use aih_runtime::{Context, Limits, Loaded, Runtime, RuntimeOptions, Spec, ToolCall, World};
use anyhow::Context as _;

/// Plugins of the test of many calls at once.
const PLUGINS: usize = 50;
/// Calls of the test of many calls at once.
const AT_ONCE: usize = 1_000;

/// One plugin to measure.
pub(crate) struct Subject {
    /// What it is written in.
    pub(crate) language: &'static str,
    /// What a call in a fresh sandbox should cost at most, in microseconds.
    aim: f64,
    wasm: Vec<u8>,
    /// How long its first build took; `None` for Rust, whose compiler builds it.
    built: Option<Duration>,
}

/// The component `NAME.wasm` that `cargo xtask guests` makes.
pub(crate) fn guest(name: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let target = this
        .parent()
        .and_then(Path::parent)
        .context("this program is not in a cargo target folder")?;
    let path = target.join("guests").join(format!("{name}.wasm"));
    anyhow::ensure!(
        path.is_file(),
        "{} is missing: build it with `cargo xtask guests`",
        path.display()
    );
    Ok(path)
}

/// A file of the benchmark's own.
pub(crate) fn own(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Measures all of it.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let subjects = subjects(folder.path()).await?;
    let runtime = Runtime::new(&RuntimeOptions {
        cache: Some(folder.path().join("code")),
        ..RuntimeOptions::default()
    })?;
    for subject in &subjects {
        crate::progress(&format!("a {} plugin in this process", subject.language));
        report
            .sandboxes
            .push(one(&runtime, subject, quick).await.context(subject.language)?);
    }
    crate::progress("many calls at once");
    at_once(report, &runtime, &subjects).await?;
    crate::progress("many Python calls one after the other");
    one_after_the_other(report, &runtime, &subjects, if quick { 1_000 } else { 10_000 }).await
}

async fn one(runtime: &Runtime, subject: &Subject, quick: bool) -> anyhow::Result<SandboxRow> {
    let began = Instant::now();
    load(runtime, subject, 0).await?;
    let compile = began.elapsed();
    let began = Instant::now();
    let fresh = load(runtime, subject, 0).await?;
    let again = began.elapsed();
    let warm = load(runtime, subject, 4).await?;
    let rounds = match (quick, subject.language) {
        (true, "Python") => 200,
        (true, _) => 1_000,
        (false, "Python") => 2_000,
        (false, _) => 20_000,
    };
    // In a task, as a server's calls are: from the main thread each one would wake two threads.
    let (fresh_p50, fresh_p95) = tokio::spawn(async move { latencies(&fresh, rounds).await }).await??;
    let (warm_p50, warm_p95) = tokio::spawn(async move { latencies(&warm, rounds).await }).await??;
    Ok(SandboxRow {
        language: subject.language,
        bytes: subject.wasm.len(),
        build: subject.built.map(|time| time.as_secs_f64()),
        compile: compile.as_secs_f64(),
        load: again.as_secs_f64() * 1e3,
        fresh_p50,
        fresh_p95,
        aim: subject.aim,
        warm_p50,
        warm_p95,
    })
}

async fn subjects(folder: &Path) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = vec![Subject {
        language: "Rust",
        aim: 40.0,
        wasm: std::fs::read(guest("echo")?)?,
        built: None,
    }];
    let builder = Builder::new(
        BuildCache::new(folder.join("components"))?,
        BuildOptions::default(),
    );
    for (language, aim, file) in [
        ("JavaScript", 250.0, "plugins/echo.js"),
        ("Python", 1_500.0, "plugins/echo.py"),
    ] {
        crate::progress(&format!("the first build of a {language} plugin"));
        let source = Source::new(own(file), aih_builder::World::Plugin)?;
        let began = Instant::now();
        let built = builder.build(&source, |_| ()).await?;
        subjects.push(Subject {
            language,
            aim,
            built: Some(began.elapsed()),
            wasm: std::fs::read(built.component)?,
        });
    }
    Ok(subjects)
}

async fn load(runtime: &Runtime, subject: &Subject, warm: u32) -> anyhow::Result<Loaded> {
    let spec = Spec {
        name: subject.language.to_owned(),
        limits: Limits {
            warm,
            ..Limits::default()
        },
        ..Spec::default()
    };
    Ok(runtime.load(subject.wasm.clone(), World::Plugin, spec).await?)
}

async fn call(component: &Loaded) -> anyhow::Result<()> {
    let call = ToolCall {
        call_id: "bench".to_owned(),
        tool: "echo".to_owned(),
        arguments_json: r#"{"text":"hello"}"#.to_owned(),
        deadline_ms: 30_000,
        extras: Vec::new(),
    };
    let output = component.call_tool(call, Context::default()).await?;
    anyhow::ensure!(!output.is_error, "the call failed");
    Ok(())
}

/// p50 and p95 in microseconds.
async fn latencies(component: &Loaded, rounds: usize) -> anyhow::Result<(f64, f64)> {
    for _ in 0..rounds / 10 {
        call(component).await?;
    }
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        call(component).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| {
        let index = (times.len() * share / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    };
    Ok((at(50), at(95)))
}

async fn at_once(report: &mut Report, runtime: &Runtime, subjects: &[Subject]) -> anyhow::Result<()> {
    let mut plugins = Vec::new();
    for subject in subjects.iter().cycle().take(PLUGINS) {
        plugins.push(load(runtime, subject, 0).await?);
    }
    let before = megabytes();
    let began = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for plugin in plugins.iter().cycle().take(AT_ONCE) {
        let plugin = plugin.clone();
        calls.spawn(async move { call(&plugin).await });
    }
    while let Some(outcome) = calls.join_next().await {
        outcome?.context("one of 1,000 calls of 50 plugins at once")?;
    }
    report.value(
        "1,000 calls of 50 plugins at once",
        began.elapsed().as_secs_f64(),
        "s",
        None,
    );
    report.value("memory that they left behind", megabytes() - before, "MB", None);
    Ok(())
}

async fn one_after_the_other(
    report: &mut Report,
    runtime: &Runtime,
    subjects: &[Subject],
    rounds: usize,
) -> anyhow::Result<()> {
    let Some(subject) = subjects.iter().find(|subject| subject.language == "Python") else {
        return Ok(());
    };
    let component = load(runtime, subject, 0).await?;
    for _ in 0..rounds / 10 {
        call(&component).await?;
    }
    let before = megabytes();
    for _ in 0..rounds {
        call(&component).await?;
    }
    report.value(
        format!("memory that {rounds} Python calls one after the other left behind"),
        megabytes() - before,
        "MB",
        Some(1.0),
    );
    Ok(())
}

/// Resident memory of this process.
fn megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

//! What a sandbox costs: calls of one tool in Rust, JavaScript and Python, in this process, fresh and warm; many
//! at once; and many one after the other.
//!
//! `cargo xtask guests` has to have built the Rust component. Times are in microseconds.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aih_builder::{BuildCache, BuildOptions, Builder, Source};
use aih_runtime::{Context, Limits, Loaded, Runtime, RuntimeOptions, Spec, ToolCall, World};
use anyhow::Context as _;
use clap::Parser;

/// Measure plugins in this process.
#[derive(Parser)]
struct Arguments {
    /// Fewer rounds: for trying.
    #[arg(long)]
    quick: bool,
}

/// One component to measure.
struct Subject {
    language: &'static str,
    wasm: Vec<u8>,
    /// How long its first build took; `None` for Rust, which is built elsewhere.
    built: Option<Duration>,
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| aih_builder::is_child(&first))
    {
        return Ok(aih_builder::child_main());
    }
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(measure(&arguments))?;
    Ok(std::process::ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let subjects = subjects(folder.path()).await?;
    let cache = folder.path().join("code");
    let runtime = Runtime::new(&RuntimeOptions {
        cache: Some(cache.clone()),
        ..RuntimeOptions::default()
    })?;
    println!("language    size kB  build s  compile s  load ms  fresh p50  p95  warm p50  p95");
    for subject in &subjects {
        let began = Instant::now();
        load(&runtime, subject, Limits::default()).await?;
        let compile = began.elapsed();
        let began = Instant::now();
        let fresh = load(&runtime, subject, Limits::default()).await?;
        let again = began.elapsed();
        let warm = load(
            &runtime,
            subject,
            Limits {
                warm: 1,
                ..Limits::default()
            },
        )
        .await?;
        let rounds = match (arguments.quick, subject.language) {
            (true, "Python") => 200,
            (true, _) => 1_000,
            (false, "Python") => 2_000,
            (false, _) => 20_000,
        };
        let fresh = latencies(&fresh, rounds).await?;
        let warm = latencies(&warm, rounds).await?;
        println!(
            "{:<10} {:>8} {:>8} {:>10.2} {:>8.1} {:>10.1} {:>6.1} {:>8.1} {:>6.1}",
            subject.language,
            subject.wasm.len() / 1000,
            subject
                .built
                .map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64())),
            compile.as_secs_f64(),
            again.as_secs_f64() * 1e3,
            fresh.0,
            fresh.1,
            warm.0,
            warm.1,
        );
    }
    at_once(&runtime, &subjects).await?;
    one_after_the_other(&runtime, &subjects, if arguments.quick { 1_000 } else { 10_000 }).await?;
    warm_start(&cache, &subjects).await
}

async fn subjects(folder: &Path) -> anyhow::Result<Vec<Subject>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let rust = root.join("../target/guests/echo.wasm");
    let rust = std::fs::read(&rust)
        .with_context(|| format!("{}: build it with `cargo xtask guests`", rust.display()))?;
    let mut subjects = vec![Subject {
        language: "Rust",
        wasm: rust,
        built: None,
    }];
    let builder = Builder::new(
        BuildCache::new(folder.join("components"))?,
        BuildOptions::default(),
    );
    for (language, file) in [("JavaScript", "echo.js"), ("Python", "echo.py")] {
        let source = Source::new(root.join("plugins").join(file), aih_builder::World::Plugin)?;
        let began = Instant::now();
        let built = builder.build(&source, |_| ()).await?;
        subjects.push(Subject {
            language,
            built: Some(began.elapsed()),
            wasm: std::fs::read(built.component)?,
        });
    }
    Ok(subjects)
}

async fn load(runtime: &Runtime, subject: &Subject, limits: Limits) -> anyhow::Result<Loaded> {
    let spec = Spec {
        name: subject.language.to_owned(),
        limits,
        ..Spec::default()
    };
    Ok(runtime.load(subject.wasm.clone(), World::Plugin, spec).await?)
}

async fn call(component: &Loaded) -> anyhow::Result<()> {
    let call = ToolCall {
        call_id: "bench".to_owned(),
        tool: "echo".to_owned(),
        arguments_json: r#"{"message":"hello"}"#.to_owned(),
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
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Ok((at(50), at(95)))
}

/// 1,000 calls of 50 plugins at the same time.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
async fn at_once(runtime: &Runtime, subjects: &[Subject]) -> anyhow::Result<()> {
    let mut plugins = Vec::new();
    for subject in subjects.iter().cycle().take(50) {
        plugins.push(load(runtime, subject, Limits::default()).await?);
    }
    let began = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for plugin in plugins.iter().cycle().take(1_000) {
        let plugin = plugin.clone();
        calls.spawn(async move { call(&plugin).await });
    }
    let mut failed = 0;
    while let Some(outcome) = calls.join_next().await {
        if outcome?.is_err() {
            failed += 1;
        }
    }
    println!(
        "1,000 calls of 50 plugins at once: {:.2} s, {failed} failed, {} MB resident",
        began.elapsed().as_secs_f64(),
        resident() / 1_000_000
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
async fn one_after_the_other(runtime: &Runtime, subjects: &[Subject], rounds: usize) -> anyhow::Result<()> {
    let Some(subject) = subjects.iter().find(|subject| subject.language == "Python") else {
        return Ok(());
    };
    let component = load(runtime, subject, Limits::default()).await?;
    for _ in 0..rounds / 10 {
        call(&component).await?;
    }
    let before = resident();
    for _ in 0..rounds {
        call(&component).await?;
    }
    println!(
        "{rounds} Python calls one after the other: {} MB resident before, {} MB after",
        before / 1_000_000,
        resident() / 1_000_000
    );
    Ok(())
}

/// 20 plugins from a cache that has them all, in a runtime of their own.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
async fn warm_start(cache: &Path, subjects: &[Subject]) -> anyhow::Result<()> {
    let began = Instant::now();
    let runtime = Runtime::new(&RuntimeOptions {
        cache: Some(cache.to_owned()),
        ..RuntimeOptions::default()
    })?;
    let mut loads = Vec::new();
    for subject in subjects.iter().cycle().take(20) {
        let plugin = load(&runtime, subject, Limits::default());
        loads.push(async move { plugin.await?.list_tools().await.map_err(anyhow::Error::from) });
    }
    for outcome in futures::future::join_all(loads).await {
        outcome?;
    }
    println!(
        "20 plugins from the cache, tools listed: {:.0} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

/// Resident memory of this process in bytes; 0 where it cannot be read.
fn resident() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kilobytes| kilobytes * 1024)
}

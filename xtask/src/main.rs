//! Repository tasks: `cargo xtask --help` lists them.

mod cache;
mod fuzz;
mod guests;
mod setup;
mod step;
mod vendor;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use cache::Cache;
use step::{cargo, run};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Repository tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need: packages of npm and PyPI, and of Debian where a tool is missing.
    Setup,
    /// Build the components that are written in Rust: example plugins, hooks, and what the tests run.
    Guests {
        /// Where the compiler for WebAssembly comes from.
        #[arg(long, value_enum, default_value = "auto")]
        from: guests::From,
        /// Also renew the components that the repository carries, for machines without such a compiler.
        #[arg(long)]
        carry: bool,
    },
    /// Make the npm packages that example plugins carry (their folder `vendor`) anew from the lock files.
    Vendor {
        /// Change nothing, and fail where a file is not the one that npm installs.
        #[arg(long)]
        check: bool,
    },
    /// Install what the tests need, build, and run every test.
    Test {
        /// Passed on to the test runner, such as a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// All that a change must pass: format, lints, dependencies, tests.
    Ci,
    /// Run the fuzz targets with cargo-fuzz, where it and a nightly compiler are installed.
    Fuzz {
        /// How long each target runs.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// These targets only; all if none is named.
        targets: Vec<String>,
    },
    /// Run a hub under a mixed load of well and ill behaviour, and check what it holds afterwards.
    Soak {
        /// How long the load lasts.
        #[arg(long, default_value_t = 30.0)]
        minutes: f64,
    },
    /// Run real AI clients and real MCP servers against a hub, and write what was found into docs/clients.md.
    Zoo {
        /// These clients and servers only, and no document; all if none is named.
        names: Vec<String>,
    },
    /// Measure calls, lists, memory and start-up, through the hub and without it.
    Bench {
        /// Passed on to the benchmark; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// How long each fuzz target runs in CI.
const CI_FUZZ_SECONDS: u32 = 60;
/// How long the soak lasts in CI.
const CI_SOAK_MINUTES: f64 = 2.0;

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Setup => setup::all(None),
        Task::Guests { from, carry } => {
            guests::build(from).and_then(|()| if carry { guests::carry(from) } else { Ok(()) })
        }
        Task::Vendor { check } => vendor::all(check),
        Task::Test { filter } => test(&filter, None),
        Task::Soak { minutes } => build(None).and_then(|()| soak(minutes)),
        Task::Fuzz { seconds, targets } => fuzz::run(seconds, &targets),
        Task::Zoo { names } => zoo(&names),
        Task::Ci => ci(),
        Task::Bench { arguments } => bench(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Builds everything that tests run, after what they need was installed.
fn build(cache: Option<&Cache>) -> anyhow::Result<()> {
    setup::all(cache)?;
    guests::build(guests::From::Auto)?;
    // The end-to-end tests start the programs of the workspace. One selection of packages and targets for this and
    // for the tests: with another one, cargo would build wasmtime a second time with other features.
    run("build", cargo().args(["build", "--workspace", "--all-targets"]))
}

/// Runs the soak with what [`build`] built.
fn soak(minutes: f64) -> anyhow::Result<()> {
    let program = step::target().join("debug/soak");
    run(
        "soak",
        step::program(program).args(["--minutes", &minutes.to_string()]),
    )
}

fn test(filter: &[String], cache: Option<&Cache>) -> anyhow::Result<()> {
    build(cache)?;
    let nextest = cargo()
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|o| o.status.success());
    if nextest {
        run(
            "tests",
            cargo()
                .args(["nextest", "run", "--workspace", "--no-fail-fast"])
                .args(filter),
        )?;
    } else {
        run(
            "tests",
            cargo()
                .args([
                    "test",
                    "--workspace",
                    "--no-fail-fast",
                    "--lib",
                    "--bins",
                    "--tests",
                ])
                .args(filter),
        )?;
    }
    if filter.is_empty() {
        run(
            "documentation tests",
            cargo().args(["test", "--workspace", "--doc"]),
        )?;
    }
    Ok(())
}

/// Everything, with what an earlier run left in the [`cache`].
fn ci() -> anyhow::Result<()> {
    let cache = Cache::take();
    if let Some(Err(error)) = cache.as_ref().map(Cache::compiled) {
        step::say(&format!("no cache for compiled dependencies: {error:#}"));
    }
    run("format", cargo().args(["fmt", "--all", "--check"]))?;
    run(
        "lints",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]),
    )?;
    let deny = cargo()
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|o| o.status.success());
    if deny {
        run(
            "dependencies",
            cargo().args(["deny", "check", "bans", "licenses", "sources"]),
        )?;
        advisories()?;
    } else {
        step::say("dependencies: skipped, cargo-deny is not installed (cargo install --locked cargo-deny)");
    }
    test(&[], cache.as_ref()).context("tests")?;
    fuzz::where_it_can_be(CI_FUZZ_SECONDS)?;
    soak(CI_SOAK_MINUTES)
}

/// Checks the dependencies against the database of known vulnerabilities, where it can be had.
///
/// # Errors
/// A dependency has an advisory.
fn advisories() -> anyhow::Result<()> {
    // With the database alone: a machine without it is not a fault of the change.
    let fetched = run("database of advisories", cargo().args(["deny", "fetch", "db"]));
    if let Err(error) = fetched {
        step::say(&format!(
            "advisories: NOT checked, because the database cannot be had: {error:#}"
        ));
        return Ok(());
    }
    run("advisories", cargo().args(["deny", "check", "advisories"]))
}

/// Runs the zoo with all clients and servers, or with those that are named.
fn zoo(names: &[String]) -> anyhow::Result<()> {
    build(None)?;
    setup::rest_of_zoo()?;
    let mut program = step::program(step::target().join("debug/zoo"));
    if names.is_empty() {
        program.arg("--write").arg(step::root().join("docs/clients.md"));
    }
    run("zoo", program.args(names))
}

fn bench(arguments: &[String]) -> anyhow::Result<()> {
    guests::build(guests::From::Auto)?;
    // All programs at once, and in one selection of packages: another one has other features, and builds wasmtime again.
    run(
        "build for release",
        cargo().args(["build", "--release", "--workspace", "--bins"]),
    )?;
    let program = step::target().join("release/bench");
    run("benchmark", step::program(program).args(arguments))
}

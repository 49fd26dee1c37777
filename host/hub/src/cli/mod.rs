//! The command line: a file per command.

pub mod check;
pub mod hook;
pub mod key;
pub mod plugin;
pub mod report;
pub mod serve;
pub mod stdio;

use std::{path::PathBuf, process::ExitCode};

use aih_store::OpenError;
use clap::{Parser, Subcommand};

use crate::{
    config::{Config, LoadedConfig},
    data::{DataFolder, DataFolderError, FullDisk, Role},
    observe::LogFormat,
};

/// The configuration file when none is named.
pub const DEFAULT_CONFIG: &str = "aih-config.yaml";

/// AI Infrastructure Hub: one address and one key for MCP servers, skills, configs, plugins and hooks.
#[derive(Debug, Parser)]
#[command(name = "aih", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub.
    Serve(serve::Serve),
    /// Run the hub for one client on standard input and output.
    Stdio(stdio::Stdio),
    /// Check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make and hash API keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Inspect, run, build and create plugins and hooks.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Try hooks, and look after the events that they could not handle.
    #[command(subcommand, alias = "hooks")]
    Hook(hook::HookCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every problem of a configuration file. The exit code is 2 if there is one.
    Check(check::Check),
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
}

/// What commands that run the hub have in common.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The configuration file.
    #[arg(long, short, env = "AIH_CONFIG", default_value = DEFAULT_CONFIG, value_name = "FILE")]
    config: PathBuf,
    /// Format of log lines.
    #[arg(long, env = "AIH_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged: a level, or directives such as `aih=debug,hyper=info`.
    #[arg(
        long,
        env = "AIH_LOG",
        default_value = "",
        hide_default_value = true,
        value_name = "FILTER"
    )]
    log: String,
}

/// Reads the command line and runs the command.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Stdio(command) => command.run(),
        Command::Config(ConfigCommand::Check(command)) => Ok(command.run()),
        Command::Config(ConfigCommand::Schema) => print_schema(),
        Command::Plugin(command) => plugin::run(command),
        Command::Hook(command) => hook::run(command),
        Command::Key(command) => key::run(&command, std::io::stdin().lock(), std::io::stdout().lock())
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::from),
    };
    outcome.unwrap_or_else(|error| {
        // The texts of these have their cause in them.
        let known = match error.downcast_ref::<OpenError>() {
            Some(error) => Some(error.to_string()),
            None => error.downcast_ref::<DataFolderError>().map(ToString::to_string),
        };
        let message = match (error.downcast_ref::<FullDisk>(), known) {
            (None, None) => {
                report::error(&format!("error: {error:#}"));
                return ExitCode::FAILURE;
            }
            (None, Some(known)) => known,
            (Some(_), None) => format!("{error:#}"),
            (Some(full), Some(known)) => format!("{full}: {known}"),
        };
        report::error(&format!("error: {message}; nothing was started"));
        ExitCode::from(2)
    })
}

/// Claims the data folder of a configuration.
async fn open_data_folder(loaded: &LoadedConfig, role: Role) -> anyhow::Result<DataFolder> {
    let path = loaded.data_dir();
    Ok(tokio::task::spawn_blocking(move || DataFolder::open(path, role)).await??)
}

fn print_schema() -> anyhow::Result<ExitCode> {
    report::line(&serde_json::to_string_pretty(&crate::config::schema())?);
    Ok(ExitCode::SUCCESS)
}

/// Loads the configuration, or prints its problems and gives the exit code for that.
fn load(path: &std::path::Path) -> Result<LoadedConfig, ExitCode> {
    Config::load(path).map_err(|problems| {
        for problem in &problems.0 {
            report::message(&problem.to_string());
        }
        let count = problems.0.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        report::error(&format!(
            "{count} {noun} in {}; nothing was started",
            path.display()
        ));
        ExitCode::from(2)
    })
}

/// Keeps the runtime's clock from being set for longer than a second.
///
/// A timer that ends before the one that the runtime sleeps for has to wake it, which costs a system call and
/// a second pass of the event loop. Every call sets such timers: two seconds of patience, its time limit. Behind
/// this beat none of them is ever the next one. Runs until it is dropped.
async fn keep_time() {
    let mut beat = tokio::time::interval(std::time::Duration::from_secs(1));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
    }
}

/// A runtime for the hub, whose threads do what calls of plugins leave for when nobody waits.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("aih")
        .on_thread_start(aih_runtime::idle::attend)
        .on_thread_park(aih_runtime::idle::tidy)
        .build()
}

//! `aih hook`: for authors of hooks, and for operators whose events were given up.

pub mod dead;
pub mod run;

use std::process::ExitCode;

use clap::Subcommand;

/// The subcommands of `aih hook`.
#[derive(Debug, Subcommand)]
pub enum HookCommand {
    /// Run one hook of the configuration, without a hub.
    Run(run::Run),
    /// Show, replay or remove the events that background hooks could not handle.
    Dead(dead::DeadEvents),
}

/// Runs the command.
///
/// # Errors
/// As the command says.
pub fn run(command: HookCommand) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        match command {
            HookCommand::Run(command) => command.run().await,
            HookCommand::Dead(command) => command.run().await,
        }
    })
}

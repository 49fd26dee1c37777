//! `aih plugin`: what somebody who writes a plugin needs, without a hub that runs.

pub mod build;
pub mod new;

use std::process::ExitCode;

/// The subcommands of `aih plugin`.
#[derive(Debug, clap::Subcommand)]
pub enum PluginCommand {
    /// Make a WebAssembly component of a JavaScript, TypeScript or Python source.
    Build(build::Build),
    /// Make a folder with a plugin to start from.
    New(new::New),
}

/// Runs a subcommand.
///
/// # Errors
/// What the subcommand says.
pub fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::Build(build) => build.run(),
        PluginCommand::New(new) => new.run(),
    }
}

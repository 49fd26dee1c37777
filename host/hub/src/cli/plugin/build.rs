//! `aih plugin build`: the component that the hub would make of a source, as a file.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use aih_builder::{BuildOptions, Source, World};
use anyhow::Context as _;

use crate::cli::report;

/// The arguments of `aih plugin build`.
#[derive(Debug, clap::Args)]
pub struct Build {
    /// The source: a .js, .mjs, .ts or .py file, or a folder that holds one named plugin, hook, index or main.
    file: PathBuf,
    /// File for the component. The default is next to the source, with the extension .wasm.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// World of the component.
    #[arg(long, value_enum, default_value_t)]
    world: WorldName,
    /// How much processor time the build may use, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// How much memory the build may use, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    memory: u64,
}

/// A world of the contract.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum WorldName {
    /// Offers tools.
    #[default]
    Plugin,
    /// Runs on events.
    Hook,
}

impl From<WorldName> for World {
    fn from(name: WorldName) -> Self {
        match name {
            WorldName::Plugin => Self::Plugin,
            WorldName::Hook => Self::Hook,
        }
    }
}

impl Build {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let source = Source::new(&self.file, self.world.into())?;
        let output = self.output.unwrap_or_else(|| source.file.with_extension("wasm"));
        let options = BuildOptions {
            time: Duration::from_secs(self.timeout),
            memory: self.memory.saturating_mul(1 << 20),
            ..BuildOptions::default()
        };
        let started = std::time::Instant::now();
        let progress = |progress: aih_builder::Progress| report::error(&format!("{progress}"));
        let (component, protections) = aih_builder::build(&source, &options, progress).await?;
        for missing in protections.missing() {
            report::error(&format!("warning: {missing}"));
        }
        std::fs::write(&output, &component).with_context(|| format!("cannot write {}", output.display()))?;
        report::line(&format!(
            "{} ({} KiB, {:.1} s)",
            output.display(),
            component.len() / 1024,
            started.elapsed().as_secs_f64()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

//! `aih plugin inspect`: what a component is, offers, and asks for.

use std::{path::PathBuf, process::ExitCode};

use aih_runtime::{Spec, World};

use super::{component_loader, language};
use crate::{cli::report, plugins::manifest::Manifest};

/// See the module.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// A component (.wasm), or a source that is built first.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// Prints what the file is.
    ///
    /// # Errors
    /// The file cannot be read or built, or is not a component.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let loader = component_loader()?;
        let language = language(&self.file)?;
        let wasm = match loader.component(&self.file, language, World::Plugin).await {
            Ok(wasm) => wasm,
            Err(error) => {
                // A source says by what it exports which world it is for.
                let Ok(wasm) = loader.component(&self.file, language, World::Hook).await else {
                    return Err(error.into());
                };
                wasm
            }
        };
        let size = wasm.len();
        let found = aih_runtime::inspect(&loader.runtime, wasm.clone()).await?;
        let manifest = Manifest::find(&self.file, Some(&wasm))?;
        let mut tools = Vec::new();
        if found.world == Some(World::Plugin) {
            let loaded = loader.runtime.load(wasm, World::Plugin, Spec::default()).await?;
            tools = loaded.list_tools().await?;
        }
        let world = match found.world {
            Some(World::Plugin) => "plugin",
            Some(World::Hook) => "hook",
            None => "not a world of this hub",
        };
        if self.json {
            let tools: Vec<_> = tools
                .iter()
                .filter_map(|tool| Some(crate::plugins::tool_json(tool).ok()?.to_value()))
                .collect();
            report::line(&serde_json::to_string_pretty(&serde_json::json!({
                "file": self.file, "bytes": size, "world": world, "exports": found.exports,
                "imports": found.imports, "tools": tools, "manifest": manifest,
            }))?);
            return Ok(ExitCode::SUCCESS);
        }
        report::line(&format!(
            "{} ({} kB), world: {world}",
            self.file.display(),
            size / 1000
        ));
        for export in &found.exports {
            report::entry(&format!("exports  {export}"));
        }
        for import in found.imports.iter().filter(|name| name.starts_with("aih:")) {
            report::entry(&format!("imports  {import}"));
        }
        for tool in &tools {
            let first = tool.description.lines().next().unwrap_or_default();
            report::entry(&format!("tool     {}: {first}", tool.name));
        }
        match manifest {
            None => report::line("asks for no grants (no manifest NAME.aih.yaml beside it or in it)"),
            Some(manifest) if manifest.grants.is_empty() => report::line("asks for no grants"),
            Some(manifest) => {
                report::line("asks for these grants; they count only when aih-config.yaml gives them:");
                for (grant, value) in &manifest.grants {
                    report::entry(&format!("  {grant}: {value}"));
                }
            }
        }
        Ok(if found.world.is_some() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

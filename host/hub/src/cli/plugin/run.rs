//! `aih plugin run`: calls one tool without a hub.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use aih_runtime::{Context, ToolCall, World};
use anyhow::Context as _;

use super::{component_loader, language};
use crate::{
    cli::report,
    components,
    plugins::{self, manifest::Manifest},
};

/// See the module.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// A component (.wasm), or a source that is built first.
    file: PathBuf,
    /// The tool's own name, without the plugin's.
    tool: String,
    /// Arguments of the tool, as a JSON object.
    #[arg(default_value = "{}")]
    arguments: String,
    /// Grant what the manifest next to the file asks for. Without this option, nothing is granted.
    #[arg(long)]
    grant: bool,
}

impl Run {
    /// Calls the tool and prints what it answers. State is kept in memory for this one call, and there are no
    /// other servers.
    ///
    /// # Errors
    /// The file cannot be built or loaded, or the call failed.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let arguments: serde_json::Map<_, _> =
            serde_json::from_str(&self.arguments).context("the arguments are not a JSON object")?;
        let loader = component_loader()?;
        let wasm = loader
            .component(&self.file, language(&self.file)?, World::Plugin)
            .await?;
        let manifest = Manifest::find(&self.file, Some(&wasm))?.unwrap_or_default();
        let entry = super::entry(&self.file, &manifest, self.grant)?;
        let host = components::alone(&entry).await?;
        let spec = components::entry_spec(&entry, &Arc::default())?;
        let loaded = loader.runtime.load(wasm, World::Plugin, spec).await?;
        let tools = loaded.list_tools().await?;
        anyhow::ensure!(
            tools.iter().any(|tool| tool.name == self.tool),
            "there is no tool `{}`; there are: {}",
            self.tool,
            tools
                .iter()
                .map(|tool| tool.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        );
        let call = ToolCall {
            call_id: "run".to_owned(),
            tool: self.tool,
            arguments_json: serde_json::to_string(&arguments)?,
            deadline_ms: u64::try_from(loaded.spec().limits.time.as_millis())?,
            extras: Vec::new(),
        };
        let context = Context {
            host: Arc::new(host),
            ..Context::default()
        };
        let output = loaded.call_tool(call, context).await?;
        let failed = output.is_error;
        let result = plugins::result_json(output).map_err(anyhow::Error::msg)?;
        let blocks = result.get("content").and_then(|content| content.as_array());
        for block in blocks.into_iter().flatten() {
            match block.get("text").and_then(|text| text.as_str()) {
                Some(text) => report::line(text),
                None => report::line(&block.to_string()),
            }
        }
        if blocks.is_none_or(Vec::is_empty) {
            report::line(&serde_json::to_string_pretty(&result)?);
        }
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

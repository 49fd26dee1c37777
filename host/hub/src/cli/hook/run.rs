//! `aih hook run`: one hook of the configuration on one event, without a hub.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use serde_json::{Map, Value};

use crate::{
    cli::{DEFAULT_CONFIG, load, plugin::component_loader, report},
    config::TRIGGERS,
    hooks::{Fired, Trigger, try_out},
};

/// See the module.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The hook's name in the configuration.
    name: String,
    /// The configuration file.
    #[arg(long, short, env = "AIH_CONFIG", default_value = DEFAULT_CONFIG, value_name = "FILE")]
    config: PathBuf,
    /// A JSON object, or `@FILE` that holds one.
    #[arg(long, default_value = "{}", value_name = "JSON|@FILE")]
    payload: String,
    /// Trigger of the event. The payload gives the members of the event. The default is `manual`.
    #[arg(long, value_name = "TRIGGER", value_parser = clap::builder::PossibleValuesParser::new(TRIGGERS.iter().copied()))]
    event: Option<String>,
}

impl Run {
    /// Runs the hook and prints what it decided, as JSON; its log goes to standard error. It gets the grants, limits
    /// and config of its entry, state that ends with the run, and no other servers.
    ///
    /// # Errors
    /// There is no such hook, or it cannot be built.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = match load(&self.config) {
            Ok(loaded) => loaded,
            Err(code) => return Ok(code),
        };
        let text = match self.payload.strip_prefix('@') {
            None => self.payload.clone(),
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?,
        };
        let payload: Map<String, Value> =
            serde_json::from_str(&text).context("the payload is not a JSON object")?;
        let names = || {
            let names: Vec<&str> = loaded.config.hooks.iter().map(|hook| &*hook.name).collect();
            names.join(", ")
        };
        let entry = loaded.config.hooks.iter().find(|hook| hook.name == self.name);
        let entry =
            entry.with_context(|| format!("there is no hook `{}`; there are: {}", self.name, names()))?;
        let trigger = self.event.as_deref().and_then(Trigger::parse);
        let fired = try_out(entry, &loaded, component_loader()?, trigger, &payload).await?;
        let printed = fired.report();
        for line in &printed.logs {
            let fields = line
                .fields
                .as_ref()
                .map(|fields| format!(" {}", Value::from(fields.clone())));
            report::message(&format!(
                "{}: {}{}",
                line.level,
                line.message,
                fields.unwrap_or_default()
            ));
        }
        let mut shown = serde_json::to_value(printed)?;
        if let Some(shown) = shown.as_object_mut() {
            for member in ["logs", "event", "queued"] {
                shown.remove(member);
            }
        }
        report::line(&serde_json::to_string_pretty(&shown)?);
        Ok(match fired {
            Fired::Failed(_) => ExitCode::FAILURE,
            Fired::Answered(_) | Fired::Queued(_) => ExitCode::SUCCESS,
        })
    }
}

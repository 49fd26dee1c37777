//! `aih stdio`: the hub for one client that starts commands.
//!
//! Who can start the command can read the configuration, so the client may use everything; `--permission`
//! narrows that. Several may run at once on one data folder, beside an `aih serve`: see [`crate::data`].

use std::{process::ExitCode, sync::Arc, time::Duration};

use tokio::io::BufReader;

use super::{Common, load, open_data_folder, report, runtime};
use crate::{
    access::{KeyId, Principal, permission::Pattern},
    catalogue::Scope,
    config::LoadedConfig,
    data::{self, Role},
    gateway::stdio,
    hub::Hub,
    observe,
};

/// See the module.
#[derive(Debug, clap::Args)]
pub struct Stdio {
    #[command(flatten)]
    common: Common,
    /// Show one MCP only, with its own tool names.
    #[arg(long, value_name = "NAME")]
    mcp: Option<String>,
    /// What the client may use, such as `mcps/github/*`. Can be given several times. The default is everything.
    #[arg(long = "permission", value_name = "PATH")]
    permissions: Vec<Pattern>,
}

impl Stdio {
    /// Runs until standard input ends.
    ///
    /// # Errors
    /// The data folder cannot be written, and the like.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = match load(&self.common.config) {
            Ok(loaded) => loaded,
            Err(code) => return Ok(code),
        };
        // Standard output belongs to the protocol; log lines go to standard error.
        observe::init(self.common.log_format, &self.common.log)?;
        let runtime = runtime()?;
        let folder = loaded.data_dir();
        let outcome = runtime
            .block_on(self.serve(loaded))
            .map_err(|error| data::explained(error, &folder));
        // The thread that reads standard input cannot be interrupted.
        runtime.shutdown_background();
        outcome
    }

    async fn serve(self, loaded: LoadedConfig) -> anyhow::Result<ExitCode> {
        for warning in &loaded.warnings {
            tracing::warn!(target: "aih::config", "{warning}");
        }
        let folder = open_data_folder(&loaded, Role::Stdio).await?;
        let hub = Hub::start(loaded, folder).await?;
        let principal = match self.permissions.is_empty() {
            true => Principal::anonymous_admin(),
            false => {
                let permissions = self.permissions.into_iter().collect();
                Principal::new("anonymous", permissions, KeyId::ANONYMOUS)
            }
        };
        let principal = Arc::new(principal);
        let scope = self.mcp.map_or(Scope::All, |name| Scope::One(name.into()));
        let gateway = hub.gateway.clone();
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let serving = stdio::serve(
            gateway.clone(),
            principal,
            scope,
            BufReader::new(tokio::io::stdin()),
            tokio::io::stdout(),
        );
        let outcome = tokio::select! {
            outcome = serving => outcome,
            _ = terminate.recv() => Ok(()),
        };
        hub.stop(Duration::from_secs(2)).await;
        report::unless_closed(outcome)?;
        Ok(ExitCode::SUCCESS)
    }
}

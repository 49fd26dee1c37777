//! `aih serve`: the hub on the network.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;

use super::{Common, keep_time, load, open_data_folder, report, runtime};
use crate::{
    access::{self, AccessState, ApiKey, Guard, GuardConfig},
    api::{self, ApiState},
    config::LoadedConfig,
    data::{self, Role},
    gateway,
    hub::{Hub, Keys},
    listener::{self, Limits, Listener, Registry, compression},
    observe::{self, LogBuffer},
    open_files,
    provider::{ProviderKind, ProviderState},
    reload::Reloader,
};

/// How long running calls get to finish when the hub stops.
const GRACE: Duration = Duration::from_secs(10);
/// How long the start-up report waits for servers that are still starting.
const REPORT_PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    common: Common,
    /// Address and port, instead of `server.listen`; port 0 takes a free one.
    #[arg(long, env = "AIH_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Accept requests without a key. Works on a loopback address only.
    #[arg(long)]
    no_auth: bool,
    /// Seconds that running calls have to finish when the hub stops.
    #[arg(long, default_value_t = GRACE.as_secs(), value_name = "SECONDS")]
    grace: u64,
}

impl Serve {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// The address cannot be bound, the data folder cannot be written, and the like.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = match load(&self.common.config) {
            Ok(loaded) => loaded,
            Err(code) => return Ok(code),
        };
        let logs = observe::init(self.common.log_format, &self.common.log)?;
        open_files::raise();
        let folder = loaded.data_dir();
        runtime()?
            .block_on(self.serve(loaded, logs))
            .map_err(|error| data::explained(error, &folder))
    }

    async fn serve(self, loaded: LoadedConfig, logs: LogBuffer) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        let address = self.listen.unwrap_or(loaded.config.server.listen);
        anyhow::ensure!(
            !self.no_auth || address.ip().is_loopback(),
            "--no-auth lets everyone in, so it works on a loopback address only, not on {address}"
        );
        let folder = open_data_folder(&loaded, Role::Serve).await?;
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; choose another with --listen or server.listen")
        })?;
        let address = listener.local_addr()?;
        let tls = loaded.config.server.tls.as_ref().map(listener::tls).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = loaded.config.server.public_url.as_ref().map_or_else(
            || format!("{scheme}://{address}"),
            |u| u.as_str().trim_end_matches('/').to_owned(),
        );
        let public_path = match &loaded.config.server.public_url {
            Some(url) => url.path().to_owned(),
            None => String::new(),
        };
        let (loaded, ring) = match self.no_auth {
            // A key that is made here would be shown to nobody, now and at every later start.
            true => (loaded, access::KeyRing::default()),
            false => {
                let reading = tokio::task::spawn_blocking(move || {
                    let keys = Keys::load(&loaded);
                    (loaded, keys)
                });
                let (loaded, keys) = reading.await?;
                (loaded, announced(keys?, &base))
            }
        };
        let guard = Guard::new(&guard_config(&loaded, address))?;
        let hub = Hub::start(loaded, folder).await?;
        hub.gateway.keep_sessions(hub.store.state());
        let hooks = hub.hooks.clone();
        let refused: access::Listener = Box::new(move |reason, address, path| {
            hooks.refused(reason, address, path);
        });
        let access = AccessState::new(ring, guard, self.no_auth, Some(refused))?;
        tokio::spawn(hub.gateway.clone().follow(access.authority.clone()));
        let reloader = Reloader::new(&hub, access.clone());
        let registry = Registry::new(Limits::of_this_machine());
        let router = router(
            &hub,
            access.clone(),
            logs,
            reloader.clone(),
            Some(registry.clone()),
            &public_path,
        );
        tokio::spawn(keep_time());
        let stop = tokio_util::sync::CancellationToken::new();
        let grace = Duration::from_secs(self.grace);
        let server = tokio::spawn(listener::serve(
            listener,
            Listener {
                tls,
                router,
                access,
                registry,
            },
            stop.clone(),
            grace,
        ));
        tracing::info!(target: "aih", ready_ms = began.elapsed().as_millis() as u64, "listening on {scheme}://{address}");
        if self.no_auth {
            tracing::warn!(target: "aih", "--no-auth: every program on this machine may use the hub");
        }
        let report = tokio::spawn(report_start(hub.catalogue.clone()));
        wait_for_stop(&reloader).await?;
        report.abort();
        tracing::info!(target: "aih", "stopping; running calls get {} s", self.grace);
        // The listener closes when all requests are through: streams must end first.
        hub.gateway.stop();
        stop.cancel();
        let _ = server.await;
        hub.stop(grace).await;
        tracing::info!(target: "aih", "stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Everything that the hub serves, behind one door.
pub fn router(
    hub: &Hub,
    access: Arc<AccessState>,
    logs: LogBuffer,
    reloader: Arc<Reloader>,
    registry: Option<Arc<Registry>>,
    public_path: &str,
) -> Router {
    let state = ApiState::new(hub.catalogue.clone(), hub.inventory.clone(), logs)
        .with_store(hub.store.clone())
        .with_reloader(reloader)
        .with_memory(hub.gateway.memory.clone());
    let state = match registry {
        Some(registry) => state.with_connections(registry),
        None => state,
    };
    let router = gateway::router(hub.gateway.clone()).merge(api::router(state));
    let router = compression::compressed(access::protect(router, access));
    listener::normalized(router, public_path)
}

fn guard_config(loaded: &LoadedConfig, listen: SocketAddr) -> GuardConfig {
    let server = &loaded.config.server;
    GuardConfig {
        listen,
        public_url: server.public_url.as_ref().map(ToString::to_string),
        allowed_hosts: server.allowed_hosts.clone(),
        allowed_origins: server.allowed_origins.clone(),
        ip_allowlist: server.ip_allowlist.iter().map(ToString::to_string).collect(),
    }
}

/// Shows the key that was just made, before anything else can fail: nobody could use the hub otherwise. Says what is to be
/// known of the keys.
fn announced(keys: Keys, base: &str) -> access::KeyRing {
    for warning in keys.warnings() {
        tracing::warn!(target: "aih::config", "{warning}");
    }
    match &keys.made {
        Some(key) => show_first_key(key, base),
        None if keys.first => {
            tracing::info!(target: "aih::config", "auth.api_keys holds no key that can be used, so the first key counts. If you lost it, \
                delete data/keys.json and restart the hub: it then shows a new key");
        }
        None => {}
    }
    keys.ring
}

fn show_first_key(key: &ApiKey, base: &str) {
    let key = key.expose();
    report::notice(&format!(
        "
This hub had no API key, so it made one. It is shown this once; only its hash is kept (data/keys.json).

    {key}

Claude Code:
    claude mcp add --transport http ai-hub {base}/mcp --header \"Authorization: Bearer {key}\"
"
    ));
}

/// Says what came up and what did not, once all have made up their minds.
async fn report_start(catalogue: Arc<crate::catalogue::Catalogue>) {
    let mut marks = catalogue.marks();
    let deadline = tokio::time::Instant::now() + REPORT_PATIENCE;
    let mut reported = std::collections::HashSet::new();
    loop {
        let statuses: Vec<_> = catalogue
            .providers()
            .iter()
            .map(|p| (p.status(), p.offers()))
            .collect();
        for (status, offers) in statuses.iter().filter(|(s, _)| s.kind != ProviderKind::Hub) {
            let capabilities = offers.capabilities.as_ref().map(aih_mcp::RawJson::to_value);
            let listed = !offers.tools.is_empty() || capabilities.is_some_and(|c| c.get("tools").is_none());
            let settled = match status.state {
                ProviderState::Starting => false,
                ProviderState::Up => listed,
                ProviderState::Degraded | ProviderState::Down | ProviderState::Disabled => true,
            };
            if !settled || !reported.insert(status.name.clone()) {
                continue;
            }
            let (name, why) = (
                &status.name,
                status.last_error.as_deref().unwrap_or("no reason is known"),
            );
            match status.state {
                ProviderState::Disabled => tracing::info!(target: "aih", "{name}: off: {why}"),
                ProviderState::Down => tracing::warn!(target: "aih", "{name}: down: {why}"),
                ProviderState::Degraded => {
                    tracing::warn!(target: "aih", "{name}: up, but a list could not be read: {why}");
                }
                ProviderState::Up | ProviderState::Starting => tracing::info!(
                    target: "aih",
                    "{name}: up ({}{}), {} tools",
                    status.transport,
                    status.protocol.as_deref().map(|p| format!(", {p}")).unwrap_or_default(),
                    offers.tools.len()
                ),
            }
        }
        if reported.len() + 1 >= statuses.len() {
            return;
        }
        tokio::select! {
            changed = marks.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(deadline) => {
                for (status, _) in statuses.iter().filter(|(s, _)| s.state == ProviderState::Starting) {
                    tracing::warn!(target: "aih", "{}: still starting; see GET /api/v1/health", status.name);
                }
                return;
            }
        }
    }
}

/// Waits for SIGTERM or SIGINT; SIGHUP reads the configuration anew.
async fn wait_for_stop(reloader: &Reloader) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            // The outcome is in the log.
            _ = hangup.recv() => drop(reloader.reload().await),
        }
    }
}

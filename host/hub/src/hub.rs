//! The hub put together: what the configuration names becomes providers, one catalogue, one gateway.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;

use crate::{
    access::{KeyEntry, KeyRing, PermissionSet, first_key},
    catalogue::{
        Catalogue,
        provider::{ChangeSignal, Provider},
    },
    config::{LoadedConfig, files},
    data::DataFolder,
    gateway::{
        Gateway,
        hub::{HubContent, HubProvider},
    },
    hooks::Hooks,
    plugins::{self, Neighbours, PluginServer, Workshop},
    store::Store,
    upstream::{self, RealConnector, UpstreamServer, UpstreamSpec},
};

/// The running parts, without any listener.
pub struct Hub {
    /// The configuration that it runs.
    pub config: Arc<LoadedConfig>,
    /// What is on offer.
    pub catalogue: Arc<Catalogue>,
    /// The MCP endpoints.
    pub gateway: Arc<Gateway>,
    /// The hub's own tools, skills and configs.
    pub own: Arc<HubProvider>,
    /// What runs on events.
    pub hooks: Arc<Hooks>,
    /// What it remembers.
    pub store: Store,
    house: Vec<JoinHandle<()>>,
    /// Given back last.
    _folder: DataFolder,
}

impl Hub {
    /// Starts every provider, in the background: a sick one delays nothing. `folder` is that of [`data_dir`].
    ///
    /// # Errors
    /// Only what concerns the whole hub: no TLS library, or an [`OpenError`](crate::store::OpenError) of the store.
    pub async fn start(loaded: LoadedConfig, folder: DataFolder) -> anyhow::Result<Self> {
        let config = Arc::new(loaded);
        let reading = config.clone();
        let content = tokio::task::spawn_blocking(move || HubContent::load(&reading)).await?;
        let url = config.config.store.url.expose_secret();
        let store = Store::open_with(url, &config.base_dir, &folder).await?;
        let signal = ChangeSignal::default();
        let own = HubProvider::new(content, signal.clone());
        let client = upstream::http_client().context("the HTTP client cannot be set up")?;
        let mcps = &config.config.mcps;
        let specs = mcps.external.iter().cloned().map(UpstreamSpec::from);
        let specs = specs.chain(mcps.local.iter().cloned().map(UpstreamSpec::from));
        let mut providers: Vec<Arc<dyn Provider>> = vec![own.clone()];
        let neighbours = Neighbours::default();
        let workshop = workshop(&config).await?;
        let hooks = match &workshop {
            Some(workshop) if !config.config.hooks.is_empty() => {
                Hooks::start(&config, workshop, &store, &neighbours)?
            }
            _ => Hooks::none(),
        };
        if let Some(workshop) = &workshop {
            providers.extend(plugins(&config, workshop, &store, &neighbours, &signal)?);
        }
        for spec in specs {
            let connector = RealConnector::new(spec.clone(), client.clone());
            providers.push(UpstreamServer::start(spec, connector, signal.clone()));
        }
        let catalogue = Catalogue::new(providers, signal);
        own.attach(&catalogue);
        own.attach_hooks(&hooks);
        neighbours.attach(&catalogue, &hooks);
        hooks.run(&catalogue, folder.election());
        let gateway = Gateway::new(
            catalogue.clone(),
            config.config.name.clone(),
            hooks.clone(),
            config.config.server.conversation_timeout,
        );
        let house = vec![
            tokio::spawn(catalogue.clone().run()),
            tokio::spawn(gateway.clone().run()),
        ];
        Ok(Self {
            config,
            catalogue,
            gateway,
            own,
            hooks,
            store,
            house,
            _folder: folder,
        })
    }

    /// Stops: streams end, running requests get `grace` to finish, children are gone when this returns.
    pub async fn stop(self, grace: Duration) {
        self.gateway.stop();
        if tokio::time::timeout(grace, self.gateway.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(target: "aih", "some requests did not finish within {} s and were cut off", grace.as_secs());
        }
        for session in self.gateway.sessions.all() {
            self.gateway.end_session(&session);
        }
        self.hooks.stop(grace).await;
        let providers = self.catalogue.providers();
        futures::future::join_all(providers.iter().map(|p| p.shutdown(Duration::from_secs(3)))).await;
        for task in self.house {
            task.abort();
        }
        self.store.close().await;
    }
}

/// What plugins and hooks are made with. A hub without either sets no runtime up.
async fn workshop(config: &LoadedConfig) -> anyhow::Result<Option<Workshop>> {
    if config.config.plugins.is_empty() && config.config.hooks.is_empty() {
        return Ok(None);
    }
    let cache = data_dir(config).join("cache");
    let workshop = tokio::task::spawn_blocking(move || Workshop::new(&cache, None))
        .await?
        .context("plugins and hooks cannot be run on this machine")?;
    Ok(Some(workshop))
}

/// The plugins of the configuration.
fn plugins(
    config: &LoadedConfig,
    workshop: &Workshop,
    store: &Store,
    neighbours: &Neighbours,
    signal: &ChangeSignal,
) -> anyhow::Result<Vec<Arc<dyn Provider>>> {
    let reserved = Arc::new(files::reserved(config));
    let mut servers: Vec<Arc<dyn Provider>> = Vec::new();
    for entry in &config.config.plugins {
        let around = plugins::Surroundings {
            name: entry.name.as_str().into(),
            owner: format!("plugin/{}", entry.name).into(),
            mcps: Arc::new(
                plugins::read_grants(&entry.grants.mcps)
                    .with_context(|| format!("plugin `{}`: grants.mcps", entry.name))?,
            ),
            secrets: config.secrets.clone(),
            state: store.state(),
            neighbours: neighbours.clone(),
        };
        servers.push(PluginServer::start(
            entry,
            around,
            workshop.clone(),
            &reserved,
            signal.clone(),
        ));
    }
    Ok(servers)
}

/// The folder of the hub's own files.
pub fn data_dir(config: &LoadedConfig) -> PathBuf {
    config.base_dir.join("data")
}

/// The keys of the configuration, or the hub's first own key where there is none.
pub struct Keys {
    /// All keys that count.
    pub ring: KeyRing,
    /// A key that was made just now: to be shown once.
    pub made: Option<crate::access::ApiKey>,
}

impl Keys {
    /// Reads the keys; makes one where there is none.
    ///
    /// # Errors
    /// A permission or key that cannot be understood, or `data/keys.json` cannot be read or written.
    pub fn load(config: &LoadedConfig) -> anyhow::Result<Self> {
        let mut entries = Vec::new();
        for key in &config.config.auth.api_keys {
            if key.key_hash.is_placeholder() {
                continue;
            }
            let permissions = PermissionSet::parse(key.permissions.iter().map(String::as_str))
                .with_context(|| format!("auth.api_keys: key `{}`", key.name))?;
            entries.push(KeyEntry {
                name: key.name.clone(),
                hash: key.key_hash.clone(),
                permissions,
            });
        }
        if !entries.is_empty() {
            return Ok(Self {
                ring: KeyRing::new(entries)?,
                made: None,
            });
        }
        let first = first_key::load_or_make(&data_dir(config))?;
        Ok(Self {
            ring: KeyRing::new(first.entries)?,
            made: first.made,
        })
    }
}

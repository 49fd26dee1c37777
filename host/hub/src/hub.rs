//! Assembles the hub: makes providers, one catalogue and one gateway from the configuration.

use std::{path::Path, sync::Arc, time::Duration};

use aih_store::Store;
use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;

use crate::{
    access::{KeyEntry, KeyRing, PermissionSet, Principal, RELOAD, first_key},
    builtin::BuiltinProvider,
    calls::{Calls, nested::ComponentCalls, record::Records},
    catalogue::Catalogue,
    components::{ComponentLoader, HostContext, ServerCalls, read_grants},
    config::{LoadedConfig, Problem, Problems, files},
    data::{DataFolder, Role},
    gateway::{Gateway, starting::FirstList},
    hooks::Hooks,
    plugins::PluginServer,
    provider::{ChangeSignal, Offers, Provider},
    registry::{BuiltinContent, Inventory},
    upstream::{self, KnownLists, RealConnector, UpstreamServer, UpstreamSpec},
};

/// The running parts, without any listener.
pub struct Hub {
    /// The configuration that it runs.
    pub config: Arc<LoadedConfig>,
    /// What is on offer.
    pub catalogue: Arc<Catalogue>,
    /// The MCP endpoints.
    pub gateway: Arc<Gateway>,
    /// What is registered.
    pub inventory: Arc<Inventory>,
    /// The hub's own tools, skills and configs.
    pub own: Arc<BuiltinProvider>,
    /// What runs on events.
    pub hooks: Arc<Hooks>,
    /// What it remembers.
    pub store: Store,
    background_tasks: Vec<JoinHandle<()>>,
    /// Given back last.
    _folder: DataFolder,
}

impl Hub {
    /// Starts every provider, in the background: one that fails delays nothing. `folder` is that of [`LoadedConfig::data_dir`].
    ///
    /// # Errors
    /// Only what concerns the whole hub: no TLS library, or an [`OpenError`](aih_store::OpenError) of the store.
    pub async fn start(loaded: LoadedConfig, folder: DataFolder) -> anyhow::Result<Self> {
        let config = Arc::new(loaded);
        let reading = config.clone();
        let content = tokio::task::spawn_blocking(move || BuiltinContent::load(&reading)).await?;
        for warning in &content.warnings {
            tracing::warn!(target: "aih::config", "{warning}");
        }
        let url = config.config.store.url.expose_secret();
        let store = Store::open_with(url, &config.base_dir, &folder).await?;
        let signal = ChangeSignal::default();
        // Plugins and hooks call servers through the catalogue that holds the plugins: it is made first, and filled last.
        let catalogue = Catalogue::new(signal.clone(), config.config.server.max_tool_name);
        let loader = loader(&config).await?;
        let records = Records::to_log();
        let hooks = match &loader {
            Some(loader) if !config.config.hooks.is_empty() => {
                Hooks::start(&config, loader, &store, |hooks| {
                    ComponentCalls::new(&catalogue, Calls::new(hooks, records.clone()))
                })?
            }
            _ => Hooks::none(),
        };
        let inventory = Inventory::new(content, &catalogue, hooks.clone());
        let own = BuiltinProvider::new(inventory.clone(), signal.clone());
        let mut providers: Vec<Arc<dyn Provider>> = vec![own.clone()];
        if let Some(loader) = &loader {
            let calls = Calls::new(Arc::downgrade(&hooks), records.clone());
            let servers: Arc<dyn ServerCalls> = ComponentCalls::new(&catalogue, calls);
            providers.extend(plugins(&config, loader, &store, &servers, &signal)?);
        }
        let client = upstream::http_client().context("the HTTP client cannot be set up")?;
        let mcps = &config.config.mcps;
        let specs = mcps.external.iter().cloned().map(UpstreamSpec::from);
        let specs = specs.chain(mcps.local.iter().cloned().map(UpstreamSpec::from));
        let (specs, data) = (specs.collect::<Vec<_>>(), config.data_dir());
        for (spec, known) in tokio::task::spawn_blocking(move || with_known_lists(specs, &data)).await? {
            let connector = RealConnector::new(spec.clone(), client.clone());
            let server = UpstreamServer::start_knowing(spec, connector, signal.clone(), known);
            providers.push(server);
        }
        catalogue.replace(providers);
        hooks.run(&catalogue, folder.election());
        let gateway = Gateway::new(
            catalogue.clone(),
            config.config.name.clone(),
            hooks.clone(),
            records,
            config.config.server.conversation_timeout,
            FirstList {
                wait: config.config.server.first_list_wait,
                one_client: folder.role() == Role::Stdio,
            },
            config.config.server.compat,
        );
        let background_tasks = vec![
            tokio::spawn(catalogue.clone().run()),
            tokio::spawn(gateway.clone().run()),
        ];
        Ok(Self {
            config,
            catalogue,
            gateway,
            inventory,
            own,
            hooks,
            store,
            background_tasks,
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
        self.gateway.sessions_kept().await;
        self.hooks.stop(grace).await;
        let providers = self.catalogue.providers();
        futures::future::join_all(providers.iter().map(|p| p.shutdown(Duration::from_secs(3)))).await;
        for task in self.background_tasks {
            task.abort();
        }
        self.store.close().await;
    }
}

/// A server, where its lists are kept, and what it listed when the hub ran last.
type KnownServer = (UpstreamSpec, Option<(Arc<KnownLists>, Option<Offers>)>);

/// The servers with what they listed when the hub ran last. Blocks.
fn with_known_lists(specs: Vec<UpstreamSpec>, data: &Path) -> Vec<KnownServer> {
    let names: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
    let lists = match names.is_empty() {
        true => None,
        false => KnownLists::open(data, &names),
    };
    let known = |spec: UpstreamSpec| {
        let known = lists.clone().map(|lists| {
            let last = lists.recall(&spec);
            (lists, last)
        });
        (spec, known)
    };
    specs.into_iter().map(known).collect()
}

/// What plugins and hooks are made with. A hub without either sets no runtime up.
async fn loader(config: &LoadedConfig) -> anyhow::Result<Option<ComponentLoader>> {
    if config.config.plugins.is_empty() && config.config.hooks.is_empty() {
        return Ok(None);
    }
    let cache = config.data_dir().join("cache");
    let loader = tokio::task::spawn_blocking(move || ComponentLoader::new(&cache, None))
        .await?
        .context("plugins and hooks cannot be run on this machine")?;
    Ok(Some(loader))
}

/// The plugins of the configuration.
fn plugins(
    config: &LoadedConfig,
    loader: &ComponentLoader,
    store: &Store,
    servers: &Arc<dyn ServerCalls>,
    signal: &ChangeSignal,
) -> anyhow::Result<Vec<Arc<dyn Provider>>> {
    let reserved = Arc::new(files::reserved(config));
    let mut plugins: Vec<Arc<dyn Provider>> = Vec::new();
    for entry in &config.config.plugins {
        let around = HostContext {
            name: entry.name.as_str().into(),
            owner: format!("plugin/{}", entry.name).into(),
            mcps: Arc::new(
                read_grants(&entry.grants.mcps)
                    .with_context(|| format!("plugin `{}`: grants.mcps", entry.name))?,
            ),
            secrets: config.secrets.clone(),
            state: store.state(),
            servers: servers.clone(),
        };
        plugins.push(PluginServer::start(
            entry,
            around,
            loader.clone(),
            &reserved,
            signal.clone(),
        ));
    }
    Ok(plugins)
}

/// The keys of the configuration, or the hub's first own key where there is none.
pub struct Keys {
    /// All keys that count.
    pub ring: KeyRing,
    /// Whether the configuration has no key that can be used, so that the first key of `data/keys.json` counts.
    pub first: bool,
    /// A key that was made just now: to be shown once.
    pub made: Option<crate::access::ApiKey>,
}

/// Why a new configuration leaves no key with which the hub can be used.
const NO_KEY: &str =
    "holds no key that can be used, and the hub has no first key in data/keys.json: nobody could use it";

impl Keys {
    /// Reads the keys at the start of the hub; makes one where there is none.
    ///
    /// # Errors
    /// A permission or key that cannot be understood, or `data/keys.json` cannot be read or written.
    pub fn load(config: &LoadedConfig) -> anyhow::Result<Self> {
        if let Some(keys) = Self::configured(config)? {
            return Ok(keys);
        }
        let first = first_key::load_or_make(&config.data_dir())?;
        Ok(Self {
            ring: KeyRing::new(first.entries)?,
            first: true,
            made: first.made,
        })
    }

    /// Reads the keys for a hub that runs. It makes none: the person who reloads may not be the one who reads the log, in which
    /// a new key would be shown.
    ///
    /// # Errors
    /// The same, and that there is no key at all: the keys that count now must go on counting.
    pub fn reload(config: &LoadedConfig) -> Result<Self, Problems> {
        let of_file = |error: anyhow::Error| Problems::of_file(&config.path, format!("{error:#}"), "");
        if let Some(keys) = Self::configured(config).map_err(of_file)? {
            return Ok(keys);
        }
        let first = first_key::load(&config.data_dir()).map_err(|error| of_file(error.into()))?;
        let entries = first.ok_or_else(|| {
            Problems(vec![Problem {
                file: config.path.clone(),
                line: 0,
                column: 0,
                key: "auth.api_keys".to_owned(),
                what: NO_KEY.to_owned(),
                instead: "add a key of `aih key new`; or restart the hub, which then makes a first key and shows it"
                    .to_owned(),
            }])
        })?;
        Ok(Self {
            ring: KeyRing::new(entries).map_err(|error| of_file(error.into()))?,
            first: true,
            made: None,
        })
    }

    /// The keys of the configuration; `None` where it has none that can be used.
    fn configured(config: &LoadedConfig) -> anyhow::Result<Option<Self>> {
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
                compat: key.compat,
            });
        }
        if entries.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            ring: KeyRing::new(entries)?,
            first: false,
            made: None,
        }))
    }

    /// What the operator should know of these keys.
    pub fn warnings(&self) -> Vec<String> {
        let may_reload = |who: &Arc<Principal>| who.permissions().allows(RELOAD);
        if self.ring.principals().any(may_reload) {
            return Vec::new();
        }
        vec![format!(
            "no API key has the permission `{RELOAD}`, so POST /api/v1/reload works for nobody; SIGHUP and a restart still \
             read the configuration again"
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::ApiKey, config::Config, secrets::Secrets};

    fn loaded(folder: &std::path::Path, auth: &str) -> LoadedConfig {
        let none = Secrets::from_pairs(Vec::<(String, String)>::new());
        let path = folder.join("aih-config.yaml");
        Config::from_text(&format!("version: \"1.0\"\n{auth}"), &path, none).unwrap()
    }

    const NONE: [&str; 4] = [
        "",
        "auth: {}\n",
        "auth: {api_keys: []}\n",
        "auth: {api_keys: [{name: later, key_hash: \"sha256:abc...\", permissions: [\"*\"]}]}\n",
    ];

    #[test]
    fn a_hub_that_runs_makes_no_key_and_is_not_left_without_one() {
        for auth in NONE {
            let folder = tempfile::tempdir().unwrap();
            let config = loaded(folder.path(), auth);
            let problems = Keys::reload(&config).err().unwrap().to_string();
            assert!(
                problems.contains("auth.api_keys: holds no key") && problems.contains("aih key new"),
                "{auth}: {problems}"
            );
            assert!(!folder.path().join("data").exists(), "{auth}: nothing is made");
            // At the start the first key is made; from then on it counts where there is no other.
            let made = Keys::load(&config).unwrap();
            assert!(made.first && made.made.is_some(), "{auth}");
            let again = Keys::reload(&config).unwrap();
            assert!(
                again.first && again.made.is_none() && again.warnings().is_empty(),
                "{auth}"
            );
            assert_eq!(again.ring.len(), 1);
        }
    }

    #[test]
    fn a_ring_with_which_nobody_may_reload_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let hash = ApiKey::generate().unwrap().hash();
        for (permissions, warned) in [
            ("\"*\"", false),
            ("\"admin/*\"", false),
            ("\"admin/reload\"", false),
            ("", true),
            ("\"mcps/*\", \"admin/logs\"", true),
            ("\"*\", \"!admin\"", true),
        ] {
            let auth = format!(
                "auth: {{api_keys: [{{name: a, key_hash: \"{hash}\", permissions: [{permissions}]}}]}}\n"
            );
            let keys = Keys::reload(&loaded(folder.path(), &auth)).unwrap();
            assert_eq!(!keys.warnings().is_empty(), warned, "{permissions}");
            assert!(!keys.first);
        }
    }
}

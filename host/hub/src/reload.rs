//! A new configuration without a restart: skills, configs and keys take effect at once; what needs a restart is named.
//!
//! A file with a mistake changes nothing, and so does one that leaves no key. It must never leave the hub with parts
//! of two configurations that do not fit together: everything is read before anything is swapped. What needs a restart
//! is found by comparing with what the hub was started with, secrets included, so each reload says it until the restart.

use std::{path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::{AccessState, Principal},
    builtin::BuiltinProvider,
    catalogue::Catalogue,
    config::{Config, LoadedConfig, Problems},
    hooks::Hooks,
    hub::{Hub, Keys},
    registry::BuiltinContent,
};

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
pub struct Reloaded {
    /// Always `reloaded`.
    #[schema(example = "reloaded")]
    pub status: &'static str,
    /// Parts of the file that differ from what the hub was started with, and take effect at the next start only. The
    /// values of variables and the files of `server.tls` count too: after a token was renewed, its part is here.
    #[schema(example = json!(["mcps"]))]
    pub restart_needed: Vec<&'static str>,
    /// The entries of these parts that differ, by part and name.
    #[schema(example = json!(["mcps/stripe"]))]
    pub restart_entries: Vec<String>,
    /// Warnings about the configuration.
    pub warnings: Vec<String>,
}

/// Reads the configuration again.
pub struct Reloader {
    path: PathBuf,
    /// What the hub was started with, for telling what is different.
    started: Arc<LoadedConfig>,
    /// Keeps two reloads apart.
    one_at_a_time: tokio::sync::Mutex<()>,
    own: Arc<BuiltinProvider>,
    hooks: Arc<Hooks>,
    access: Arc<AccessState>,
    catalogue: Arc<Catalogue>,
}

impl Reloader {
    /// A reloader of `hub`, whose keys are in `access`.
    pub fn new(hub: &Hub, access: Arc<AccessState>) -> Arc<Self> {
        Arc::new(Self {
            path: hub.config.path.clone(),
            started: hub.config.clone(),
            one_at_a_time: tokio::sync::Mutex::default(),
            own: hub.own.clone(),
            hooks: hub.hooks.clone(),
            access,
            catalogue: hub.catalogue.clone(),
        })
    }

    /// Reads the file and swaps what can be swapped. Hooks on `config.reloaded` or `config.rejected` run.
    ///
    /// # Errors
    /// The file's problems: everything stays as it was.
    pub async fn reload(&self) -> Result<Reloaded, Problems> {
        let _turn = self.one_at_a_time.lock().await;
        let (path, no_auth) = (self.path.clone(), self.access.no_auth());
        let read = tokio::task::spawn_blocking(move || read(&path, no_auth)).await;
        let read = read.unwrap_or_else(|error| {
            let what = format!("cannot be read: {error}");
            Err(Problems::of_file(&self.path, what, "try again"))
        });
        let (loaded, keys, mut content) = match read {
            Ok(read) => read,
            Err(problems) => {
                tracing::warn!(target: "aih::config", "the new configuration cannot be used, the old one stays: {problems}");
                self.hooks.config_rejected(&self.path, &problems);
                return Err(problems);
            }
        };
        let needed = self.started.fingerprints.differences(&loaded.fingerprints);
        // What runs is what was started.
        let running = self.own.content();
        content.plugins.clone_from(&running.plugins);
        content.hooks.clone_from(&running.hooks);
        let mut warnings = content.warnings.clone();
        // The keys first: a key that lost something never sees new content with its old permissions.
        if let Some(keys) = keys {
            warnings.extend(self.replace_keys(keys));
        }
        self.own.replace(content);
        for provider in self.catalogue.providers().iter() {
            provider.start_again();
        }
        tracing::info!(
            target: "aih::config",
            restart_needed = needed.parts.join(", "),
            restart_entries = needed.entries.join(", "),
            "reloaded"
        );
        self.hooks.config_reloaded(&self.path);
        Ok(Reloaded {
            status: "reloaded",
            restart_needed: needed.parts,
            restart_entries: needed.entries,
            warnings,
        })
    }

    /// Lets these keys count and no others. Returns what the operator should know of them.
    fn replace_keys(&self, keys: Keys) -> Vec<String> {
        let mut warnings = keys.warnings();
        let known = |who: &Arc<Principal>| self.access.authority.principal(who.id).is_some();
        if keys.first && !keys.ring.principals().all(known) {
            warnings.push(
                "auth.api_keys holds no key that can be used, so the first key of data/keys.json counts again".to_owned(),
            );
        }
        for warning in &warnings {
            tracing::warn!(target: "aih::config", "{warning}");
        }
        let ended = self.access.authority.replace(keys.ring);
        if ended > 0 {
            tracing::info!(target: "aih::config", keys = ended, "keys were removed or changed; what was under way for them ends");
        }
        warnings
    }
}

/// A hub that asks for no key reads none.
fn read(
    path: &std::path::Path,
    no_auth: bool,
) -> Result<(LoadedConfig, Option<Keys>, BuiltinContent), Problems> {
    let loaded = Config::load(path)?;
    let keys = match no_auth {
        true => None,
        false => Some(Keys::reload(&loaded)?),
    };
    let content = BuiltinContent::load(&loaded);
    Ok((loaded, keys, content))
}

//! A new configuration without a restart: skills, configs and keys at once; the rest is named.
//!
//! A file with a mistake changes nothing, and so does one that leaves no key. It must never leave the hub with parts
//! of two configurations that do not fit together: everything is read before anything is swapped.

use std::{path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::{AccessState, Principal},
    config::{Config, LoadedConfig, Problems},
    gateway::{hub::HubContent, hub::HubProvider},
    hooks::Hooks,
    hub::{Hub, Keys},
};

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
pub struct Reloaded {
    /// Always `reloaded`.
    #[schema(example = "reloaded")]
    pub status: &'static str,
    /// Parts of the file that changed and take effect at the next start only.
    pub restart_needed: Vec<&'static str>,
    /// What is to be looked at in the configuration.
    pub warnings: Vec<String>,
}

/// Reads the configuration anew.
pub struct Reloader {
    path: PathBuf,
    /// What the hub runs, for telling what is different. The lock keeps two reloads apart.
    current: tokio::sync::Mutex<Arc<LoadedConfig>>,
    own: Arc<HubProvider>,
    hooks: Arc<Hooks>,
    access: Arc<AccessState>,
}

impl Reloader {
    /// A reloader of `hub`, whose keys are in `access`.
    pub fn new(hub: &Hub, access: Arc<AccessState>) -> Arc<Self> {
        Arc::new(Self {
            path: hub.config.path.clone(),
            current: tokio::sync::Mutex::new(hub.config.clone()),
            own: hub.own.clone(),
            hooks: hub.hooks.clone(),
            access,
        })
    }

    /// Reads the file and swaps what can be swapped. Hooks on `config.reloaded` or `config.rejected` are told.
    ///
    /// # Errors
    /// The file's problems: everything stays as it was.
    pub async fn reload(&self) -> Result<Reloaded, Problems> {
        let mut current = self.current.lock().await;
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
        let restart_needed = changed(&current.config, &loaded.config);
        // What runs is what was started.
        let running = self.own.content();
        content.plugins.clone_from(&running.plugins);
        content.hooks.clone_from(&running.hooks);
        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        // The keys first: a key that lost something never sees new content with its old permissions.
        if let Some(keys) = keys {
            warnings.extend(self.replace_keys(keys));
        }
        self.own.replace(content);
        *current = Arc::new(loaded);
        tracing::info!(target: "aih::config", restart_needed = restart_needed.join(", "), "reloaded");
        self.hooks.config_reloaded(&self.path);
        Ok(Reloaded {
            status: "reloaded",
            restart_needed,
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
fn read(path: &std::path::Path, no_auth: bool) -> Result<(LoadedConfig, Option<Keys>, HubContent), Problems> {
    let loaded = Config::load(path)?;
    let keys = match no_auth {
        true => None,
        false => Some(Keys::reload(&loaded)?),
    };
    let content = HubContent::load(&loaded);
    Ok((loaded, keys, content))
}

/// The parts that differ and are read at the start only. Values of variables are not compared.
fn changed(old: &Config, new: &Config) -> Vec<&'static str> {
    /// What a part of the configuration says, as text.
    type Said = fn(&Config) -> String;
    let parts: [(&'static str, Said); 9] = [
        ("name", |config| config.name.clone()),
        ("server", |config| format!("{:?}", config.server)),
        ("store", |config| format!("{:?}", config.store)),
        ("cache", |config| format!("{:?}", config.cache)),
        ("mcps", |config| format!("{:?}", config.mcps)),
        ("plugins", |config| format!("{:?}", config.plugins)),
        ("hooks", |config| format!("{:?}", config.hooks)),
        ("rate_limits", |config| format!("{:?}", config.rate_limits)),
        ("audit", |config| format!("{:?}", config.audit)),
    ];
    let differing = parts.into_iter().filter(|(_, text)| text(old) != text(new));
    differing.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Secrets;

    #[test]
    fn parts_that_need_a_restart_are_named() {
        let load = |text: &str| {
            let text = format!("version: \"1.0\"\n{text}");
            let path = std::path::Path::new("/nowhere/aih-config.yaml");
            let none = Secrets::from_pairs(Vec::<(String, String)>::new());
            Config::from_text(&text, path, none).unwrap().config
        };
        let old = load("");
        assert_eq!(changed(&old, &load("skills: []\n")), Vec::<&str>::new());
        let new = load(
            "mcps: {external: [{name: a, url: \"http://localhost:1/mcp\"}]}\nserver: {listen: \"127.0.0.1:1\"}\n",
        );
        assert_eq!(changed(&old, &new), ["server", "mcps"]);
    }
}

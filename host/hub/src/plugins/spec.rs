//! From an entry of the configuration to what the runtime holds a component to.

use std::path::{Path, PathBuf};

use aih_runtime::{ClientFeature, FileGrant, FileMode, GrantError, Grants, Limits, Spec};
use secrecy::SecretString;

use crate::config;

/// What an entry of `plugins` says, for the runtime.
///
/// # Errors
/// A grant that cannot be given.
pub(crate) fn entry_spec(entry: &config::Plugin, reserved: &Reserved) -> Result<Spec, GrantError> {
    spec(&entry.name, &entry.grants, &entry.limits, &entry.config, reserved)
}

/// What one entry says, for the runtime.
///
/// # Errors
/// A grant that cannot be given.
pub(crate) fn spec(
    name: &str,
    grants: &config::Grants,
    limits: &config::Limits,
    settings: &serde_json::Map<String, serde_json::Value>,
    reserved: &Reserved,
) -> Result<Spec, GrantError> {
    Ok(Spec {
        name: name.to_owned(),
        grants: granted(grants)?,
        limits: limited(limits),
        config: settings.clone(),
        reserved: reserved.own.clone(),
        code: reserved.code.clone(),
    })
}

/// What no plugin may be granted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reserved {
    /// The hub's own files, which are granted in no way.
    own: Vec<PathBuf>,
    /// The files of plugins and hooks, which are not granted for writing.
    code: Vec<PathBuf>,
}

/// The hub's own files: its data and what it is configured with; and the code that it runs.
pub(crate) fn reserved(loaded: &config::LoadedConfig) -> Reserved {
    let data = crate::hub::data_dir(loaded);
    let own = [
        "cache",
        "cache.key",
        "keys.json",
        "aih.db",
        "aih.db-wal",
        "aih.db-shm",
        "builds",
    ];
    let mut paths: Vec<PathBuf> = own.iter().map(|name| data.join(name)).collect();
    paths.push(loaded.path.clone());
    paths.push(loaded.base_dir.join(".env"));
    let plugins = loaded.config.plugins.iter().map(|plugin| plugin.file.clone());
    let hooks = loaded.config.hooks.iter().map(|hook| hook.action.clone());
    Reserved {
        own: paths,
        code: plugins.chain(hooks).collect(),
    }
}

fn granted(grants: &config::Grants) -> Result<Grants, GrantError> {
    let http = grants.http.iter().map(|rule| rule.parse());
    let env = grants.env.iter().filter_map(|name| {
        let value = std::env::var(name).ok()?;
        Some((name.clone(), SecretString::from(value)))
    });
    Ok(Grants {
        http: http.collect::<Result<_, _>>()?,
        secrets: grants.secrets.iter().cloned().collect(),
        env: env.collect(),
        mcps: grants.mcps.clone(),
        files: grants.files.iter().map(file).collect(),
        state: grants.state_max_bytes.map(|size| size.0),
        client: grants
            .client
            .iter()
            .filter_map(|word| ClientFeature::parse(word))
            .collect(),
    })
}

fn file(grant: &config::FileGrant) -> FileGrant {
    let last = grant
        .path
        .file_name()
        .map(Path::new)
        .unwrap_or(Path::new("files"));
    FileGrant {
        seen_as: grant
            .seen_as
            .clone()
            .unwrap_or_else(|| format!("/{}", last.display())),
        path: grant.path.clone(),
        mode: match grant.mode {
            config::FileMode::ReadOnly => FileMode::ReadOnly,
            config::FileMode::ReadWrite => FileMode::ReadWrite,
        },
    }
}

fn limited(limits: &config::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        memory: limits.memory.map_or(default.memory, |size| size.0),
        time: limits.time.unwrap_or(default.time),
        output: limits.output.map_or(default.output, |size| size.0),
        concurrency: limits.concurrency.unwrap_or(default.concurrency),
        warm: limits.warm.unwrap_or(default.warm),
    }
}

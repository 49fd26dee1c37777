//! Makes the grants and limits for the runtime from an entry of the configuration.

use std::sync::Arc;

use aih_redact as redact;
use aih_runtime::{ClientFeature, GrantError, Grants, Limits, Reserved, Spec};
use secrecy::SecretString;

use crate::config::{
    self,
    files::{file_grant, owner_of_hook, owner_of_plugin},
};

/// What an entry of `plugins` says, for the runtime.
///
/// # Errors
/// A grant that cannot be given.
pub(crate) fn entry_spec(entry: &config::Plugin, reserved: &Arc<Reserved>) -> Result<Spec, GrantError> {
    Ok(Spec {
        name: entry.name.clone(),
        grants: granted(&entry.grants)?,
        limits: limited(&entry.limits),
        config: entry.config.clone(),
        owner: owner_of_plugin(&entry.name),
        reserved: reserved.clone(),
    })
}

/// What an entry of `hooks` says, for the runtime; `limits` are its own, completed.
///
/// # Errors
/// A grant that cannot be given.
pub(crate) fn hook_spec(
    entry: &config::Hook,
    limits: &config::Limits,
    reserved: &Arc<Reserved>,
) -> Result<Spec, GrantError> {
    Ok(Spec {
        name: entry.name.clone(),
        grants: granted(&entry.grants)?,
        limits: limited(limits),
        config: entry.config.clone(),
        owner: owner_of_hook(&entry.name),
        reserved: reserved.clone(),
    })
}

fn granted(grants: &config::Grants) -> Result<Grants, GrantError> {
    let http = grants.http.iter().map(|rule| rule.parse());
    let env = grants.env.iter().filter_map(|name| {
        let value = std::env::var(name).ok()?;
        redact::learn(name, &value);
        Some((name.clone(), SecretString::from(value)))
    });
    Ok(Grants {
        http: http.collect::<Result<_, _>>()?,
        secrets: grants.secrets.iter().cloned().collect(),
        env: env.collect(),
        mcps: grants.mcps.clone(),
        files: grants.files.iter().map(file_grant).collect(),
        state: grants.state_max_bytes.map(|size| size.0),
        client: grants
            .client
            .iter()
            .filter_map(|word| ClientFeature::parse(word))
            .collect(),
    })
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

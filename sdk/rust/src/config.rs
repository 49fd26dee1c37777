//! What the operator wrote for this component under `config:` in `aih-config.yaml`.

use serde::de::DeserializeOwned;

use crate::backend;

/// A value that is not what the plugin expects.
#[derive(Debug, thiserror::Error)]
#[error("`config.{key}` of this plugin: {source}")]
pub struct Error {
    key: String,
    source: serde_json::Error,
}

/// The value of a key, or nothing where the operator did not write it.
///
/// # Errors
/// The value is there and is not a `T`.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    backend::config_get(key)
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|source| Error {
            key: key.to_owned(),
            source,
        })
}

/// The value of a key, or `default` where the operator did not write it.
///
/// # Errors
/// The value is there and is not a `T`.
pub fn get_or<T: DeserializeOwned>(key: &str, default: T) -> Result<T, Error> {
    Ok(get(key)?.unwrap_or(default))
}

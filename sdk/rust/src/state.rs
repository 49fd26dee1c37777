//! Keys and values that belong to this component alone and outlive the call.
//!
//! Calls run side by side: what depends on the value before, such as a counter, goes through [`update`] or
//! [`set_if`]. Values are bytes; the functions with `json` in their name take anything that serde can write.

use serde::{Serialize, de::DeserializeOwned};

use crate::{backend, wit::host::state as wit};

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `grants.state` is missing.
    #[error("state is not granted: the operator has to give `grants.state`")]
    NotGranted,
    /// Another call changed the key meanwhile.
    #[error("another call changed the key meanwhile: its version is {version} now")]
    Conflict {
        /// The version that the key has now, 0 where it has no value.
        version: u64,
    },
    /// The value does not fit in what is granted.
    #[error("the state is full: {0}")]
    Quota(String),
    /// A value is not the JSON that was expected.
    #[error("the value of `{key}`: {source}")]
    Json {
        /// The key.
        key: String,
        /// What is wrong with the value.
        source: serde_json::Error,
    },
    /// Something else, in the hub's words.
    #[error("{0}")]
    Other(String),
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::NotGranted => Self::NotGranted,
            wit::Error::Conflict(version) => Self::Conflict { version },
            wit::Error::Quota(text) => Self::Quota(text),
            wit::Error::Other(text) => Self::Other(text),
        }
    }
}

/// A value and its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<T = Vec<u8>> {
    /// The value.
    pub value: T,
    /// What [`set_if`] takes to write over this very value. Never 0.
    pub version: u64,
}

/// A page of keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// The keys, in order.
    pub keys: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// The value of a key.
///
/// # Errors
/// See [`Error`].
pub fn get(key: &str) -> Result<Option<Entry>, Error> {
    let entry = backend::get(key)?;
    Ok(entry.map(|entry| Entry {
        value: entry.value,
        version: entry.version,
    }))
}

/// The value of a key, read as JSON.
///
/// # Errors
/// See [`Error`].
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<Entry<T>>, Error> {
    read(key, backend::get(key)?)
}

fn read<T: DeserializeOwned>(key: &str, entry: Option<wit::Entry>) -> Result<Option<Entry<T>>, Error> {
    let Some(entry) = entry else { return Ok(None) };
    let value = serde_json::from_slice(&entry.value).map_err(|source| json(key, source))?;
    Ok(Some(Entry {
        value,
        version: entry.version,
    }))
}

/// Writes a value over whatever is there. Answers its version.
///
/// # Errors
/// See [`Error`].
pub fn set(key: &str, value: &[u8]) -> Result<u64, Error> {
    Ok(backend::set(key, value, None)?)
}

/// Writes a value as JSON over whatever is there. Answers its version.
///
/// # Errors
/// See [`Error`].
pub fn set_json(key: &str, value: &impl Serialize) -> Result<u64, Error> {
    set(
        key,
        &serde_json::to_vec(value).map_err(|source| json(key, source))?,
    )
}

/// Writes a value if the key still has the version that was read; 0 says that it has no value. Answers the new
/// version.
///
/// # Errors
/// [`Error::Conflict`] if another call was faster.
pub fn set_if(key: &str, value: &[u8], version: u64) -> Result<u64, Error> {
    Ok(backend::set(key, value, Some(version))?)
}

/// Changes a value as JSON, however many calls do so at the same time: reads it, runs `change` and writes what
/// that returns. Calls of this function take turns at a key, within their time. Where another call was faster all the same,
/// because it wrote without this function or `change` took longer than a second, it begins from the start. Answers what was
/// written.
///
/// # Errors
/// See [`Error`]. [`Error::Conflict`] after 100 tries: `change` writes the key itself.
pub fn update<T: Serialize + DeserializeOwned>(
    key: &str,
    mut change: impl FnMut(Option<T>) -> T,
) -> Result<T, Error> {
    const TRIES: usize = 100;
    let mut tries = 0;
    loop {
        let (before, version) = match read(key, backend::get_for_update(key)?)? {
            Some(entry) => (Some(entry.value), entry.version),
            None => (None, 0),
        };
        let value = change(before);
        let bytes = serde_json::to_vec(&value).map_err(|source| json(key, source))?;
        tries += 1;
        match set_if(key, &bytes, version) {
            Err(Error::Conflict { .. }) if tries < TRIES => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(value),
        }
    }
}

/// Removes a key. Removing a key that is not there is not an error.
///
/// # Errors
/// See [`Error`].
pub fn delete(key: &str) -> Result<(), Error> {
    Ok(backend::delete(key)?)
}

/// Keys that begin with `prefix`, in order: at most `limit` of them, which is at most 1,000, from the place that
/// an earlier page gave as [`Keys::next`].
///
/// # Errors
/// See [`Error`].
pub fn keys(prefix: &str, cursor: Option<&str>, limit: u32) -> Result<Keys, Error> {
    let (keys, next) = backend::keys(prefix, cursor, limit)?;
    Ok(Keys { keys, next })
}

fn json(key: &str, source: serde_json::Error) -> Error {
    Error::Json {
        key: key.to_owned(),
        source,
    }
}

//! Secrets that `grants.secrets` names. Put them into requests, and nowhere else.

use crate::{backend, wit::host::config::SecretError};

/// Why there is no secret.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// `grants.secrets` does not name it.
    #[error("the secret `{0}` is not granted: the operator has to name it in `grants.secrets`")]
    NotGranted(String),
    /// It is granted and has no value.
    #[error("the secret `{0}` is granted and has no value")]
    NotSet(String),
    /// Its provider did not answer.
    #[error("the provider of the secret `{0}` did not answer")]
    Unavailable(String),
}

/// The value of a secret.
///
/// # Errors
/// See [`Error`].
pub fn get(name: &str) -> Result<String, Error> {
    backend::secret(name).map_err(|error| {
        let name = name.to_owned();
        match error {
            SecretError::NotGranted => Error::NotGranted(name),
            SecretError::NotSet => Error::NotSet(name),
            SecretError::Unavailable => Error::Unavailable(name),
        }
    })
}

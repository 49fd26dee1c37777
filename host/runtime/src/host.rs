//! What a component may ask of the hub: a trait for each interface of `wit/deps/host.wit` that the hub serves.
//!
//! A value of [`Host`] belongs to one call: it knows the caller, so that no function takes a caller's name.
//! The interfaces `config`, `http` and `system` have no trait: the runtime answers them from [`Spec`](crate::Spec)
//! and its own egress. Grants are checked by the runtime before a trait is asked, but for `mcp`, where the
//! caller's own permissions count too.

use async_trait::async_trait;
use secrecy::SecretString;

pub use crate::bindings::base::aih::host::{
    client::Error as ClientError,
    config::SecretError,
    log::Level,
    mcp::Error as McpError,
    state::{Entry, Error as StateError},
};

/// `aih:host/log`.
pub trait Log: Send + Sync {
    /// One line. `fields` is JSON text from the guest, unread. Never waits.
    fn log(&self, level: Level, message: &str, fields: Option<&str>);
}

/// The secrets of `aih:host/config`.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// A secret that the grants name.
    ///
    /// # Errors
    /// It is not set, or its provider does not answer.
    async fn secret(&self, name: &str) -> Result<SecretString, SecretError>;
}

/// A call's turn to change a value. It ends when it is dropped.
pub type Turn = Box<dyn std::any::Any + Send + Sync>;

/// `aih:host/state`; the quota in bytes comes from the grants.
#[async_trait]
pub trait State: Send + Sync {
    /// See `get`.
    ///
    /// # Errors
    /// The store failed.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StateError>;
    /// See `get-for-update`; the runtime holds the turn until it ends.
    ///
    /// # Errors
    /// The store failed.
    async fn get_for_update(&self, key: &str) -> Result<(Option<Entry>, Turn), StateError>;
    /// See `set`.
    ///
    /// # Errors
    /// `conflict`, `quota`, or the store failed.
    async fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        expect: Option<u64>,
        quota: u64,
    ) -> Result<u64, StateError>;
    /// See `delete`.
    ///
    /// # Errors
    /// The store failed.
    async fn delete(&self, key: &str) -> Result<(), StateError>;
    /// See `keys`.
    ///
    /// # Errors
    /// The cursor is wrong, or the store failed.
    async fn keys(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<String>, Option<String>), StateError>;
}

/// `aih:host/mcp`: with the caller's permissions and the component's grants together.
#[async_trait]
pub trait Servers: Send + Sync {
    /// The tools of a server as a JSON array, those that may be called.
    ///
    /// # Errors
    /// See the WIT.
    async fn list_tools(&self, server: &str) -> Result<String, McpError>;
    /// Calls a tool.
    ///
    /// # Errors
    /// See the WIT.
    async fn call_tool(&self, server: &str, tool: &str, arguments: String) -> Result<String, McpError>;
}

/// `aih:host/progress`.
pub trait Progress: Send + Sync {
    /// Never waits.
    fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>);
}

/// `aih:host/client`.
#[async_trait]
pub trait ClientFeatures: Send + Sync {
    /// `elicitation/create`.
    ///
    /// # Errors
    /// See the WIT.
    async fn elicit(&self, params: String) -> Result<String, ClientError>;
    /// `sampling/createMessage`.
    ///
    /// # Errors
    /// See the WIT.
    async fn sample(&self, params: String) -> Result<String, ClientError>;
    /// `roots/list`.
    ///
    /// # Errors
    /// See the WIT.
    async fn roots(&self) -> Result<String, ClientError>;
}

/// Everything together.
pub trait Host: Log + Secrets + State + Servers + Progress + ClientFeatures {}

impl<T: Log + Secrets + State + Servers + Progress + ClientFeatures> Host for T {}

/// A hub that offers nothing: for listing tools, and for trying a component without a hub.
#[derive(Debug, Default, Clone, Copy)]
pub struct Nothing;

impl Log for Nothing {
    fn log(&self, level: Level, message: &str, _: Option<&str>) {
        tracing::debug!(target: "aih::plugin", ?level, "{message}");
    }
}

#[async_trait]
impl Secrets for Nothing {
    async fn secret(&self, _: &str) -> Result<SecretString, SecretError> {
        Err(SecretError::NotSet)
    }
}

#[async_trait]
impl State for Nothing {
    async fn get(&self, _: &str) -> Result<Option<Entry>, StateError> {
        Err(StateError::NotGranted)
    }
    async fn get_for_update(&self, _: &str) -> Result<(Option<Entry>, Turn), StateError> {
        Err(StateError::NotGranted)
    }
    async fn set(&self, _: &str, _: Vec<u8>, _: Option<u64>, _: u64) -> Result<u64, StateError> {
        Err(StateError::NotGranted)
    }
    async fn delete(&self, _: &str) -> Result<(), StateError> {
        Err(StateError::NotGranted)
    }
    async fn keys(
        &self,
        _: &str,
        _: Option<&str>,
        _: u32,
    ) -> Result<(Vec<String>, Option<String>), StateError> {
        Err(StateError::NotGranted)
    }
}

#[async_trait]
impl Servers for Nothing {
    async fn list_tools(&self, server: &str) -> Result<String, McpError> {
        Err(McpError::NotFound(format!("there is no server `{server}` here")))
    }
    async fn call_tool(&self, server: &str, _: &str, _: String) -> Result<String, McpError> {
        self.list_tools(server).await
    }
}

impl Progress for Nothing {
    fn progress(&self, _: f64, _: Option<f64>, _: Option<&str>) {}
}

#[async_trait]
impl ClientFeatures for Nothing {
    async fn elicit(&self, _: String) -> Result<String, ClientError> {
        Err(ClientError::Unsupported("there is no client here".to_owned()))
    }
    async fn sample(&self, params: String) -> Result<String, ClientError> {
        self.elicit(params).await
    }
    async fn roots(&self) -> Result<String, ClientError> {
        self.elicit(String::new()).await
    }
}

//! The host functions of one call of a component, with the permissions of its caller.

use std::sync::{Arc, Mutex, PoisonError};

use aih_mcp::{ErrorCode, ErrorObject, RawJson, method};
use aih_redact as redact;
use aih_runtime::host::{
    ClientError, ClientFeatures, Entry, Level, Log, McpError, Progress, SecretError, Secrets, Servers, State,
    StateError, Turn,
};
use aih_store::{
    Store,
    state::{PluginState, StateEntry, StateError as StoreStateError},
};
use async_trait::async_trait;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

use super::servers::{NoServers, ServerCalls, read_grants};
use crate::{
    access::PermissionSet,
    config,
    provider::{Call, LogLevel},
};

/// What does not change between the calls of one component.
#[derive(Clone)]
pub(crate) struct HostContext {
    /// The component's name in the configuration.
    pub(crate) name: Arc<str>,
    /// Whose state it is: `plugin/NAME` or `hook/NAME`.
    pub(crate) owner: Arc<str>,
    /// `grants.mcps`.
    pub(crate) mcps: Arc<PermissionSet>,
    /// Secrets by name.
    pub(crate) secrets: Arc<crate::secrets::Secrets>,
    /// Where its state is.
    pub(crate) state: PluginState,
    /// The servers that it may call.
    pub(crate) servers: Arc<dyn ServerCalls>,
}

/// What a component may ask where there is no hub: its secrets, and state that ends with the process.
///
/// # Errors
/// The store in memory cannot be set up, or `grants.mcps` cannot be read.
pub(crate) async fn alone(entry: &config::Plugin) -> anyhow::Result<CallHost> {
    let folder = entry.file.parent().unwrap_or(std::path::Path::new("."));
    let store = Store::in_memory().await?;
    let host = HostContext {
        name: entry.name.as_str().into(),
        owner: format!("plugin/{}", entry.name).into(),
        mcps: Arc::new(read_grants(&entry.grants.mcps)?),
        secrets: Arc::new(crate::secrets::Secrets::from_environment(folder).0),
        state: store.state(),
        servers: Arc::new(NoServers),
    };
    Ok(CallHost {
        host,
        call_id: "run".into(),
        call: None,
        progress: None,
        record: None,
    })
}

/// Lines that one run may leave in a [`RunLog`].
const RECORDED: usize = 1_000;

/// One line that a component logged.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema, utoipa::ToSchema)]
pub struct LogLine {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The text.
    pub message: String,
    /// Its structured fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub fields: Option<serde_json::Map<String, Value>>,
}

/// What one run logs, for the person who started it.
#[derive(Debug, Default)]
pub(crate) struct RunLog(Mutex<Vec<LogLine>>);

impl RunLog {
    fn note(&self, level: Level, message: &str, fields: &str) {
        // The list is whole at every point where code under the lock could panic.
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < RECORDED {
            lines.push(LogLine {
                level: word(level),
                message: message.to_owned(),
                fields: serde_json::from_str(fields).ok(),
            });
        }
    }

    /// The lines so far; they are taken out.
    pub(crate) fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// One call.
pub(crate) struct CallHost {
    pub(crate) host: HostContext,
    /// The same in the log of the hub and in what the component sees.
    pub(crate) call_id: Arc<str>,
    /// The client's call; `None` where no client is behind it.
    pub(crate) call: Option<Call>,
    /// The token under which the client wants progress.
    pub(crate) progress: Option<RawJson>,
    /// Where lines of the log go too.
    pub(crate) record: Option<Arc<RunLog>>,
}

impl Log for CallHost {
    fn log(&self, level: Level, message: &str, fields: Option<&str>) {
        let (plugin, call) = (&*self.host.name, &*self.call_id);
        let message = redact::text(message);
        let fields = redact::own_json(fields.unwrap_or_default().to_owned().into());
        let fields = String::from_utf8_lossy(&fields);
        let (message, fields) = (&*message, &*fields);
        match level {
            Level::Trace => tracing::trace!(target: "aih::plugin", plugin, call, fields, "{message}"),
            Level::Debug => tracing::debug!(target: "aih::plugin", plugin, call, fields, "{message}"),
            Level::Info => tracing::info!(target: "aih::plugin", plugin, call, fields, "{message}"),
            Level::Warn => tracing::warn!(target: "aih::plugin", plugin, call, fields, "{message}"),
            Level::Error => tracing::error!(target: "aih::plugin", plugin, call, fields, "{message}"),
        }
        if let Some(record) = &self.record {
            record.note(level, message, fields);
        }
        let Some(client) = &self.call else {
            return;
        };
        let level = match level {
            Level::Trace | Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warning,
            Level::Error => LogLevel::Error,
        };
        // A client that set no level gets no details.
        if level < client.client.log_level().unwrap_or(LogLevel::Info) {
            return;
        }
        let data = match serde_json::from_str::<Value>(fields) {
            Ok(Value::Object(mut fields)) => {
                fields.insert("message".to_owned(), message.into());
                Value::Object(fields)
            }
            _ => message.into(),
        };
        let params = json!({ "level": level.as_str(), "logger": plugin, "data": data });
        let params = Some(RawJson::of(&params));
        client.peer.notify(plugin, method::LOG_MESSAGE, params);
    }
}

#[async_trait]
impl Secrets for CallHost {
    async fn secret(&self, name: &str) -> Result<SecretString, SecretError> {
        self.host.secrets.get(name).ok_or(SecretError::NotSet)
    }
}

#[async_trait]
impl State for CallHost {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StateError> {
        let entry = self.host.state.get(&self.host.owner, key).await;
        Ok(entry.map_err(state_error)?.map(entry_of))
    }

    async fn get_for_update(&self, key: &str) -> Result<(Option<Entry>, Turn), StateError> {
        let state = &self.host.state;
        let found = state.get_for_update(&self.host.owner, key).await;
        let (entry, turn) = found.map_err(state_error)?;
        Ok((entry.map(entry_of), Box::new(turn)))
    }

    async fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        expect: Option<u64>,
        quota: u64,
    ) -> Result<u64, StateError> {
        let state = &self.host.state;
        state
            .set(&self.host.owner, key, &value, expect, quota)
            .await
            .map_err(state_error)
    }

    async fn delete(&self, key: &str) -> Result<(), StateError> {
        let state = &self.host.state;
        state.delete(&self.host.owner, key).await.map_err(state_error)
    }

    async fn keys(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<String>, Option<String>), StateError> {
        let state = &self.host.state;
        let page = state
            .keys(&self.host.owner, prefix, cursor, limit as usize)
            .await
            .map_err(state_error)?;
        Ok((page.keys, page.next))
    }
}

fn entry_of(entry: StateEntry) -> Entry {
    Entry {
        value: entry.value,
        version: entry.version,
    }
}

fn state_error(error: StoreStateError) -> StateError {
    match error {
        StoreStateError::Conflict(version) => StateError::Conflict(version),
        error @ StoreStateError::Quota { .. } => StateError::Quota(error.to_string()),
        error => StateError::Other(error.to_string()),
    }
}

#[async_trait]
impl Servers for CallHost {
    async fn list_tools(&self, server: &str) -> Result<String, McpError> {
        let call = self.call.as_ref().ok_or_else(no_client)?;
        self.host.servers.list_tools(server, &self.host.mcps, call)
    }

    async fn call_tool(&self, server: &str, tool: &str, arguments: String) -> Result<String, McpError> {
        let call = self.call.as_ref().ok_or_else(no_client)?;
        let host = &self.host;
        host.servers
            .call_tool(&host.name, server, tool, &arguments, &host.mcps, call)
            .await
    }
}

fn no_client() -> McpError {
    McpError::NotGranted("this run has no caller, so it has no permission to call anything".to_owned())
}

impl Progress for CallHost {
    fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        let (Some(call), Some(token)) = (&self.call, &self.progress) else {
            return;
        };
        let mut params = json!({ "progressToken": token, "progress": progress });
        if let Some(object) = params.as_object_mut() {
            if let Some(total) = total {
                object.insert("total".to_owned(), json!(total));
            }
            if let Some(message) = message {
                object.insert("message".to_owned(), message.into());
            }
        }
        let params = Some(RawJson::of(&params).without_secrets());
        call.peer.notify(&self.host.name, method::PROGRESS, params);
    }
}

impl CallHost {
    async fn ask(&self, method: &str, params: Option<RawJson>) -> Result<String, ClientError> {
        let Some(call) = &self.call else {
            return Err(ClientError::Unsupported("this run has no client".to_owned()));
        };
        let asked = call.peer.ask(&self.host.name, method, params);
        let answer = tokio::select! {
            answer = asked => answer.map_err(client_error)?,
            () = call.cancel.cancelled() => return Err(ClientError::Cancelled),
        };
        Ok(answer.text().into_owned())
    }

    async fn ask_with(&self, method: &str, params: String) -> Result<String, ClientError> {
        let params = RawJson::parse(params.into_bytes())
            .ok()
            .filter(RawJson::is_object)
            .ok_or_else(|| ClientError::Invalid("the parameters are not a JSON object".to_owned()))?;
        self.ask(method, Some(params.without_secrets())).await
    }
}

fn client_error(error: ErrorObject) -> ClientError {
    match error.code {
        ErrorCode::METHOD_NOT_FOUND | ErrorCode::MISSING_CAPABILITY => {
            ClientError::Unsupported(error.message)
        }
        ErrorCode::INVALID_PARAMS => ClientError::Invalid(error.message),
        ErrorCode::TIMED_OUT => ClientError::TimedOut,
        ErrorCode::CANCELLED => ClientError::Cancelled,
        _ => ClientError::Other(error.message),
    }
}

#[async_trait]
impl ClientFeatures for CallHost {
    async fn elicit(&self, params: String) -> Result<String, ClientError> {
        self.ask_with(method::ELICITATION, params).await
    }

    async fn sample(&self, params: String) -> Result<String, ClientError> {
        self.ask_with(method::SAMPLING, params).await
    }

    async fn roots(&self) -> Result<String, ClientError> {
        self.ask(method::ROOTS_LIST, None).await
    }
}

//! The MCP servers behind the hub, external ones and other plugins: what `grants.mcps` and the caller's own
//! permissions both allow.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{backend, wit::host::mcp as wit};

/// Why a call did not come back with a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `grants.mcps` or the caller's permissions do not allow it.
    #[error("not granted: {0}")]
    NotGranted(String),
    /// There is no such server or tool.
    #[error("not found: {0}")]
    NotFound(String),
    /// The tool does not take these arguments.
    #[error("invalid arguments: {0}")]
    InvalidArguments(String),
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The client gave up on the call.
    #[error("the call was cancelled")]
    Cancelled,
    /// A plugin called a plugin called a plugin: too deep.
    #[error("plugins call each other too deep")]
    DepthExceeded,
    /// The server answered with an error.
    #[error("the server answered: {0}")]
    Upstream(String),
    /// JSON that cannot be written or read.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else, in the hub's words.
    #[error("{0}")]
    Other(String),
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::NotGranted(text) => Self::NotGranted(text),
            wit::Error::NotFound(text) => Self::NotFound(text),
            wit::Error::InvalidArguments(text) => Self::InvalidArguments(text),
            wit::Error::TimedOut => Self::TimedOut,
            wit::Error::Cancelled => Self::Cancelled,
            wit::Error::DepthExceeded => Self::DepthExceeded,
            wit::Error::Upstream(text) => Self::Upstream(text),
            wit::Error::Other(text) => Self::Other(text),
        }
    }
}

/// What a tool answered: MCP's `CallToolResult`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallResult {
    /// The content blocks as they are in the protocol.
    #[serde(default)]
    pub content: Vec<Value>,
    /// Structured content, if the tool has it.
    pub structured_content: Option<Value>,
    /// The tool ran and failed; the content says why.
    #[serde(default)]
    pub is_error: bool,
}

impl CallResult {
    /// The text blocks, one below the other.
    pub fn text(&self) -> String {
        let texts = self
            .content
            .iter()
            .filter_map(|block| block.get("text")?.as_str());
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// The tools of a server that may be called, as they are in MCP's `tools/list`.
///
/// # Errors
/// See [`Error`].
pub fn list_tools(server: &str) -> Result<Vec<Value>, Error> {
    Ok(serde_json::from_str(&backend::list_tools(server)?)?)
}

/// Calls a tool. A result with [`CallResult::is_error`] is a result.
///
/// # Errors
/// See [`Error`].
pub fn call_tool(server: &str, name: &str, arguments: &impl Serialize) -> Result<CallResult, Error> {
    let arguments = serde_json::to_string(arguments)?;
    Ok(serde_json::from_str(&backend::call_tool(
        server, name, &arguments,
    )?)?)
}

//! The typed, resolved model of `aih-config.yaml`.
//!
//! It exists so that every other module works with values that are already checked: addresses are
//! addresses, names are names, `${VAR}` is already replaced. It must never print a value that came from
//! a variable: such values live in [`SecretString`](secrecy::SecretString), [`Text`] or [`Endpoint`].

mod access;
mod mcp;
mod plugin;
mod resource;
mod schedule;
mod server;
mod text;

use std::fmt;

pub use access::{ApiKey, Audit, AuditArguments, Auth, OAuth, OAuthProvider, Rate, RateLimits, RateRule};
pub(crate) use mcp::matches_pattern;
pub use mcp::{ExternalMcp, LocalMcp, Mcps, Protocol, Sessions, ToolRules, Transport};
pub use plugin::{
    FileGrant, FileMode, Grants, Hook, HookMatch, HookMode, Limits, OnFailure, Plugin, Runtime, Webhook,
    WebhookScheme,
};
pub use resource::{ClientConfig, Skill};
pub use schedule::{Schedule, ScheduleError};
pub use server::{Cache, Git, Server, Store, Tls};
pub use text::{Endpoint, Text};

/// The whole file, checked and resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// `name`: what the hub calls itself towards clients and people. Default `ai-hub`.
    pub name: String,
    /// `server`: where the hub listens and who may come.
    pub server: Server,
    /// `store`: where state is kept.
    pub store: Store,
    /// `cache`: the shared cache of several replicas; `None` keeps everything in memory.
    pub cache: Option<Cache>,
    /// `auth`: keys, and sign-in for the web UI.
    pub auth: Auth,
    /// `mcps`: the servers behind the hub.
    pub mcps: Mcps,
    /// `skills`, in the order of the file.
    pub skills: Vec<Skill>,
    /// `plugins`, in the order of the file.
    pub plugins: Vec<Plugin>,
    /// `hooks`, in the order of the file.
    pub hooks: Vec<Hook>,
    /// `configs`, in the order of the file; the map's key is [`ClientConfig::name`].
    pub configs: Vec<ClientConfig>,
    /// `secrets.provider`: where `${VAR}` is looked up.
    pub secrets_provider: crate::secrets::Provider,
    /// `secrets.path`: an absolute path of a file or a folder, also where another provider does not read it.
    pub secrets_path: Option<std::path::PathBuf>,
    /// `rate_limits`: how often a key or an address may call.
    pub rate_limits: RateLimits,
    /// `audit`: what is written down of every call.
    pub audit: Audit,
    /// `git`: where `POST /api/v1/sync` pulls from.
    pub git: Option<Git>,
}

/// Whether an entry of the file serves, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryState {
    /// The entry serves.
    Enabled,
    /// The entry is listed with this reason and does not serve.
    Disabled(DisabledReason),
}

impl EntryState {
    /// True when the entry serves.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        matches!(self, Self::Enabled)
    }

    /// The reason when the entry does not serve.
    #[must_use]
    pub fn reason(&self) -> Option<&DisabledReason> {
        match self {
            Self::Enabled => None,
            Self::Disabled(reason) => Some(reason),
        }
    }
}

/// Why an entry does not serve. Display is a sentence for people and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DisabledReason {
    /// The file says `enabled: false`.
    ByConfig,
    /// This `${VAR}` is not set.
    MissingVariable {
        /// The variable's name, without `${}`.
        name: String,
    },
    /// The entry cannot work as it stands; the text says what is wrong (a file that is not there, a value
    /// that is not a URL once its variable was put in).
    Broken(String),
}

impl fmt::Display for DisabledReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByConfig => f.write_str("switched off with `enabled: false`"),
            Self::MissingVariable { name } => {
                write!(f, "${{{name}}} is not set; put it in .env or the environment")
            }
            Self::Broken(what) => f.write_str(what),
        }
    }
}

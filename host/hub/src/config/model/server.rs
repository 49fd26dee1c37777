//! Where the hub listens, keeps its state, and pulls from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::{EntryState, Text};
use crate::{access::Compat, names::NameLimit};

/// `server`.
#[derive(Debug, Clone)]
pub struct Server {
    /// `listen`: address and port. Default `127.0.0.1:8787`.
    pub listen: SocketAddr,
    /// `public_url`: how clients reach the hub from outside; used in snippets and metadata.
    pub public_url: Option<Url>,
    /// `tls`: certificate and key; `None` serves plain HTTP.
    pub tls: Option<Tls>,
    /// `allowed_hosts`: further `Host` values (`name` or `name:port`, lower case) besides loopback, the
    /// listen address and `public_url`.
    pub allowed_hosts: Vec<String>,
    /// `allowed_origins`: further `Origin` values (`https://name[:port]`) besides the hub's own.
    pub allowed_origins: Vec<String>,
    /// `ip_allowlist`: client networks that may connect; empty lets all connect.
    pub ip_allowlist: Vec<IpNet>,
    /// `conversation_timeout`: how long a client without a session may be silent before its conversation
    /// counts as ended. Default 15 minutes.
    pub conversation_timeout: Duration,
    /// `first_list_wait`: how long the first lists of a client that lists once wait for servers that start. Default 10 s.
    pub first_list_wait: Duration,
    /// `max_tool_name`: longest name of a tool or prompt on `/mcp`. Default 50.
    pub max_tool_name: NameLimit,
    /// `compat`: whether lists and results are rewritten for clients that are known not to read them. Default `auto`.
    pub compat: Compat,
}

/// `server.tls`: PEM files, absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `cert`: the certificate chain.
    pub cert: PathBuf,
    /// `key`: the private key.
    pub key: PathBuf,
}

/// `store`.
#[derive(Debug, Clone)]
pub struct Store {
    /// `url`: `sqlite://PATH` (relative to the config file's folder) or `postgres://…`,
    /// which [`aih_store`] does not serve yet.
    /// Default `sqlite://data/aih.db`. May hold a password: never print it.
    pub url: SecretString,
}

/// `cache`.
#[derive(Debug, Clone)]
pub struct Cache {
    /// `url`: `redis://…` or `rediss://…`. May hold a password: never print it.
    pub url: SecretString,
}

/// `git`: the repository that holds this hub's files.
#[derive(Debug, Clone)]
pub struct Git {
    /// `url`: `https://…`, `ssh://…`, `git@host:path` or `file://…`; `None` uses the remote of the folder that
    /// the config file is in.
    pub url: Option<Text>,
    /// `branch`. Default `main`.
    pub branch: String,
    /// `interval`: how often to pull by itself; `None` pulls only on `POST /api/v1/sync`.
    pub interval: Option<Duration>,
    /// `token`: for https remotes.
    pub token: Option<SecretString>,
    /// Whether its variables are set.
    pub state: EntryState,
}

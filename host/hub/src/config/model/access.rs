//! Settings of access: keys, rate limits and audit.

use std::time::Duration;

use secrecy::SecretString;

use crate::access::{Compat, KeyHash};

/// `auth`.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// `api_keys`, in the order of the file.
    pub api_keys: Vec<ApiKey>,
    /// `oauth`: sign-in for the web UI.
    pub oauth: Option<OAuth>,
}

/// One entry of `auth.api_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// `name`: shown in logs and audit rows; unique among keys.
    pub name: String,
    /// `key_hash`: what the key's SHA-256 must be, or a placeholder that no key matches.
    pub key_hash: KeyHash,
    /// `permissions`: paths such as `mcps/stripe/*`; each is not empty, has no whitespace and at most 256
    /// characters. Empty allows nothing but the hub's own tools.
    pub permissions: Vec<String>,
    /// `compat`: in place of `server.compat` for this key.
    pub compat: Option<Compat>,
}

/// `auth.oauth`.
#[derive(Debug, Clone)]
pub struct OAuth {
    /// `provider`: who signs people in.
    pub provider: OAuthProvider,
    /// `client_id`; `None` while its variable is not set (sign-in is then off).
    pub client_id: Option<String>,
    /// `client_secret`; `None` when not given or its variable is not set.
    pub client_secret: Option<SecretString>,
    /// `allowed_users`: names at the provider; empty lets nobody in.
    pub allowed_users: Vec<String>,
}

/// `auth.oauth.provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthProvider {
    /// `github`.
    Github,
}

/// `rate_limits`. What is not given has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// `per_key`: requests of one key.
    pub per_key: Option<Rate>,
    /// `per_ip`: requests of one client address.
    pub per_ip: Option<Rate>,
    /// `auth_failures`: failed sign-ins of one client address.
    pub auth_failures: Option<Rate>,
    /// `rules`: calls that match a permission path; each key counts by itself.
    pub rules: Vec<RateRule>,
}

/// So many requests in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// `requests`: at least 1.
    pub requests: u32,
    /// `per`: default one minute.
    pub per: Duration,
    /// `burst`: how many at once; default `requests`.
    pub burst: u32,
}

/// One entry of `rate_limits.rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateRule {
    /// `match`: a permission path such as `mcps/stripe/*`.
    pub pattern: String,
    /// `keys`: names of API keys, `*` matches any text; default `["*"]`.
    pub keys: Vec<String>,
    /// `requests`, `per`, `burst`.
    pub rate: Rate,
}

/// `audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// `enabled`. Default true.
    pub enabled: bool,
    /// `arguments`: what is kept of a call's arguments. Default `digest`.
    pub arguments: AuditArguments,
    /// `keep`: rows older than this are removed. Default 90 days.
    pub keep: Duration,
}

/// `audit.arguments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditArguments {
    /// `none`: nothing.
    None,
    /// `digest`: a SHA-256.
    Digest,
    /// `full`: all of them, also what is private in them.
    Full,
}

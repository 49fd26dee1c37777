//! Plugins and hooks: code that is not the hub's, with what it may do.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::ByteSize;

use super::{EntryState, Schedule};

/// One entry of `plugins`.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// `name`: unique among MCPs and plugins, also as a namespace.
    pub name: String,
    /// `description`.
    pub description: Option<String>,
    /// `file`: absolute path of the source or the component.
    pub file: PathBuf,
    /// `runtime`: the language of `file`; default by its extension.
    pub runtime: Runtime,
    /// `grants`. Default none.
    pub grants: Grants,
    /// `limits`; what is not given is the hub's default.
    pub limits: Limits,
    /// `config`: handed to the code as JSON.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Whether it serves.
    pub state: EntryState,
}

/// One entry of `hooks`.
#[derive(Debug, Clone)]
pub struct Hook {
    /// `name`: unique among hooks.
    pub name: String,
    /// `trigger`: the event, one of [`TRIGGERS`](crate::config::TRIGGERS).
    pub trigger: String,
    /// `action`: absolute path of the source or the component.
    pub action: PathBuf,
    /// `runtime`: the language of `action`; default by its extension.
    pub runtime: Runtime,
    /// `match`: only events that match.
    pub matches: HookMatch,
    /// `order`: lower runs first; equal ones in the order of the file. Default 0.
    pub order: i32,
    /// `mode`; `None` is the trigger's own (blocking where the answer counts).
    pub mode: Option<HookMode>,
    /// `on_failure`. Default `closed` where [`guards`](crate::config::guards) says so, else `open`.
    pub on_failure: OnFailure,
    /// `schedule`: when it runs; there for `trigger: schedule` and for nothing else.
    pub schedule: Option<Schedule>,
    /// `webhook`: who may call it over HTTP; `None` closes its address. For `trigger: http` only.
    pub webhook: Option<Webhook>,
    /// `grants`. Default none.
    pub grants: Grants,
    /// `limits`; what is not given is the hub's default.
    pub limits: Limits,
    /// `config`: handed to the code as JSON.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Whether it serves.
    pub state: EntryState,
}

/// `runtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// `node`: JavaScript or TypeScript source.
    Node,
    /// `python`: Python source.
    Python,
    /// `wasm`: a finished component.
    Wasm,
}

/// `grants`: what the code may reach. Empty grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// `http`: origins such as `https://example.com:443`; `*` in the host matches any text.
    pub http: Vec<String>,
    /// `secrets`: names of variables it may read.
    pub secrets: Vec<String>,
    /// `env`: environment variables it sees.
    pub env: Vec<String>,
    /// `mcps`: patterns `MCP/TOOL` such as `github/*`.
    pub mcps: Vec<String>,
    /// `files`: folders it sees.
    pub files: Vec<FileGrant>,
    /// `client`: features of the client it may use.
    pub client: Vec<String>,
    /// `state.max_bytes`: how much it may keep; `None` grants no state.
    pub state_max_bytes: Option<ByteSize>,
}

/// One entry of `grants.files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileGrant {
    /// `path`: absolute path of a folder.
    pub path: PathBuf,
    /// `mode`. Default `ro`.
    pub mode: FileMode,
    /// `as`: where the code sees it; `None` is `/` and the folder's name.
    pub seen_as: Option<String>,
    /// `max_bytes`: how much may be in it, with mode `rw`. Default 256 MiB.
    pub max_bytes: Option<ByteSize>,
    /// `max_files`: how many files, folders and links may be in it, with mode `rw`. Default 10,000.
    pub max_files: Option<u64>,
}

/// `grants.files[].mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// `ro`: read.
    ReadOnly,
    /// `rw`: read and write.
    ReadWrite,
}

/// `limits`. `None` is the hub's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// `memory`: of one call.
    pub memory: Option<ByteSize>,
    /// `time`: of one call.
    pub time: Option<Duration>,
    /// `output`: of one call's answer.
    pub output: Option<ByteSize>,
    /// `concurrency`: calls at once, at least 1.
    pub concurrency: Option<u32>,
    /// `warm`: instances kept for the next call.
    pub warm: Option<u32>,
}

/// `hooks[].match`. Patterns in which `*` matches any text; an empty list matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookMatch {
    /// `mcps`: names of MCPs.
    pub mcps: Vec<String>,
    /// `tools`: names of tools as the MCP calls them.
    pub tools: Vec<String>,
    /// `keys`: names of API keys.
    pub keys: Vec<String>,
}

/// `hooks[].webhook`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `secret`: the name of the variable with the secret that the sender signs with.
    pub secret: String,
    /// `scheme`: how the signature is sent. Default `github`.
    pub scheme: WebhookScheme,
    /// `tolerance`: how old a signature may be, and for how long a repetition of the same request is
    /// refused. Default 5 minutes.
    pub tolerance: Duration,
}

/// `hooks[].webhook.scheme`: always HMAC-SHA256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WebhookScheme {
    /// `github`: `X-Hub-Signature-256: sha256=…` over the body.
    #[default]
    Github,
    /// `stripe`: `Stripe-Signature: t=…,v1=…` over time and body.
    Stripe,
    /// `slack`: `X-Slack-Signature: v0=…` over time and body.
    Slack,
}

/// `hooks[].mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookMode {
    /// `blocking`: the event waits for the hook.
    Blocking,
    /// `background`: the event goes on.
    Background,
}

/// `hooks[].on_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// `open`: the event passes with a warning.
    Open,
    /// `closed`: the event is denied.
    Closed,
}

impl OnFailure {
    /// What counts for hooks of `trigger` where the file says nothing.
    pub fn default_of(trigger: &str) -> Self {
        match crate::config::guards(trigger) {
            true => Self::Closed,
            false => Self::Open,
        }
    }
}

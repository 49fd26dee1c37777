//! A provider: what answers a call. It is an upstream MCP, a plugin or the hub itself, and the gateway treats all
//! three alike. The gateway gives a request to the provider with the provider's own names, and takes the answer.
//!
//! A provider never sees exposed names (`{mcp}__{tool}`). The gateway translates them before.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use aih_mcp::{Era, ErrorObject, ProtocolVersion, RawJson, RawObject};
use aih_redact::OutsideText;
use async_trait::async_trait;
use serde::Serialize;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::access::Principal;

/// The kind of a provider, as registry answers name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// An upstream MCP server.
    Mcp,
    /// A WebAssembly component.
    Plugin,
    /// The hub's own tools.
    Hub,
}

/// Whether a provider serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderState {
    /// Being started or connected for the first time.
    Starting,
    /// Serves.
    Up,
    /// Serves, but some of its lists could not be read; the hub reads them again.
    Degraded,
    /// Does not serve now; the hub keeps trying.
    Down,
    /// Switched off, or waits for a variable.
    Disabled,
}

impl ProviderState {
    /// Whether calls reach it.
    pub fn serves(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }
}

/// A provider as health and registry show it. Holds no secret.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema, utoipa::ToSchema)]
pub struct ProviderStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    pub kind: ProviderKind,
    /// Whether it serves.
    pub state: ProviderState,
    /// The last error; a server that is `up` has none. For `disabled`, the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[schemars(with = "Option<String>")]
    pub last_error: Option<OutsideText>,
    /// How it is reached: `http`, `sse`, `stdio`, `internal`.
    pub transport: String,
    /// The revision of MCP that was negotiated with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Open connections (for stdio: processes).
    pub connections: usize,
    /// How often the hub connected to it again since the hub started.
    pub restarts: u64,
    /// What is refused for a while, because calls of it ended the server's process several times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<ParkedItem>,
    /// Items of its lists that do not follow MCP, 50 of each list at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flaws: Vec<ItemFlaw>,
}

/// Something whose calls are refused for a while.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema, utoipa::ToSchema)]
pub struct ParkedItem {
    /// The name of the tool; of another thing, its method and its name.
    pub name: String,
    /// How long its calls are still refused, in seconds.
    pub seconds: u64,
    /// Whether they are refused for everyone; else for the keys whose calls ended the process.
    pub everyone: bool,
}

/// An item of a list that does not follow MCP. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema, utoipa::ToSchema)]
pub struct ItemFlaw {
    /// The list: `tools`, `prompts`, `resources` or `resourceTemplates`.
    pub list: String,
    /// The name or the URI of the item; its place in the list, such as `#3`, where it has none.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub item: OutsideText,
    /// Whether clients do not get the item. Otherwise they get it without what is wrong.
    pub left_out: bool,
    /// What is wrong.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub problem: OutsideText,
}

/// What a provider lists, each item as it came or repaired. Order is the provider's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// `tools/list`, all pages.
    pub tools: Vec<RawJson>,
    /// `prompts/list`.
    pub prompts: Vec<RawJson>,
    /// `resources/list`.
    pub resources: Vec<RawJson>,
    /// `resources/templates/list`.
    pub templates: Vec<RawJson>,
    /// The capabilities that it declared; `None` before it was ever up.
    pub capabilities: Option<RawJson>,
    /// Its `serverInfo`.
    pub server_info: Option<RawJson>,
    /// Its `instructions`.
    pub instructions: Option<String>,
    /// The tool whose description also has the instructions, for clients that do not give them to their model.
    pub instructions_tool: Option<&'static str>,
    /// What does not follow MCP in its lists.
    pub flaws: Vec<ItemFlaw>,
}

/// Who a connection to a stateful provider belongs to: a legacy session, or a principal of the modern era.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub Arc<str>);

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The client's end, as a provider sees it.
#[async_trait]
pub trait Peer: Send + Sync {
    /// Queues a notification for the client; never waits. `provider` says who speaks. What the client
    /// cannot take (gone, queue full) is dropped and counted.
    fn notify(&self, provider: &str, method: &str, params: Option<RawJson>);

    /// Asks the client: `sampling/createMessage`, `elicitation/create`, `roots/list` or whatever else an
    /// upstream asks. In the modern era this ends the client's request with `input_required` and waits for
    /// its retry.
    ///
    /// # Errors
    /// The client's own error, unchanged; or the hub's, when the client did not declare the capability, is gone, or
    /// did not answer in time.
    async fn ask(
        &self,
        provider: &str,
        method: &str,
        params: Option<RawJson>,
    ) -> Result<RawJson, ErrorObject>;
}

/// A client of the hub: one legacy session, or all modern requests of one principal and client name.
pub struct Client {
    /// Its identity for connections of its own.
    pub key: ClientKey,
    /// Who it is.
    pub principal: Arc<Principal>,
    /// The revision that it speaks with the hub.
    pub version: ProtocolVersion,
    /// Its `clientInfo`, unread.
    pub info: Option<RawJson>,
    /// Its capabilities, unread; `{}` when it declared none.
    pub capabilities: RawJson,
    /// Reaches the client outside any request of its own (the GET stream of a session).
    pub peer: Arc<dyn Peer>,
    /// What `logging/setLevel` asked for; see [`LogLevel`].
    pub log_level: AtomicU8,
    /// When the hub heard of it first.
    pub since: Instant,
}

impl Client {
    /// Whether the client declared a capability (`sampling`, `elicitation`, `roots`).
    pub fn can(&self, capability: &str) -> bool {
        aih_mcp::RawObject::parse(&self.capabilities).is_ok_and(|c| c.get(capability).is_some())
    }

    /// The log level that it set, if it did.
    pub fn log_level(&self) -> Option<LogLevel> {
        LogLevel::from_rank(self.log_level.load(Ordering::Relaxed))
    }

    /// The era of its revision.
    pub fn era(&self) -> Era {
        self.version.era()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("key", &self.key)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Severity of a log message (RFC 5424, as MCP names them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "RFC 5424 section 6.2.1 defines each")]
pub enum LogLevel {
    Debug = 1,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl LogLevel {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Debug, "debug"),
        (Self::Info, "info"),
        (Self::Notice, "notice"),
        (Self::Warning, "warning"),
        (Self::Error, "error"),
        (Self::Critical, "critical"),
        (Self::Alert, "alert"),
        (Self::Emergency, "emergency"),
    ];

    /// Reads the word that MCP uses.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, w)| *w == word).map(|(l, _)| *l)
    }

    /// The word that MCP uses.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(l, _)| *l == self)
            .map_or("info", |(_, w)| w)
    }

    /// The number that [`Client::log_level`] holds; 0 stands for none.
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// Reverses [`LogLevel::rank`].
    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.iter().find(|(l, _)| *l as u8 == rank).map(|(l, _)| *l)
    }
}

/// One request on its way to a provider.
pub struct Call {
    /// Who asks.
    pub client: Arc<Client>,
    /// Reaches the client for as long as this request runs (its response stream).
    pub peer: Arc<dyn Peer>,
    /// Fires when the client cancelled or went away.
    pub cancel: CancellationToken,
    /// How many plugins stand between the client and this call: 0 for a call of the client's own.
    pub depth: u8,
    /// The hooks that made it.
    pub trail: Trail,
}

/// The hooks on whose behalf a call is made, outermost first; empty for a call of a client's own. It keeps a
/// hook that calls tools from waking itself without end.
#[derive(Clone, Debug, Default)]
pub struct Trail(Vec<Arc<str>>);

impl Trail {
    /// A call that comes from this many nested hooks triggers no further hook.
    const FULL: usize = 2;

    /// Their names.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// The trail of what `hook` does here.
    #[must_use]
    pub fn with(&self, hook: &Arc<str>) -> Self {
        let mut hooks = self.0.clone();
        hooks.push(hook.clone());
        Self(hooks)
    }

    /// Whether `hook` may run on an event of such a call.
    #[must_use]
    pub fn lets_run(&self, hook: &str) -> bool {
        self.0.len() < Self::FULL && self.0.iter().all(|behind| **behind != *hook)
    }
}

impl FromIterator<String> for Trail {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().map(Arc::from).collect())
    }
}

impl Call {
    /// The same call, for what runs on its behalf.
    pub fn again(&self) -> Self {
        Self {
            client: self.client.clone(),
            peer: self.peer.clone(),
            cancel: self.cancel.clone(),
            depth: self.depth,
            trail: self.trail.clone(),
        }
    }
}

/// What a provider answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The result, unread.
    pub result: RawJson,
    /// The era in which the provider speaks: a modern result may be `input_required`, a legacy one lacks `resultType`.
    pub era: Era,
}

impl Answer {
    /// Whether it is a result of `tools/call` that tells the model of an error.
    pub(crate) fn is_error(&self) -> bool {
        RawObject::parse(&self.result).is_ok_and(|result| result.read("isError") == Some(true))
    }
}

/// What stands behind a name.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// How it is.
    fn status(&self) -> ProviderStatus;

    /// Whether a client that lists now gets all that there is to get: the lists have been read, or could not be read,
    /// or are those that the server had when the hub ran last.
    fn settled(&self) -> bool {
        self.status().state != ProviderState::Starting
    }

    /// Whether it is being reached for the first time since the hub started, and what it has now is not known yet.
    fn is_starting(&self) -> bool {
        self.status().state == ProviderState::Starting
    }

    /// What it lists now. Empty until it is up for the first time ever, and after that the last known lists
    /// even while it is down (a call then says what is wrong).
    fn offers(&self) -> Arc<Offers>;

    /// What calls of `client` reach lists, where that is something else than [`Provider::offers`]: the client has a process
    /// or a session of its own, or would get one. Never waits.
    fn offers_for(&self, _client: &Client) -> Option<Arc<Offers>> {
        None
    }

    /// The server's own name of the tool that is listed as `listed`; `None` for one that is not offered. Never waits
    /// for the server.
    fn own_tool_name<'n>(&'n self, listed: &'n str) -> Option<&'n str> {
        Some(listed)
    }

    /// Any request but list, subscribe and log level: `tools/call`, `prompts/get`, `resources/read`,
    /// `completion/complete`, and what the hub does not know. `params` is the client's, with the
    /// provider's own names; `_meta` is unchanged (the provider maps progress tokens and eras).
    ///
    /// # Errors
    /// The upstream's error unchanged, or the hub's own: unavailable, timed out, cancelled.
    async fn request(
        &self,
        method: &str,
        params: Option<RawJson>,
        call: &Call,
    ) -> Result<Answer, ErrorObject>;

    /// A notification from the client (`notifications/roots/list_changed`, unknown ones). It reaches the server only
    /// over a connection that is this client's own: over one that clients share, it would speak for all of them.
    /// Best effort.
    async fn notify(&self, method: &str, params: Option<RawJson>, client: &Arc<Client>);

    /// Subscribes the client to a resource; `notifications/resources/updated` then comes through
    /// [`Client::peer`] until [`Provider::unsubscribe`] or [`Provider::release`].
    ///
    /// # Errors
    /// The upstream's, or that it has no subscriptions.
    async fn subscribe(&self, uri: &str, client: &Arc<Client>) -> Result<(), ErrorObject>;

    /// Ends a subscription; one that is not there is no error.
    ///
    /// # Errors
    /// The upstream's.
    async fn unsubscribe(&self, uri: &str, client: &Arc<Client>) -> Result<(), ErrorObject>;

    /// The client set its log level ([`Client::log_level`] already holds it). Best effort.
    async fn set_log_level(&self, client: &Arc<Client>);

    /// The client is gone: close what was its own (connections, processes, subscriptions).
    fn release(&self, client: &ClientKey);

    /// The client has neither an open stream nor a running request, and has not been heard of for a while: give back
    /// what can be had again when it comes back (connections of its own). It is still a client.
    fn abandoned(&self, _client: &ClientKey) {}

    /// The operator asks for it: what is not connected is connected now, without the rest of a pause.
    fn start_again(&self) {}

    /// Ends everything; returns when children are gone or after the given grace period.
    async fn shutdown(&self, grace: std::time::Duration);
}

/// Tells the catalogue that some provider's lists or state changed. Cheap and lossless: many marks
/// between two looks become one.
#[derive(Clone, Debug)]
pub struct ChangeSignal {
    marks: watch::Sender<u64>,
    own: broadcast::Sender<OwnListChange>,
}

/// What a client has for itself at a provider changed; see [`Provider::offers_for`].
#[derive(Clone, Debug)]
pub struct OwnListChange {
    /// Whose.
    pub client: ClientKey,
    /// The provider's name.
    pub provider: Arc<str>,
    /// What the client was shown.
    pub before: Arc<Offers>,
    /// What it is shown now.
    pub after: Arc<Offers>,
}

impl Default for ChangeSignal {
    fn default() -> Self {
        Self {
            marks: watch::Sender::new(0),
            own: broadcast::Sender::new(256),
        }
    }
}

impl ChangeSignal {
    /// Something changed.
    pub fn mark(&self) {
        self.marks.send_modify(|n| *n += 1);
    }

    /// Wakes for every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.marks.subscribe()
    }

    /// Something changed for one client alone.
    pub fn mark_own(&self, change: OwnListChange) {
        // No receiver is not an error: nobody is connected.
        let _ = self.own.send(change);
    }

    /// Changes for one client alone from now on.
    pub fn subscribe_own(&self) -> broadcast::Receiver<OwnListChange> {
        self.own.subscribe()
    }
}

//! The state of one upstream server that its tasks and its callers share.
//!
//! A request goes over a shared connection (`sharing.rs`) or over its client's own one (`own.rs`): [`Core::lease`].

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aih_mcp::{Era, ErrorCode, ErrorObject, ProtocolVersion, RawJson, method};
use aih_redact::OutsideText;
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clients::{Lease, MAX_PROCESSES, MAX_SESSIONS, Pool},
    lifecycle::{DialError, Dialer},
    lists::Listing,
    subscriptions::Subscriptions,
};
use crate::{
    access::ResourcePath,
    config::Sessions,
    provider::{ChangeSignal, Client, ClientKey, LogLevel, Offers},
    upstream::{
        known_lists::KnownLists,
        link::{
            common::Common,
            connection::{CallError, Connection, Events, ListSet, lock},
        },
        spec::UpstreamSpec,
        transport::{
            TransportError,
            connector::{Connector, TransportKind},
        },
    },
};

/// How long a request that the hub makes for itself may take.
pub(crate) const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// What the last greeting told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    pub(crate) transport_kind: TransportKind,
    pub(crate) version: ProtocolVersion,
    pub(crate) stateful: bool,
}

/// The progress of connecting one slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts {
    /// How many ended.
    pub(crate) ended: u64,
    /// Whether one runs, or starts within a second.
    pub(crate) running: bool,
    /// Whether the process is not started again for a long time, unless somebody asks for it.
    pub(crate) parked: bool,
    /// Whether the hub ended its own process for a client that has one, and starts it again when it is needed.
    pub(crate) dormant: bool,
    /// Whether it is needed.
    pub(crate) wanted: bool,
    /// Why there is no connection, and when the last attempt failed.
    pub(crate) failure: Option<(Arc<DialError>, Option<Instant>)>,
}

/// The place of one shared connection.
pub(crate) struct Slot {
    pub(crate) connection: ArcSwapOption<Connection>,
    pub(crate) attempts: Mutex<Attempts>,
    pub(crate) retry_now: Notify,
    /// The version of the subscriptions that the server has confirmed (modern era).
    pub(crate) confirmed: watch::Sender<u64>,
}

impl Slot {
    /// The connection, if it is good.
    pub(crate) fn live(&self) -> Option<Arc<Connection>> {
        self.connection.load_full().filter(|c| !c.is_gone())
    }
}

/// One upstream server.
pub(crate) struct Core {
    pub(crate) name: Arc<str>,
    pub(crate) common: Arc<Common>,
    pub(crate) spec: Arc<UpstreamSpec>,
    pub(crate) dialer: Dialer,
    pub(crate) changes: ChangeSignal,
    pub(crate) slots: Box<[Slot]>,
    /// Wakes who waits for a connection; counts attempts that ended.
    pub(crate) pulse: watch::Sender<u64>,
    pub(super) next: AtomicUsize,
    /// Requests that wait for a shared connection.
    pub(super) sharers: AtomicUsize,
    pub(crate) pool: Pool,
    /// The turns of requests, where the entry bounds how many run at one time.
    pub(crate) turns: Option<Semaphore>,
    pub(crate) subscriptions: Subscriptions,
    /// Counts changes of the subscriptions on shared connections.
    pub(crate) version: watch::Sender<u64>,
    /// Subscriptions on shared connections change one at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pub(crate) levels: Mutex<HashMap<ClientKey, LogLevel>>,
    pub(crate) listing: ArcSwap<Listing>,
    relisting: Mutex<()>,
    /// Whether the first listing is that of the hub's last run.
    pub(crate) recalled: bool,
    /// Where lists are kept for the next run.
    pub(crate) known: Option<Arc<KnownLists>>,
    /// What was kept there last.
    pub(crate) kept: Mutex<Option<Arc<Offers>>>,
    /// What the first process of a client with these capabilities listed at its start.
    pub(crate) by_capabilities: Mutex<HashMap<Box<[u8]>, Arc<Offers>>>,
    /// Whether all lists have been read once, or an attempt at it has ended.
    pub(crate) listed: AtomicBool,
    pub(crate) last_error: ArcSwapOption<OutsideText>,
    pub(crate) profile: ArcSwapOption<Profile>,
    pub(crate) restarts: AtomicU64,
    pub(super) stale: AtomicU8,
    /// The lists that could not be read when they were read last.
    pub(super) unread: AtomicU8,
    pub(crate) refresh: Notify,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(super) this: Weak<Self>,
}

impl Core {
    pub(crate) fn new(
        spec: UpstreamSpec,
        connector: Arc<dyn Connector>,
        changes: ChangeSignal,
        known: Option<(Arc<KnownLists>, Option<Offers>)>,
    ) -> Arc<Self> {
        let (known, last) = known.unzip();
        let last = last.flatten().filter(|_| spec.state.is_enabled());
        let limit = if spec.is_stdio() {
            MAX_PROCESSES
        } else {
            MAX_SESSIONS
        };
        let turns = spec.concurrency.and_then(|turns| usize::try_from(turns).ok());
        let turns = turns.map(Semaphore::new);
        let spec = Arc::new(spec);
        let slots = (0..spec.instances())
            .map(|_| Slot {
                connection: ArcSwapOption::empty(),
                attempts: Mutex::default(),
                retry_now: Notify::new(),
                confirmed: watch::Sender::new(0),
            })
            .collect();
        Arc::new_cyclic(|this: &Weak<Self>| {
            let events: Weak<dyn Events> = this.clone();
            let name: Arc<str> = spec.name.as_str().into();
            let common = Common::new(name.clone());
            let tasks = TaskTracker::new();
            Self {
                name,
                dialer: Dialer::new(spec.clone(), connector, common.clone(), events, tasks.clone()),
                common,
                spec,
                changes,
                slots,
                pulse: watch::Sender::new(0),
                next: AtomicUsize::new(0),
                sharers: AtomicUsize::new(0),
                pool: Pool::new(limit),
                turns,
                subscriptions: Subscriptions::default(),
                version: watch::Sender::new(0),
                changing: tokio::sync::Mutex::new(()),
                levels: Mutex::default(),
                recalled: last.is_some(),
                listing: ArcSwap::from_pointee(Listing::of(last.unwrap_or_default())),
                known,
                kept: Mutex::default(),
                by_capabilities: Mutex::default(),
                relisting: Mutex::default(),
                listed: AtomicBool::new(false),
                last_error: ArcSwapOption::empty(),
                profile: ArcSwapOption::empty(),
                restarts: AtomicU64::new(0),
                stale: AtomicU8::new(0),
                unread: AtomicU8::new(0),
                refresh: Notify::new(),
                stop: CancellationToken::new(),
                tasks,
                this: this.clone(),
            }
        })
    }

    /// The shared connections that are good.
    pub(crate) fn live(&self) -> impl Iterator<Item = Arc<Connection>> {
        self.slots.iter().filter_map(Slot::live)
    }

    /// Remembers an error for status answers.
    pub(crate) fn note(&self, error: impl Into<OutsideText>) {
        self.last_error.store(Some(Arc::new(error.into())));
    }

    /// Forgets the error where nothing is wrong any more: all shared connections are good, or not needed.
    pub(crate) fn recovered(&self) {
        let is_well = |slot: &Slot| slot.live().is_some() || lock(&slot.attempts).dormant;
        if self.slots.iter().all(is_well) {
            self.last_error.store(None);
        }
    }

    /// These lists are to be read again.
    pub(crate) fn mark_stale(&self, which: ListSet) {
        self.stale.fetch_or(which.0, Ordering::AcqRel);
    }

    /// Which lists are to be read again; forgets it.
    pub(crate) fn take_stale(&self) -> ListSet {
        ListSet(self.stale.swap(0, Ordering::AcqRel))
    }

    /// The lists that could not be read when they were read last.
    pub(crate) fn unread(&self) -> ListSet {
        ListSet(self.unread.load(Ordering::Acquire))
    }

    /// Of the lists `which`, `failed` could not be read. Answers which of them could be read before.
    pub(crate) fn note_unread(&self, which: ListSet, failed: ListSet) -> ListSet {
        let now = |before: u8| Some((before & !which.0) | failed.0);
        // The closure never refuses.
        let before = self.unread.fetch_update(Ordering::AcqRel, Ordering::Acquire, now);
        ListSet(failed.0 & !before.unwrap_or_default())
    }

    /// Replaces part of the listing, one at a time, and says so.
    pub(crate) fn relist(&self, change: impl FnOnce(&Listing) -> Listing) {
        let one = lock(&self.relisting);
        let changed = change(&self.listing.load());
        self.listing.store(Arc::new(changed));
        drop(one);
        self.changes.mark();
    }

    /// The connection that a request of `client` goes over.
    pub(crate) async fn lease(&self, client: &Arc<Client>) -> Result<Lease, ErrorObject> {
        if let Some(reason) = self.spec.state.reason() {
            return Err(ErrorObject::new(
                ErrorCode::UPSTREAM_UNAVAILABLE,
                format!("server `{}` is off: {reason}", self.name),
            ));
        }
        if self.profile.load().is_none() {
            // The first greeting tells whether clients can share.
            self.shared().await?;
        }
        if self.has_own(client) {
            self.own(client).await
        } else {
            self.shared().await.map(Lease::shared)
        }
    }

    /// Whether `client` gets a connection of its own.
    pub(crate) fn has_own(&self, client: &Client) -> bool {
        let Some(profile) = self.profile.load_full() else {
            return false;
        };
        let legacy = profile.version.era() == Era::Legacy;
        match (self.spec.sessions, profile.transport_kind) {
            (Sessions::Shared, _) => false,
            (Sessions::PerClient, TransportKind::Stdio) => true,
            (Sessions::Auto, TransportKind::Stdio) => {
                legacy && ["sampling", "elicitation", "roots"].iter().any(|c| client.can(c))
            }
            (_, TransportKind::Http | TransportKind::Sse) => legacy && profile.stateful,
        }
    }

    pub(crate) async fn send_level(&self, connection: &Arc<Connection>, level: LogLevel) {
        let fields = [("level", RawJson::of(level.as_str()))];
        if let Err(error) = connection.request(method::SET_LEVEL, &fields, HOUSEKEEPING).await {
            tracing::debug!(server = %self.name, ?error, "the log level was not taken");
        }
    }

    /// Best effort, for replays.
    pub(crate) async fn send_subscription(&self, connection: &Arc<Connection>, method: &str, uri: &str) {
        let fields = [("uri", RawJson::of(uri))];
        if let Err(error) = connection.request(method, &fields, HOUSEKEEPING).await {
            tracing::warn!(server = %self.name, uri, ?error, "a subscription was not taken");
        }
    }

    /// The lowest level that a client on shared connections set.
    pub(crate) fn lowest_level(&self) -> Option<LogLevel> {
        lock(&self.levels).values().min().copied()
    }

    /// Gives `connection` up if `error` says that it is of no use any more. Then the server has not run
    /// what was asked.
    pub(crate) fn give_up_if_broken(&self, connection: &Arc<Connection>, error: &CallError) -> bool {
        if lost_session(connection, error) {
            connection.fail(&TransportError::SessionLost);
            return true;
        }
        match error {
            CallError::Transport(e @ (TransportError::Connect(_) | TransportError::SessionLost)) => {
                connection.fail(e);
                true
            }
            _ => false,
        }
    }

    /// Draws the consequences of a failed call for its connection, and says whether the request is sent once more
    /// over another one.
    ///
    /// What the server had got is sent again only where that does no harm: it reads, or the server lists the tool as
    /// read-only or idempotent. What has probably ended the process is not.
    pub(crate) fn judge(&self, connection: &Arc<Connection>, method: &str, error: &CallError) -> Retry {
        if matches!(error, CallError::Transport(TransportError::NotSent(_))) {
            return Retry::NotSent;
        }
        if self.give_up_if_broken(connection, error) {
            return Retry::Once;
        }
        let repeatable = match error {
            CallError::Transport(TransportError::Closed(_)) => {
                if !connection.stateful() {
                    // Perhaps it was restarted, and nothing else would tell.
                    self.lists_changed(None, ListSet::ALL);
                }
                false
            }
            CallError::Ended {
                item, charged: false, ..
            } if method == method::TOOLS_CALL => {
                let listing = self.listing.load();
                item.as_ref().is_some_and(|i| listing.repeatable.contains(&**i))
            }
            CallError::Ended { charged: false, .. } => false,
            _ => return Retry::No,
        };
        let reads = matches!(
            method,
            method::RESOURCES_READ | method::PROMPTS_GET | method::COMPLETE
        );
        if repeatable || reads {
            Retry::Once
        } else {
            Retry::No
        }
    }
}

/// Whether a failed request is sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// No: it may have run.
    No,
    /// The server has seen nothing of it.
    NotSent,
    /// It can run twice, or the server has refused to run it.
    Once,
}

/// Many servers answer 400 or an error of their own making, instead of 404, to a session that they do not know.
fn lost_session(connection: &Connection, error: &CallError) -> bool {
    if connection.transport_kind != TransportKind::Http
        || connection.era() == Era::Modern
        || !connection.stateful()
    {
        return false;
    }
    match error {
        CallError::Transport(TransportError::Status { status, detail, .. }) => {
            *status == 404 || (*status == 400 && detail.to_ascii_lowercase().contains("session"))
        }
        CallError::Rpc(error) => {
            let text = error.message.to_ascii_lowercase();
            matches!(error.code.0, -32_001 | -32_000 | -32_600)
                && (text.contains("session id") || text.contains("session not found"))
        }
        _ => false,
    }
}

impl Events for Core {
    fn lists_changed(&self, owner: Option<&Arc<Client>>, which: ListSet) {
        if let Some(owner) = owner {
            self.own_lists_changed(owner, which);
            if self.spec.is_stdio() {
                // What one process lists says nothing of the others.
                return;
            }
        }
        self.mark_stale(which);
        self.refresh.notify_one();
    }

    fn resource_updated(&self, owner: Option<&Arc<Client>>, uri: &str, params: &RawJson) {
        let resource = ResourcePath::new(&format!("mcps/{}", self.name), uri);
        let notify_client = |client: &Client| {
            // What was subscribed to may have parts that the client may not see.
            if !client.principal.permissions().allows_resource(&resource) {
                return;
            }
            client
                .peer
                .notify(&self.name, method::RESOURCE_UPDATED, Some(params.clone()));
        };
        match owner {
            Some(owner) => notify_client(owner),
            None => self
                .subscriptions
                .interested(uri)
                .iter()
                .for_each(|c| notify_client(c)),
        }
    }

    fn lost(&self, connection: &Arc<Connection>, error: &TransportError) {
        let Some(client) = connection.owner.clone() else {
            // The slot's supervisor waits for that.
            return;
        };
        // A server that lost one session may have been restarted: the hub's own session finds out.
        self.lists_changed(None, ListSet::ALL);
        tracing::debug!(server = %self.name, client = %client.key, %error, "a client's connection is gone");
        let (Some(this), connection) = (self.this.upgrade(), connection.clone()) else {
            return;
        };
        self.tasks.spawn(async move {
            connection.close().await;
            this.reopen(&client).await;
            this.take_place();
        });
    }
}

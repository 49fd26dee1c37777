//! The state of one upstream server that its tasks and its callers share, and the choice of a connection.
//!
//! Callers never connect a shared connection themselves: each has a supervisor (`supervisor.rs`) that does,
//! so a hundred requests to a server that is down make one attempt.

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
    backoff,
    clients::{Entry, Lease, MAX_PROCESSES, MAX_SESSIONS, Pool},
    lifecycle::{DialError, Dialer},
    lists::Listing,
    subscriptions::Subscriptions,
    supervisor::jitter,
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

/// How long a request waits for a connection over HTTP that is being made. A process may need longer: a request waits
/// for it as long as for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long after a failed attempt no request causes another.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long after a failed start no request starts a parked process.
const PARKED_PAUSE: Duration = Duration::from_secs(2);
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

/// A request that waits for a shared connection.
struct Sharer<'c>(&'c AtomicUsize);

impl<'c> Sharer<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Sharer<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
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
    next: AtomicUsize,
    /// Requests that wait for a shared connection.
    sharers: AtomicUsize,
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
    stale: AtomicU8,
    /// The lists that could not be read when they were read last.
    unread: AtomicU8,
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

    /// A shared connection, in turn.
    pub(crate) async fn shared(&self) -> Result<Arc<Connection>, ErrorObject> {
        if let Some(connection) = self.pick() {
            return Ok(connection);
        }
        let _sharer = Sharer::new(&self.sharers);
        let patience = match self.spec.is_stdio() {
            true => self.spec.call_timeout,
            false => self.spec.call_timeout.min(PATIENCE),
        };
        let until = Instant::now() + patience;
        loop {
            let found = tokio::select! {
                found = tokio::time::timeout_at(until, self.next_shared()) => found.ok().flatten(),
                () = self.stop.cancelled() => None,
            };
            if let Some(connection) = found {
                return Ok(connection);
            }
            // It may have made way for a client's between its start and now.
            if !self.is_dormant() || self.stop.is_cancelled() || Instant::now() >= until {
                return Err(self.why_down());
            }
        }
    }

    /// A shared connection, once the attempts that run now have ended.
    async fn next_shared(&self) -> Option<Arc<Connection>> {
        let mut pulse = self.pulse.subscribe();
        let waiting: Vec<Option<u64>> = self.slots.iter().map(|slot| self.awaited(slot)).collect();
        loop {
            if let Some(connection) = self.pick() {
                return Some(connection);
            }
            let pending = self
                .slots
                .iter()
                .zip(&waiting)
                .any(|(slot, before)| before.is_some_and(|before| lock(&slot.attempts).ended == before));
            if !pending || pulse.changed().await.is_err() {
                return None;
            }
        }
    }

    fn pick(&self) -> Option<Arc<Connection>> {
        if let [slot] = &*self.slots {
            return slot.live();
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len().max(1);
        let (before, after) = self.slots.split_at_checked(start)?;
        after.iter().chain(before).find_map(Slot::live)
    }

    /// Whether an attempt to connect `slot` is worth waiting for: the number of attempts until now.
    fn awaited(&self, slot: &Slot) -> Option<u64> {
        let mut attempts = lock(&slot.attempts);
        // A connection that is gone but still in its place: the supervisor is about to notice.
        let soon = attempts.running || slot.connection.load().is_some();
        if attempts.dormant {
            attempts.wanted = true;
            slot.retry_now.notify_one();
            return Some(attempts.ended);
        }
        let failure = attempts.failure.as_ref();
        if self.spec.is_stdio() {
            let failed = failure.and_then(|(_, at)| *at);
            let due = attempts.parked && failed.is_none_or(|at| at.elapsed() >= PARKED_PAUSE);
            if due {
                slot.retry_now.notify_one();
            }
            return (soon || due).then_some(attempts.ended);
        }
        let recent = failure.is_some_and(|(error, at)| {
            let pause = error.retry_after().unwrap_or_default().max(RETRY_PAUSE);
            at.is_some_and(|at| at.elapsed() < pause)
        });
        if !recent {
            slot.retry_now.notify_one();
        }
        (soon || !recent).then_some(attempts.ended)
    }

    /// Connects what is not connected without waiting any longer.
    pub(crate) fn start_again(&self) {
        for slot in self.slots.iter().filter(|slot| slot.live().is_none()) {
            if !lock(&slot.attempts).dormant {
                slot.retry_now.notify_one();
            }
        }
    }

    /// Whether the hub has ended its own process for a client.
    pub(crate) fn is_dormant(&self) -> bool {
        self.slots.iter().any(|slot| lock(&slot.attempts).dormant)
    }

    /// Ends the hub's own process for a client that needs a process, if no client uses it. Many servers cannot run twice:
    /// they want the same port, or lock the same file.
    async fn give_place(&self) {
        let [slot] = &*self.slots else { return };
        let unused = |connection: &Connection| {
            self.sharers.load(Ordering::SeqCst) == 0
                && connection.users.is_unused()
                && connection.client_flights().is_empty()
                && self.subscriptions.shared_by().is_empty()
        };
        if !self.spec.is_stdio() || !slot.live().is_some_and(|connection| unused(&connection)) {
            return;
        }
        // From now on whoever needs it waits for the next one, and whoever has it uses it.
        lock(&slot.attempts).dormant = true;
        let taken = slot.connection.swap(None);
        tokio::task::yield_now().await;
        match taken {
            Some(connection) if unused(&connection) => {
                tracing::debug!(server = %self.name, "the hub's own process ends for a client's");
                connection.close().await;
            }
            used => {
                slot.connection.store(used);
                let mut attempts = lock(&slot.attempts);
                (attempts.dormant, attempts.wanted) = (false, false);
            }
        }
        self.pulse.send_modify(|n| *n += 1);
        self.changes.mark();
    }

    /// Starts the hub's own process again where no client has one.
    pub(crate) fn take_place(&self) {
        if self.pool.is_used() {
            return;
        }
        for slot in &self.slots {
            let mut attempts = lock(&slot.attempts);
            if attempts.dormant {
                attempts.wanted = true;
                slot.retry_now.notify_one();
            }
        }
    }

    fn why_down(&self) -> ErrorObject {
        let failure = self
            .slots
            .iter()
            .find_map(|slot| lock(&slot.attempts).failure.clone());
        match failure {
            Some((error, _)) => error.to_object(&self.name),
            None => ErrorObject::new(
                ErrorCode::UPSTREAM_UNAVAILABLE,
                format!("server `{}` is still starting; try again", self.name),
            ),
        }
    }

    /// The client's own connection, opened if need be.
    pub(crate) async fn own(&self, client: &Arc<Client>) -> Result<Lease, ErrorObject> {
        let pinned = |key: &ClientKey| !self.subscriptions.own(key).is_empty();
        let Some((hold, evicted)) = self.pool.hold(&client.key, pinned) else {
            return Err(ErrorObject::new(
                ErrorCode::UPSTREAM_UNAVAILABLE,
                format!(
                    "server `{}`: all {} connections for clients are in use; try again",
                    self.name,
                    self.pool.limit()
                ),
            ));
        };
        if let Some(evicted) = evicted {
            self.tasks.spawn(async move { evicted.close().await });
        }
        if let Some(connection) = hold.entry().live() {
            return Ok(Lease::own(connection, hold));
        }
        let Some(this) = self.this.upgrade() else {
            return Err(self.why_down());
        };
        let (entry, owner) = (hold.entry().clone(), client.clone());
        // A task of its own: a client that gives up leaves no half-open connection.
        let opened = self.tasks.spawn(async move {
            let opened = this.open_own(&entry, &owner).await;
            if opened.is_err() {
                this.take_place();
            }
            opened
        });
        match opened.await {
            Ok(Ok(connection)) => {
                self.recovered();
                Ok(Lease::own(connection, hold))
            }
            Ok(Err(error)) => {
                self.note(error.message.clone());
                Err(error)
            }
            Err(_) => Err(self.why_down()),
        }
    }

    async fn open_own(&self, entry: &Entry, client: &Arc<Client>) -> Result<Arc<Connection>, ErrorObject> {
        let _one = entry.opening.lock().await;
        if let Some(connection) = entry.live() {
            return Ok(connection);
        }
        let closing = || {
            ErrorObject::new(
                ErrorCode::UPSTREAM_UNAVAILABLE,
                format!("server `{}`: the client's session ended", self.name),
            )
        };
        if entry.is_released() {
            return Err(closing());
        }
        self.give_place().await;
        let connection = tokio::select! {
            dialed = self.dial_any(client) => dialed.map_err(|error| error.to_object(&self.name))?,
            () = self.stop.cancelled() => return Err(closing()),
        };
        // It is there again: who waits to connect the shared ones need not wait longer.
        self.start_again();
        self.replay_own(&connection, client).await;
        self.first_own_lists(entry, client, &connection).await;
        if entry.put(&connection) && !self.stop.is_cancelled() {
            Ok(connection)
        } else {
            connection.close().await;
            Err(closing())
        }
    }

    /// Tries the instances in turn until one can be reached.
    async fn dial_any(&self, client: &Arc<Client>) -> Result<Arc<Connection>, DialError> {
        let count = self.slots.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut tried = 1;
        loop {
            let instance = (start + tried) % count.max(1);
            let dialed = self.dialer.dial(instance, Some(client), None).await;
            if let Err(DialError::Transport(error @ TransportError::Connect(_))) = &dialed {
                self.give_up_address(instance, error);
                if tried < count {
                    tried += 1;
                    continue;
                }
            }
            return dialed;
        }
    }

    /// The address of an instance cannot be connected to. Its shared connection, when it is one of requests that
    /// each go there anew, is of no use either, and nothing else would tell.
    fn give_up_address(&self, instance: usize, error: &TransportError) {
        let shared = self.slots.get(instance).and_then(Slot::live);
        if let Some(connection) = shared.filter(|connection| connection.transport_kind == TransportKind::Http)
        {
            connection.fail(error);
        }
    }

    /// Tells a new connection of a client what the client told the old one.
    async fn replay_own(&self, connection: &Arc<Connection>, client: &Arc<Client>) {
        if connection.era() == Era::Modern {
            return;
        }
        if let Some(level) = client.log_level().filter(|_| connection.declares("logging")) {
            self.send_level(connection, level).await;
        }
        for uri in self.subscriptions.own(&client.key) {
            self.send_subscription(connection, method::RESOURCES_SUBSCRIBE, &uri)
                .await;
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

impl Core {
    /// A client that has subscriptions must not need to ask before it gets updates again.
    async fn reopen(&self, client: &Arc<Client>) {
        let mut failures = 0;
        while !self.stop.is_cancelled() && !self.subscriptions.own(&client.key).is_empty() {
            match self.own(client).await {
                Ok(_) => {
                    self.restarts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    tracing::debug!(server = %self.name, client = %client.key, %error, "not reopened");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(jitter(backoff::delay(failures))) => {}
                () = self.stop.cancelled() => return,
            }
            failures += 1;
        }
    }
}

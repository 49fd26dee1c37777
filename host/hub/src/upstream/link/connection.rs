//! One connection to one server: ids, what is in flight, time limits and cancellation.
//!
//! Above it nobody sees an id of the hub's; below it nobody sees a client. It must never hold a lock while
//! it waits, and a future that is dropped must leave nothing behind in the table.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aih_mcp::{Era, ErrorObject, Id, Message, ProtocolVersion, RawJson, headers::ParamHeader, method};
use tokio::{task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    common::Common,
    crashes::{Suspect, Use, Verdict},
    outgoing::{self, Prepared},
    users::Users,
};
pub(crate) use super::{error::CallError, in_flight::InFlightRequest};
use crate::{
    provider::{Call, Client},
    upstream::transport::{
        Inbox, Transport, TransportError,
        connector::{Connector, TransportKind},
    },
};

/// How long after its end a request is still suspected when the process ends.
const SUSPECTED: Duration = Duration::from_secs(5);
/// Ended requests that are remembered for that.
const MAX_LATELY: usize = 32;

/// What the server said when it was greeted.
#[derive(Clone, Debug)]
pub(crate) struct ServerGreeting {
    /// The revision that both speak.
    pub(crate) version: ProtocolVersion,
    /// Its capabilities.
    pub(crate) capabilities: RawJson,
    /// Its `serverInfo`.
    pub(crate) info: Option<RawJson>,
    /// Its `instructions`.
    pub(crate) instructions: Option<String>,
}

/// Which lists a server says have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListSet(pub(crate) u8);

impl ListSet {
    /// `tools/list`.
    pub(crate) const TOOLS: Self = Self(1);
    /// `prompts/list`.
    pub(crate) const PROMPTS: Self = Self(2);
    /// `resources/list` and `resources/templates/list`.
    pub(crate) const RESOURCES: Self = Self(4);
    /// All.
    pub(crate) const ALL: Self = Self(7);

    /// None.
    pub(crate) const NONE: Self = Self(0);

    /// Whether no list is in it.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether `other` is in it.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a connection tells the one that keeps it. Must not block.
pub(crate) trait Events: Send + Sync {
    /// The server says that lists changed; over a connection of `owner`, for this client at least.
    fn lists_changed(&self, owner: Option<&Arc<Client>>, which: ListSet);
    /// The server says that a resource changed; `params` are the notification's.
    fn resource_updated(&self, owner: Option<&Arc<Client>>, uri: &str, params: &RawJson);
    /// The connection is gone and not because the hub closed it.
    fn lost(&self, connection: &Arc<Connection>, error: &TransportError);
}

/// One connection.
pub(crate) struct Connection {
    /// The server's name.
    pub(crate) server: Arc<str>,
    /// What it shares with the server's other connections.
    pub(super) common: Arc<Common>,
    /// Which transport.
    pub(crate) transport_kind: TransportKind,
    /// Whose connection it is; `None` when it is shared.
    pub(crate) owner: Option<Arc<Client>>,
    pub(super) events: Weak<dyn Events>,
    transport: OnceLock<Arc<dyn Transport>>,
    greeting: OnceLock<ServerGreeting>,
    next_id: AtomicU64,
    flights: Mutex<HashMap<u64, Arc<InFlightRequest>>>,
    /// Requests that ended lately, of a process.
    lately: Mutex<VecDeque<(Use, Instant)>>,
    verdict: OnceLock<Verdict>,
    /// Who has used it, when it is shared.
    pub(in crate::upstream) users: Users,
    pub(super) asks: Mutex<HashMap<Id, WaitingQuestion>>,
    gone: CancellationToken,
    closed: CancellationToken,
    error: OnceLock<TransportError>,
}

/// A question of the server that waits for a client.
pub(super) struct WaitingQuestion {
    pub(super) task: AbortHandle,
    /// The request that it names.
    pub(super) during: Option<u64>,
}

/// A lock whose holder panicked is still good: every critical section here is one map operation.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct ConnectionInbox(Weak<Connection>);

impl Inbox for ConnectionInbox {
    fn message(&self, during: Option<u64>, message: Message) {
        if let Some(connection) = self.0.upgrade() {
            connection.incoming(during, message);
        }
    }

    fn closed(&self, error: TransportError, unanswered: &[u64]) {
        if let Some(connection) = self.0.upgrade() {
            connection.investigate(unanswered);
            connection.fail(&error);
        }
    }
}

impl Connection {
    /// Opens a transport; nothing is said yet.
    ///
    /// # Errors
    /// The transport's.
    pub(crate) async fn open(
        common: &Arc<Common>,
        connector: &dyn Connector,
        transport_kind: TransportKind,
        instance: usize,
        owner: Option<Arc<Client>>,
        events: Weak<dyn Events>,
    ) -> Result<Arc<Self>, TransportError> {
        let connection = Arc::new(Self {
            server: common.name.clone(),
            common: common.clone(),
            transport_kind,
            owner,
            events,
            transport: OnceLock::new(),
            greeting: OnceLock::new(),
            next_id: AtomicU64::new(1),
            flights: Mutex::default(),
            lately: Mutex::default(),
            verdict: OnceLock::new(),
            users: Users::default(),
            asks: Mutex::default(),
            gone: CancellationToken::new(),
            closed: CancellationToken::new(),
            error: OnceLock::new(),
        });
        let inbox = Arc::new(ConnectionInbox(Arc::downgrade(&connection)));
        let transport = connector.open(transport_kind, instance, inbox).await?;
        // The cell was made empty above and nobody else has it.
        let _ = connection.transport.set(transport);
        Ok(connection)
    }

    /// The transport.
    ///
    /// # Errors
    /// Never after [`Connection::open`].
    pub(crate) fn transport(&self) -> Result<&Arc<dyn Transport>, TransportError> {
        self.transport
            .get()
            .ok_or_else(|| TransportError::Closed("not open".into()))
    }

    /// Whether the server keeps state for it.
    pub(crate) fn stateful(&self) -> bool {
        self.transport.get().is_some_and(|t| t.stateful())
    }

    /// Settles what was negotiated.
    pub(crate) fn greeted(&self, greeting: ServerGreeting) {
        if let Some(transport) = self.transport.get() {
            transport.negotiated(greeting.version);
        }
        let _ = self.greeting.set(greeting);
    }

    /// What the server said when it was greeted.
    pub(crate) fn greeting(&self) -> Option<&ServerGreeting> {
        self.greeting.get()
    }

    /// The server's era.
    pub(crate) fn era(&self) -> Era {
        self.greeting.get().map_or(Era::Legacy, |h| h.version.era())
    }

    /// Whether the server declared `capability`.
    pub(crate) fn declares(&self, capability: &str) -> bool {
        self.greeting()
            .and_then(|h| aih_mcp::RawObject::parse(&h.capabilities).ok())
            .is_some_and(|c| c.get(capability).is_some())
    }

    /// Whether the server declared `capability` with `member: true`.
    pub(crate) fn declares_member(&self, capability: &str, member: &str) -> bool {
        self.greeting()
            .and_then(|h| aih_mcp::RawObject::parse(&h.capabilities).ok())
            .and_then(|c| c.raw(capability))
            .and_then(|c| aih_mcp::RawObject::parse(&c).ok()?.read::<bool>(member))
            .unwrap_or(false)
    }

    /// A fresh id.
    pub(crate) fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether it cannot be used any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Waits until it cannot be used any more.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Why it is gone.
    pub(crate) fn error(&self) -> Option<&TransportError> {
        self.error.get()
    }

    /// Why a request on it gets no answer: what ended it by itself counts, also where the hub closes it after that.
    fn reason(&self) -> TransportError {
        let closed = || TransportError::Closed("the hub closed the connection".into());
        self.error.get().cloned().unwrap_or_else(closed)
    }

    /// What is thought of the end of a process.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        self.verdict.get()
    }

    /// A process ended by itself: which requests may be to blame?
    fn investigate(&self, unanswered: &[u64]) {
        if self.transport_kind != TransportKind::Stdio || self.closed.is_cancelled() {
            return;
        }
        let now = Instant::now();
        let mut suspects: Vec<Suspect> = {
            let flights = lock(&self.flights);
            let uses = unanswered.iter().filter_map(|id| flights.get(id)?.used.clone());
            uses.map(|used| Suspect { used, at_work: true }).collect()
        };
        let lately = lock(&self.lately);
        let late = lately.iter().filter(|(_, ended)| now - *ended < SUSPECTED);
        suspects.extend(late.map(|(used, _)| Suspect {
            used: used.clone(),
            at_work: false,
        }));
        drop(lately);
        let verdict = self.common.crashes.ended(&suspects, now);
        for (item, _) in &verdict.charged {
            tracing::warn!(server = %self.server, item = ?item, "the process ended, probably because of a call");
        }
        let _ = self.verdict.set(verdict);
    }

    /// Marks it as gone because of `error`; its server learns of it once.
    pub(crate) fn fail(self: &Arc<Self>, error: &TransportError) {
        if self.closed.is_cancelled() || self.error.set(error.clone()).is_err() {
            return;
        }
        self.gone.cancel();
        self.abort_asks();
        if let Some(events) = self.events.upgrade() {
            events.lost(self, error);
        }
    }

    /// Ends it: what is in flight gets an error, and the server is notified.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        self.gone.cancel();
        self.abort_asks();
        if let Some(transport) = self.transport.get() {
            transport.close().await;
        }
    }

    fn abort_asks(&self) {
        for (_, asking) in lock(&self.asks).drain() {
            asking.task.abort();
        }
    }

    /// The request with our id `id`, while it runs.
    pub(crate) fn in_flight(&self, id: u64) -> Option<Arc<InFlightRequest>> {
        lock(&self.flights).get(&id).cloned()
    }

    /// The requests of clients that run now, oldest first.
    pub(crate) fn client_flights(&self) -> Vec<Arc<InFlightRequest>> {
        let mut found: Vec<_> = lock(&self.flights)
            .iter()
            .filter(|(_, f)| f.call.is_some())
            .map(|(id, f)| (*id, f.clone()))
            .collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found.into_iter().map(|(_, f)| f).collect()
    }

    /// Sends a client's request and waits for the answer, at most `limit` without progress.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn call(
        self: &Arc<Self>,
        method: &str,
        params: Option<RawJson>,
        bindings: &[ParamHeader],
        call: &Call,
        limit: Duration,
    ) -> Result<RawJson, CallError> {
        let id = self.id();
        let member = (self.transport_kind == TransportKind::Stdio).then(|| named_in(method));
        let prepared = outgoing::prepare(params, id, self.era(), &call.client, member);
        let Prepared {
            params, token, task, ..
        } = prepared;
        let used = member.map(|_| {
            let item = used_item(method, prepared.member);
            (item, call.client.principal.id)
        });
        if let Some(used) = &used
            && let Some(parked) = self.common.crashes.refusal(used, Instant::now())
        {
            return Err(CallError::Parked(parked));
        }
        if self.owner.is_none() {
            self.users.note(&call.client);
        }
        let in_flight = InFlightRequest::of(call.peer.clone(), call.client.clone(), token, used);
        let mut guard = self.enter(id, in_flight);
        let answer = self
            .transport()
            .map_err(CallError::Transport)?
            .request(id, method, params, bindings);
        let outcome = tokio::select! {
            biased;
            outcome = self.limited(answer, &guard.in_flight, limit) => guard.done(outcome),
            () = call.cancel.cancelled() => {
                guard.reason = "the client cancelled";
                Err(CallError::Cancelled)
            }
        };
        match outcome {
            Ok(result) => {
                if let Some(used) = &guard.in_flight.used {
                    self.common.crashes.answered(used, Instant::now());
                }
                self.remember_names(&guard.in_flight, task.then_some(&result), None);
                Ok(result)
            }
            Err(CallError::Rpc(error)) => {
                self.remember_names(&guard.in_flight, None, Some(&error));
                Err(CallError::Rpc(error))
            }
            Err(CallError::Transport(error)) => Err(self.ended(error, &guard.in_flight)),
            Err(other) => Err(other),
        }
    }

    /// The error of a request whose connection is gone. A process that ended had got the request.
    fn ended(&self, error: TransportError, in_flight: &InFlightRequest) -> CallError {
        let Some(verdict) = self
            .verdict()
            .filter(|_| !matches!(error, TransportError::NotSent(_)))
        else {
            return CallError::Transport(error);
        };
        let used = in_flight.used.as_ref();
        CallError::Ended {
            error,
            item: used.map(|(item, _)| item.clone()),
            charged: used.is_some_and(|used| verdict.charged.contains(used)),
        }
    }

    /// Sends a request of the hub's own.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn request(
        self: &Arc<Self>,
        method: &str,
        fields: &[(&'static str, RawJson)],
        limit: Duration,
    ) -> Result<RawJson, CallError> {
        let id = self.id();
        let mut guard = self.enter(id, InFlightRequest::own());
        let params = outgoing::own_params(self.era(), fields);
        let answer = self
            .transport()
            .map_err(CallError::Transport)?
            .request(id, method, params, &[]);
        let outcome = self.limited(answer, &guard.in_flight, limit).await;
        guard.done(outcome)
    }

    /// Keeps a `subscriptions/listen` stream open until it ends; `confirmed` runs when the server confirms it.
    ///
    /// # Errors
    /// [`CallError`]; an end that the server announced is `Ok`.
    pub(crate) async fn listen(
        self: &Arc<Self>,
        filter: RawJson,
        confirmed: impl FnOnce(),
    ) -> Result<(), CallError> {
        let id = self.id();
        let mut guard = self.enter(id, InFlightRequest::own());
        let params = outgoing::own_params(self.era(), &[("notifications", filter)]);
        let mut answer =
            self.transport()
                .map_err(CallError::Transport)?
                .request(id, method::LISTEN, params, &[]);
        let mut confirmed = Some(confirmed);
        loop {
            tokio::select! {
                outcome = &mut answer => {
                    return guard.done(match outcome {
                        Ok(Ok(_)) => Ok(()),
                        Ok(Err(error)) => Err(CallError::Rpc(error)),
                        Err(error) => Err(CallError::Transport(error)),
                    });
                }
                () = guard.in_flight.acknowledged(), if confirmed.is_some() => {
                    if let Some(confirmed) = confirmed.take() {
                        confirmed();
                    }
                }
                () = self.closed.cancelled() => {
                    return Err(CallError::Transport(self.reason()));
                }
            }
        }
    }

    /// Sends a notification or an answer.
    ///
    /// # Errors
    /// The transport's.
    pub(crate) async fn send(&self, message: Message) -> Result<(), TransportError> {
        self.transport()?.send(message).await
    }

    async fn limited(
        &self,
        answer: impl Future<Output = Result<Result<RawJson, ErrorObject>, TransportError>> + Send,
        in_flight: &InFlightRequest,
        limit: Duration,
    ) -> Result<RawJson, CallError> {
        let mut answer = std::pin::pin!(answer);
        let first = in_flight
            .deadline(limit)
            .unwrap_or_else(|| Instant::now() + limit);
        let mut timer = std::pin::pin!(tokio::time::sleep_until(first));
        loop {
            tokio::select! {
                biased;
                outcome = &mut answer => return match outcome {
                    Ok(Ok(result)) => Ok(result),
                    Ok(Err(error)) => Err(CallError::Rpc(error)),
                    Err(error) => Err(CallError::Transport(error)),
                },
                () = self.closed.cancelled() => {
                    return Err(CallError::Transport(self.reason()));
                }
                () = &mut timer => {
                    let now = Instant::now();
                    match in_flight.deadline(limit) {
                        Some(deadline) if deadline <= now => return Err(CallError::TimedOut(limit)),
                        Some(deadline) => timer.as_mut().reset(deadline),
                        // It waits for an answer, and has the whole time again from then on.
                        None => timer.as_mut().reset(now + limit),
                    }
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, id: u64, in_flight: InFlightRequest) -> RequestGuard<'_> {
        let in_flight = Arc::new(in_flight);
        lock(&self.flights).insert(id, in_flight.clone());
        RequestGuard {
            connection: self,
            id,
            in_flight,
            open: true,
            reason: "the client is gone",
        }
    }
}

/// Takes a request out of the table when it ends in whatever way, and tells the server if it need not
/// answer any more.
struct RequestGuard<'c> {
    connection: &'c Arc<Connection>,
    id: u64,
    in_flight: Arc<InFlightRequest>,
    open: bool,
    reason: &'static str,
}

impl RequestGuard<'_> {
    fn done<T>(&mut self, outcome: Result<T, CallError>) -> Result<T, CallError> {
        match &outcome {
            Err(CallError::TimedOut(_)) => self.reason = "no answer in time",
            _ => self.open = false,
        }
        outcome
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        let connection = self.connection;
        lock(&connection.flights).remove(&self.id);
        connection.end_questions(self.id);
        if let Some(used) = &self.in_flight.used {
            let mut lately = lock(&connection.lately);
            if lately.len() >= MAX_LATELY {
                lately.pop_front();
            }
            lately.push_back((used.clone(), Instant::now()));
        }
        // In the modern era over HTTP the end of the stream says it.
        let announce = connection.era() == Era::Legacy || connection.transport_kind == TransportKind::Stdio;
        if !self.open || !announce || connection.is_gone() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let params = RawJson::of(&serde_json::json!({ "requestId": self.id, "reason": self.reason }));
        let connection = connection.clone();
        runtime.spawn(async move {
            // Best effort: if the notification fails, nobody waits for the answer anyway.
            let _ = connection
                .send(Message::notification(method::CANCELLED, Some(params)))
                .await;
        });
    }
}

/// The member that says what a request uses.
fn named_in(method: &str) -> &'static str {
    match method {
        method::RESOURCES_READ => "uri",
        _ => "name",
    }
}

/// What a request uses: a tool by its name, other things behind their method.
fn used_item(method: &str, name: Option<Arc<str>>) -> Arc<str> {
    match name {
        Some(name) if method == method::TOOLS_CALL => name,
        Some(name) => format!("{method} {name}").into(),
        // A method that no revision knows may be of any length.
        None => method
            .get(..method.floor_char_boundary(100))
            .unwrap_or_default()
            .into(),
    }
}

//! Sessions of the legacy era: who opened a session, which requests run in it, and how to reach its client.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aih_mcp::{ErrorCode, ErrorObject, Id, Message, ProtocolVersion, RawJson};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{peer::SessionPeer, stream::Stream};
use crate::{
    access::Principal,
    catalogue::Scope,
    memory::{Memory, OutOfBudget, Permit, StreamBudget},
    provider::{Client, ClientKey},
};

/// How long the client has to answer a request of a server. A person may have to be asked.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(600);
/// A session without any request or open stream ends after this time.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);
/// A client that had a standing stream, and has neither a stream nor a request for so long, has probably ended: its
/// connections to stateful servers are given back. Most programs end without a word.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(30);
/// The same for a client that never had a standing stream: it may only be between two calls.
pub const ABANDONED_WITHOUT_STREAM: Duration = Duration::from_secs(60);
/// Sessions that the hub holds.
const MAX_SESSIONS: usize = 20_000;
/// Sessions that one key may hold; the one that was used least recently goes.
const MAX_SESSIONS_PER_KEY: usize = 5_000;
/// Finished response streams that a client can still fetch the rest of.
const KEPT_STREAMS: usize = 64;
/// What a session costs beside what it says of itself, in bytes.
const FIXED_COST: usize = 4 * 1024;
/// Longest that a client may say of itself in `initialize`: `clientInfo` and `capabilities`, in bytes.
pub const MAX_INTRODUCTION: usize = 64 * 1024;
/// Characters of a session's id.
pub const ID_LENGTH: usize = 32;
/// Resources that a session subscribed to and that are known by name; what is beyond does not outlive a restart.
const MAX_SUBSCRIPTIONS: usize = 100;
/// Requests that may run at one time in one session.
pub const MAX_RUNNING: usize = 256;

type Asked = oneshot::Sender<Result<RawJson, ErrorObject>>;

/// See the module.
pub struct Session {
    /// Unguessable; its name in `Mcp-Session-Id`.
    pub id: Arc<str>,
    /// Which providers it sees.
    pub scope: Scope,
    /// Below the numbers of its streams and events: above those that the client knows of an earlier run of the hub.
    pub numbers: u64,
    client: OnceLock<Arc<Client>>,
    principal: Arc<Principal>,
    /// Where its streams are accounted for.
    pub room: StreamBudget,
    /// What it costs itself.
    cost: Mutex<Permit>,
    /// What is said outside of any request: the GET stream, the SSE stream, standard output.
    pub standing: Arc<Stream>,
    asked: Mutex<HashMap<u64, Asked>>,
    next_ask: AtomicU64,
    running: Mutex<HashMap<Id, CancellationToken>>,
    streams: Mutex<Vec<(u64, Arc<Stream>)>>,
    next_stream: AtomicU64,
    last_used: Mutex<Instant>,
    open_streams: AtomicUsize,
    /// It has had a standing stream.
    had_standing: AtomicBool,
    /// Its connections were given back, and it was not used since.
    abandoned: AtomicBool,
    /// Fires when the session ends.
    pub ended: CancellationToken,
    /// Fires when nothing more comes from the client, neither requests nor answers.
    input_ended: CancellationToken,
    draining: AtomicBool,
    /// It outlives a restart of the hub.
    lasting: AtomicBool,
    /// What it subscribed to, as exposed URIs.
    subscriptions: Mutex<BTreeSet<Box<str>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No code that holds one of these locks can leave its map half-changed.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Session {
    /// `last` is above the number of every stream and every event that the client may know of this session.
    fn new(
        id: Arc<str>,
        principal: Arc<Principal>,
        scope: Scope,
        room: StreamBudget,
        cost: Permit,
        last: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            scope,
            numbers: last,
            client: OnceLock::new(),
            principal,
            standing: Stream::after(room.clone(), last),
            room,
            cost: Mutex::new(cost),
            asked: Mutex::default(),
            next_ask: AtomicU64::new(1),
            running: Mutex::default(),
            streams: Mutex::default(),
            next_stream: AtomicU64::new(last.saturating_add(1)),
            last_used: Mutex::new(Instant::now()),
            open_streams: AtomicUsize::new(0),
            had_standing: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            ended: CancellationToken::new(),
            input_ended: CancellationToken::new(),
            draining: AtomicBool::new(false),
            lasting: AtomicBool::new(false),
            subscriptions: Mutex::default(),
        })
    }

    /// The client, once it said `initialize`.
    pub fn client(&self) -> Option<&Arc<Client>> {
        self.client.get()
    }

    /// Who opened the session.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// The client introduced itself.
    ///
    /// # Errors
    /// It had done so before, it says too much of itself, or there is no room for it.
    pub fn introduce(
        self: &Arc<Self>,
        version: ProtocolVersion,
        info: Option<&RawJson>,
        capabilities: &RawJson,
    ) -> Result<&Arc<Client>, ErrorObject> {
        let again = || ErrorObject::new(ErrorCode::INVALID_REQUEST, "this session is initialized already");
        if self.client.get().is_some() {
            return Err(again());
        }
        // Copies: the parts of a message share its bytes, and this is kept for as long as the session.
        let (info, capabilities) = (info.map(RawJson::detached), capabilities.detached());
        let length = info.as_ref().map_or(0, |info| info.bytes().len()) + capabilities.bytes().len();
        if length > MAX_INTRODUCTION {
            return Err(ErrorObject::invalid_params(format!(
                "`clientInfo` and `capabilities` may have {MAX_INTRODUCTION} bytes at most"
            )));
        }
        lock(&self.cost)
            .grow(length)
            .map_err(|error| ErrorObject::internal(error.to_string()))?;
        let client = Arc::new(Client {
            key: ClientKey(self.id.clone()),
            principal: self.principal.clone(),
            version,
            info,
            capabilities,
            peer: Arc::new(SessionPeer::new(self)),
            log_level: AtomicU8::new(0),
            since: tokio::time::Instant::now(),
        });
        let _ = self.client.set(client);
        self.client.get().ok_or_else(again)
    }

    /// From now on it outlives a restart of the hub.
    pub fn last_long(&self) {
        self.lasting.store(true, Ordering::Relaxed);
    }

    /// Whether it outlives a restart of the hub.
    pub fn is_lasting(&self) -> bool {
        self.lasting.load(Ordering::Relaxed)
    }

    /// It subscribed to the resource with this exposed URI.
    pub fn subscribed(&self, uri: &str) {
        let mut subscriptions = lock(&self.subscriptions);
        if subscriptions.len() < MAX_SUBSCRIPTIONS {
            subscriptions.insert(uri.into());
        }
    }

    /// It does not any more.
    pub fn unsubscribed(&self, uri: &str) {
        lock(&self.subscriptions).remove(uri);
    }

    /// What it subscribed to.
    pub fn subscriptions(&self) -> BTreeSet<Box<str>> {
        lock(&self.subscriptions).clone()
    }

    /// Notes that the session is in use.
    pub fn touch(&self) {
        *lock(&self.last_used) = Instant::now();
        self.abandoned.store(false, Ordering::Relaxed);
    }

    /// A stream to the client opens; the session is in use until it is dropped.
    pub fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.open_streams.fetch_add(1, Ordering::Relaxed);
        self.touch();
        OpenStream(self.clone())
    }

    /// The client opens its standing stream: from its end on the client is probably gone.
    pub fn stands(&self) {
        self.had_standing.store(true, Ordering::Relaxed);
    }

    /// After which time without use the session is abandoned.
    fn abandoned_after(&self) -> Duration {
        match self.had_standing.load(Ordering::Relaxed) {
            true => ABANDONED_AFTER,
            false => ABANDONED_WITHOUT_STREAM,
        }
    }

    /// Whether a stream to the client is open.
    pub fn has_open_stream(&self) -> bool {
        self.open_streams.load(Ordering::Relaxed) > 0
    }

    fn idle_for(&self) -> Duration {
        if self.open_streams.load(Ordering::Relaxed) > 0 || !lock(&self.running).is_empty() {
            return Duration::ZERO;
        }
        lock(&self.last_used).elapsed()
    }

    /// Keeps a response stream, so that the client can resume it; its number stands in event ids.
    pub fn keep_stream(&self, stream: &Arc<Stream>) -> u64 {
        let number = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let mut streams = lock(&self.streams);
        streams.push((number, stream.clone()));
        let finished = streams.iter().filter(|(_, s)| s.is_finished()).count();
        if finished > KEPT_STREAMS
            && let Some(at) = streams.iter().position(|(_, s)| s.is_finished())
        {
            streams.remove(at);
        }
        number
    }

    /// Lets go of what was delivered a while ago, and of what nobody came for.
    pub fn forget(&self) {
        let now = tokio::time::Instant::now();
        self.standing.forget(now);
        lock(&self.streams).retain(|(_, stream)| !stream.forget(now));
    }

    /// The stream with this number; 0 is the standing one.
    pub fn stream(&self, number: u64) -> Option<Arc<Stream>> {
        if number == 0 {
            return Some(self.standing.clone());
        }
        lock(&self.streams)
            .iter()
            .find(|(n, _)| *n == number)
            .map(|(_, s)| s.clone())
    }

    /// A request begins; its token fires when the client cancels it or the session ends.
    ///
    /// # Errors
    /// Too many run, or one with this id does.
    pub fn begin(self: &Arc<Self>, id: &Id) -> Result<Running, ErrorObject> {
        let mut running = lock(&self.running);
        if running.len() >= MAX_RUNNING {
            let text = format!("{MAX_RUNNING} requests of this session are running; wait for one to end");
            return Err(ErrorObject::internal(text));
        }
        if self.standing.is_full() {
            return Err(ErrorObject::internal(
                "too many answers of this session wait to be fetched; read them, then ask again",
            ));
        }
        let cancel = self.ended.child_token();
        if running.contains_key(id) {
            return Err(ErrorObject::new(
                ErrorCode::INVALID_REQUEST,
                "a request with this id is running",
            ));
        }
        running.insert(id.clone(), cancel.clone());
        Ok(Running {
            session: self.clone(),
            id: id.clone(),
            cancel,
        })
    }

    /// The client cancelled the request with this id.
    pub fn cancel(&self, id: &Id) {
        if let Some(token) = lock(&self.running).get(id) {
            token.cancel();
        }
    }

    /// Ends the standing stream as soon as nothing runs any more: answers may still have to go there.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        if lock(&self.running).is_empty() {
            self.standing.finish();
        }
    }

    /// Nothing more comes from the client: what runs is still answered, questions to the client are not.
    pub fn end_of_input(&self) {
        self.input_ended.cancel();
        self.drain();
    }

    /// Returns when nothing more comes from the client.
    pub async fn input_ended(&self) {
        self.input_ended.cancelled().await;
    }

    /// Asks the client over `out` and waits for its answer.
    ///
    /// # Errors
    /// The client's error; or that it did not answer in [`ASK_TIMEOUT`], is gone, or can answer nothing any more.
    pub async fn ask(
        &self,
        out: &Stream,
        method: &str,
        params: Option<RawJson>,
    ) -> Result<RawJson, ErrorObject> {
        struct Forget<'s>(&'s Session, u64);
        impl Drop for Forget<'_> {
            fn drop(&mut self) {
                lock(&self.0.asked).remove(&self.1);
            }
        }
        if self.input_ended.is_cancelled() {
            return Err(gone());
        }
        let number = self.next_ask.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.asked).insert(number, answer);
        let _forget = Forget(self, number);
        let question = Message::Request {
            id: Id::number(number),
            method: method.into(),
            params,
        };
        out.push(&question).map_err(|error| {
            ErrorObject::internal(format!("the client cannot be asked `{method}`: {error}"))
        })?;
        tokio::select! {
            answer = answered => answer.unwrap_or_else(|_| Err(gone())),
            () = self.ended.cancelled() => Err(gone()),
            () = self.input_ended.cancelled() => Err(gone()),
            () = tokio::time::sleep(ASK_TIMEOUT) => {
                Err(ErrorObject::new(ErrorCode::TIMED_OUT, format!("the client did not answer `{method}`")))
            }
        }
    }

    /// The client answered a request. An unknown id is ignored, as JSON-RPC wants.
    pub fn answered(&self, id: &Id, outcome: Result<RawJson, ErrorObject>) {
        if let Some(answer) = id.value().and_then(|n| lock(&self.asked).remove(&n)) {
            // The asker may have given up meanwhile.
            let _ = answer.send(outcome);
        }
    }
}

fn gone() -> ErrorObject {
    ErrorObject::internal("the client is gone")
}

/// An open stream of a session; ends with its drop.
pub struct OpenStream(Arc<Session>);

impl OpenStream {
    /// The session.
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// A running request; ends with its drop.
pub struct Running {
    session: Arc<Session>,
    id: Id,
    /// Fires when the client cancelled it.
    pub cancel: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        let idle = {
            let mut running = lock(&self.session.running);
            running.remove(&self.id);
            running.is_empty()
        };
        self.session.touch();
        if idle && self.session.draining.load(Ordering::Relaxed) {
            self.session.standing.finish();
        }
    }
}

/// All sessions of the hub.
pub struct Sessions {
    map: Mutex<HashMap<Arc<str>, Arc<Session>>>,
    memory: Arc<Memory>,
}

impl Sessions {
    /// None yet; what they hold is accounted for in `memory`.
    pub fn new(memory: Arc<Memory>) -> Self {
        Self {
            map: Mutex::default(),
            memory,
        }
    }

    /// Opens one. Returns the session, and those that had to make room.
    ///
    /// # Errors
    /// The key holds as many bytes as it may.
    pub fn open(
        &self,
        principal: &Arc<Principal>,
        scope: Scope,
    ) -> Result<(Arc<Session>, Vec<Arc<Session>>), OutOfBudget> {
        use base64::Engine as _;
        let id = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
        self.open_as(&id, principal, scope, 0)
    }

    /// Opens one with the id that it had in an earlier run of the hub; `last` is above the number of every stream and
    /// every event that the client may know of it. Otherwise as [`Self::open`].
    ///
    /// # Errors
    /// The key holds as many bytes as it may.
    pub fn open_as(
        &self,
        id: &str,
        principal: &Arc<Principal>,
        scope: Scope,
        last: u64,
    ) -> Result<(Arc<Session>, Vec<Arc<Session>>), OutOfBudget> {
        let room = self.memory.session(principal.id);
        // Not of the session's own room, which one large answer may fill.
        let account = self.memory.answers.of(principal.id);
        let cost = account.take(FIXED_COST);
        let mut map = lock(&self.map);
        let mut ended = Vec::new();
        let own = map.values().filter(|s| s.principal.id == principal.id).count();
        if map.len() >= MAX_SESSIONS || own >= MAX_SESSIONS_PER_KEY || cost.is_err() {
            let candidates = map
                .values()
                .filter(|s| s.principal.id == principal.id || (own == 0 && cost.is_ok()));
            let oldest = candidates.max_by_key(|s| s.idle_for()).map(|s| s.id.clone());
            if let Some(oldest) = oldest.and_then(|id| map.remove(&id)) {
                ended.push(oldest);
            }
        }
        let cost = match cost {
            Ok(cost) => cost,
            // What it held is given back as soon as it has ended.
            Err(_) if !ended.is_empty() => account.force(FIXED_COST),
            Err(error) => {
                account.count_refusal();
                return Err(error);
            }
        };
        let session = Session::new(id.into(), principal.clone(), scope, room, cost, last);
        map.insert(session.id.clone(), session.clone());
        Ok((session, ended))
    }

    /// The session with this id, if `principal` opened it. Another key's session is not there, nor is one that the
    /// same key opened when it had other permissions.
    pub fn get(&self, id: &str, principal: &Principal) -> Option<Arc<Session>> {
        let session = lock(&self.map).get(id).cloned()?;
        (session.principal.generation() == principal.generation()).then_some(session)
    }

    /// Whether there is a session with this id, whoever opened it.
    pub fn has(&self, id: &str) -> bool {
        lock(&self.map).contains_key(id)
    }

    /// The session of this client, if it has one.
    pub fn of_client(&self, client: &ClientKey) -> Option<Arc<Session>> {
        lock(&self.map).get(&client.0).cloned()
    }

    /// Takes a session out.
    pub fn remove(&self, id: &str) -> Option<Arc<Session>> {
        lock(&self.map).remove(id)
    }

    /// Takes out all that were idle for longer than `limit`.
    pub fn remove_idle(&self, limit: Duration) -> Vec<Arc<Session>> {
        self.remove_where(|session| session.idle_for() > limit)
    }

    /// Takes out all whose principal has ended.
    pub fn remove_ended(&self) -> Vec<Arc<Session>> {
        self.remove_where(|session| !session.principal.is_current())
    }

    fn remove_where(&self, goes: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let mut map = lock(&self.map);
        let going: Vec<_> = map
            .values()
            .filter(|session| goes(session))
            .map(|session| session.id.clone())
            .collect();
        going.iter().filter_map(|id| map.remove(id)).collect()
    }

    /// The sessions whose clients have probably ended. Each session is returned once, and again only after it was used again.
    pub fn newly_abandoned(&self) -> Vec<Arc<Session>> {
        let quiet = |session: &Arc<Session>| {
            session.idle_for() > session.abandoned_after() && !session.abandoned.swap(true, Ordering::Relaxed)
        };
        let map = lock(&self.map);
        map.values().filter(|session| quiet(session)).cloned().collect()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Session>> {
        lock(&self.map).values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        lock(&self.map).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

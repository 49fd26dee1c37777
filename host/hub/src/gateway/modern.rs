//! The modern era (2026-07-28): no session. Every request says who it is in `_meta`; a question to the
//! client ends the request with `input_required`, and its retry finds the call where it waits.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aih_mcp::{ErrorObject, Id, RawJson, RawObject, headers, method, method::meta};
use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

mod listen;
mod request_meta;

use super::{
    Gateway,
    dispatch::Request,
    peer::{ClientQuestion, ModernPeer},
    session::{ABANDONED_AFTER, MAX_INTRODUCTION},
    stream::Stream,
};
use crate::{
    access::Principal,
    calls::bridge::ended,
    catalogue::Scope,
    memory::{Permit, REQUESTS, REQUESTS_PER_KEY},
    provider::{Client, ClientKey, Peer},
};
use listen::Listener;
pub use listen::Listening;
pub use request_meta::{RequestMeta, is_modern, says_version};

/// How long a call waits for the client's answers to its questions.
const ANSWER_TIME: Duration = Duration::from_secs(600);
/// Calls that wait for answers, over all clients; the next one is refused.
const MAX_WAITING: usize = 1_000;
/// Calls of one key that wait for answers; the next one is refused, and other keys find room.
const MAX_WAITING_PER_KEY: usize = 100;
/// Bytes of requests that calls of one key hold while they wait: the rest is for requests that run.
const MAX_WAITING_BYTES_PER_KEY: usize = REQUESTS_PER_KEY / 2;
/// The same over all keys.
const MAX_WAITING_BYTES: usize = REQUESTS / 2;
/// More questions that come within this time go into the same answer.
const GATHER: Duration = Duration::from_millis(10);
/// Clients that are remembered, for connections of their own.
const MAX_CLIENTS: usize = 10_000;
/// The same for one key.
const MAX_CLIENTS_PER_KEY: usize = 1_000;
/// In front of a state that this hub made, to tell it from an upstream's.
const STATE_PREFIX: &str = "aih.waiting.";

type RunningCall = Pin<Box<dyn Future<Output = Result<RawJson, ErrorObject>> + Send>>;

/// A call on its way, with the questions that it may put.
struct ActiveCall {
    running: RunningCall,
    asks: mpsc::Receiver<ClientQuestion>,
    pending: HashMap<String, ClientQuestion>,
    /// Dropped with the call: what it started ends.
    cancel: tokio_util::sync::DropGuard,
    stream: Arc<Stream>,
    peer: Arc<ModernPeer>,
    /// Bytes of the request that began it, and of the last answer to its questions.
    permits: (Permit, Option<Permit>),
    /// While the call runs or waits, its client is there.
    _in_use: InUse,
    principal: Arc<Principal>,
    method: Box<str>,
    asked: u64,
}

struct WaitingCall {
    active: ActiveCall,
    until: Instant,
}

/// A client that is remembered.
struct KnownClient {
    client: Arc<Client>,
    usage: Arc<ClientUsage>,
}

/// How a client is used.
struct ClientUsage {
    /// Requests of it that are there.
    requests: AtomicUsize,
    last: Mutex<Instant>,
    /// It has listened to changes.
    listened: AtomicBool,
    /// Its connections were given back, and it was not used since.
    abandoned: AtomicBool,
}

impl ClientUsage {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            requests: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            listened: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        })
    }

    fn begin(self: &Arc<Self>) -> InUse {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.abandoned.store(false, Ordering::Relaxed);
        InUse(self.clone())
    }

    /// Whether it has no request, and had none for so long.
    fn is_idle(&self, time: Duration) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 && lock(&self.last).elapsed() >= time
    }
}

/// A request of a client. Its client is not silent while this lives.
struct InUse(Arc<ClientUsage>);

impl InUse {
    /// The client listens to changes: from the end of its last request on it is probably gone.
    fn listens(&self) {
        self.0.listened.store(true, Ordering::Relaxed);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        *lock(&self.0.last) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// State of the modern era: clients, waiting calls, listeners.
pub struct Modern {
    /// A client that is silent for so long is gone: `server.conversation_timeout`.
    pub(super) idle: Duration,
    clients: Mutex<HashMap<u64, KnownClient>>,
    waiting: Mutex<HashMap<String, WaitingCall>>,
    listeners: Mutex<HashMap<u64, Listener>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these locks can leave its map half-changed.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A modern client cannot be reached outside its requests.
struct UnreachablePeer;

#[async_trait]
impl Peer for UnreachablePeer {
    fn notify(&self, _: &str, _: &str, _: Option<RawJson>) {}

    async fn ask(&self, _: &str, method: &str, _: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::method_not_found(method))
    }
}

impl Modern {
    /// No clients yet; one that is silent for `idle` is gone.
    pub fn new(idle: Duration) -> Self {
        Self {
            idle,
            clients: Mutex::default(),
            waiting: Mutex::default(),
            listeners: Mutex::default(),
        }
    }

    /// The client that a request's `_meta` describes, and that it has a request; the same one for the same principal, name
    /// and capabilities.
    ///
    /// # Errors
    /// It says too much of itself.
    fn client(
        &self,
        principal: &Arc<Principal>,
        facts: &RequestMeta,
    ) -> Result<(Arc<Client>, InUse), ErrorObject> {
        let length = facts.info.as_ref().map_or(0, RawJson::len) + facts.capabilities.len();
        if length > MAX_INTRODUCTION {
            return Err(ErrorObject::invalid_params(format!(
                "`clientInfo` and `clientCapabilities` in `params._meta` may have {MAX_INTRODUCTION} bytes at most"
            )));
        }
        let mut hasher = DefaultHasher::new();
        principal.generation().hash(&mut hasher);
        facts.info.as_ref().map(RawJson::bytes).hash(&mut hasher);
        facts.capabilities.bytes().hash(&mut hasher);
        let hash = hasher.finish();
        let mut clients = lock(&self.clients);
        if let Some(KnownClient { client, usage }) = clients.get(&hash)
            && client.principal.generation() == principal.generation()
            && client.capabilities == facts.capabilities
        {
            return Ok((client.clone(), usage.begin()));
        }
        let client = Arc::new(Client {
            key: ClientKey(format!("modern-{hash:016x}-{}", principal.generation()).into()),
            principal: principal.clone(),
            version: facts.version,
            // Copies: the parts of a message share its bytes, and this is kept for long.
            info: facts.info.as_ref().map(RawJson::detached),
            capabilities: facts.capabilities.detached(),
            peer: Arc::new(UnreachablePeer),
            log_level: AtomicU8::new(0),
            since: tokio::time::Instant::now(),
        });
        let own = clients
            .values()
            .filter(|other| other.client.principal.id == principal.id)
            .count();
        let usage = ClientUsage::new();
        let in_use = usage.begin();
        if clients.len() < MAX_CLIENTS && own < MAX_CLIENTS_PER_KEY {
            let client = client.clone();
            clients.insert(hash, KnownClient { client, usage });
        }
        Ok((client, in_use))
    }

    /// Forgets clients that were silent, and calls whose answers did not come. Returns the forgotten clients.
    pub fn remove_idle(&self) -> Vec<ClientKey> {
        let now = Instant::now();
        self.keep_calls(|waiting| waiting.until > now);
        self.keep_clients(|known| !known.usage.is_idle(self.idle))
    }

    /// Clients that had a stream on which they listened, and have had no request for [`ABANDONED_AFTER`]: they have probably
    /// ended. Each client is returned once, and again only after it was used again.
    pub fn newly_abandoned(&self) -> Vec<ClientKey> {
        let quiet = |usage: &ClientUsage| {
            usage.listened.load(Ordering::Relaxed)
                && usage.is_idle(ABANDONED_AFTER)
                && !usage.abandoned.swap(true, Ordering::Relaxed)
        };
        let clients = lock(&self.clients);
        let quiet = clients.values().filter(|known| quiet(&known.usage));
        quiet.map(|known| known.client.key.clone()).collect()
    }

    /// Forgets clients whose principal has ended, and ends the calls that wait for their answers. Returns the forgotten
    /// clients.
    pub fn remove_ended(&self) -> Vec<ClientKey> {
        self.keep_calls(|waiting| waiting.active.principal.is_current());
        self.keep_clients(|known| known.client.principal.is_current())
    }

    /// Ends the waiting calls that do not stay.
    fn keep_calls(&self, stays: impl Fn(&WaitingCall) -> bool) {
        let mut waiting = lock(&self.waiting);
        let ended: Vec<WaitingCall> = waiting
            .extract_if(|_, one| !stays(one))
            .map(|(_, one)| one)
            .collect();
        drop(waiting);
        // What a call held is let go without the lock.
        drop(ended);
    }

    fn keep_clients(&self, stays: impl Fn(&KnownClient) -> bool) -> Vec<ClientKey> {
        let mut clients = lock(&self.clients);
        let gone = clients.extract_if(|_, known| !stays(known));
        gone.map(|(_, known)| known.client.key.clone()).collect()
    }
}

/// A request that arrived, and what it holds.
struct ReceivedRequest {
    client: Arc<Client>,
    in_use: InUse,
    method: Box<str>,
    params: Option<RawJson>,
    param_headers: Option<HeaderMap>,
    permit: Permit,
}

/// What becomes of a modern request.
pub enum StartedRequest {
    /// Its answer is this future; meanwhile messages go to the stream.
    Call {
        /// Ends with the answer.
        answer: RunningCall,
        /// What is said meanwhile.
        stream: Arc<Stream>,
        /// Who asks.
        client: Arc<Client>,
    },
    /// It stays open and only notifies, until it is dropped.
    Listen(Listening),
}

impl Gateway {
    /// Begins a modern request. `headers` are those of HTTP; other transports have none.
    ///
    /// # Errors
    /// What [`RequestMeta::read`] and [`Gateway::answer`] say.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one request, split once and used once"
    )]
    pub async fn begin_modern(
        self: &Arc<Self>,
        principal: &Arc<Principal>,
        scope: Scope,
        headers: Option<&HeaderMap>,
        id: Id,
        method: Box<str>,
        params: Option<RawJson>,
        permit: Permit,
    ) -> Result<StartedRequest, ErrorObject> {
        let facts = RequestMeta::read(headers, &method, params.as_ref())?;
        let (client, in_use) = self.modern.client(principal, &facts)?;
        if self.hooks.follow_conversations() {
            self.hooks.conversation(&client).await?;
        }
        match &*method {
            method::DISCOVER => {
                let result = self.introduction(&scope, &client).await?.discover_result();
                let answer: RunningCall = Box::pin(std::future::ready(Ok(result)));
                return Ok(StartedRequest::Call {
                    answer,
                    stream: Stream::new(self.memory.once(principal.id)),
                    client,
                });
            }
            method::LISTEN => {
                return self
                    .listen(&client, in_use, scope, id, params.as_ref(), permit)
                    .await
                    .map(StartedRequest::Listen);
            }
            method::INITIALIZE => return Err(ErrorObject::method_not_found(&method)),
            _ => {}
        }
        let asks = client.clone();
        let active = match self.resume(principal, &method, params.as_ref())? {
            Some(mut active) => {
                active.permits.1 = Some(permit);
                active
            }
            None => {
                let param_headers = headers
                    .filter(|_| *method == *method::TOOLS_CALL)
                    .map(headers::params);
                let arrived = ReceivedRequest {
                    client,
                    in_use,
                    method,
                    params,
                    param_headers,
                    permit,
                };
                self.start(scope, &facts, arrived)
            }
        };
        let stream = active.stream.clone();
        Ok(StartedRequest::Call {
            answer: Box::pin(drive(self.clone(), active)),
            stream,
            client: asks,
        })
    }

    fn start(self: &Arc<Self>, scope: Scope, facts: &RequestMeta, arrived: ReceivedRequest) -> ActiveCall {
        let ReceivedRequest {
            client,
            in_use,
            method,
            params,
            param_headers,
            permit,
        } = arrived;
        let (asks, asked) = mpsc::channel(16);
        let stream = Stream::new(self.memory.once(client.principal.id));
        let cancel = CancellationToken::new();
        let peer = Arc::new(ModernPeer {
            scope: scope.clone(),
            stream: ArcSwap::new(stream.clone()),
            token: ArcSwapOption::empty(),
            log_level: facts.log_level,
            capabilities: facts.capabilities.clone(),
            asks,
        });
        let principal = client.principal.clone();
        let request = Request {
            scope,
            method: method.clone(),
            params,
            param_headers,
            client,
            peer: peer.clone(),
            cancel: cancel.clone(),
            made: AtomicBool::new(false),
        };
        let gateway = self.clone();
        let running: RunningCall = Box::pin(async move { gateway.answer(request).await });
        ActiveCall {
            running,
            asks: asked,
            pending: HashMap::new(),
            cancel: cancel.drop_guard(),
            stream,
            peer,
            permits: (permit, None),
            _in_use: in_use,
            principal,
            method,
            asked: 0,
        }
    }

    /// The waiting call that a retry belongs to, with its answers delivered.
    fn resume(
        &self,
        principal: &Principal,
        method: &str,
        params: Option<&RawJson>,
    ) -> Result<Option<ActiveCall>, ErrorObject> {
        let Some(object) = params.and_then(|p| RawObject::parse(p).ok()) else {
            return Ok(None);
        };
        let Some(state) = object
            .read::<String>("requestState")
            .filter(|s| s.starts_with(STATE_PREFIX))
        else {
            return Ok(None);
        };
        let gone = || {
            ErrorObject::invalid_params(
                "no waiting request has this `requestState`: it expired or was answered; send the request again",
            )
        };
        let mut waiting = lock(&self.modern.waiting);
        let fits = waiting.get(&state).is_some_and(|p| {
            p.active.principal.generation() == principal.generation() && *p.active.method == *method
        });
        if !fits {
            return Err(gone());
        }
        let mut active = waiting.remove(&state).ok_or_else(gone)?.active;
        drop(waiting);
        // The response that carried the questions is over; what is said from now on goes into this one.
        active.stream = Stream::new(self.memory.once(principal.id));
        active.peer.stream.store(active.stream.clone());
        let meta = object.raw("_meta");
        let token = meta.and_then(|m| RawObject::parse(&m).ok()?.raw(meta::PROGRESS_TOKEN));
        active.peer.token.store(token.map(Arc::new));
        let responses = object.raw("inputResponses").unwrap_or(RawJson::EMPTY_OBJECT);
        if let Ok(responses) = RawObject::parse(&responses) {
            for (key, response) in responses.iter() {
                if let Some(ask) = active.pending.remove(key) {
                    // The asker may have given up meanwhile.
                    let _ = ask.answer.send(Ok(RawJson::of(response)));
                }
            }
        }
        Ok(Some(active))
    }
}

/// Runs a call to its answer or to its next questions.
async fn drive(gateway: Arc<Gateway>, mut active: ActiveCall) -> Result<RawJson, ErrorObject> {
    if active.pending.is_empty() {
        tokio::select! {
            biased;
            answer = &mut active.running => {
                drop(active.cancel.disarm());
                return answer;
            }
            Some(ask) = active.asks.recv() => active.queue(ask),
        }
        while let Ok(Some(ask)) = tokio::time::timeout(GATHER, active.asks.recv()).await {
            active.queue(ask);
        }
    }
    let questions: serde_json::Map<String, Value> = active
        .pending
        .iter()
        .map(|(key, ask)| {
            let mut params = ask.params.as_ref().map_or_else(|| json!({}), RawJson::to_value);
            // A token of the connection behind the hub means nothing to this client.
            if let Some(meta) = params.get_mut("_meta").and_then(Value::as_object_mut) {
                meta.remove(meta::PROGRESS_TOKEN);
            }
            (key.clone(), json!({ "method": ask.method, "params": params }))
        })
        .collect();
    use base64::Engine as _;
    let handle = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
    let state = format!("{STATE_PREFIX}{handle}");
    let result = json!({ "resultType": "input_required", "inputRequests": questions, "requestState": state });
    let mut waiting = lock(&gateway.modern.waiting);
    if !active.principal.is_current() {
        return Err(ended());
    }
    let (mut calls, mut all_bytes, mut bytes) = (0, active.bytes(), active.bytes());
    for other in waiting.values().map(|other| &other.active) {
        all_bytes += other.bytes();
        if other.principal.id == active.principal.id {
            calls += 1;
            bytes += other.bytes();
        }
    }
    if waiting.len() >= MAX_WAITING || calls >= MAX_WAITING_PER_KEY {
        return Err(ErrorObject::internal(
            "too many requests wait for their clients' answers",
        ));
    }
    if all_bytes > MAX_WAITING_BYTES || bytes > MAX_WAITING_BYTES_PER_KEY {
        return Err(ErrorObject::internal(
            "the requests that wait for their clients' answers are too large together; answer one first",
        ));
    }
    waiting.insert(
        state,
        WaitingCall {
            active,
            until: Instant::now() + ANSWER_TIME,
        },
    );
    Ok(RawJson::of(&result))
}

impl ActiveCall {
    /// Bytes of requests that it holds.
    fn bytes(&self) -> usize {
        let answer = self.permits.1.as_ref().map_or(0, Permit::bytes);
        self.permits.0.bytes().saturating_add(answer)
    }

    fn queue(&mut self, ask: ClientQuestion) {
        self.asked += 1;
        self.pending
            .insert(format!("{}-{}", ask.method.replace('/', "-"), self.asked), ask);
    }
}

#[cfg(test)]
#[path = "modern_tests.rs"]
mod tests;

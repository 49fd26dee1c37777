//! Sessions that outlive a restart of the hub.
//!
//! Many clients never send `initialize` a second time: where their session is gone, they fail until a person starts them
//! anew. So the store keeps what a session of streamable HTTP is made of, and the first request of an earlier run's
//! session makes it again, for the key that opened it and on the endpoint that it was opened on. What ran in it is not
//! kept, and lists are announced as changed.
//!
//! The store knows a session by the SHA-256 of its id, so nobody can use a session by reading the store. An entry is
//! removed when its session ends; entries of earlier runs that nobody came back to are removed when the hub has run for
//! [`IDLE_TIMEOUT`].

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aih_mcp::{Message, ProtocolVersion, RawJson};
use aih_store::state::{PluginState, StateError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    Gateway, changes,
    session::{IDLE_TIMEOUT, Session},
};
use crate::{
    access::Principal,
    catalogue::{ListKind, Scope},
    provider::Client,
};

/// The owner of the entries. The names of plugins and hooks have no slash after `hub`.
const OWNER: &str = "hub/sessions";
/// What all entries may take, in bytes; sessions beyond it do not outlive a restart.
const QUOTA: u64 = 64 * 1024 * 1024;
/// A session whose entry is larger does not outlive a restart, in bytes.
const LARGEST: usize = 16 * 1024;
/// More streams and events than a session has in one run of the hub.
const NUMBERS_OF_A_RUN: u64 = 1 << 32;
/// How often it is tried to subscribe again, at a server that is slow to start.
const RESTORES: usize = 12;
/// Between two of these attempts.
const RESTORE_PAUSE: Duration = Duration::from_secs(5);
/// What entries that wait to be written may take, in bytes. Where more come, a session may not outlive a restart. The
/// removal of an entry is never left out.
const MAX_WAITING: usize = 16 * 1024 * 1024;

/// What a session is made of.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The run of the hub that has the session.
    run: u64,
    /// Below the numbers of its streams and events in that run.
    numbers: u64,
    /// The id of the key.
    key: String,
    /// The server of its endpoint; none for `/mcp`.
    server: Option<Box<str>>,
    version: String,
    info: Option<RawJson>,
    capabilities: RawJson,
    log_level: u8,
    /// Exposed URIs.
    subscriptions: BTreeSet<Box<str>>,
}

enum Change {
    Keep {
        name: String,
        entry: Vec<u8>,
    },
    Forget {
        name: String,
    },
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// See the module.
pub(super) struct KeptSessions {
    state: PluginState,
    /// When this run began, in milliseconds.
    run: u64,
    changes: mpsc::UnboundedSender<Change>,
    /// Bytes of entries that wait to be written.
    waiting: Arc<AtomicUsize>,
    /// Held while a session is made again, so that two requests of it find one.
    resuming: Mutex<()>,
}

/// What a session is called in the store.
fn name_of(id: &str) -> String {
    Sha256::digest(id)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl KeptSessions {
    /// Keeps sessions in `state`.
    fn start(state: PluginState) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let (changes, queue) = mpsc::unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        tokio::spawn(write(state.clone(), queue, waiting.clone()));
        tokio::spawn(forget_earlier(state.clone(), run));
        Self {
            state,
            run,
            changes,
            waiting,
            resuming: Mutex::default(),
        }
    }

    fn keep(&self, session: &Session, client: &Client) {
        let entry = Entry {
            run: self.run,
            numbers: session.numbers,
            key: client.principal.id.to_string(),
            server: match &session.scope {
                Scope::All => None,
                Scope::One(server) => Some((**server).into()),
            },
            version: client.version.to_string(),
            info: client.info.clone(),
            capabilities: client.capabilities.clone(),
            log_level: client.log_level.load(Ordering::Relaxed),
            subscriptions: session.subscriptions(),
        };
        let Ok(entry) = serde_json::to_vec(&entry) else {
            return;
        };
        let waiting = self.waiting.load(Ordering::Relaxed);
        if entry.len() <= LARGEST && waiting < MAX_WAITING {
            self.waiting.fetch_add(entry.len(), Ordering::Relaxed);
            let name = name_of(&session.id);
            self.change(Change::Keep { name, entry });
        }
    }

    fn change(&self, change: Change) {
        // Only at the end of the hub nobody writes any more.
        let _ = self.changes.send(change);
    }

    /// The entry of an earlier run for this session, which is of this run from now on.
    async fn take_over(
        &self,
        id: &str,
        principal: &Principal,
        scope: &Scope,
    ) -> Result<Option<Entry>, StateError> {
        let name = name_of(id);
        let Some(found) = self.state.get(OWNER, &name).await? else {
            return Ok(None);
        };
        let Ok(mut entry) = serde_json::from_slice::<Entry>(&found.value) else {
            return Ok(None);
        };
        let server = match scope {
            Scope::All => None,
            Scope::One(server) => Some(&**server),
        };
        // One of this run that is not in memory has ended.
        let fits = entry.run != self.run
            && entry.key == principal.id.to_string()
            && entry.server.as_deref() == server;
        if !fits {
            return Ok(None);
        }
        entry.run = self.run;
        // Above all that the client may have seen, also where the clock was set back.
        entry.numbers = self.run.max(entry.numbers.saturating_add(NUMBERS_OF_A_RUN));
        let value = serde_json::to_vec(&entry).unwrap_or_default();
        let version = Some(found.version);
        match self.state.set(OWNER, &name, &value, version, QUOTA).await {
            Ok(_) => Ok(Some(entry)),
            Err(StateError::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Writes changes in their order.
async fn write(state: PluginState, mut queue: mpsc::UnboundedReceiver<Change>, waiting: Arc<AtomicUsize>) {
    while let Some(change) = queue.recv().await {
        let written = match change {
            Change::Keep { name, entry } => {
                waiting.fetch_sub(entry.len(), Ordering::Relaxed);
                state.set(OWNER, &name, &entry, None, QUOTA).await.map(drop)
            }
            Change::Forget { name } => state.delete(OWNER, &name).await,
            Change::Flush(done) => {
                let _ = done.send(());
                Ok(())
            }
        };
        if let Err(error) = written {
            if let StateError::Quota { .. } = error {
                tracing::debug!(target: "aih::gateway", "a session is one too many to outlive a restart: {error}");
                continue;
            }
            tracing::warn!(target: "aih::gateway", "a session or its end is not in the store and may not outlive a restart of the hub: {error}");
        }
    }
}

/// Removes the entries of earlier runs, when their sessions would have ended for want of use.
async fn forget_earlier(state: PluginState, run: u64) {
    tokio::time::sleep(IDLE_TIMEOUT).await;
    if let Err(error) = remove_earlier(&state, run).await {
        tracing::debug!(target: "aih::gateway", "sessions of earlier runs stay in the store: {error}");
    }
}

async fn remove_earlier(state: &PluginState, run: u64) -> Result<(), StateError> {
    let mut cursor = None;
    loop {
        let page = state.keys(OWNER, "", cursor.as_deref(), 1_000).await?;
        for name in &page.keys {
            let found = state.get(OWNER, name).await?;
            let entry = found.and_then(|found| serde_json::from_slice::<Entry>(&found.value).ok());
            if entry.is_none_or(|entry| entry.run != run) {
                state.delete(OWNER, name).await?;
            }
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

impl Gateway {
    /// Keeps sessions over restarts, in `state`. Only for the one hub of a store.
    pub fn keep_sessions(&self, state: PluginState) {
        let _ = self.kept.set(KeptSessions::start(state));
    }

    /// Keeps a session as it is now.
    pub(super) fn keep(&self, session: &Session) {
        if let (Some(kept), Some(client)) = (self.kept.get(), session.client())
            && session.is_lasting()
        {
            kept.keep(session, client);
        }
    }

    /// Keeps the session of a client as it is now, if it has one.
    pub(super) fn keep_client(&self, client: &Client) {
        if let Some(session) = self.sessions.of_client(&client.key) {
            self.keep(&session);
        }
    }

    /// Forgets a session that has ended.
    pub(super) fn forget_session(&self, session: &Session) {
        if let Some(kept) = self.kept.get()
            && session.is_lasting()
        {
            let name = name_of(&session.id);
            kept.change(Change::Forget { name });
        }
    }

    /// Waits until what is to be kept is in the store.
    pub async fn sessions_kept(&self) {
        if let Some(kept) = self.kept.get() {
            let (done, written) = oneshot::channel();
            kept.change(Change::Flush(done));
            let _ = written.await;
        }
    }

    /// The session with this id, if `principal` opened it on this endpoint, now or in an earlier run of the hub.
    pub(super) async fn session(
        self: &Arc<Self>,
        id: &str,
        principal: &Arc<Principal>,
        scope: &Scope,
    ) -> Option<Arc<Session>> {
        let here = || {
            let session = self.sessions.get(id, principal);
            session.filter(|session| session.scope == *scope)
        };
        match here() {
            Some(session) => Some(session),
            None if self.sessions.has(id) => None,
            None => self.resume_session(id, principal, scope, here).await,
        }
    }

    async fn resume_session(
        self: &Arc<Self>,
        id: &str,
        principal: &Arc<Principal>,
        scope: &Scope,
        here: impl Fn() -> Option<Arc<Session>>,
    ) -> Option<Arc<Session>> {
        let kept = self.kept.get()?;
        if id.len() != super::session::ID_LENGTH || self.stopping.is_cancelled() {
            return None;
        }
        let _turn = kept.resuming.lock().await;
        if let Some(session) = here() {
            return Some(session);
        }
        let entry = match kept.take_over(id, principal, scope).await {
            Ok(entry) => entry?,
            Err(error) => {
                tracing::warn!(target: "aih::gateway", "a session of an earlier run cannot be read: {error}");
                return None;
            }
        };
        let (session, ended) = self
            .sessions
            .open_as(id, principal, scope.clone(), entry.numbers)
            .ok()?;
        for old in ended {
            self.end_session(&old);
        }
        let version = ProtocolVersion::parse(&entry.version)?;
        let client = session
            .introduce(version, entry.info.as_ref(), &entry.capabilities)
            .ok()?
            .clone();
        client.log_level.store(entry.log_level, Ordering::Relaxed);
        session.last_long();
        for uri in &entry.subscriptions {
            session.subscribed(uri);
        }
        // What the client knows is of the earlier run.
        for kind in [ListKind::Tools, ListKind::Prompts, ListKind::Resources] {
            let message = Message::notification(changes::notification(kind), None);
            // Only a question can fail.
            let _ = session.standing.push(&message);
        }
        tracing::debug!(target: "aih::gateway", "a session of an earlier run goes on");
        self.tasks
            .spawn(restore(self.clone(), session.clone(), client, entry));
        Some(session)
    }
}

/// Says the log level again and subscribes again, at servers that are up or come up soon.
async fn restore(gateway: Arc<Gateway>, session: Arc<Session>, client: Arc<Client>, entry: Entry) {
    gateway.until_servers_started(&session.scope, &client).await;
    if entry.log_level != 0 {
        gateway.tell_log_level(&session.scope, &client).await;
    }
    let mut left: Vec<Box<str>> = entry.subscriptions.into_iter().collect();
    for _ in 0..RESTORES {
        let mut failed = Vec::new();
        for uri in left {
            let done = match gateway.find_resource(&session.scope, &uri, &client) {
                Ok((offering, original)) => offering.provider.subscribe(&original, &client).await.is_ok(),
                Err(_) => false,
            };
            if !done {
                failed.push(uri);
            }
        }
        left = failed;
        if left.is_empty() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(RESTORE_PAUSE) => {}
            () = session.ended.cancelled() => return,
            () = gateway.stopping.cancelled() => return,
        }
    }
}

//! The MCP server side: transports and dispatch, both eras, and nothing else.
//!
//! A request walks [`streamable`] (or [`sse`], [`stdio`]) → [`dispatch`] → [`calls`](crate::calls) → a provider. Sessions
//! and streams ([`session`], [`stream`]) belong to the legacy era, whose handshake is in [`legacy`]; [`modern`] has
//! neither. [`wire`] is the HTTP around one message, [`peer`] the client's end as providers see it, [`rewrite`] the names of
//! the aggregated endpoint, [`results`] what a client takes of a tool's result, [`known_clients`] the table of what is
//! known of clients by their names. [`changes`] tells clients of changed lists, [`own_lists`] shows a client what servers
//! list for it alone, [`starting`] lets them wait for servers that are still being reached, [`kept`] lets sessions
//! outlive a restart, and [`tasks`] remembers who made which task. Nothing here reads more of a payload than its
//! routing needs.

pub mod changes;
pub mod dispatch;
mod introduction;
mod kept;
pub mod known_clients;
mod legacy;
pub mod modern;
mod own_lists;
pub mod peer;
mod progress;
pub mod results;
pub mod rewrite;
pub mod session;
pub mod sse;
pub mod starting;
pub mod stdio;
pub mod stream;
pub mod streamable;
mod tasks;
mod wire;

use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use axum::{Router, routing};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::{Authority, Compat},
    calls::{Calls, record::Records},
    catalogue::Catalogue,
    hooks::Hooks,
    memory::Memory,
    provider::ClientKey,
};
use session::{Session, Sessions};
use starting::FirstList;

/// Largest body of one message from a client, in bytes.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// Deepest nesting of a message from a client.
pub const MAX_NESTING: usize = 128;

/// How often it is looked for what is idle, and for what was delivered and need not be kept.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// The gateway's state, shared by all transports.
pub struct Gateway {
    /// What is on offer.
    pub catalogue: Arc<Catalogue>,
    /// What runs around calls.
    pub hooks: Arc<Hooks>,
    /// What makes calls.
    calls: Calls,
    /// The hub's name in the configuration; clients show it.
    pub name: String,
    /// Whether lists and results are rewritten for clients whose key does not say.
    compat: Compat,
    /// What is held for clients, in bytes.
    pub memory: Arc<Memory>,
    /// Sessions of the legacy era.
    pub sessions: Sessions,
    /// Clients, waiting calls and listeners of the modern era.
    pub modern: modern::Modern,
    /// Fires when the hub stops: streams end, nothing new begins.
    pub stopping: CancellationToken,
    /// What clients with lists of their own are shown.
    own_snapshots: own_lists::OwnSnapshots,
    /// Who made which task at a server.
    client_tasks: tasks::Tasks,
    /// Requests that outlive their HTTP response's first byte.
    pub tasks: TaskTracker,
    /// How long first lists wait for servers that start.
    first_list: FirstList,
    /// When it came up.
    started_at: tokio::time::Instant,
    /// Sessions that outlive a restart, where they do.
    kept: OnceLock<kept::KeptSessions>,
    counter: AtomicU64,
}

impl Gateway {
    /// A gateway in front of `catalogue`. A client without a session that is silent for `conversation_timeout`
    /// is gone.
    pub(crate) fn new(
        catalogue: Arc<Catalogue>,
        name: String,
        hooks: Arc<Hooks>,
        records: Arc<Records>,
        conversation_timeout: Duration,
        first_list: FirstList,
        compat: Compat,
    ) -> Arc<Self> {
        let memory = Arc::<Memory>::default();
        Arc::new(Self {
            catalogue,
            calls: Calls::new(Arc::downgrade(&hooks), records),
            hooks,
            name,
            compat,
            sessions: Sessions::new(memory.clone()),
            memory,
            modern: modern::Modern::new(conversation_timeout),
            stopping: CancellationToken::new(),
            own_snapshots: own_lists::OwnSnapshots::default(),
            client_tasks: tasks::Tasks::default(),
            tasks: TaskTracker::new(),
            first_list,
            started_at: tokio::time::Instant::now(),
            kept: OnceLock::new(),
            counter: AtomicU64::new(1),
        })
    }

    fn next_number(&self) -> u64 {
        self.counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    /// Ends a session: what runs in it is cancelled, and what providers hold for it is given back. The end of the hub does
    /// not end it for good.
    pub fn end_session(&self, session: &Session) {
        if !self.stopping.is_cancelled() {
            self.forget_session(session);
        }
        self.sessions.remove(&session.id);
        session.ended.cancel();
        session.standing.finish();
        if let Some(client) = session.client() {
            self.client_gone(&client.key);
            self.client_tasks.forget(&client.key);
        }
    }

    /// Ends what principals began that have ended themselves: sessions with all that runs in them, calls that wait for an
    /// answer of the client, conversations, and what providers hold for these. A client whose key still counts begins
    /// anew.
    pub fn end_of_principals(&self) {
        for session in self.sessions.remove_ended() {
            self.end_session(&session);
        }
        for client in self.modern.remove_ended() {
            self.client_gone(&client);
            self.client_tasks.forget(&client);
        }
    }

    /// Does so whenever principals end, until the hub stops.
    pub async fn follow(self: Arc<Self>, authority: Arc<Authority>) {
        let mut changes = authority.changes();
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = self.stopping.cancelled() => return,
            }
            self.end_of_principals();
        }
    }

    /// Gives back what providers hold for a client that is gone, and ends its conversation.
    fn client_gone(&self, client: &ClientKey) {
        for provider in self.catalogue.providers().iter() {
            provider.release(client);
        }
        self.hooks.client_gone(client);
    }

    /// Runs until the hub stops: notifies clients of changes, and ends what is idle.
    pub async fn run(self: Arc<Self>) {
        let changes = tokio::spawn(changes::tell(self.clone()));
        let mut tick = tokio::time::interval(HOUSEKEEPING.min(self.modern.idle));
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.stopping.cancelled() => break,
            }
            self.sessions.all().iter().for_each(|session| session.forget());
            let sessions = self.sessions.newly_abandoned();
            let sessions = sessions.iter().filter_map(|session| session.client());
            let abandoned: Vec<ClientKey> = sessions.map(|client| client.key.clone()).collect();
            for client in abandoned.into_iter().chain(self.modern.newly_abandoned()) {
                for provider in self.catalogue.providers().iter() {
                    provider.abandoned(&client);
                }
            }
            for session in self.sessions.remove_idle(session::IDLE_TIMEOUT) {
                self.end_session(&session);
            }
            for gone in self.modern.remove_idle() {
                self.client_gone(&gone);
            }
            self.hooks.end_unheld();
            // What a request began in the moment in which its principal ended.
            self.end_of_principals();
        }
        changes.abort();
    }

    /// Ends every stream and session. Running requests go on; wait for [`Gateway::tasks`].
    pub fn stop(&self) {
        self.stopping.cancel();
        for session in self.sessions.all() {
            session.drain();
        }
        self.modern.end_listeners();
        self.tasks.close();
    }
}

/// The MCP endpoints. The caller puts [`crate::access::protect`] in front. Each segment beside `{name}`
/// is in [`RESERVED`](crate::names::RESERVED).
pub fn router(gateway: Arc<Gateway>) -> Router {
    let streamable = || {
        routing::post(streamable::post)
            .get(streamable::get)
            .delete(streamable::delete)
    };
    let sse = || {
        routing::post(streamable::post)
            .get(sse::get)
            .delete(streamable::delete)
    };
    Router::new()
        .route("/mcp", streamable())
        .route("/mcp/sse", sse())
        .route("/mcp/messages", routing::post(sse::post))
        .route("/mcp/{name}", streamable())
        .route("/mcp/{name}/sse", sse())
        .route("/mcp/{name}/messages", routing::post(sse::post))
        .with_state(gateway)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod record_tests;

//! Connections that belong to one client each: how many there are, and which one is closed for a new one.
//!
//! This is only the table; its users connect. A connection that is leased is never evicted.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::{
    provider::{ClientKey, Offers},
    upstream::link::connection::{Connection, ListSet, lock},
};

/// How many processes of one server may belong to clients at once.
pub(crate) const MAX_PROCESSES: usize = 16;
/// How many HTTP sessions of one server may belong to clients at once.
pub(crate) const MAX_SESSIONS: usize = 1024;
/// After what time without use a client's connection is closed.
pub(crate) const IDLE: Duration = Duration::from_secs(600);

/// The place of one client.
pub(crate) struct Entry {
    connection: ArcSwapOption<Connection>,
    /// Held while the connection is opened, so that it is opened once.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// What its process or session lists, where that is something else than the shared lists.
    offers: ArcSwapOption<Offers>,
    /// Its lists that are to be read again.
    stale: AtomicU8,
    /// Held while its lists are read.
    pub(crate) listing: tokio::sync::Mutex<()>,
    in_use: AtomicUsize,
    last_used: Mutex<Instant>,
    released: AtomicBool,
}

impl Entry {
    fn new() -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            opening: tokio::sync::Mutex::new(()),
            offers: ArcSwapOption::empty(),
            stale: AtomicU8::new(0),
            listing: tokio::sync::Mutex::new(()),
            in_use: AtomicUsize::new(0),
            last_used: Mutex::new(Instant::now()),
            released: AtomicBool::new(false),
        }
    }

    /// The connection, if it is open.
    pub(crate) fn live(&self) -> Option<Arc<Connection>> {
        self.connection.load_full().filter(|c| !c.is_gone())
    }

    /// What it lists; `None` where that is what all have.
    pub(crate) fn offers(&self) -> Option<Arc<Offers>> {
        self.offers.load_full()
    }

    /// Replaces what it lists.
    pub(crate) fn set_offers(&self, offers: Option<Arc<Offers>>) {
        self.offers.store(offers);
    }

    /// These lists are to be read again. Whether nobody was to do so yet.
    pub(crate) fn mark_stale(&self, which: ListSet) -> bool {
        self.stale.fetch_or(which.0, Ordering::AcqRel) == 0
    }

    /// Which lists are to be read again; forgets it.
    pub(crate) fn take_stale(&self) -> ListSet {
        ListSet(self.stale.swap(0, Ordering::AcqRel))
    }

    /// Puts a new connection in. `false` when the client is gone: then the caller must close it.
    #[must_use]
    pub(crate) fn put(&self, connection: &Arc<Connection>) -> bool {
        self.connection.store(Some(connection.clone()));
        !self.is_released()
    }

    /// Whether the client is gone.
    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }

    fn release(&self) -> Option<Arc<Connection>> {
        self.released.store(true, Ordering::SeqCst);
        self.connection.swap(None)
    }

    fn idle(&self) -> bool {
        self.in_use.load(Ordering::SeqCst) == 0
    }
}

/// Keeps an entry from being evicted.
pub(crate) struct Hold(Arc<Entry>);

impl Hold {
    fn new(entry: &Arc<Entry>) -> Self {
        entry.in_use.fetch_add(1, Ordering::SeqCst);
        Self(entry.clone())
    }

    /// The entry.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *lock(&self.0.last_used) = Instant::now();
        self.0.in_use.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection to use for one request.
pub(crate) struct Lease {
    connection: Arc<Connection>,
    _hold: Option<Hold>,
}

impl Lease {
    /// A shared connection.
    pub(crate) fn shared(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            _hold: None,
        }
    }

    /// A client's own.
    pub(crate) fn own(connection: Arc<Connection>, hold: Hold) -> Self {
        Self {
            connection,
            _hold: Some(hold),
        }
    }
}

impl Deref for Lease {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

/// All of one server's.
pub(crate) struct Pool {
    entries: Mutex<HashMap<ClientKey, Arc<Entry>>>,
    limit: usize,
}

impl Pool {
    /// At most `limit` connections.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: Mutex::default(),
            limit,
        }
    }

    /// The most connections.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        lock(&self.entries)
            .values()
            .filter(|e| e.live().is_some())
            .count()
    }

    /// Whether a client has an open connection, or gets one now.
    pub(crate) fn is_used(&self) -> bool {
        let used = |entry: &Arc<Entry>| entry.live().is_some() || entry.opening.try_lock().is_err();
        lock(&self.entries).values().any(used)
    }

    /// The place of a client.
    pub(crate) fn entry(&self, key: &ClientKey) -> Option<Arc<Entry>> {
        lock(&self.entries).get(key).cloned()
    }

    /// The open connection of a client; opens none.
    pub(crate) fn peek(&self, key: &ClientKey) -> Option<Arc<Connection>> {
        lock(&self.entries).get(key)?.live()
    }

    /// Holds the client's place, which may need another to go: that one is given back to be closed.
    /// `pinned` says whose connection goes last (it has subscriptions). `None` when all are in use.
    pub(crate) fn hold(
        &self,
        key: &ClientKey,
        pinned: impl Fn(&ClientKey) -> bool,
    ) -> Option<(Hold, Option<Arc<Connection>>)> {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(key) {
            return Some((Hold::new(entry), None));
        }
        let mut evicted = None;
        if entries.len() >= self.limit {
            let oldest = entries
                .iter()
                .filter(|(_, e)| e.idle())
                .min_by_key(|(k, e)| (e.live().is_some(), pinned(k), *lock(&e.last_used)))
                .map(|(k, _)| k.clone())?;
            evicted = entries.remove(&oldest).and_then(|e| e.release());
        }
        let entry = Arc::new(Entry::new());
        let hold = Hold::new(&entry);
        entries.insert(key.clone(), entry);
        Some((hold, evicted))
    }

    /// Takes out what was idle for longer than `idle` and not `pinned`.
    pub(crate) fn expire(&self, idle: Duration, pinned: impl Fn(&ClientKey) -> bool) -> Vec<Arc<Connection>> {
        let mut out = Vec::new();
        lock(&self.entries).retain(|key, entry| {
            let old = entry.idle() && lock(&entry.last_used).elapsed() >= idle;
            if !old || (pinned(key) && entry.live().is_some()) {
                return true;
            }
            out.extend(entry.release());
            false
        });
        out
    }

    /// Takes a client out unless its connection is in use; the client gets another when it needs one again.
    pub(crate) fn give_back(&self, key: &ClientKey) -> Option<Arc<Connection>> {
        let mut entries = lock(&self.entries);
        if !entries.get(key)?.idle() {
            return None;
        }
        entries.remove(key)?.release()
    }

    /// Takes a client out.
    pub(crate) fn release(&self, key: &ClientKey) -> Option<Arc<Connection>> {
        let entry = lock(&self.entries).remove(key)?;
        entry.release()
    }

    /// Takes all out.
    pub(crate) fn drain(&self) -> Vec<Arc<Connection>> {
        lock(&self.entries)
            .drain()
            .filter_map(|(_, entry)| entry.release())
            .collect()
    }
}

//! The connections that clients share: which one a request gets, how long it waits for one, and when the hub's own process
//! makes room for a client's.
//!
//! Callers never connect a shared connection themselves: each has a supervisor (`supervisor.rs`) that does, so a hundred
//! requests to a server that is down make one attempt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aih_mcp::{ErrorCode, ErrorObject};
use tokio::time::Instant;

use super::core::{Core, Slot};
use crate::upstream::link::connection::{Connection, lock};

/// How long a request waits for a connection over HTTP that is being made. A process may need longer: a request waits
/// for it as long as for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long after a failed attempt no request causes another.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long after a failed start no request starts a parked process.
const PARKED_PAUSE: Duration = Duration::from_secs(2);

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

impl Core {
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
    pub(super) async fn give_place(&self) {
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

    pub(super) fn why_down(&self) -> ErrorObject {
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
}

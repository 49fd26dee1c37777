//! The tasks of one upstream server: keep every shared connection up, keep the lists fresh, close what is idle.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use aih_mcp::{Era, method};
use tokio::{sync::Notify, time::Instant};

use super::{
    backoff::{self, Backoff, Cause},
    clients::IDLE,
    core::{Core, Profile, Slot},
    lifecycle::DialError,
    lists,
};
use crate::{
    provider::ClientKey,
    upstream::link::connection::{Connection, Events as _, ListSet, lock},
};

/// A greeting that takes longer than this is reported.
const SLOW: Duration = Duration::from_secs(8);
/// Many changes of a list within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Half to all of `delay`, so that servers that fell together do not rise together.
pub(crate) fn jitter(delay: Duration) -> Duration {
    delay.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

impl Core {
    /// Starts all tasks.
    pub(crate) fn start(self: &Arc<Self>) {
        if !self.spec.state.is_enabled() {
            return;
        }
        for index in 0..self.slots.len() {
            self.tasks.spawn(self.clone().supervise(index));
        }
        self.tasks.spawn(self.clone().keep_lists());
        self.tasks.spawn(self.clone().sweep());
    }

    async fn supervise(self: Arc<Self>, index: usize) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let mut backoff = Backoff::new(self.spec.is_stdio());
        let mut first = true;
        while !self.stop.is_cancelled() {
            let rests = || {
                let attempts = lock(&slot.attempts);
                attempts.dormant && !attempts.wanted
            };
            while rests() {
                tokio::select! {
                    () = slot.retry_now.notified() => {}
                    () = self.stop.cancelled() => return,
                }
                // That is not a restart.
                first = true;
            }
            {
                let mut attempts = lock(&slot.attempts);
                (attempts.running, attempts.parked, attempts.wanted) = (true, false, false);
            }
            let begun = Notify::new();
            let dialed = tokio::select! {
                dialed = self.dialer.dial(index, None, Some(&begun)) => dialed,
                never = self.report_slowness(&begun) => match never {},
                () = self.stop.cancelled() => return,
            };
            let mut asked = None;
            let cause = match dialed {
                Ok(connection) => {
                    if !first {
                        self.restarts.fetch_add(1, Ordering::Relaxed);
                    }
                    first = false;
                    let since = Instant::now();
                    self.serve(index, &connection).await;
                    if self.stop.is_cancelled() {
                        return;
                    }
                    if lock(&slot.attempts).dormant {
                        continue;
                    }
                    if connection.users.was_used() {
                        backoff.served();
                    }
                    match connection.verdict() {
                        Some(verdict) if verdict.by_call => Cause::Call,
                        _ => Cause::Itself(since.elapsed()),
                    }
                }
                Err(error) => {
                    asked = error.retry_after();
                    self.failed(index, error);
                    Cause::NotConnected
                }
            };
            if let Some(pause) = backoff.pause(cause, Instant::now()) {
                let pause = jitter(pause).max(asked.unwrap_or_default());
                if pause > Duration::from_secs(1) {
                    lock(&slot.attempts).running = false;
                    self.pulse.send_modify(|n| *n += 1);
                }
                if let Some(failures) = backoff.parked() {
                    self.park(slot, failures, pause);
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // Calls do not shorten a pause that the server asked for.
                    () = slot.retry_now.notified(), if asked.is_none() => {}
                    () = self.stop.cancelled() => return,
                }
            }
        }
    }

    /// The process is not started again for a while. Says why, and what starts it.
    fn park(&self, slot: &Slot, failures: u32, pause: Duration) {
        let why = {
            let mut attempts = lock(&slot.attempts);
            attempts.parked = true;
            attempts.failure.as_ref().map(|(error, _)| error.to_string())
        };
        let text = format!(
            "{}. It failed {failures} times in a row, so the hub starts it again only in {} s. A call of it or a reload of \
             the configuration starts it at once",
            why.as_deref().unwrap_or("the process ended"),
            pause.as_secs()
        );
        tracing::warn!(server = %self.name, "{text}");
        self.note(text);
        self.changes.mark();
    }

    /// Says once that a greeting takes long: a first start may download the server, or it will never answer.
    async fn report_slowness(&self, begun: &Notify) -> std::convert::Infallible {
        begun.notified().await;
        tokio::time::sleep(SLOW).await;
        let text = format!(
            "no answer to the greeting for {} s; the hub still waits",
            SLOW.as_secs()
        );
        tracing::warn!(server = %self.name, "{text}");
        self.note(text);
        self.changes.mark();
        std::future::pending().await
    }

    fn failed(&self, index: usize, error: DialError) {
        let text = error.to_string();
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        // Before the attempt has ended for callers that wait: who sees the server down also sees why.
        self.note(text.clone());
        let before = {
            let mut attempts = lock(&slot.attempts);
            (attempts.running, attempts.dormant) = (false, false);
            attempts.ended += 1;
            attempts.failure.replace((Arc::new(error), Some(Instant::now())))
        };
        self.pulse.send_modify(|n| *n += 1);
        // One row a change, not one an attempt.
        if before.is_none_or(|(error, _)| error.to_string() != text) {
            tracing::warn!(server = %self.name, error = text, "not reachable; the hub keeps trying");
            self.changes.mark();
        }
    }

    /// A connection from the greeting to its end.
    async fn serve(self: &Arc<Self>, index: usize, connection: &Arc<Connection>) {
        let (Some(slot), Some(greeting)) = (self.slots.get(index), connection.greeting()) else {
            return;
        };
        self.profile.store(Some(Arc::new(Profile {
            transport_kind: connection.transport_kind,
            version: greeting.version,
            stateful: connection.stateful(),
        })));
        self.relist(|listing| listing.greeted(greeting));
        slot.connection.store(Some(connection.clone()));
        self.recovered();
        {
            let mut attempts = lock(&slot.attempts);
            (attempts.running, attempts.dormant) = (false, false);
            attempts.ended += 1;
            attempts.failure = None;
        }
        self.pulse.send_modify(|n| *n += 1);
        self.changes.mark();
        tracing::info!(
            server = %self.name, transport = connection.transport_kind.as_str(), protocol = %greeting.version, "connected"
        );
        let work = async {
            match connection.era() {
                Era::Legacy => {
                    tokio::join!(self.first_lists(connection), self.replay(connection));
                    std::future::pending::<()>().await;
                }
                Era::Modern => {
                    tokio::join!(self.first_lists(connection), self.listen(index, connection));
                }
            }
        };
        tokio::select! {
            () = connection.gone() => {}
            () = self.stop.cancelled() => {}
            () = work => {}
        }
        {
            let mut attempts = lock(&slot.attempts);
            attempts.running = true;
            attempts.failure = connection
                .error()
                .map(|error| (Arc::new(DialError::Transport(error.clone())), None));
        }
        slot.connection.store(None);
        connection.close().await;
        if let Some(error) = connection.error().filter(|_| !self.stop.is_cancelled()) {
            tracing::warn!(server = %self.name, %error, "connection lost");
            self.note(error.to_string());
            self.changes.mark();
        }
    }

    /// Tells a new shared connection what clients told the old one.
    async fn replay(&self, connection: &Arc<Connection>) {
        if let Some(level) = self.lowest_level().filter(|_| connection.declares("logging")) {
            self.send_level(connection, level).await;
        }
        for client in self.subscriptions.shared_by() {
            connection.users.note(&client);
        }
        for uri in self.subscriptions.shared() {
            self.send_subscription(connection, method::RESOURCES_SUBSCRIBE, &uri)
                .await;
        }
    }

    /// The lists of a new connection.
    async fn first_lists(&self, connection: &Arc<Connection>) {
        self.read_lists(connection, ListSet::ALL).await;
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.changes.mark();
        }
    }

    async fn read_lists(&self, connection: &Arc<Connection>, which: ListSet) {
        let failed = AtomicU8::new(0);
        let errors = Mutex::new(Vec::new());
        lists::read(connection, which, &self.spec.tools, &|list, found| match found {
            Ok(fresh) => self.relist(|listing| listing.with(fresh)),
            Err(error) => {
                if self.give_up_if_broken(connection, &error) || connection.is_gone() {
                    // Told once, where the connection ends.
                    return;
                }
                failed.fetch_or(list.0, Ordering::AcqRel);
                let error = error.into_object(&self.name);
                self.note(error.message.clone());
                lock(&errors).push((list, error));
            }
        })
        .await;
        if connection.is_gone() {
            // The next connection reads all.
            return;
        }
        let failed = ListSet(failed.into_inner());
        let before = self.unread();
        let fresh = self.note_unread(which, failed);
        for (list, error) in lock(&errors).drain(..) {
            // One row a change, not one an attempt.
            if fresh.has(list) {
                tracing::warn!(
                    server = %self.name, %error,
                    "a list could not be read; the last known one stays, and the hub reads it again"
                );
            }
        }
        if self.unread() != before {
            self.changes.mark();
            // Whoever keeps the lists counts from now on.
            self.refresh.notify_one();
        }
        if self.unread().is_empty() {
            self.recovered();
            self.remember_lists();
        }
    }

    /// Keeps the lists for the next run of the hub, in the background.
    fn remember_lists(&self) {
        let Some(known) = self.known.clone() else { return };
        let (spec, offers) = (self.spec.clone(), self.listing.load().offers.clone());
        {
            let mut kept = lock(&self.kept);
            if kept.as_deref() == Some(&*offers) {
                return;
            }
            *kept = Some(offers.clone());
        }
        self.tasks.spawn_blocking(move || known.keep(&spec, &offers));
    }

    /// Reads lists again that have changed, and those that could not be read, after a pause that grows.
    async fn keep_lists(self: Arc<Self>) {
        let mut failures = 0;
        let mut again: Option<Instant> = None;
        loop {
            let due = async {
                match again {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.refresh.notified() => {
                    tokio::select! {
                        () = tokio::time::sleep(DEBOUNCE) => {}
                        () = self.stop.cancelled() => return,
                    }
                }
                () = due => {
                    again = None;
                    failures += 1;
                    self.mark_stale(self.unread());
                }
                () = self.stop.cancelled() => return,
            }
            let which = self.take_stale();
            // Without a connection there is nothing to read; the next one reads all.
            if let Some(connection) = self.live().next().filter(|_| !which.is_empty()) {
                tokio::select! {
                    () = self.read_lists(&connection, which) => {}
                    () = self.stop.cancelled() => return,
                }
            }
            if self.unread().is_empty() {
                (failures, again) = (0, None);
            } else if again.is_none() {
                again = Some(Instant::now() + jitter(backoff::delay(failures)));
            }
        }
    }

    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP) => {}
                () = self.stop.cancelled() => return,
            }
            let pinned = |key: &ClientKey| !self.subscriptions.own(key).is_empty();
            for connection in self.pool.expire(IDLE, pinned) {
                let this = self.clone();
                self.tasks.spawn(async move {
                    connection.close().await;
                    this.take_place();
                });
            }
        }
    }

    /// Asks for all lists again.
    pub(crate) fn refresh_all(&self) {
        self.lists_changed(None, ListSet::ALL);
    }
}

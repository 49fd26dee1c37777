//! A stream of messages to a client that can be picked up again where it broke off.
//!
//! Every event has a number; a reader starts behind the last one that it saw. All bytes are accounted for
//! ([`StreamBudget`]): what waits for the client counts against its answers, what was delivered and is kept for a client
//! that was cut off counts apart and is kept for seconds. Where there is no room, notifications are dropped (the oldest
//! first, and they are counted), questions are refused, and an answer waits for the client to read. If the client does
//! not read, the answer becomes a small error with its id.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aih_mcp::{ErrorObject, Id, Message, RawJson, sse::Event};
use bytes::Bytes;
use futures::Stream as Events;
use tokio::{sync::Notify, time::Instant};

use crate::memory::{OutOfBudget, Permit, StreamBudget, count_dropped_event};

/// Most notifications, and most answers, that wait for a reader.
const MAX_EVENTS: usize = 1_024;
/// How long an event is kept after it was delivered: enough for a client that was cut off to come back.
pub const KEEP_DELIVERED: Duration = Duration::from_secs(30);
/// How long a finished stream waits for a client that never fetched it.
pub const KEEP_WAITING: Duration = Duration::from_secs(600);
/// What an event costs beside its bytes.
const EVENT: usize = 128;

/// What an event is, when there is no room for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nobody waits for it.
    Notification,
    /// Somebody waits for it: it is never dropped.
    Awaited,
}

struct Entry {
    number: u64,
    data: Bytes,
    kind: Kind,
    /// When a reader took it.
    delivered: Option<Instant>,
    permit: Permit,
}

#[derive(Default)]
struct State {
    log: VecDeque<Entry>,
    next: u64,
    /// The number of the last event that was delivered and is no longer kept.
    forgotten: u64,
    finished: Option<Instant>,
    /// Where everything goes that is appended from now on.
    elsewhere: Option<Arc<Stream>>,
    /// Grows with every reader; an older reader ends when it sees a newer one.
    reader: u64,
}

impl State {
    /// How many of this kind wait.
    fn waiting(&self, kind: Kind) -> usize {
        if self.log.len() < MAX_EVENTS {
            // Not worth counting.
            return 0;
        }
        let waits = |entry: &&Entry| entry.delivered.is_none() && entry.kind == kind;
        self.log.iter().filter(waits).count()
    }

    /// Drops the oldest notification that waits. Says whether there was one.
    fn drop_notification(&mut self) -> bool {
        let dropped = self
            .log
            .iter()
            .position(|entry| entry.delivered.is_none() && entry.kind == Kind::Notification);
        if let Some(at) = dropped {
            self.log.remove(at);
            count_dropped_event();
        }
        dropped.is_some()
    }

    fn append(&mut self, data: Bytes, kind: Kind, permit: Permit) {
        self.next += 1;
        self.log.push_back(Entry {
            number: self.next,
            data,
            kind,
            delivered: None,
            permit,
        });
    }
}

/// See the module.
pub struct Stream {
    state: Mutex<State>,
    wake: Notify,
    room: StreamBudget,
}

impl Stream {
    /// An empty stream.
    pub fn new(room: StreamBudget) -> Arc<Self> {
        Self::after(room, 0)
    }

    /// An empty stream whose events have numbers above `last`: readers may have seen events up to there.
    pub fn after(room: StreamBudget, last: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                next: last,
                ..State::default()
            }),
            wake: Notify::new(),
            room,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held cannot leave the log half-changed: every change is one call.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Appends a message. Never waits. An answer for which there is no room becomes an error that says so; a
    /// notification is dropped.
    ///
    /// # Errors
    /// There is no room for a question to the client: it was not appended.
    pub fn push(&self, message: &Message) -> Result<(), OutOfBudget> {
        let (kind, data) = match message {
            Message::Notification { .. } => (Kind::Notification, message.to_bytes()),
            Message::Request { .. } | Message::Response { .. } => (Kind::Awaited, message.to_bytes()),
        };
        match (message, self.append(data, kind)) {
            (Message::Response { id, .. }, Err(error)) => {
                self.room.waiting.count_refusal();
                self.push_error(id.clone(), no_room(&error));
                Ok(())
            }
            (Message::Notification { .. }, Err(_)) => {
                count_dropped_event();
                Ok(())
            }
            (_, outcome) => outcome,
        }
    }

    /// Appends an answer. Where there is no room for it, it waits for the client to read what is there
    /// ([`StreamBudget::room_for_answer`]), and becomes an error that says so where the client does not.
    pub async fn answer(&self, id: Id, outcome: Result<RawJson, ErrorObject>) {
        let data = Message::response(id.clone(), outcome).to_bytes();
        let room = tokio::select! {
            biased;
            room = self.room.room_for_answer(data.len() + EVENT) => room,
            // Nobody will read it.
            () = self.until(Self::is_finished) => return,
        };
        match room {
            Ok(permit) => self.append_with(data, Kind::Awaited, permit),
            Err(error) => self.push_error(Some(id), no_room(&error)),
        }
    }

    /// Appends an error as the answer, whether there is room or not: it is small.
    fn push_error(&self, id: Option<Id>, error: ErrorObject) {
        let outcome = Err(error);
        self.push_awaited(Message::Response { id, outcome }.to_bytes());
    }

    /// Appends what has its permit already.
    fn append_with(&self, data: Bytes, kind: Kind, permit: Permit) {
        let mut state = self.lock();
        if let Some(elsewhere) = state.elsewhere.clone() {
            drop(state);
            return elsewhere.append_with(data, kind, permit);
        }
        if state.finished.is_none() {
            state.append(data, kind, permit);
        }
        drop(state);
        self.wake.notify_waiters();
    }

    fn append(&self, data: Bytes, kind: Kind) -> Result<(), OutOfBudget> {
        let size = data.len() + EVENT;
        let mut state = self.lock();
        if let Some(elsewhere) = state.elsewhere.clone() {
            drop(state);
            return elsewhere.append(data, kind);
        }
        if state.finished.is_some() {
            if kind == Kind::Notification {
                count_dropped_event();
            }
            return Ok(());
        }
        let permit = match kind {
            Kind::Awaited => self.room.waiting.take(size)?,
            Kind::Notification => {
                let mut permit = self.room.notes.take(size);
                while permit.is_err() && state.drop_notification() {
                    permit = self.room.notes.take(size);
                }
                permit?
            }
        };
        if kind == Kind::Notification && state.waiting(kind) >= MAX_EVENTS {
            state.drop_notification();
        }
        state.append(data, kind, permit);
        drop(state);
        self.wake.notify_waiters();
        Ok(())
    }

    /// Puts a message in front of all others; for the one that must come first. Only before any reader.
    pub fn push_first(&self, message: &Message) {
        let mut state = self.lock();
        let data = message.to_bytes();
        let permit = self.room.waiting.force(data.len() + EVENT);
        state.next += 1;
        state.log.push_front(Entry {
            number: 0,
            data,
            kind: Kind::Awaited,
            delivered: None,
            permit,
        });
        for (number, entry) in (1..).zip(state.log.iter_mut()) {
            entry.number = number;
        }
        drop(state);
        self.wake.notify_waiters();
    }

    /// Appends a notification that is encoded already. Where there is no room, it or older ones are dropped.
    pub fn push_note(&self, data: Bytes) {
        if self.append(data, Kind::Notification).is_err() {
            count_dropped_event();
        }
    }

    /// Appends a message that is encoded already and that somebody waits for, whether there is room or not. Only for what
    /// is small, and of which there are few.
    pub fn push_awaited(&self, data: Bytes) {
        let permit = self.room.waiting.force(data.len() + EVENT);
        self.append_with(data, Kind::Awaited, permit);
    }

    /// Lets what waits here, and everything that is appended from now on, go to `other`: nobody will read this stream.
    pub fn redirect(&self, other: &Arc<Self>) {
        let mut state = self.lock();
        state.elsewhere = Some(other.clone());
        let waiting = std::mem::take(&mut state.log);
        drop(state);
        for entry in waiting {
            other.append_with(entry.data, entry.kind, entry.permit);
        }
    }

    /// No more messages will come: readers end behind the last one.
    pub fn finish(&self) {
        self.lock().finished.get_or_insert_with(Instant::now);
        self.wake.notify_waiters();
    }

    /// Whether [`Stream::finish`] was called.
    pub fn is_finished(&self) -> bool {
        self.lock().finished.is_some()
    }

    /// Whether a message was ever written.
    pub fn started(&self) -> bool {
        self.lock().next > 0
    }

    /// Whether as many answers wait for a reader as may: its client has to fetch before it may ask for more.
    pub fn is_full(&self) -> bool {
        self.lock().waiting(Kind::Awaited) >= MAX_EVENTS
    }

    /// Waits until a message was written.
    pub async fn until_started(&self) {
        self.until(Self::started).await;
    }

    /// Waits until a reader has taken some of what waits, where it is full.
    pub async fn until_room(&self) {
        self.until(|stream| !stream.is_full()).await;
    }

    async fn until(&self, so: impl Fn(&Self) -> bool) {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if so(self) {
                return;
            }
            woken.await;
        }
    }

    /// Lets go of what was delivered a while ago. Says whether the whole stream is of no use any more.
    pub fn forget(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let since = |at: Instant| now.saturating_duration_since(at);
        while let Some(entry) = state.log.front()
            && entry.delivered.is_some_and(|at| since(at) > KEEP_DELIVERED)
        {
            let number = entry.number;
            state.forgotten = number;
            state.log.pop_front();
        }
        let since = state.finished.map(since);
        since.is_some_and(|since| (state.log.is_empty() && since > KEEP_DELIVERED) || since > KEEP_WAITING)
    }

    /// Whether a reader that saw `after` misses nothing: all events behind it are still there.
    pub fn can_resume(&self, after: u64) -> bool {
        let state = self.lock();
        after >= state.forgotten && after <= state.next
    }

    /// All events, without ids. What is read is not kept.
    pub fn read(self: &Arc<Self>) -> impl Events<Item = Event> + Send + 'static {
        self.read_as(0, 0, false)
    }

    /// The events behind `after` (0: from the first one that is kept), until the stream is finished or a
    /// newer reader takes over. `with_ids` writes event ids, from which a client can resume; `number` is the
    /// stream's in its session.
    pub fn read_as(
        self: &Arc<Self>,
        number: u64,
        after: u64,
        with_ids: bool,
    ) -> impl Events<Item = Event> + Send + 'static {
        let mine = {
            let mut state = self.lock();
            state.reader += 1;
            state.reader
        };
        self.wake.notify_waiters();
        let start = (self.clone(), after, None::<Permit>);
        futures::stream::unfold(start, move |(stream, seen, sent)| async move {
            // The event before is on its way: its copy counts no more.
            drop(sent);
            let (event, seen, permit) = stream.next(mine, seen, number, with_ids).await?;
            Some((event, (stream, seen, Some(permit))))
        })
    }

    /// The first event behind `seen`, as soon as there is one; `None` at the end, or when a newer reader came.
    /// The permit stands for the copy that the reader holds.
    async fn next(
        &self,
        reader: u64,
        seen: u64,
        stream: u64,
        with_ids: bool,
    ) -> Option<(Event, u64, Permit)> {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            {
                let mut state = self.lock();
                if state.reader != reader {
                    return None;
                }
                let at = state.log.partition_point(|entry| entry.number <= seen);
                if state.log.get(at).is_some() {
                    let (data, number, permit) = self.deliver(&mut state, at, with_ids)?;
                    drop(state);
                    // Who waits for room looks again.
                    self.wake.notify_waiters();
                    let id = with_ids.then(|| format!("{stream}-{number}"));
                    return Some((
                        Event {
                            id,
                            ..Event::message(data)
                        },
                        number,
                        permit,
                    ));
                }
                if state.finished.is_some() {
                    return None;
                }
            }
            woken.await;
        }
    }

    /// Hands the event at `at` out, and keeps it where it can be asked for again and there is room.
    fn deliver(&self, state: &mut State, at: usize, with_ids: bool) -> Option<(Bytes, u64, Permit)> {
        let entry = state.log.get_mut(at)?;
        let (size, data, number) = (entry.data.len() + EVENT, entry.data.clone(), entry.number);
        if entry.delivered.is_some() {
            return Some((data, number, self.room.waiting.force(size)));
        }
        let kept = match &self.room.kept {
            Some(kept) if with_ids => {
                let mut permit = kept.take(size);
                // The oldest goes first.
                while permit.is_err()
                    && let Some(oldest) = state.log.front()
                    && oldest.delivered.is_some()
                {
                    state.forgotten = oldest.number;
                    state.log.pop_front();
                    permit = kept.take(size);
                }
                permit.ok()
            }
            _ => None,
        };
        let at = state.log.partition_point(|entry| entry.number < number);
        let permit = match kept {
            Some(kept) => {
                let entry = state.log.get_mut(at)?;
                entry.delivered = Some(Instant::now());
                std::mem::replace(&mut entry.permit, kept)
            }
            None => {
                // Everything up to here is gone: a client that resumes before it gets an error.
                state.forgotten = number;
                let rest = state.log.split_off(at + 1);
                let gone = std::mem::replace(&mut state.log, rest);
                gone.into_iter().next_back()?.permit
            }
        };
        Some((data, number, permit))
    }

    /// The first event of a resumable stream: an id and nothing else (2025-11-25, SEP-1699).
    pub fn priming(&self, number: u64, retry: u64) -> Event {
        Event {
            id: Some(format!("{number}-0")),
            retry: Some(retry),
            ..Event::default()
        }
    }
}

/// The error in the place of an answer for which there is no room.
#[must_use]
pub fn no_room(error: &OutOfBudget) -> ErrorObject {
    ErrorObject::internal(format!(
        "the request was carried out, but its answer was dropped: {error}; fetch the answers that wait, then ask again"
    ))
}

/// The stream's number and the event's number in an event id.
pub fn parse_event_id(id: &str) -> Option<(u64, u64)> {
    let (stream, event) = id.split_once('-')?;
    Some((stream.parse().ok()?, event.parse().ok()?))
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;

//! A stream of messages to a client that can be picked up again where it broke off.
//!
//! Every event has a number; a reader starts behind the last one that it saw. What a client has not
//! fetched is bounded in count and bytes: the oldest goes first, and is counted.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::Stream as Events;
use tokio::sync::Notify;

use crate::mcp::{Message, sse::Event};

/// Most events that wait for a reader.
const MAX_EVENTS: usize = 1_024;
/// Most bytes that wait for a reader, unless a single event is larger.
const MAX_BYTES: usize = 8 * 1024 * 1024;

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many events were dropped because a client did not fetch them.
pub fn dropped_events() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

#[derive(Default)]
struct State {
    /// (number, encoded message)
    log: VecDeque<(u64, Bytes)>,
    bytes: usize,
    next: u64,
    finished: bool,
    /// Grows with every reader; an older reader ends when it sees a newer one.
    reader: u64,
}

/// See the module.
#[derive(Default)]
pub struct Stream {
    state: Mutex<State>,
    wake: Notify,
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held cannot leave the log half-changed: every change is one call.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Appends a message. Never waits.
    pub fn push(&self, message: &Message) {
        self.push_raw(message.to_bytes());
    }

    /// Puts a message in front of all others; for the one that must come first. Only before any reader.
    pub fn push_first(&self, message: &Message) {
        let mut state = self.lock();
        let bytes = message.to_bytes();
        state.next += 1;
        state.bytes += bytes.len();
        state.log.push_front((0, bytes));
        for (number, (at, _)) in (1..).zip(state.log.iter_mut()) {
            *at = number;
        }
        drop(state);
        self.wake.notify_waiters();
    }

    /// Appends a message that is encoded already.
    pub fn push_raw(&self, bytes: Bytes) {
        let mut state = self.lock();
        if state.finished {
            return;
        }
        state.next += 1;
        state.bytes += bytes.len();
        let number = state.next;
        state.log.push_back((number, bytes));
        while state.log.len() > MAX_EVENTS || (state.bytes > MAX_BYTES && state.log.len() > 1) {
            if let Some((_, old)) = state.log.pop_front() {
                state.bytes -= old.len();
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(state);
        self.wake.notify_waiters();
    }

    /// No more messages will come: readers end behind the last one.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.wake.notify_waiters();
    }

    /// Whether [`Stream::finish`] was called.
    pub fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// Whether a message was ever written.
    pub fn started(&self) -> bool {
        self.lock().next > 0
    }

    /// Waits until a message was written.
    pub async fn until_started(&self) {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.started() {
                return;
            }
            woken.await;
        }
    }

    /// All events, without ids.
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
        let stream_number = number;
        let mine = {
            let mut state = self.lock();
            state.reader += 1;
            state.reader
        };
        self.wake.notify_waiters();
        futures::stream::unfold((self.clone(), after), move |(stream, seen)| async move {
            let (event, number) = stream.next(mine, seen, stream_number, with_ids).await?;
            Some((event, (stream, number)))
        })
    }

    /// The first event behind `seen`, as soon as there is one; `None` at the end, or when a newer reader came.
    async fn next(&self, reader: u64, seen: u64, stream: u64, with_ids: bool) -> Option<(Event, u64)> {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            {
                let state = self.lock();
                if state.reader != reader {
                    return None;
                }
                let at = state.log.partition_point(|(n, _)| *n <= seen);
                if let Some((number, data)) = state.log.get(at) {
                    let id = with_ids.then(|| format!("{stream}-{number}"));
                    return Some((
                        Event {
                            id,
                            ..Event::message(data.clone())
                        },
                        *number,
                    ));
                }
                if state.finished {
                    return None;
                }
            }
            woken.await;
        }
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

/// The stream's number and the event's number in an event id.
pub fn parse_event_id(id: &str) -> Option<(u64, u64)> {
    let (stream, event) = id.split_once('-')?;
    Some((stream.parse().ok()?, event.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn note(n: usize) -> Message {
        Message::notification(&format!("n{n}"), None)
    }

    #[tokio::test]
    async fn a_reader_resumes_behind_what_it_saw() {
        let stream = Stream::new();
        (0..4).for_each(|n| stream.push(&note(n)));
        let first: Vec<_> = stream.read_as(3, 0, true).take(2).collect().await;
        assert_eq!(first[1].id.as_deref(), Some("3-2"));
        stream.finish();
        let rest: Vec<_> = stream.read_as(3, 2, true).collect().await;
        assert_eq!(rest.len(), 2);
        assert!(String::from_utf8_lossy(&rest[0].data).contains("n2"));
    }

    #[tokio::test]
    async fn a_new_reader_takes_over() {
        let stream = Stream::new();
        let old = stream.read();
        let _new = stream.read();
        assert_eq!(old.collect::<Vec<_>>().await, []);
    }

    #[tokio::test]
    async fn what_nobody_fetches_is_bounded() {
        let stream = Stream::new();
        (0..3000).for_each(|n| stream.push(&note(n)));
        stream.finish();
        assert_eq!(stream.read().count().await, MAX_EVENTS);
    }
}

//! Events that wait for background hooks.
//!
//! Every event runs at least once: it is in the store before [`Queue::push`] answers, and it leaves only by
//! [`Queue::done`], or for the list of dead ones. Who claims an event gets a lease; when that ends without a
//! word, as after a kill, the event is claimed again. Its id stays the same, so that a receiver can leave out
//! what it has seen. Nothing is dropped in silence: a full queue is an error for the caller of push.

mod event;
mod statements;
mod writer;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use sqlx::Row as _;
use tokio::sync::{Notify, futures::Notified, mpsc, oneshot};

use super::{StoreError, clock::SteadyClock, database::Database};
pub use event::{Counts, Dead, DeadPage, Due, Event, EventId, Limits, NewEvent, Pick};
use writer::{Job, Op, Writer};

/// What may wait; see [`Queue::set_limits`].
pub const LIMITS: Limits = Limits {
    events: 100_000,
    bytes: 1 << 30,
};
/// What of the dead events is kept; beyond that the oldest are dropped, with a line in the log.
pub const DEAD_LIMITS: Limits = Limits {
    events: 10_000,
    bytes: 1 << 28,
};
/// Largest payload, in bytes. A webhook's body of 1 MiB takes up to six times as much where every byte of it is escaped.
pub const MAX_PAYLOAD: usize = 8 << 20;
/// Longest error text that is kept, in bytes.
const MAX_ERROR: usize = 4_096;
/// Most events of one claim, and of one page of dead ones.
const MAX_BATCH: usize = 1_000;
/// Bytes of payload after which a claim takes no further event.
const BATCH_BYTES: i64 = 16 << 20;
/// Jobs that wait for the writer before callers wait.
const JOBS: usize = 1_024;

/// Why an event was not taken in, or not found.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Too many events wait.
    #[error(
        "at most {} events wait for background hooks, and {} MiB of them; the new one was not taken",
        .0.events, .0.bytes >> 20
    )]
    Full(Limits),
    /// The payload is too large.
    #[error("the event has {0} bytes; at most {MAX_PAYLOAD} are taken")]
    TooLarge(usize),
    /// A cursor that no page gave.
    #[error("the cursor is not one that a list of dead events gave")]
    Cursor,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The queue. One task writes for everybody and groups what comes at the same time into one transaction.
#[derive(Debug)]
pub struct Queue {
    database: Database,
    jobs: mpsc::Sender<Job>,
    limits: Arc<Mutex<Limits>>,
    /// Told when there may be something to claim.
    news: Arc<Notify>,
    clock: SteadyClock,
}

impl Queue {
    pub(super) fn start(database: Database, clock: SteadyClock) -> Self {
        let (jobs, inbox) = mpsc::channel(JOBS);
        let limits = Arc::new(Mutex::new(LIMITS));
        let news = Arc::new(Notify::new());
        let writer = Writer::new(
            database.clone(),
            clock.clone(),
            Arc::clone(&limits),
            Arc::clone(&news),
        );
        tokio::spawn(writer.run(inbox));
        Self {
            database,
            jobs,
            limits,
            news,
            clock,
        }
    }

    /// Whether it ends with this process.
    pub fn in_memory(&self) -> bool {
        self.database.file().is_none()
    }

    /// Sets how much may wait, from now on. What waits already stays.
    pub fn set_limits(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// What is said where nothing more has room.
    pub fn full(&self) -> QueueError {
        QueueError::Full(*self.limits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes an event in. It is in the store when this answers.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::TooLarge`]; the store failed.
    pub async fn push(&self, event: NewEvent) -> Result<EventId, QueueError> {
        let mut ids = self.push_all(vec![event]).await?;
        // One event in, one id out.
        ids.pop().ok_or(QueueError::Store(StoreError::Closed))
    }

    /// Takes all events in, or none; ids in their order.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub async fn push_all(&self, events: Vec<NewEvent>) -> Result<Vec<EventId>, QueueError> {
        let (ids, _) = self.take_in(events, false).await?;
        Ok(ids)
    }

    /// Takes in as many of the events as have room, the first ones; answers how many.
    ///
    /// # Errors
    /// As [`Queue::push`]; none was taken then.
    pub async fn push_some(&self, events: Vec<NewEvent>) -> Result<usize, QueueError> {
        let (_, taken) = self.take_in(events, true).await?;
        Ok(taken)
    }

    async fn take_in(&self, events: Vec<NewEvent>, some: bool) -> Result<(Vec<EventId>, usize), QueueError> {
        let size = |event: &NewEvent| event.payload.get().len();
        if let Some(size) = events.iter().map(size).find(|size| *size > MAX_PAYLOAD) {
            return Err(QueueError::TooLarge(size));
        }
        let now = Timestamp::now();
        let rows: Vec<_> = events
            .into_iter()
            .map(|event| (EventId::new(now), event))
            .collect();
        let ids = rows.iter().map(|(id, _)| id.clone()).collect();
        let taken = self.job(Op::Push { rows, now, some }).await?;
        Ok((ids, usize::try_from(taken).unwrap_or(usize::MAX)))
    }

    /// Gives `worker` up to `count` (at most 1,000) events of a hook that are ready, oldest first, for as long
    /// as `lease`: fewer where they have more than 16 MiB. Each counts as an attempt.
    ///
    /// # Errors
    /// The store failed.
    pub async fn claim(
        &self,
        worker: &str,
        hook: &str,
        count: usize,
        lease: Duration,
    ) -> Result<Vec<Event>, QueueError> {
        let rows = sqlx::query(statements::CLAIM)
            .bind(worker)
            .bind(self.clock.after(lease))
            .bind(self.clock.now_ms())
            .bind(i64::try_from(count.min(MAX_BATCH)).unwrap_or_default())
            .bind(hook)
            .bind(BATCH_BYTES)
            .fetch_all(self.database.writer())
            .await?;
        let mut events = rows.iter().map(Event::read).collect::<Result<Vec<_>, _>>()?;
        // The order in which rows are returned is not a promise.
        events.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(events)
    }

    /// The event was handled: it is gone, whoever holds it. Answers whether it was there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn done(&self, id: &EventId) -> Result<bool, QueueError> {
        Ok(self.job(Op::Done(id.clone())).await? > 0)
    }

    /// The attempt failed: the event is ready again `after` that. Answers false, and does nothing, where another
    /// worker has the event by now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn retry(&self, event: &Event, after: Duration, error: &str) -> Result<bool, QueueError> {
        let op = Op::Retry {
            id: event.id.clone(),
            attempt: event.attempt,
            ready: self.clock.after(after),
            error: shortened(error),
        };
        Ok(self.job(op).await? > 0)
    }

    /// The event is given up: it goes to the dead ones. Answers false, and does nothing, where another worker
    /// has it by now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn dead(&self, event: &Event, error: &str) -> Result<bool, QueueError> {
        let op = Op::Dead {
            id: event.id.clone(),
            attempt: event.attempt,
            error: shortened(error),
        };
        Ok(self.job(op).await? > 0)
    }

    /// Ends all leases of `worker`: what it did not finish is ready at once. For a hub that starts and knows
    /// the name under which it worked before. Answers how many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn release(&self, worker: &str) -> Result<u64, QueueError> {
        self.job(Op::Release(worker.to_owned())).await
    }

    /// Makes the events of a hook that wait for longer than `longest` ready now: no attempt is that far away, so they are
    /// from a time at which the machine's clock was wrong. Answers how many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn hurry(&self, hook: &str, longest: Duration) -> Result<u64, QueueError> {
        let op = Op::Hurry {
            hook: hook.to_owned(),
            beyond: self.clock.after(longest),
        };
        self.job(op).await
    }

    /// Dead events, the last that died first, at most `limit` (1 to 1,000) of them after `cursor`, which is the
    /// `next` of the page before.
    ///
    /// # Errors
    /// [`QueueError::Cursor`]; the store failed.
    pub async fn list_dead(&self, cursor: Option<&str>, limit: usize) -> Result<DeadPage, QueueError> {
        let limit = limit.clamp(1, MAX_BATCH);
        let (died, id) = match cursor {
            Some(cursor) => Dead::cursor(cursor).ok_or(QueueError::Cursor)?,
            None => (i64::MAX, ""),
        };
        // One more than asked for tells whether there is another page.
        let rows = sqlx::query(statements::LIST_DEAD)
            .bind(died)
            .bind(id)
            .bind(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
            .fetch_all(self.database.reader())
            .await?;
        let more = rows.len() > limit;
        let events = rows
            .iter()
            .take(limit)
            .map(Dead::read)
            .collect::<Result<Vec<_>, _>>()?;
        let next = events.last().filter(|_| more).map(Dead::as_cursor);
        Ok(DeadPage { events, next })
    }

    /// Puts dead events back, as new: their attempts count from the start and they are ready now; ids stay. As
    /// many as have room, those that died first; answers how many.
    ///
    /// # Errors
    /// [`QueueError::Full`] where there is room for none; the store failed.
    pub async fn replay(&self, pick: Pick) -> Result<u64, QueueError> {
        self.job(Op::Replay(pick)).await
    }

    /// Removes dead events for good. Answers how many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn purge(&self, pick: Pick) -> Result<u64, QueueError> {
        self.job(Op::Purge(pick)).await
    }

    /// How many events are where.
    ///
    /// # Errors
    /// The store failed.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let row = sqlx::query(statements::COUNTS)
            .bind(self.clock.now_ms())
            .fetch_one(self.database.reader())
            .await?;
        let number = |index: usize| row.try_get::<i64, _>(index).map(|n| n.max(0).cast_unsigned());
        Ok(Counts {
            ready: number(0)?,
            waiting: number(1)?,
            claimed: number(2)?,
            dead: number(3)?,
        })
    }

    /// The hooks that have events, and when.
    ///
    /// # Errors
    /// The store failed.
    pub async fn due(&self) -> Result<Vec<Due>, StoreError> {
        let rows = sqlx::query(statements::HOOKS)
            .fetch_all(self.database.reader())
            .await?;
        let now = self.clock.now_ms();
        Ok(rows
            .iter()
            .map(|row| Due::read(row, now))
            .collect::<Result<_, _>>()?)
    }

    /// Ends when there may be something new to claim, from the moment on at which it was asked for. Events of
    /// another hub on the same store make no news here.
    pub fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Writes what was asked for, and nothing from then on.
    pub(super) async fn stop(&self) {
        let _ = self.job(Op::Stop).await;
    }

    async fn job(&self, op: Op) -> Result<u64, QueueError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(Job { op, reply }).await;
        sent.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// `text` without what is beyond the limit.
fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_ERROR);
    text.get(..end).unwrap_or_default().to_owned()
}

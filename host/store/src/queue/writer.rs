//! The one task that writes: whatever came while it was busy goes into its next transaction.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sqlx::{Any, Row as _, Transaction};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{DEAD_LIMITS, EventId, Limits, NewEvent, Pick, QueueError, statements};
use crate::{StoreError, clock::SteadyClock, database::Database};

/// Most jobs of one transaction.
const GROUP: usize = 512;
/// How long a count of what has room is believed, less what was taken since. It is made anew before that where there is
/// not enough and this task has freed some.
const BELIEVED: Duration = Duration::from_secs(1);

/// Something to write, and where to tell how many rows it changed.
pub(super) struct Job {
    pub(super) op: Op,
    pub(super) reply: oneshot::Sender<Result<u64, QueueError>>,
}

pub(super) enum Op {
    Push {
        rows: Vec<(EventId, NewEvent)>,
        now: Timestamp,
        /// Takes in as many of the first as have room, where not all have.
        some: bool,
    },
    Done(EventId),
    Retry {
        id: EventId,
        attempt: u32,
        /// When, by the queue's clock.
        ready: i64,
        error: String,
    },
    Dead {
        id: EventId,
        attempt: u32,
        error: String,
    },
    Hurry {
        hook: String,
        /// By the queue's clock.
        beyond: i64,
    },
    Release(String),
    Replay(Pick),
    Purge(Pick),
    Stop,
}

pub(super) struct Writer {
    database: Database,
    clock: SteadyClock,
    limits: Arc<Mutex<Limits>>,
    news: Arc<Notify>,
    capacity: Option<Capacity>,
}

/// What has room.
#[derive(Clone, Copy)]
struct Capacity {
    left: Limits,
    /// Of how much.
    of: Limits,
    counted: Instant,
    /// Whether some of it became free since.
    freed: bool,
}

/// What one transaction knows.
struct Group {
    tx: Transaction<'static, Any>,
    /// The last count, less what was taken since.
    capacity: Option<Capacity>,
    limits: Limits,
    /// The time for what is due at once.
    at_once: i64,
    news: bool,
    dead: bool,
}

impl Writer {
    pub(super) fn new(
        database: Database,
        clock: SteadyClock,
        limits: Arc<Mutex<Limits>>,
        news: Arc<Notify>,
    ) -> Self {
        Self {
            database,
            clock,
            limits,
            news,
            capacity: None,
        }
    }

    /// Ends by [`Op::Stop`], or when nobody can send any more.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while inbox.recv_many(&mut jobs, GROUP).await > 0 {
            if jobs.iter().any(|job| matches!(job.op, Op::Stop)) {
                // What is in the channel still counts; afterwards senders are refused.
                inbox.close();
            }
            let (ops, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.op, job.reply)).unzip();
            let outcomes = self.write(ops).await;
            for (index, reply) in replies.into_iter().enumerate() {
                let outcome = match &outcomes {
                    Ok(outcomes) => outcomes.get(index).cloned().unwrap_or(Ok(0)),
                    Err(error) => Err(error.clone().into()),
                };
                // The caller may have gone.
                let _ = reply.send(outcome);
            }
        }
    }

    /// All in one transaction: when that fails nothing happened.
    async fn write(&mut self, ops: Vec<Op>) -> Result<Vec<Result<u64, QueueError>>, StoreError> {
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the transaction fails the next one counts.
        let capacity = self.capacity.take();
        let mut group = Group {
            tx: self.database.begin().await?,
            capacity: capacity
                .filter(|capacity| capacity.of == limits && capacity.counted.elapsed() < BELIEVED),
            limits,
            at_once: self.clock.at_once(),
            news: false,
            dead: false,
        };
        let mut outcomes: Vec<_> = ops.iter().map(|_| Ok(0)).collect();
        let (mut done, mut pushed) = (Vec::new(), Vec::new());
        for (op, outcome) in ops.into_iter().zip(&mut outcomes) {
            *outcome = match op {
                Op::Done(id) => {
                    done.push((id, outcome));
                    continue;
                }
                Op::Push { rows, now, some } => {
                    pushed.push((rows, now, some, outcome));
                    continue;
                }
                op => group.single(op).await?,
            };
        }
        group.done(&mut done).await?;
        let mut fresh = Vec::new();
        for (rows, now, some, outcome) in pushed {
            let sizes = rows.iter().map(|(_, event)| count(event.payload.get().len()));
            let sizes: Vec<u64> = sizes.collect();
            *outcome = match group.take(&sizes, some).await? {
                Ok(fitting) => {
                    let rows = rows.into_iter().take(fitting);
                    fresh.extend(rows.map(|(id, event)| (id, event, now.as_millisecond())));
                    Ok(count(fitting))
                }
                Err(full) => Err(full),
            };
        }
        group.insert(&fresh).await?;
        group.trim().await?;
        group.tx.commit().await?;
        self.capacity = group.capacity;
        if group.news {
            self.news.notify_waiters();
        }
        Ok(outcomes)
    }
}

type Outcome<T = u64> = Result<T, QueueError>;

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// As the database has it.
fn number(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Group {
    async fn single(&mut self, op: Op) -> Result<Outcome, StoreError> {
        let query = match op {
            Op::Retry {
                id,
                attempt,
                ready,
                error,
            } => {
                self.news = true;
                sqlx::query(statements::RETRY)
                    .bind(id.as_str().to_owned())
                    .bind(i64::from(attempt))
                    .bind(ready)
                    .bind(error)
            }
            Op::Dead { id, attempt, error } => {
                self.dead = true;
                sqlx::query(statements::DEAD)
                    .bind(id.as_str().to_owned())
                    .bind(i64::from(attempt))
                    .bind(Timestamp::now().as_millisecond())
                    .bind(error)
            }
            Op::Hurry { hook, beyond } => {
                self.news = true;
                sqlx::query(statements::HURRY)
                    .bind(hook)
                    .bind(self.at_once)
                    .bind(beyond)
                    .bind(Timestamp::MAX.as_millisecond())
            }
            Op::Release(worker) => {
                self.news = true;
                sqlx::query(statements::RELEASE).bind(worker).bind(self.at_once)
            }
            Op::Replay(pick) => {
                let capacity = self.recount().await?;
                if capacity.events == 0 || capacity.bytes == 0 {
                    return Ok(Err(QueueError::Full(self.limits)));
                }
                self.news = true;
                let (id, before) = condition(&pick);
                let put = sqlx::query(statements::REPLAY)
                    .bind(id)
                    .bind(before)
                    .bind(self.at_once)
                    .bind(number(capacity.events))
                    .bind(number(capacity.bytes));
                let count = put.execute(&mut *self.tx).await?.rows_affected();
                self.capacity = None;
                return Ok(Ok(count));
            }
            Op::Purge(pick) => {
                let (id, before) = condition(&pick);
                sqlx::query(statements::PURGE).bind(id).bind(before)
            }
            Op::Push { .. } | Op::Done(_) | Op::Stop => return Ok(Ok(0)),
        };
        let count = query.execute(&mut *self.tx).await?.rows_affected();
        self.freed(self.dead);
        Ok(Ok(count))
    }

    fn freed(&mut self, some: bool) {
        if let Some(capacity) = &mut self.capacity {
            capacity.freed |= some;
        }
    }

    async fn done(&mut self, done: &mut [(EventId, &mut Outcome)]) -> Result<(), StoreError> {
        let ids: Vec<EventId> = done.iter().map(|(id, _)| id.clone()).collect();
        let mut gone = std::collections::HashSet::new();
        for piece in statements::pieces(&ids) {
            let mut query = sqlx::query_scalar::<Any, String>(statements::delete(piece.len()));
            for id in piece {
                query = query.bind(id.as_str());
            }
            gone.extend(query.fetch_all(&mut *self.tx).await?);
        }
        self.freed(!gone.is_empty());
        for (id, outcome) in done {
            **outcome = Ok(u64::from(gone.remove(id.as_str())));
        }
        Ok(())
    }

    /// Takes room for events of these sizes: for all, or with `some` for as many of the first as have it. Answers for
    /// how many.
    async fn take(&mut self, sizes: &[u64], some: bool) -> Result<Outcome<usize>, StoreError> {
        let all = Limits {
            events: count(sizes.len()),
            bytes: sizes.iter().sum(),
        };
        if self.reserve(all) {
            return Ok(Ok(sizes.len()));
        }
        if self.capacity.is_none_or(|capacity| capacity.freed) {
            self.recount().await?;
            if self.reserve(all) {
                return Ok(Ok(sizes.len()));
            }
        }
        let one = |bytes: &u64| Limits {
            events: 1,
            bytes: *bytes,
        };
        match sizes
            .iter()
            .take_while(|size| some && self.reserve(one(size)))
            .count()
        {
            0 => Ok(Err(QueueError::Full(self.limits))),
            fitting => Ok(Ok(fitting)),
        }
    }

    /// Takes it from the last count, if that has as much.
    fn reserve(&mut self, wanted: Limits) -> bool {
        let Some(capacity) = &mut self.capacity else {
            return false;
        };
        let (Some(events), Some(bytes)) = (
            capacity.left.events.checked_sub(wanted.events),
            capacity.left.bytes.checked_sub(wanted.bytes),
        ) else {
            return false;
        };
        capacity.left = Limits { events, bytes };
        true
    }

    /// Counts what has room.
    async fn recount(&mut self) -> Result<Limits, StoreError> {
        let row = sqlx::query(statements::QUEUED).fetch_one(&mut *self.tx).await?;
        let queued = |index: usize| row.try_get::<i64, _>(index).map(|n| n.max(0).cast_unsigned());
        let left = Limits {
            events: self.limits.events.saturating_sub(queued(0)?),
            bytes: self.limits.bytes.saturating_sub(queued(1)?),
        };
        self.capacity = Some(Capacity {
            left,
            of: self.limits,
            counted: Instant::now(),
            freed: false,
        });
        Ok(left)
    }

    async fn insert(&mut self, rows: &[(EventId, NewEvent, i64)]) -> Result<(), StoreError> {
        self.news |= !rows.is_empty();
        for piece in statements::pieces(rows) {
            let mut query = sqlx::query(statements::insert(piece.len()));
            for (id, event, time) in piece {
                query = query
                    .bind(id.as_str())
                    .bind(&event.hook)
                    .bind(&event.trigger)
                    .bind(event.payload.get())
                    .bind(time)
                    .bind(self.at_once);
            }
            query.execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    /// Keeps the dead ones within their limit.
    async fn trim(&mut self) -> Result<(), StoreError> {
        if !self.dead {
            return Ok(());
        }
        let trim = sqlx::query(statements::TRIM)
            .bind(number(DEAD_LIMITS.events))
            .bind(number(DEAD_LIMITS.bytes));
        let dropped = trim.execute(&mut *self.tx).await?.rows_affected();
        if dropped > 0 {
            tracing::warn!(
                target: "aih::store",
                "{dropped} of the oldest dead hook events were dropped: more than {} or {} MiB are not kept; see \
                 `aih hooks dead`",
                DEAD_LIMITS.events,
                DEAD_LIMITS.bytes >> 20
            );
        }
        Ok(())
    }
}

/// An id, or empty for any, and the time before which the events died.
fn condition(pick: &Pick) -> (String, i64) {
    match pick {
        Pick::One(id) => (id.as_str().to_owned(), i64::MAX),
        Pick::Before(time) => (String::new(), time.as_millisecond()),
        Pick::All => (String::new(), i64::MAX),
    }
}

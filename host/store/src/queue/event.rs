//! What an event is.

use std::{fmt, sync::Mutex, time::Duration};

use jiff::Timestamp;
use serde_json::value::RawValue;
use sqlx::{Row as _, any::AnyRow};

/// Names an event for good: over retries, replays, and restarts. 32 hexadecimal digits that sort by the time
/// at which the event came; ids of one process sort in the order of its pushes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// A new one: 48 bits of milliseconds, 80 of chance.
    pub(super) fn new(now: Timestamp) -> Self {
        static LAST: Mutex<u128> = Mutex::new(0);
        let millis = u128::try_from(now.as_millisecond()).unwrap_or_default();
        let drawn = (millis << 80) | (rand::random::<u128>() >> 48);
        // A number is whole at every point where code under the lock could panic.
        let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = drawn.max(last.saturating_add(1));
        Self(format!("{:032x}", *last))
    }

    /// An id as a person or a client wrote it. One that names nothing is found nowhere.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event to push.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The hook that it is for.
    pub hook: String,
    /// What happened, such as `tool.after`.
    pub trigger: String,
    /// What the hook gets.
    pub payload: Box<RawValue>,
}

/// An event that a worker holds.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// The hook that it is for.
    pub hook: String,
    /// What happened.
    pub trigger: String,
    /// What the hook gets.
    pub payload: Box<RawValue>,
    /// When it was pushed.
    pub created: Timestamp,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What the last attempt failed with.
    pub error: Option<String>,
}

impl Event {
    /// Reads the columns `id, hook, trigger_name, payload, created_ms, attempt, error`.
    pub(super) fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: EventId(row.try_get(0)?),
            hook: row.try_get(1)?,
            trigger: row.try_get(2)?,
            payload: RawValue::from_string(row.try_get(3)?).map_err(|e| sqlx::Error::Decode(e.into()))?,
            created: time(row.try_get(4)?)?,
            attempt: u32::try_from(row.try_get::<i64, _>(5)?).unwrap_or(u32::MAX),
            error: row.try_get(6)?,
        })
    }
}

/// An event that was given up.
#[derive(Debug, Clone)]
pub struct Dead {
    /// The event; its `error` says why.
    pub event: Event,
    /// When it was given up.
    pub died: Timestamp,
}

impl Dead {
    /// Reads the columns of [`Event::read`] and `died_ms`.
    pub(super) fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            event: Event::read(row)?,
            died: time(row.try_get(7)?)?,
        })
    }

    pub(super) fn as_cursor(&self) -> String {
        format!("{}-{}", self.died.as_millisecond(), self.event.id)
    }

    pub(super) fn cursor(text: &str) -> Option<(i64, &str)> {
        let (died, id) = text.split_once('-')?;
        Some((died.parse().ok()?, id))
    }
}

/// Some dead events.
#[derive(Debug, Clone)]
pub struct DeadPage {
    /// The last that died first.
    pub events: Vec<Dead>,
    /// What to ask with for the next page, where there is more.
    pub next: Option<String>,
}

/// Which dead events.
#[derive(Debug, Clone)]
pub enum Pick {
    /// This one.
    One(EventId),
    /// All that died before then.
    Before(Timestamp),
    /// All.
    All,
}

/// How many events may wait, without the dead ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At most so many.
    pub events: u64,
    /// At most so many bytes of payload, all together.
    pub bytes: u64,
}

/// When a hook has something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The hook; the configuration may not have it any more.
    pub hook: String,
    /// How long it is until its next event may be claimed.
    pub wait: Duration,
}

impl Due {
    /// Reads the columns `hook, ready_ms`.
    pub(super) fn read(row: &AnyRow, now: i64) -> Result<Self, sqlx::Error> {
        let wait = row.try_get::<i64, _>(1)?.saturating_sub(now);
        Ok(Self {
            hook: row.try_get(0)?,
            wait: Duration::from_millis(u64::try_from(wait).unwrap_or_default()),
        })
    }
}

/// How many events are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// May be claimed now, those whose lease ended included.
    pub ready: u64,
    /// Wait for their next attempt.
    pub waiting: u64,
    /// With a worker.
    pub claimed: u64,
    /// Were given up.
    pub dead: u64,
}

fn time(millis: i64) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_millisecond(millis).map_err(|e| sqlx::Error::Decode(e.into()))
}

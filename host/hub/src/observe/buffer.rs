//! The most recent log rows, in memory and bounded.
//!
//! One lock, held for a push or a copy of pointers: a slow reader of `GET /api/v1/logs` never holds up who
//! writes a row.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How many rows are kept.
pub const CAPACITY: usize = 2_000;

/// Most bytes of text in one row: message, field names and field values together.
pub const MAX_ROW: usize = 8 * 1024;

/// How much a row matters, least first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Every step.
    #[default]
    Trace,
    /// For those who look for a fault.
    Debug,
    /// What an operator wants to know.
    Info,
    /// Something is wrong and the hub goes on without it.
    Warn,
    /// Something failed.
    Error,
}

impl From<tracing::Level> for LogLevel {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::TRACE => Self::Trace,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::INFO => Self::Info,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::ERROR => Self::Error,
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogRow {
    /// Counts up from 1 since the start of the process, without gaps.
    pub seq: u64,
    /// When, in RFC 3339 with microseconds, UTC.
    pub time: String,
    /// How much it matters.
    pub level: LogLevel,
    /// Which part of the hub, such as `aih::upstream`.
    pub target: String,
    /// What happened.
    pub message: String,
    /// The event's own fields and those of the spans around it; the innermost wins.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
    /// Whether text was cut to keep the row within its limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// Which rows are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Rows of this level and above.
    pub level: LogLevel,
    /// Rows whose target begins with this; empty for all.
    pub target: String,
    /// Rows after this [`LogRow::seq`].
    pub since: Option<u64>,
    /// At most so many; `None` for all that are kept. Without `since` the newest, with it the first after it,
    /// so that a reader who asks again with the last `seq` it got misses none that is still kept.
    pub limit: Option<usize>,
}

/// The last [`CAPACITY`] rows. Clones share them.
#[derive(Debug, Clone)]
pub struct LogBuffer {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    rows: VecDeque<Arc<LogRow>>,
    next: u64,
}

impl Default for LogBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl LogBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        let inner = Inner {
            rows: VecDeque::with_capacity(CAPACITY),
            next: 1,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Adds `row` under the next `seq`; the oldest goes when there are [`CAPACITY`] already.
    pub fn push(&self, mut row: LogRow) {
        let mut inner = self.lock();
        row.seq = inner.next;
        inner.next += 1;
        if inner.rows.len() >= CAPACITY {
            inner.rows.pop_front();
        }
        inner.rows.push_back(Arc::new(row));
    }

    /// The rows that `query` wants, oldest first.
    pub fn recent(&self, query: &LogQuery) -> Vec<Arc<LogRow>> {
        let limit = query.limit.unwrap_or(CAPACITY);
        let inner = self.lock();
        let wanted = |row: &&Arc<LogRow>| {
            row.level >= query.level
                && row.target.starts_with(&query.target)
                && query.since.is_none_or(|since| row.seq > since)
        };
        if query.since.is_some() {
            return inner.rows.iter().filter(wanted).take(limit).cloned().collect();
        }
        let mut rows: Vec<_> = inner
            .rows
            .iter()
            .rev()
            .filter(wanted)
            .take(limit)
            .cloned()
            .collect();
        rows.reverse();
        rows
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that can panic runs under the lock with the rows half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(level: LogLevel, target: &str, message: &str) -> LogRow {
        LogRow {
            seq: 0,
            time: "2026-07-28T00:00:00Z".into(),
            level,
            target: target.into(),
            message: message.into(),
            fields: Map::new(),
            truncated: false,
        }
    }

    fn messages(buffer: &LogBuffer, query: LogQuery) -> Vec<String> {
        buffer
            .recent(&query)
            .iter()
            .map(|row| row.message.clone())
            .collect()
    }

    #[test]
    fn queries_narrow_by_level_target_and_place() {
        let buffer = LogBuffer::new();
        buffer.push(row(LogLevel::Info, "aih::gateway", "a"));
        buffer.push(row(LogLevel::Warn, "aih::upstream", "b"));
        buffer.push(row(LogLevel::Error, "aih::upstream::http", "c"));
        buffer.push(row(LogLevel::Debug, "hyper", "d"));
        let all = LogQuery::default;
        let (level, target) = (LogLevel::Warn, "aih::upstream".to_owned());
        let limit = |limit, since| LogQuery {
            limit,
            since,
            ..all()
        };
        for (query, expected) in [
            (all(), &["a", "b", "c", "d"][..]),
            (LogQuery { level, ..all() }, &["b", "c"]),
            (LogQuery { target, ..all() }, &["b", "c"]),
            (limit(Some(2), None), &["c", "d"]),
            (limit(Some(2), Some(1)), &["b", "c"]),
            (limit(None, Some(4)), &[]),
            (limit(Some(0), None), &[]),
        ] {
            let what = format!("{query:?}");
            assert_eq!(messages(&buffer, query), expected, "{what}");
        }
    }

    #[test]
    fn the_oldest_rows_go_first() {
        let buffer = LogBuffer::new();
        for i in 0..CAPACITY + 3 {
            buffer.push(row(LogLevel::Info, "t", &i.to_string()));
        }
        let rows = buffer.recent(&LogQuery::default());
        assert_eq!(rows.len(), CAPACITY);
        assert_eq!((rows[0].message.as_str(), rows[0].seq), ("3", 4));
        assert_eq!(rows[CAPACITY - 1].seq, CAPACITY as u64 + 3);
    }

    #[test]
    fn levels_are_written_in_lower_case() {
        assert_eq!(serde_json::to_value(LogLevel::Warn).unwrap(), "warn");
        assert_eq!(
            serde_json::from_str::<LogLevel>("\"error\"").unwrap(),
            LogLevel::Error
        );
    }
}

//! The time by which the store says when something is due.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Goes on evenly, whatever is done to the machine's clock meanwhile: one that is set back by some hours would make
/// everything wait for as long. Starts with the machine's time, so that a store that is opened again goes on from there.
/// What people read (when an event came, when it was given up) is the machine's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct SteadyClock {
    began: Instant,
    began_ms: i64,
}

impl SteadyClock {
    /// Starts with the machine's time.
    pub(super) fn start() -> Self {
        Self::at(Timestamp::now())
    }

    /// Starts with `now`.
    pub(super) fn at(now: Timestamp) -> Self {
        Self {
            began: Instant::now(),
            began_ms: now.as_millisecond(),
        }
    }

    /// Milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        self.after(Duration::ZERO)
    }

    /// The time `span` from now, in milliseconds since 1970.
    pub(super) fn after(&self, span: Duration) -> i64 {
        let span = self.began.elapsed().saturating_add(span);
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.began_ms.saturating_add(span)
    }
}

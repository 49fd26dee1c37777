//! The time by which the store says when something is due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// Never goes back: a machine's clock that is set back by some hours would make everything wait for as long. Goes forward
/// with the machine's clock, by which other processes on the same store go. What people read (when an event came, when it
/// was given up) is the machine's time.
#[derive(Clone, Debug)]
pub(super) struct SteadyClock {
    began: Instant,
    /// What this clock said when it began, and later what it would have said.
    began_ms: Arc<AtomicI64>,
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
            began_ms: Arc::new(AtomicI64::new(now.as_millisecond())),
        }
    }

    /// Milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        self.read(Timestamp::now())
    }

    /// The time for what is due at once, in milliseconds since 1970: over for every process, also for one whose clock began
    /// later.
    pub(super) fn at_once(&self) -> i64 {
        let machine = Timestamp::now();
        self.read(machine).min(machine.as_millisecond())
    }

    /// The time `span` from now, in milliseconds since 1970.
    pub(super) fn after(&self, span: Duration) -> i64 {
        self.now_ms().saturating_add(millis(span))
    }

    fn read(&self, machine: Timestamp) -> i64 {
        let passed = millis(self.began.elapsed());
        let began = machine.as_millisecond().saturating_sub(passed);
        let began = self.began_ms.fetch_max(began, Ordering::Relaxed).max(began);
        began.saturating_add(passed)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn it_goes_forward_with_the_machine_and_never_back() {
        let start = Timestamp::now();
        let clock = SteadyClock::at(start);
        let at = |hours: i64| clock.read(start + SignedDuration::from_hours(hours)) - start.as_millisecond();
        let hour = SignedDuration::from_hours(1);
        let millis = |hours: i64| hours * i64::try_from(hour.as_millis()).unwrap();
        assert!(at(0) < 60_000);
        assert!(at(-3) >= 0, "the machine's clock is set back");
        assert!(
            at(2) >= millis(2),
            "the machine slept, or its clock was set forward"
        );
        assert!(at(0) >= millis(2), "and set right");
    }

    #[test]
    fn what_is_due_at_once_is_due_for_everybody() {
        let ahead = SteadyClock::at(Timestamp::now() + SignedDuration::from_hours(5));
        let due = ahead.at_once();
        assert!(due <= SteadyClock::start().now_ms() && due <= ahead.now_ms());
    }
}

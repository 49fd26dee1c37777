//! How long the hub waits before it connects again, by the cause of the last failure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The first pause before another attempt.
pub(crate) const MIN_DELAY: Duration = Duration::from_millis(500);
/// The longest.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(30);
/// A connection that lived that long was a good one: the next attempt comes at once.
const GOOD: Duration = Duration::from_secs(10);
/// Ends by calls within [`BUSY`] after which no pause is made.
const FREE_ENDS: usize = 5;
/// The time in which they are counted.
const BUSY: Duration = Duration::from_secs(10);
/// The pause after more of them: it keeps a server whose tools all end it from taking a whole core, and calls wait
/// for it.
const BUSY_DELAY: Duration = Duration::from_millis(500);

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It could not be made.
    NotConnected,
    /// A call ended it. Which tool, and what to do about it, is for [`crashes`](crate::upstream::link::crashes).
    Call,
    /// It ended by itself after this time.
    Itself(Duration),
}

/// The pauses of one connection's place.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// Failures in a row that no call is to blame for.
    failures: u32,
    by_calls: VecDeque<Instant>,
}

impl Backoff {
    /// The pause before the next attempt; `None` when it comes at once.
    pub(crate) fn pause(&mut self, cause: Cause, now: Instant) -> Option<Duration> {
        match cause {
            Cause::Call => {
                self.failures = 0;
                self.by_calls.push_back(now);
                while self.by_calls.front().is_some_and(|at| now - *at > BUSY) {
                    self.by_calls.pop_front();
                }
                (self.by_calls.len() > FREE_ENDS).then_some(BUSY_DELAY)
            }
            Cause::Itself(lived) if lived >= GOOD => {
                self.failures = 0;
                None
            }
            Cause::Itself(_) => {
                self.failures += 1;
                // The first time is forgiven.
                self.failures.checked_sub(2).map(delay)
            }
            Cause::NotConnected => {
                self.failures += 1;
                Some(delay(self.failures - 1))
            }
        }
    }
}

/// The pause after `failures` earlier ones.
pub(crate) fn delay(failures: u32) -> Duration {
    MIN_DELAY
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(backoff: &mut Backoff, cause: Cause, times: usize) -> Vec<Option<u128>> {
        let now = Instant::now();
        (0..times)
            .map(|_| backoff.pause(cause, now).map(|p| p.as_millis()))
            .collect()
    }

    #[test]
    fn failures_to_connect_are_retried_ever_more_slowly() {
        let mut backoff = Backoff::default();
        let all = pauses(&mut backoff, Cause::NotConnected, 9);
        let wanted = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000].map(Some);
        assert_eq!(all, wanted);
    }

    #[test]
    fn the_first_end_of_itself_is_forgiven_and_a_long_life_forgives_all() {
        let mut backoff = Backoff::default();
        let short = Cause::Itself(Duration::from_secs(1));
        assert_eq!(
            pauses(&mut backoff, short, 4),
            [None, Some(500), Some(1000), Some(2000)]
        );
        assert_eq!(pauses(&mut backoff, Cause::Itself(GOOD), 1), [None]);
        assert_eq!(pauses(&mut backoff, short, 2), [None, Some(500)]);
    }

    #[test]
    fn ends_by_calls_never_take_a_server_away_for_long() {
        let mut backoff = Backoff::default();
        let all = pauses(&mut backoff, Cause::Call, 50);
        assert!(all[..FREE_ENDS].iter().all(Option::is_none));
        assert!(all.iter().all(|p| p.is_none_or(|p| p <= 500)), "{all:?}");
        let later = Instant::now() + BUSY * 2;
        assert_eq!(backoff.pause(Cause::Call, later), None);
        // And they do not count as failures to start.
        assert_eq!(pauses(&mut backoff, Cause::NotConnected, 1), [Some(500)]);
    }
}

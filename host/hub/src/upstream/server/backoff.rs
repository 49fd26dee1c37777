//! How long the hub waits before it connects again, by the cause of the last failure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The first pause before another attempt.
pub(crate) const MIN_DELAY: Duration = Duration::from_millis(500);
/// The longest.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(30);
/// Attempts in a row that failed after which a process is parked.
const TRIES: u32 = 6;
/// How long a parked process is not started again, unless somebody asks for it.
pub(crate) const PARKED: Duration = Duration::from_secs(300);
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
#[derive(Debug)]
pub(crate) struct Backoff {
    /// Whether a process is started; only processes are parked.
    process: bool,
    /// Failures in a row that no call is to blame for.
    failures: u32,
    /// Of these, in a row without a connection that served a client.
    starts: u32,
    by_calls: VecDeque<Instant>,
}

impl Backoff {
    /// For a process, or for a server over HTTP.
    pub(crate) fn new(process: bool) -> Self {
        Self {
            process,
            failures: 0,
            starts: 0,
            by_calls: VecDeque::new(),
        }
    }

    /// How many attempts in a row failed, of a process that is parked now.
    pub(crate) fn parked(&self) -> Option<u32> {
        (self.process && self.starts >= TRIES).then_some(self.starts)
    }

    /// The connection that has just ended had served a client: whatever ended it, it can be started.
    pub(crate) fn served(&mut self) {
        self.starts = 0;
    }

    /// The pause before the next attempt; `None` when it comes at once.
    pub(crate) fn pause(&mut self, cause: Cause, now: Instant) -> Option<Duration> {
        let pause = self.growing(cause, now);
        self.starts = match self.failures {
            0 => 0,
            _ => self.starts + 1,
        };
        match self.parked() {
            Some(_) if cause != Cause::Call => Some(PARKED),
            _ => pause,
        }
    }

    fn growing(&mut self, cause: Cause, now: Instant) -> Option<Duration> {
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
        let mut backoff = Backoff::new(false);
        let all = pauses(&mut backoff, Cause::NotConnected, 9);
        let wanted = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000].map(Some);
        assert_eq!(all, wanted);
        assert_eq!(backoff.parked(), None, "a server over HTTP is not parked");
    }

    #[test]
    fn a_process_that_cannot_be_started_is_parked_and_one_good_life_ends_that() {
        let mut backoff = Backoff::new(true);
        let all = pauses(&mut backoff, Cause::NotConnected, 7);
        let wanted = [500, 1000, 2000, 4000, 8000, 300_000, 300_000].map(Some);
        assert_eq!(all, wanted);
        assert_eq!(backoff.parked(), Some(7));
        assert_eq!(pauses(&mut backoff, Cause::Itself(GOOD), 1), [None]);
        assert_eq!(backoff.parked(), None);
        // One that is greeted and ends each time is parked too, and the end of a call says nothing of starts.
        let short = Cause::Itself(Duration::from_secs(1));
        let all = pauses(&mut backoff, short, 6);
        assert_eq!(all.last(), Some(&Some(300_000)));
        assert_eq!(pauses(&mut backoff, Cause::Call, 1), [None]);
        assert_eq!(backoff.parked(), None);
        // One that served somebody each time is started again, with longer pauses.
        for _ in 0..20 {
            backoff.served();
            let pause = backoff.pause(short, Instant::now());
            assert!(pause.is_none_or(|pause| pause <= MAX_DELAY));
        }
    }

    #[test]
    fn the_first_end_of_itself_is_forgiven_and_a_long_life_forgives_all() {
        let mut backoff = Backoff::new(false);
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
        let mut backoff = Backoff::new(false);
        let all = pauses(&mut backoff, Cause::Call, 50);
        assert!(all[..FREE_ENDS].iter().all(Option::is_none));
        assert!(all.iter().all(|p| p.is_none_or(|p| p <= 500)), "{all:?}");
        let later = Instant::now() + BUSY * 2;
        assert_eq!(backoff.pause(Cause::Call, later), None);
        // And they do not count as failures to start.
        assert_eq!(pauses(&mut backoff, Cause::NotConnected, 1), [Some(500)]);
    }
}

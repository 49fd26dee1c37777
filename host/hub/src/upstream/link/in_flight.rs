//! One request in flight: its client, what it uses, and its time limit.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aih_mcp::RawJson;
use tokio::{sync::Notify, time::Instant};

use super::{connection::lock, crashes::Use};
use crate::provider::{Client, Peer};

/// How often progress may put off the end of a call: the call never lasts longer than this many timeouts.
const PROGRESS_CAP: u32 = 10;

/// One request on its way.
pub(crate) struct InFlightRequest {
    /// The client's end; absent for the hub's own requests.
    pub(crate) call: Option<(Arc<dyn Peer>, Arc<Client>)>,
    /// The client's progress token.
    pub(crate) token: Option<RawJson>,
    /// What it uses, of a process.
    pub(crate) used: Option<Use>,
    started: Instant,
    /// Milliseconds from `started` to the last progress.
    progress: AtomicU64,
    questions: Mutex<Pauses>,
    acknowledged: Notify,
}

/// The time in which the server waits for a person's answer.
#[derive(Default)]
struct Pauses {
    open: usize,
    since: Option<Instant>,
    over: Duration,
}

impl InFlightRequest {
    /// A request of the hub's own.
    pub(crate) fn own() -> Self {
        Self {
            call: None,
            token: None,
            used: None,
            started: Instant::now(),
            progress: AtomicU64::new(0),
            questions: Mutex::default(),
            acknowledged: Notify::new(),
        }
    }

    /// A request of a client.
    pub(crate) fn of(
        peer: Arc<dyn Peer>,
        client: Arc<Client>,
        token: Option<RawJson>,
        used: Option<Use>,
    ) -> Self {
        Self {
            call: Some((peer, client)),
            token,
            used,
            ..Self::own()
        }
    }

    /// The server works on it.
    pub(crate) fn touch(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progress.store(elapsed, Ordering::Relaxed);
    }

    /// A subscription stream was confirmed.
    pub(crate) fn acknowledge(&self) {
        self.acknowledged.notify_one();
    }

    /// Waits until a subscription stream is confirmed.
    pub(crate) async fn acknowledged(&self) {
        self.acknowledged.notified().await;
    }

    /// When it ends if no progress comes, and never later than the cap; `None` while a question of it waits, because
    /// that time does not count.
    pub(crate) fn deadline(&self, limit: Duration) -> Option<Instant> {
        let questions = lock(&self.questions);
        if questions.open > 0 {
            return None;
        }
        let progress = Duration::from_millis(self.progress.load(Ordering::Relaxed));
        let cap = limit.saturating_mul(PROGRESS_CAP).saturating_add(questions.over);
        Some(self.started + (progress + limit).min(cap))
    }

    fn asks(&self) {
        let mut questions = lock(&self.questions);
        questions.open += 1;
        questions.since.get_or_insert_with(Instant::now);
    }

    fn answered(&self) {
        {
            let mut questions = lock(&self.questions);
            questions.open = questions.open.saturating_sub(1);
            if questions.open == 0
                && let Some(since) = questions.since.take()
            {
                questions.over += since.elapsed();
            }
        }
        self.touch();
    }
}

/// Stops the clocks of requests while a question that belongs to them waits; dropped, they run again.
pub(crate) struct Paused(Vec<Weak<InFlightRequest>>);

impl Paused {
    /// For a question that belongs to one of `flights`.
    pub(crate) fn new(flights: &[Arc<InFlightRequest>]) -> Self {
        flights.iter().for_each(|in_flight| in_flight.asks());
        Self(flights.iter().map(Arc::downgrade).collect())
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        for in_flight in self.0.iter().filter_map(Weak::upgrade) {
            in_flight.answered();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_time_of_a_question_does_not_count() {
        let limit = Duration::from_millis(20);
        let (asking, other) = (Arc::new(InFlightRequest::own()), Arc::new(InFlightRequest::own()));
        let paused = Paused::new(std::slice::from_ref(&asking));
        let twice = Paused::new(std::slice::from_ref(&asking));
        // Longer than all progress may put a call off.
        tokio::time::sleep(limit * (PROGRESS_CAP + 5)).await;
        assert_eq!(asking.deadline(limit), None);
        assert_eq!(other.deadline(limit), Some(other.started + limit));
        drop(paused);
        assert_eq!(asking.deadline(limit), None, "one still waits");
        let before = Instant::now();
        drop(twice);
        let again = asking.deadline(limit).unwrap();
        let whole = before + limit - Duration::from_millis(1);
        assert!(again >= whole, "it has its whole time again");
        // Progress without end does not delay it without end.
        let over = before.elapsed() + (before - asking.started);
        tokio::time::sleep(limit * PROGRESS_CAP).await;
        asking.touch();
        let last = asking.deadline(limit).unwrap();
        assert!(
            last <= asking.started + limit * PROGRESS_CAP + over,
            "{:?}",
            last - again
        );
    }
}

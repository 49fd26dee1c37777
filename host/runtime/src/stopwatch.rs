//! The time of one call: how much of it the guest used, and how long it waited for its turn.
//!
//! A call waits for its turn while it has no permit, while the pool has no memory for it, and while other guests have
//! the processors. If the caller gives patience for that ([`Context::patience`](crate::Context::patience)), such waits
//! do not count as the guest's time. The guest's time is then the processor time of the thread that runs it, plus the
//! time for which it waits for the host. Without patience it is wall-clock time.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;

use rustix::time::{ClockId, clock_gettime};

use crate::error::Stop;

/// Shortest wait between two looks at the time.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    /// What the guest may use.
    limit: Duration,
    /// How long it may wait for its turn, since [`Stopwatch::begin`]; `None` counts these waits as use.
    patience: Option<Duration>,
    /// The guest could go on: something woke it since a thread began to run it.
    woken: AtomicBool,
    times: Mutex<Times>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    began: Instant,
    used: Duration,
    waited: Duration,
    now: Phase,
}

/// What goes on, and since when.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It waits for its turn.
    Waiting(Instant),
    /// A thread runs it: since when, and that thread's time then.
    Running(Instant, Duration),
    /// It waits for the host.
    Calling(Instant),
}

impl Stopwatch {
    /// Starts with the wait for a turn, `waited` of which is over already.
    pub(crate) fn begin(limit: Duration, patience: Option<Duration>, waited: Duration) -> Self {
        Self {
            limit,
            patience,
            woken: AtomicBool::new(false),
            times: Mutex::new(Times {
                began: Instant::now(),
                used: Duration::ZERO,
                waited,
                now: Phase::Waiting(Instant::now()),
            }),
        }
    }

    /// Runs a guest, whose time this counts.
    pub(crate) async fn time<T>(self: &Arc<Self>, guest: impl Future<Output = T>) -> T {
        if self.patience.is_none() {
            return guest.await;
        }
        let mut guest = pin!(guest);
        let woken = Arc::new(Woken {
            watch: self.clone(),
            task: AtomicWaker::new(),
        });
        let waker = Waker::from(woken.clone());
        std::future::poll_fn(|cx| {
            woken.task.register(cx.waker());
            self.resume();
            let polled = guest.as_mut().poll(&mut Context::from_waker(&waker));
            self.pause();
            polled
        })
        .await
    }

    /// A thread begins to run the guest.
    fn resume(&self) {
        self.woken.store(false, Ordering::Release);
        self.turn(|_| Phase::running());
    }

    /// The thread has left the guest: for its turn where something woke it meanwhile, else for the host.
    fn pause(&self) {
        self.turn(|_| match self.woken.load(Ordering::Acquire) {
            true => Phase::Waiting(Instant::now()),
            false => Phase::Calling(Instant::now()),
        });
    }

    /// The guest can go on.
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.turn(|now| match now {
            Phase::Calling(_) => Phase::Waiting(Instant::now()),
            now => now,
        });
    }

    /// Nothing of the guest runs: it waits for its turn again.
    pub(crate) fn wait(&self) {
        if self.patience.is_some() {
            self.turn(|_| Phase::Waiting(Instant::now()));
        }
    }

    /// As [`Stopwatch::check`], for the thread that runs the guest.
    ///
    /// # Errors
    /// Why the guest has to stop.
    pub(crate) fn check_running(&self) -> Result<(), Stop> {
        if self.patience.is_some() {
            self.turn(|_| Phase::running());
        }
        self.check()
    }

    /// Whether it may go on.
    ///
    /// # Errors
    /// Why it has to stop.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        let (used, waited) = self.so_far();
        if used >= self.limit {
            return Err(Stop::TimedOut);
        }
        if self.patience.is_some_and(|patience| waited >= patience) {
            return Err(Stop::NoTurn);
        }
        Ok(())
    }

    /// What of the guest's own time is left.
    pub(crate) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.so_far().0)
    }

    /// How long it waited for its turn.
    pub(crate) fn waited(&self) -> Duration {
        self.so_far().1
    }

    /// Ends when its time is over: answers why.
    pub(crate) async fn over(&self) -> Stop {
        loop {
            if let Err(stop) = self.check() {
                return stop;
            }
            let (used, waited) = self.so_far();
            let patience = self.patience.map(|patience| patience.saturating_sub(waited));
            let left = self.limit.saturating_sub(used);
            let next = patience.map_or(left, |patience| patience.min(left));
            tokio::time::sleep(next.max(SHORTEST_LOOK)).await;
        }
    }

    /// Used and waited until now. Of a guest that runs, until it was last looked at.
    fn so_far(&self) -> (Duration, Duration) {
        let times = *self.times();
        if self.patience.is_none() {
            return (times.began.elapsed(), Duration::ZERO);
        }
        match times.now {
            Phase::Waiting(since) => (times.used, times.waited + since.elapsed()),
            Phase::Calling(since) => (times.used + since.elapsed(), times.waited),
            Phase::Running(..) => (times.used, times.waited),
        }
    }

    /// Counts what went on until now; what `next` makes of that goes on.
    fn turn(&self, next: impl FnOnce(Phase) -> Phase) {
        let mut times = self.times();
        let next = next(times.now);
        match (times.now, next) {
            // Something woke it while it runs: perhaps another thread, whose time is not the guest's.
            (Phase::Running(began, _), Phase::Running(still, _)) if began == still => return,
            _ => {}
        }
        match times.now {
            Phase::Waiting(since) => times.waited += since.elapsed(),
            Phase::Calling(since) => times.used += since.elapsed(),
            Phase::Running(since, begun) => {
                let used = thread_time().saturating_sub(begun);
                times.used += used;
                // The system gave the processor to another thread meanwhile.
                times.waited += since.elapsed().saturating_sub(used);
            }
        }
        times.now = next;
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        // The times are whole at every point where code under the lock could panic.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes when a guest that waits for the host can go on.
struct Woken {
    watch: Arc<Stopwatch>,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.watch.wake();
        self.task.wake();
    }
}

impl Phase {
    fn running() -> Self {
        Self::Running(Instant::now(), thread_time())
    }
}

/// For how long the processors ran this thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(60);
    const PATIENCE: Duration = Duration::from_millis(90);

    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    fn watch(patience: Option<Duration>) -> Arc<Stopwatch> {
        Arc::new(Stopwatch::begin(LIMIT, patience, Duration::ZERO))
    }

    fn compute(time: Duration) {
        let begun = thread_time();
        while thread_time() - begun < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_wait_for_a_turn_is_no_use_and_has_its_own_bound() {
        let watch = watch(Some(PATIENCE));
        std::thread::sleep(PATIENCE * 2 / 3);
        watch.check().unwrap();
        assert_eq!(watch.left(), LIMIT);
        // It goes on where the guest could go on at once.
        watch.resume();
        watch.wake();
        watch.pause();
        std::thread::sleep(PATIENCE / 2);
        assert_eq!(watch.check(), Err(Stop::NoTurn));
        assert!(watch.waited() >= PATIENCE);
    }

    #[test]
    fn a_guest_waits_for_its_turn_from_when_the_host_answered() {
        let watch = watch(LONG);
        watch.resume();
        watch.pause();
        std::thread::sleep(LIMIT / 3);
        watch.wake();
        let left = watch.left();
        assert!(left <= LIMIT * 2 / 3);
        std::thread::sleep(LIMIT);
        assert_eq!(watch.left(), left);
        watch.resume();
        watch.check_running().unwrap();
    }

    #[test]
    fn what_was_waited_before_counts() {
        let watch = Stopwatch::begin(LIMIT, Some(PATIENCE), PATIENCE);
        assert_eq!(watch.check(), Err(Stop::NoTurn));
    }

    #[test]
    fn computing_and_waiting_for_the_host_are_use() {
        let watch = watch(LONG);
        watch.resume();
        compute(LIMIT / 3);
        watch.pause();
        assert!(watch.left() <= LIMIT * 2 / 3);
        std::thread::sleep(LIMIT * 2 / 3);
        assert_eq!(watch.check(), Err(Stop::TimedOut));
    }

    #[test]
    fn a_guest_that_only_computes_runs_out_of_its_time() {
        let watch = watch(LONG);
        watch.resume();
        let mut rounds = 0;
        let stop = loop {
            compute(LIMIT / 10);
            rounds += 1;
            if let Err(stop) = watch.check_running() {
                break stop;
            }
        };
        assert_eq!((stop, rounds), (Stop::TimedOut, 10));
    }

    #[test]
    fn without_patience_all_of_it_is_use() {
        let watch = watch(None);
        std::thread::sleep(LIMIT);
        assert_eq!(watch.check_running(), Err(Stop::TimedOut));
    }

    #[tokio::test]
    async fn its_end_is_noticed_from_outside() {
        let patient = watch(Some(PATIENCE));
        assert_eq!(patient.over().await, Stop::NoTurn);
        let calling = watch(Some(Duration::from_secs(3_600)));
        let guest = calling.time(std::future::pending::<()>());
        tokio::select! {
            () = guest => {}
            stop = calling.over() => assert_eq!(stop, Stop::TimedOut),
        }
    }

    #[tokio::test]
    async fn a_guest_that_gives_way_is_polled_again() {
        let watch = watch(LONG);
        let guest = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            7
        };
        assert_eq!(watch.time(guest).await, 7);
    }
}

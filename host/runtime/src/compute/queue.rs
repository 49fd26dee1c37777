//! The queue of the compute threads.
//!
//! Guests that have computed little get three turns of four. Within both groups, callers take turns, so that many
//! guests of one caller get no more time together than one guest of another caller.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{ThreadKind, Turn};
use crate::{engine::Clock, idle, stopwatch::thread_time};

/// How long a guest may compute before it waits behind those that computed less.
const SHORT: Duration = Duration::from_millis(50);
/// Turns of guests that computed little for one turn of the others, where both wait.
const SHORT_TURNS: u32 = 3;
/// Weight of the compute threads: a tenth of a normal thread's, so that they leave a processor at once when one of these
/// has work, and still get something beside a process that never rests.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

pub(super) type Task<T> = async_task::Task<T, Arc<Account>>;
type Runnable = async_task::Runnable<Arc<Account>>;

/// Whose turn a guest takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TurnOwner {
    /// That of the key, by its name, in whose name the guest runs.
    Principal(Arc<str>),
    /// That of a component that runs in nobody's name, by its address.
    Component(usize),
}

/// What is known of one guest on compute threads.
pub(crate) struct Account {
    owner: TurnOwner,
    /// The async runtime that its timers and sockets belong to.
    runtime: Handle,
    /// Nanoseconds of a processor that it used on compute threads.
    used: AtomicU64,
}

impl Account {
    pub(super) fn new(owner: TurnOwner, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            owner,
            runtime,
            used: AtomicU64::new(0),
        })
    }

    /// Time of a processor that it used on compute threads.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }
}

/// Guests that wait for a turn.
pub(crate) struct Queue {
    pub(super) clock: Clock,
    waiting: Mutex<Waiting<Runnable>>,
    work: Condvar,
    computing: AtomicUsize,
}

struct Waiting<T> {
    short: RoundRobin<T>,
    long: RoundRobin<T>,
    /// Turns of short ones since the last one of the others.
    passed: u32,
    closed: bool,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            short: RoundRobin(VecDeque::new()),
            long: RoundRobin(VecDeque::new()),
            passed: 0,
            closed: false,
        }
    }
}

impl<T> Waiting<T> {
    fn push(&mut self, guest: T, owner: &TurnOwner, used: Duration) {
        if used < SHORT {
            self.short.push(guest, owner);
        } else {
            self.long.push(guest, owner);
        }
    }

    fn next(&mut self) -> Option<T> {
        if self.passed >= SHORT_TURNS
            && let Some(guest) = self.long.next()
        {
            self.passed = 0;
            return Some(guest);
        }
        if let Some(guest) = self.short.next() {
            self.passed = self.passed.saturating_add(1);
            return Some(guest);
        }
        self.passed = 0;
        self.long.next()
    }
}

/// Guests by the share that they take: each share has a turn before one has its second.
struct RoundRobin<T>(VecDeque<(TurnOwner, VecDeque<T>)>);

impl<T> RoundRobin<T> {
    fn push(&mut self, guest: T, owner: &TurnOwner) {
        match self.0.iter_mut().find(|(of, _)| of == owner) {
            Some((_, guests)) => guests.push_back(guest),
            None => self.0.push_back((owner.clone(), VecDeque::from([guest]))),
        }
    }

    fn next(&mut self) -> Option<T> {
        let (owner, mut guests) = self.0.pop_front()?;
        let guest = guests.pop_front();
        if !guests.is_empty() {
            self.0.push_back((owner, guests));
        }
        guest
    }
}

impl Queue {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            waiting: Mutex::default(),
            work: Condvar::new(),
            computing: AtomicUsize::new(0),
        }
    }

    /// The queue is whole at every point where code under its lock could panic.
    fn waiting(&self) -> MutexGuard<'_, Waiting<Runnable>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many compute threads run a guest.
    pub(super) fn computing(&self) -> usize {
        self.computing.load(Ordering::Relaxed)
    }

    /// The threads end once nothing waits any more.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.work.notify_all();
    }

    /// Runs a future on compute threads. Dropping the task drops the future, after the turn that it has or in its next
    /// one.
    pub(super) fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        account: Arc<Account>,
    ) -> Task<T> {
        let used = account.clone();
        let mut guest = PanicSafeDrop(Some(future));
        let counted = std::future::poll_fn(move |cx| {
            let before = thread_time();
            let polled = guest.poll(cx);
            let took = thread_time().saturating_sub(before);
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            used.used.fetch_add(took, Ordering::Relaxed);
            polled
        });
        let queue = self.clone();
        let (runnable, task) = async_task::Builder::new()
            .propagate_panic(true)
            .metadata(account)
            .spawn(move |_| counted, move |runnable| queue.push(runnable));
        runnable.schedule();
        task
    }

    fn push(&self, guest: Runnable) {
        let account = guest.metadata().clone();
        self.waiting().push(guest, &account.owner, account.used());
        self.work.notify_one();
    }

    fn next(&self) -> Option<Runnable> {
        let mut waiting = self.waiting();
        loop {
            if let Some(guest) = waiting.next() {
                return Some(guest);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What a compute thread does all its life.
    pub(super) fn work(&self, slice: Duration) {
        yield_to_others();
        idle::attend();
        let mut last: Option<Handle> = None;
        loop {
            let waiting = self.waiting().next();
            let Some(guest) = waiting.or_else(|| {
                // Nobody waits: only now is there time for what the last guest left.
                let _runtime = last.as_ref().map(Handle::enter);
                idle::tidy();
                self.next()
            }) else {
                return;
            };
            let account = guest.metadata().clone();
            last = Some(account.runtime.clone());
            let _runtime = account.runtime.enter();
            {
                let _running = self.clock.running();
                let _computing = Computing::new(&self.computing);
                let _turn = Turn::begin(slice, Instant::now(), ThreadKind::Compute);
                // A panic of the guest goes to the task that awaits it (`propagate_panic`).
                guest.run();
            }
        }
    }
}

/// A guest whose destructor may panic: the task that holds it would abort the process.
struct PanicSafeDrop<T>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> PanicSafeDrop<T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Some(guest) => guest.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for PanicSafeDrop<T> {
    fn drop(&mut self) {
        let guest = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(guest))).is_err() {
            tracing::error!(target: "aih::plugin", "a sandbox panicked while it was taken down; other calls go on");
        }
    }
}

/// Counts a thread that runs a guest.
struct Computing<'a>(&'a AtomicUsize);

impl<'a> Computing<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives the calling thread less weight than others.
fn yield_to_others() {
    // Elsewhere this call would slow the whole process down. It never needs a privilege.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(
            target: "aih::plugin",
            "guests that compute may slow other calls down: their threads cannot be given less weight: {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> TurnOwner {
        TurnOwner::Principal(name.into())
    }

    #[test]
    fn callers_take_turns_however_many_guests_they_have() {
        let mut waiting = Waiting::default();
        for guest in ["a1", "a2", "a3", "a4"] {
            waiting.push(guest, &owner("a"), Duration::ZERO);
        }
        waiting.push("b1", &owner("b"), Duration::ZERO);
        waiting.push("c1", &TurnOwner::Component(1), Duration::ZERO);
        waiting.push("b2", &owner("b"), Duration::ZERO);
        let order: Vec<_> = std::iter::from_fn(|| waiting.next()).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn short_guests_go_first_and_starve_nobody() {
        let mut waiting = Waiting::default();
        for _ in 0..8 {
            waiting.push("long", &owner("a"), SHORT);
            waiting.push("short", &owner("a"), SHORT / 2);
        }
        let order: Vec<_> = std::iter::from_fn(|| waiting.next()).collect();
        assert_eq!(
            order[..9],
            [
                "short", "short", "short", "long", "short", "short", "short", "long", "short"
            ]
        );
        assert_eq!(order.len(), 16);
        // One that comes late waits for three turns at most.
        for _ in 0..8 {
            waiting.push("short", &owner("b"), Duration::ZERO);
        }
        waiting.push("long", &owner("a"), SHORT);
        let order: Vec<_> = std::iter::from_fn(|| waiting.next()).collect();
        assert!(order[..4].contains(&"long"), "{order:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_can_give_itself_less_weight_alone() {
        use rustix::process::getpriority_process;
        std::thread::spawn(|| {
            yield_to_others();
            assert_eq!(getpriority_process(None).unwrap(), NICE);
        })
        .join()
        .unwrap();
        assert!(getpriority_process(None).unwrap() < NICE);
    }
}

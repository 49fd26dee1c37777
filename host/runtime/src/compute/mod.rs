//! Where guests run.
//!
//! A guest begins on the thread of the async runtime that its call came in on, because most guests end within
//! microseconds, and a hand-over would cost as much. A guest that computes for longer than [`INLINE`], or that takes
//! more memory than [`INLINE_MEMORY`], moves to a *compute thread*, and the next call of the same tool begins there.
//! There is one compute thread for each processor. Guests take turns on them (see [`queue`]). The operating system
//! gives these threads less weight than the threads of the async runtime, so sockets and timers are served at once,
//! however much guests compute.

mod queue;

use std::{
    cell::Cell,
    collections::HashSet,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::engine::Clock;
use queue::{Account, Queue, Task};

pub(crate) use queue::TurnOwner;

/// How long a guest may compute on a thread of the async runtime, all its turns together.
const INLINE: Duration = Duration::from_millis(5);
/// How long one turn on a compute thread is.
const SLICE: Duration = Duration::from_millis(5);
/// Bytes of memory with which a guest may stay on a thread of the async runtime. One instruction can write all of a
/// guest's memory, and nothing stops a guest within an instruction.
pub(crate) const INLINE_MEMORY: u64 = 64 << 20;
/// Kinds of calls that [`ComputeHistory`] remembers.
const KINDS: usize = 1_000;

thread_local! {
    /// The turn of the guest that this thread polls.
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
    /// The guest that this thread polls asks for a compute thread.
    static LEAVES: Cell<bool> = const { Cell::new(false) };
}

/// A guest's time on a thread.
#[derive(Clone, Copy)]
struct Turn {
    until: Instant,
    thread: ThreadKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ThreadKind {
    /// A thread of the async runtime.
    Runtime,
    /// A compute thread.
    Compute,
}

impl Turn {
    /// Sets this thread's turn for as long as the guard lives.
    fn begin(length: Duration, now: Instant, thread: ThreadKind) -> TurnGuard {
        let until = now.checked_add(length).unwrap_or(now);
        TurnGuard(TURN.replace(Some(Self { until, thread })))
    }
}

struct TurnGuard(Option<Turn>);

impl Drop for TurnGuard {
    fn drop(&mut self) {
        TURN.set(self.0);
    }
}

/// Whether the guest that this thread polls has to let others run.
pub(crate) fn turn_is_over(now: Instant) -> bool {
    TURN.get().is_none_or(|turn| now >= turn.until)
}

/// Goes on on a compute thread, where the guest is on another one.
pub(crate) async fn leave() {
    if TURN.get().is_none_or(|turn| turn.thread == ThreadKind::Compute) {
        return;
    }
    LEAVES.set(true);
    let mut asked = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The kinds of calls of one component that needed a compute thread when they ran last.
#[derive(Debug, Default)]
pub(crate) struct ComputeHistory(Mutex<HashSet<Box<str>>>);

impl ComputeHistory {
    /// The set is whole at every point where code under its lock could panic.
    fn with<T>(&self, work: impl FnOnce(&mut HashSet<Box<str>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn computes(&self, kind: &str) -> bool {
        self.with(|kinds| kinds.contains(kind))
    }

    fn note(&self, kind: &str, computes: bool) {
        self.with(|kinds| {
            if !computes {
                kinds.remove(kind);
            } else if !kinds.contains(kind) {
                if kinds.len() >= KINDS {
                    kinds.clear();
                }
                kinds.insert(kind.into());
            }
        });
    }
}

/// The compute threads of one runtime. They end with it.
pub(crate) struct Compute {
    queue: Arc<Queue>,
}

impl Compute {
    /// Starts one thread for each processor.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(clock: Clock) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let queue = Arc::new(Queue::new(clock));
        let compute = Self { queue };
        for _ in 0..threads {
            let queue = compute.queue.clone();
            std::thread::Builder::new()
                .name("aih-compute".to_owned())
                .spawn(move || queue.work(SLICE))?;
        }
        Ok(compute)
    }

    /// Whether guests run on threads of the async runtime, other than the one that asks.
    pub(crate) fn others_run(&self) -> bool {
        let all = self.queue.clock.count();
        all.saturating_sub(self.queue.computing()) > 1
    }

    /// Runs a guest. It is dropped with the future that this answers; on a compute thread that is after its turn.
    /// `kind` is what it was asked, such as the tool's name.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        guest: Pin<Box<dyn Future<Output = T> + Send>>,
        kind: Box<str>,
        history: Arc<ComputeHistory>,
        owner: TurnOwner,
    ) -> Guest<T> {
        Guest {
            at: At::Start(guest),
            spent: Duration::ZERO,
            kind,
            history,
            owner,
            queue: self.queue.clone(),
        }
    }

    /// Does work of the host on a compute thread.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        owner: TurnOwner,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let account = Account::new(owner, Handle::current());
        let work = Box::pin(async move { work() });
        self.queue.spawn(work, account).await
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// A guest that runs.
pub(crate) struct Guest<T> {
    at: At<T>,
    /// How long it has computed on threads of the async runtime.
    spent: Duration,
    kind: Box<str>,
    history: Arc<ComputeHistory>,
    owner: TurnOwner,
    queue: Arc<Queue>,
}

enum At<T> {
    /// It has not run yet.
    Start(Pin<Box<dyn Future<Output = T> + Send>>),
    /// On a thread of the async runtime.
    Runtime(Pin<Box<dyn Future<Output = T> + Send>>),
    /// On compute threads.
    Compute(Task<T>),
    /// It moves.
    Between,
}

impl<T: Send + 'static> Future for Guest<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.at, At::Between) {
                At::Start(guest) if this.history.computes(&this.kind) => this.go(guest),
                At::Start(mut guest) | At::Runtime(mut guest) => {
                    let begun = Instant::now();
                    let polled = {
                        let _running = this.queue.clock.running();
                        let left = INLINE.saturating_sub(this.spent);
                        let _turn = Turn::begin(left, begun, ThreadKind::Runtime);
                        guest.as_mut().poll(cx)
                    };
                    let leaves = LEAVES.take();
                    if polled.is_ready() {
                        return polled;
                    }
                    this.spent += begun.elapsed();
                    if !leaves && this.spent < INLINE {
                        this.at = At::Runtime(guest);
                        return Poll::Pending;
                    }
                    this.history.note(&this.kind, true);
                    this.go(guest);
                }
                At::Compute(mut task) => {
                    let polled = Pin::new(&mut task).poll(cx);
                    if polled.is_ready() && this.spent.is_zero() && task.metadata().used() < INLINE {
                        this.history.note(&this.kind, false);
                    }
                    this.at = At::Compute(task);
                    return polled;
                }
                // The loop leaves every other state in its place; a guest that panicked is not polled again.
                At::Between => return Poll::Pending,
            }
        }
    }
}

impl<T: Send + 'static> Guest<T> {
    fn go(&mut self, guest: Pin<Box<dyn Future<Output = T> + Send>>) {
        let account = Account::new(self.owner.clone(), Handle::current());
        self.at = At::Compute(self.queue.spawn(guest, account));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn compute() -> Compute {
        let engine = wasmtime::Engine::default();
        Compute::start(Clock::start(&engine).unwrap()).unwrap()
    }

    /// A guest that computes for a time, and tells on which threads it began and ended.
    fn guest(time: Duration) -> Pin<Box<dyn Future<Output = (String, String)> + Send>> {
        Box::pin(async move {
            let begun = Instant::now();
            let first = here();
            while begun.elapsed() < time {
                if turn_is_over(Instant::now()) {
                    tokio::task::yield_now().await;
                }
            }
            (first, here())
        })
    }

    fn here() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    fn nobody() -> TurnOwner {
        TurnOwner::Component(0)
    }

    const COMPUTE: &str = "aih-compute";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_guest_that_computes_moves_and_the_next_of_its_kind_begins_there() {
        let (compute, history) = (compute(), Arc::<ComputeHistory>::default());
        let run = |time, kind: &str| {
            let guest = compute.run(guest(time), kind.into(), history.clone(), nobody());
            async { tokio::spawn(guest).await.unwrap() }
        };
        let (first, last) = run(Duration::ZERO, "slow").await;
        assert!(first == last && first != COMPUTE, "{first}, {last}");
        let (first, last) = run(Duration::from_millis(50), "slow").await;
        assert!(first != COMPUTE && last == COMPUTE, "{first}, {last}");
        let (first, _) = run(Duration::ZERO, "slow").await;
        assert_eq!(first, COMPUTE);
        // That one was short, so the next one comes back; other kinds were never away.
        for kind in ["slow", "other"] {
            let (first, last) = run(Duration::ZERO, kind).await;
            assert!(first != COMPUTE && last != COMPUTE, "{kind}: {first}, {last}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_guest_may_ask_for_a_compute_thread() {
        let (compute, history) = (compute(), Arc::<ComputeHistory>::default());
        let guest = Box::pin(async {
            leave().await;
            let first = here();
            leave().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            (first, here())
        });
        let guest = compute.run(guest, "grow".into(), history, nobody());
        let (first, last) = tokio::spawn(guest).await.unwrap();
        assert_eq!((&*first, &*last), (COMPUTE, COMPUTE));
        // Outside of a guest there is nothing to leave.
        leave().await;
        assert_ne!(here(), COMPUTE);
        assert_eq!(compute.work(nobody(), here).await, COMPUTE);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_is_its_callers_and_the_threads_go_on() {
        let (compute, history) = (compute(), Arc::<ComputeHistory>::default());
        for _ in 0..16 {
            let guest: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {
                leave().await;
                panic!("a guest's bug");
            });
            let guest = compute.run(guest, "panic".into(), history.clone(), nobody());
            assert!(tokio::spawn(guest).await.unwrap_err().is_panic());
        }
        assert_eq!(compute.work(nobody(), || 7).await, 7);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_guest_whose_caller_is_gone_is_dropped() {
        struct Gone(Arc<AtomicBool>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let (compute, history) = (compute(), Arc::<ComputeHistory>::default());
        let gone = Arc::new(AtomicBool::new(false));
        let guard = Gone(gone.clone());
        let (moved, on_its_way) = tokio::sync::oneshot::channel();
        let guest: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let _guard = guard;
            leave().await;
            let _ = moved.send(());
            std::future::pending().await
        });
        let guest = tokio::spawn(compute.run(guest, "wait".into(), history, nobody()));
        on_its_way.await.unwrap();
        guest.abort();
        let until = Instant::now() + Duration::from_secs(60);
        while !gone.load(Ordering::SeqCst) {
            assert!(Instant::now() < until, "the guest was not dropped");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Panics when it is dropped.
    struct Fragile;

    impl Drop for Fragile {
        fn drop(&mut self) {
            panic!("a destructor's bug");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_of_a_destructor_ends_neither_the_process_nor_a_thread() {
        let (compute, history) = (compute(), Arc::<ComputeHistory>::default());
        for _ in 0..16 {
            let (moved, on_its_way) = tokio::sync::oneshot::channel();
            let waits: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                let _fragile = Fragile;
                leave().await;
                let _ = moved.send(());
                std::future::pending().await
            });
            let waits = tokio::spawn(compute.run(waits, "wait".into(), history.clone(), nobody()));
            on_its_way.await.unwrap();
            waits.abort();
            assert!(waits.await.unwrap_err().is_cancelled());
        }
        for _ in 0..16 {
            assert_eq!(compute.work(nobody(), || 7).await, 7);
        }
    }

    #[test]
    fn what_is_remembered_of_calls_is_bounded() {
        let history = ComputeHistory::default();
        for kind in 0..3 * KINDS {
            history.note(&kind.to_string(), true);
            assert!(history.computes(&kind.to_string()));
        }
        assert!(history.with(|kinds| kinds.len()) <= KINDS);
    }
}

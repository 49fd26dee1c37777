//! Coalesces the wake-ups that a future sends to itself within one poll.
//!
//! The two ends of a hyper connection (its dispatcher, and the body or answer that somebody waits for) wake each other
//! within one task. Without this module, tokio puts a task that is woken while it runs at the end of its queue and
//! wakes another thread to steal it. That costs two system calls and a change of core, several times a call. With this
//! module, such a wake-up means one more round of polling. Wake-ups from other tasks pass through.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// How many rounds a turn may have before the runtime gets its own: a task whose budget is spent
/// wakes itself without end.
const ROUNDS: usize = 32;

/// Nobody polls: a wake-up goes to the task.
const IDLE: u8 = 0;
/// A round is going on, or was the last one because it was successful.
const POLLING: u8 = 1;
/// There was a wake-up since.
const WOKEN: u8 = 2;

#[derive(Default)]
struct CoalescingWaker {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for CoalescingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.task.wake();
        }
    }
}

/// See the module. One for the whole life of what is polled with it, so that nothing below has to register
/// its waker anew.
pub struct CoalescingPoller {
    coalescing: Arc<CoalescingWaker>,
    waker: Waker,
}

impl Default for CoalescingPoller {
    fn default() -> Self {
        let coalescing = Arc::<CoalescingWaker>::default();
        Self {
            waker: coalescing.clone().into(),
            coalescing,
        }
    }
}

impl CoalescingPoller {
    /// Polls with `once`, again as long as that wakes itself.
    pub fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut once: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Before the state goes to IDLE below: who wakes then finds the right task.
        self.coalescing.task.register(cx.waker());
        for _ in 0..ROUNDS {
            self.coalescing.state.store(POLLING, Ordering::Release);
            if let Poll::Ready(out) = once(&mut Context::from_waker(&self.waker)) {
                return Poll::Ready(out);
            }
            let (polling, idle) = (Ordering::AcqRel, Ordering::Acquire);
            let rests = self
                .coalescing
                .state
                .compare_exchange(POLLING, IDLE, polling, idle);
            if rests.is_ok() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Runs `future` to its end.
    pub async fn run<F: Future>(self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| self.poll(cx, |cx| future.as_mut().poll(cx))).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_wake_ups_from_outside_reach_the_task() {
        let (poller, count) = (CoalescingPoller::default(), Arc::<Count>::default());
        let task = Waker::from(count.clone());
        let mut cx = Context::from_waker(&task);
        let mut rounds = 0;
        let mut inner = None;
        let polled = poller.poll(&mut cx, |cx| {
            rounds += 1;
            if rounds < 5 {
                cx.waker().wake_by_ref();
            }
            inner = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((rounds, count.0.load(Ordering::SeqCst)), (5, 0));
        inner.unwrap().wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_never_rests_gives_way() {
        let (poller, count) = (CoalescingPoller::default(), Arc::<Count>::default());
        let task = Waker::from(count.clone());
        let polled = poller.poll(&mut Context::from_waker(&task), |cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}

//! Background hooks: their events go into the store's queue, and a task for each hook takes them out, tries again
//! what failed, and gives up what failed too often.
//!
//! An event leaves the queue only when its hook answered or it was given up, so each one runs at least once.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use aih_mcp::RawJson;
use aih_store::queue::{Due, Event, NewEvent, Queue};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Hooks, Trigger, event,
    hook::{Cause, Delivery, Failed, STRETCH},
    watch,
};
use crate::data::LeaderElection;

/// Attempts before an event is given up.
pub(crate) const ATTEMPTS: u32 = 5;
/// The time before the second attempt; each later one waits four times as long.
const FIRST_DELAY: Duration = Duration::from_secs(2);
/// The longest time between two attempts, before it is spread.
const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// No attempt is further away.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// How long a process that gives the background hooks up to another lets their runs end.
const HANDOVER: Duration = Duration::from_secs(60);
/// Events of calls that wait for the store before further ones are lost (and counted).
const OUTBOX: usize = 8_192;
/// Bytes of these.
const OUTBOX_BYTES: usize = 64 << 20;
/// Background hooks that run at one time.
const RUNNING: usize = 64;
/// Of these, runs of one hook.
pub(super) const RUNNING_OF_ONE: usize = 32;
/// How long a run waits for its turn once it has a place: nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(600);
/// Events that are stored, or taken from the store, in one transaction.
const BATCH: usize = 256;
/// Between two looks at a queue of which there is no news.
const LOOK: Duration = Duration::from_secs(5);
/// What a lease has beyond the longest time of a hook.
const LEASE_SLACK: Duration = Duration::from_secs(60);
/// In whose name events are claimed. One process works on the queue at one time, so that it knows what the one before
/// had claimed.
const WORKER: &str = "hub";

/// Events of calls on their way to the store, which the call does not wait for.
pub(super) struct Outbox {
    events: mpsc::Sender<OutboxEvent>,
    bytes: Arc<Semaphore>,
}

/// An event in the [`Outbox`].
pub(super) struct OutboxEvent {
    event: NewEvent,
    /// Given back when it is stored.
    room: OwnedSemaphorePermit,
}

impl Outbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<OutboxEvent>) {
        let (events, inbox) = mpsc::channel(OUTBOX);
        let bytes = Arc::new(Semaphore::new(OUTBOX_BYTES));
        (Self { events, bytes }, inbox)
    }

    /// Posts an event, if there is room.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn post(&self, event: NewEvent) -> Result<(), String> {
        let size = u32::try_from(event.payload.get().len()).unwrap_or(u32::MAX);
        let full = |_| format!("{} MiB of events wait for the store", OUTBOX_BYTES >> 20);
        let room = self.bytes.clone().try_acquire_many_owned(size).map_err(full)?;
        let posted = OutboxEvent { event, room };
        self.events.try_send(posted).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => format!("{OUTBOX} events wait for the store"),
            mpsc::error::TrySendError::Closed(_) => "the hub is stopping".to_owned(),
        })
    }
}

/// Stores what [`Hooks::tell`] posted, in the order in which it came. When the hub stops, it stores what is
/// there and ends.
pub(super) async fn forward_outbox(
    hooks: Weak<Hooks>,
    queue: Arc<Queue>,
    mut inbox: mpsc::Receiver<OutboxEvent>,
    stopping: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        let count = tokio::select! {
            biased;
            count = inbox.recv_many(&mut batch, BATCH) => count,
            () = stopping.cancelled(), if !inbox.is_closed() => {
                inbox.close();
                continue;
            }
        };
        if count == 0 {
            return;
        }
        let (events, _room): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|posted| (posted.event, posted.room)).unzip();
        let names: Vec<String> = events.iter().map(|event| event.hook.clone()).collect();
        let (taken, error) = match queue.push_some(events).await {
            Ok(taken) => (taken, queue.full()),
            Err(error) => (0, error),
        };
        let lost = names.get(taken..).unwrap_or_default();
        if !lost.is_empty() {
            let count = lost.len();
            tracing::warn!(target: "aih::hook", lost = count, "events for background hooks were lost: {error}");
        }
        if let Some(hooks) = hooks.upgrade() {
            lost.iter().for_each(|name| hooks.count_lost(name));
        }
    }
}

/// Runs background hooks and keeps schedules while this process is the one of its data folder that does, until the hub
/// stops. A queue in memory is this process's alone.
pub(super) async fn lead(hooks: Arc<Hooks>, queue: Arc<Queue>, election: LeaderElection) {
    let stopping = hooks.stopping.clone();
    if queue.in_memory() {
        let alone = LeadershipTerm::begin(&hooks, true);
        alone.keep_schedules(&hooks);
        return work(&hooks, &queue, &alone).await;
    }
    loop {
        let began = Instant::now();
        let leadership = tokio::select! {
            leadership = election.won() => leadership,
            () = stopping.cancelled() => return,
        };
        if began.elapsed() > Duration::from_secs(1) {
            tracing::info!(target: "aih::hook", "this process runs the background hooks now");
        }
        let term = LeadershipTerm::begin(&hooks, election.serves());
        term.keep_schedules(&hooks);
        tokio::select! {
            () = work(&hooks, &queue, &term) => {}
            () = election.lost() => {
                tracing::info!(target: "aih::hook", "the background hooks are left to `aih serve`");
            }
        }
        term.end().await;
        drop(leadership);
        if stopping.is_cancelled() {
            return;
        }
    }
}

/// The time for which a process runs background hooks.
struct LeadershipTerm {
    /// Whether events of hooks that the configuration does not have are given up. The configuration of an `aih stdio` that
    /// has run for long may be older than that of the process that stored them.
    gives_up: bool,
    over: CancellationToken,
    runs: TaskTracker,
}

impl LeadershipTerm {
    fn begin(hooks: &Hooks, gives_up: bool) -> Self {
        Self {
            gives_up,
            over: hooks.stopping.child_token(),
            runs: TaskTracker::new(),
        }
    }

    fn keep_schedules(&self, hooks: &Arc<Hooks>) {
        for hook in hooks.all.iter().filter(|hook| hook.enabled()) {
            if let Some(schedule) = hook.schedule.clone() {
                let task = watch::keep_schedule(hooks.clone(), hook.clone(), schedule, self.over.clone());
                hooks.tasks.spawn(task);
            }
        }
    }

    /// Lets what runs end. What takes too long runs again where the next one begins.
    async fn end(&self) {
        self.over.cancel();
        self.runs.close();
        let _ = tokio::time::timeout(HANDOVER, self.runs.wait()).await;
    }
}

/// Runs what is in the queue, until the hub stops.
///
/// Each hook that has something to do gets a task that does it, so that one whose runs take long holds up none of
/// the others.
async fn work(hooks: &Arc<Hooks>, queue: &Arc<Queue>, term: &LeadershipTerm) {
    let stopping = hooks.stopping.clone();
    // What was held by a hub that was killed is ready at once. Nothing of this process is held yet.
    loop {
        match queue.release(WORKER).await {
            Ok(0) => break,
            Ok(count) => {
                tracing::info!(target: "aih::hook", count, "events that did not finish run again");
                break;
            }
            Err(error) => tracing::warn!(target: "aih::hook", "the store cannot be written: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stopping.cancelled() => return,
        }
    }
    let permits = Arc::new(Semaphore::new(RUNNING));
    let mut draining = JoinSet::new();
    let mut busy = HashSet::new();
    loop {
        // From here on none is missed.
        let news = queue.news();
        let due = queue.due().await.unwrap_or_else(|error| {
            tracing::warn!(target: "aih::hook", "events cannot be taken from the store: {error}");
            Vec::new()
        });
        let mut next = LOOK;
        for Due { hook, wait } in due {
            let unknown = hooks.get(&hook).is_none();
            if busy.contains(&hook) || (unknown && !term.gives_up) {
                continue;
            }
            if wait > LONGEST_WAIT {
                // The machine's clock was ahead when this was stored.
                if let Err(error) = queue.hurry(&hook, LONGEST_WAIT).await {
                    tracing::warn!(target: "aih::hook", hook, "{error}");
                }
            } else if wait.is_zero() {
                busy.insert(hook.clone());
                let (hooks, queue, permits) = (hooks.clone(), queue.clone(), permits.clone());
                let runs = term.runs.clone();
                draining.spawn(async move {
                    drain(&hooks, &queue, &hook, permits, &runs).await;
                    hook
                });
            } else {
                next = next.min(wait);
            }
        }
        tokio::select! {
            () = news => {}
            Some(drained) = draining.join_next() => match drained {
                Ok(hook) => {
                    busy.remove(&hook);
                }
                Err(error) => {
                    // No code of a hook runs in these tasks, so this is a mistake of ours. All begin anew.
                    tracing::error!(target: "aih::hook", "{error}");
                    (draining, busy) = (JoinSet::new(), HashSet::new());
                }
            },
            () = tokio::time::sleep(next) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Starts what one hook has to do, until nothing of it is ready or the store fails.
async fn drain(
    hooks: &Arc<Hooks>,
    queue: &Arc<Queue>,
    hook: &str,
    permits: Arc<Semaphore>,
    runs: &TaskTracker,
) {
    let (own, concurrency) = match hooks.get(hook) {
        Some(hook) => (hook.permits.clone(), hook.concurrency),
        // The configuration has none of that name any more: its events are only given up.
        None => (Arc::new(Semaphore::new(1)), 1),
    };
    let lease = lease(hooks, concurrency);
    loop {
        let events = match queue.claim(WORKER, hook, BATCH, lease).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(target: "aih::hook", hook, "events cannot be taken from the store: {error}");
                tokio::time::sleep(LOOK).await;
                return;
            }
        };
        if events.is_empty() {
            return;
        }
        for event in events {
            // Neither semaphore is ever closed. Those who wait for a place get it in the order in which they came,
            // each hook one at a time.
            let held = (
                own.clone().acquire_owned().await,
                permits.clone().acquire_owned().await,
            );
            let (hooks, queue, tasks) = (hooks.clone(), queue.clone(), hooks.tasks.clone());
            let run = async move {
                one(&hooks, &queue, event).await;
                drop(held);
            };
            tasks.spawn(runs.track_future(run));
        }
    }
}

/// For how long an event is claimed: until all that were claimed with it have run, `concurrency` at a time, while every
/// other hook wants places too and each run takes as long as the longest may.
fn lease(hooks: &Hooks, concurrency: usize) -> Duration {
    let longest = hooks.all.iter().map(|hook| hook.limit).max().unwrap_or_default();
    let longest = longest.saturating_mul(2 + STRETCH).saturating_add(PATIENCE);
    let turns = 1 + BATCH / concurrency.clamp(1, RUNNING_OF_ONE) + BATCH * hooks.all.len() / RUNNING;
    let turns = u32::try_from(turns).unwrap_or(u32::MAX);
    longest.saturating_mul(turns).saturating_add(LEASE_SLACK)
}

/// Runs one event, and says what becomes of it.
async fn one(hooks: &Hooks, queue: &Queue, event: Event) {
    let stored = match run(hooks, &event).await {
        Ok(()) => queue.done(&event.id).await,
        Err(failed) => match next(event.attempt, &failed, rand::random()) {
            RetryDecision::Again(after) => queue.retry(&event, after, &failed.text).await,
            RetryDecision::GiveUp => {
                let (hook, id, attempts) = (&event.hook, &event.id, event.attempt);
                tracing::error!(target: "aih::hook", hook, event = %id, attempts, "the event is given up, see `aih hooks dead`: {failed}");
                queue.dead(&event, &failed.text).await
            }
        },
    };
    if let Err(error) = stored {
        // Its lease ends, and it runs again.
        tracing::warn!(target: "aih::hook", hook = event.hook, event = %event.id, "{error}");
    }
}

async fn run(hooks: &Hooks, event: &Event) -> Result<(), Failed> {
    let gone = |what: &str| Failed::new(Cause::Refusal, what);
    let hook = hooks
        .get(&event.hook)
        .ok_or_else(|| gone("the configuration no longer has this hook"))?;
    let trigger = Trigger::parse(&event.trigger).ok_or_else(|| gone("this hub does not know the trigger"))?;
    let turn = hook
        .turn(trigger, event.id.as_str(), &CancellationToken::new(), PATIENCE)
        .await?;
    let json = RawJson::trusted(event.payload.get().as_bytes().to_vec());
    let delivery = Delivery {
        id: event.id.as_str(),
        event: &json,
        trigger,
        attempt: event.attempt,
        // What it does passes the hooks as what those did that it comes from.
        call: Some(hook.own_call(event::trail(&json))),
        record: None,
    };
    hook.run(delivery, turn).await.map(|_| ())
}

/// What becomes of an event whose attempt failed.
#[derive(Debug, PartialEq, Eq)]
enum RetryDecision {
    Again(Duration),
    GiveUp,
}

/// `chance` from 0 to 1 spreads attempts, so that what failed together does not come back together.
fn next(attempt: u32, failed: &Failed, chance: f64) -> RetryDecision {
    if failed.cause == Cause::Refusal || attempt >= ATTEMPTS {
        return RetryDecision::GiveUp;
    }
    let factor = 4_u32.saturating_pow(attempt.saturating_sub(1));
    let delay = FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY);
    RetryDecision::Again(delay.mul_f64(0.5 + chance.clamp(0.0, 1.0)))
}

impl Hooks {
    fn count_lost(&self, hook: &str) {
        use std::sync::atomic::Ordering::Relaxed;
        self.lost.fetch_add(1, Relaxed);
        if let Some(hook) = self.get(hook) {
            hook.counts.lost.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use aih_store::{
        Store,
        queue::{LIMITS, Limits},
    };

    fn failed(for_good: bool) -> Failed {
        let cause = if for_good { Cause::Refusal } else { Cause::Failure };
        Failed::new(cause, "503")
    }

    #[test]
    fn attempts_wait_longer_and_end() {
        let delays: Vec<_> = (1..ATTEMPTS)
            .map(|attempt| next(attempt, &failed(false), 0.5))
            .collect();
        let seconds = [2, 8, 32, 128].map(|seconds| RetryDecision::Again(Duration::from_secs(seconds)));
        assert_eq!(delays, seconds);
        assert_eq!(next(ATTEMPTS, &failed(false), 0.5), RetryDecision::GiveUp);
        assert_eq!(next(1, &failed(true), 0.5), RetryDecision::GiveUp);
    }

    proptest! {
        #[test]
        fn no_delay_is_out_of_bounds(attempt in 0_u32..ATTEMPTS, chance in any::<f64>()) {
            let chance = if chance.is_nan() { 0.0 } else { chance };
            let RetryDecision::Again(delay) = next(attempt, &failed(false), chance) else { panic!() };
            prop_assert!(delay >= FIRST_DELAY / 2 && delay <= LONGEST_DELAY * 3 / 2);
        }
    }

    fn event(hook: &str) -> NewEvent {
        NewEvent {
            hook: hook.to_owned(),
            trigger: "manual".to_owned(),
            payload: RawValue::from_string("{}".to_owned()).unwrap(),
        }
    }

    #[tokio::test]
    async fn what_was_posted_is_stored_before_the_pump_ends_and_a_full_queue_takes_what_fits() {
        let store = Store::in_memory().await.unwrap();
        store.queue().set_limits(Limits { events: 3, ..LIMITS });
        let (outbox, inbox) = Outbox::new();
        for _ in 0..5 {
            outbox.post(event("h")).unwrap();
        }
        let hooks = Hooks::none();
        let stopping = CancellationToken::new();
        stopping.cancel();
        forward_outbox(Arc::downgrade(&hooks), store.queue().clone(), inbox, stopping).await;
        assert!(outbox.post(event("h")).is_err());
        assert_eq!(store.queue().counts().await.unwrap().ready, 3);
        assert_eq!(hooks.lost.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[test]
    fn an_outbox_is_full_by_bytes_and_by_events() {
        let large = |size: usize| NewEvent {
            payload: RawValue::from_string(format!("\"{}\"", "x".repeat(size - 2))).unwrap(),
            ..event("h")
        };
        let (outbox, mut inbox) = Outbox::new();
        for _ in 0..64 {
            outbox.post(large(1 << 20)).unwrap();
        }
        assert_eq!(
            outbox.post(event("h")).unwrap_err(),
            "64 MiB of events wait for the store"
        );
        drop(inbox.try_recv().unwrap());
        outbox.post(event("h")).unwrap();
        let (outbox, _inbox) = Outbox::new();
        for _ in 0..OUTBOX {
            outbox.post(event("h")).unwrap();
        }
        assert_eq!(
            outbox.post(event("h")).unwrap_err(),
            "8192 events wait for the store"
        );
    }

    #[tokio::test]
    async fn an_event_of_a_hook_that_is_gone_is_given_up() {
        let store = Store::in_memory().await.unwrap();
        let queue = store.queue();
        queue.push(event("gone")).await.unwrap();
        let claimed = queue.claim(WORKER, "gone", 1, LOOK).await.unwrap().remove(0);
        one(&Hooks::none(), queue, claimed).await;
        let dead = queue.list_dead(None, 9).await.unwrap().events;
        assert_eq!(dead.len(), 1);
        assert!(
            dead[0]
                .event
                .error
                .as_ref()
                .unwrap()
                .contains("no longer has this hook")
        );
    }
}

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;

use super::{
    Store,
    clock::SteadyClock,
    database::Database,
    queue::{Counts, DEAD_LIMITS, EventId, LIMITS, Limits, MAX_PAYLOAD, NewEvent, Pick, QueueError},
};

const HOOK: &str = "notify";
const LEASE: Duration = Duration::from_secs(600);
const OVER: Duration = Duration::ZERO;

fn event(n: usize) -> NewEvent {
    NewEvent {
        hook: HOOK.to_owned(),
        trigger: "tool.error".to_owned(),
        payload: RawValue::from_string(format!("{{\"n\":{n},\"text\":\"é\"}}")).unwrap(),
    }
}

fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(event).collect()
}

fn at_most(events: u64) -> Limits {
    Limits { events, ..LIMITS }
}

const LATER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn events_come_out_in_order_with_what_was_put_in() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    let before = Timestamp::now() - SignedDuration::from_millis(1);
    let ids = queue.push_all(events(150)).await.unwrap();
    let mut out = queue.claim("w", HOOK, 100, LEASE).await.unwrap();
    out.extend(queue.claim("w", HOOK, 100, LEASE).await.unwrap());
    assert_eq!(out.iter().map(|e| e.id.clone()).collect::<Vec<_>>(), ids);
    let first = &out[0];
    assert_eq!((&*first.hook, &*first.trigger), ("notify", "tool.error"));
    assert_eq!(first.payload.get(), event(0).payload.get());
    assert_eq!((first.attempt, &first.error), (1, &None));
    assert!(before < first.created && first.created <= Timestamp::now());
    assert!(queue.claim("w", HOOK, 100, LEASE).await.unwrap().is_empty());
    let claimed = Counts {
        claimed: 150,
        ..Counts::default()
    };
    assert_eq!(queue.counts().await.unwrap(), claimed);
    for event in &out {
        assert!(queue.done(&event.id).await.unwrap());
        assert!(!queue.done(&event.id).await.unwrap());
    }
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
}

#[tokio::test]
async fn a_claim_is_bounded_by_bytes_and_takes_one_at_least() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    let large = || NewEvent {
        payload: RawValue::from_string(format!("\"{}\"", "x".repeat(MAX_PAYLOAD - 2))).unwrap(),
        ..event(0)
    };
    for _ in 0..5 {
        queue.push(large()).await.unwrap();
    }
    queue.push_all(events(3)).await.unwrap();
    let mut counts = Vec::new();
    loop {
        let claimed = queue.claim("w", HOOK, 100, LEASE).await.unwrap();
        if claimed.is_empty() {
            break;
        }
        counts.push(claimed.len());
    }
    assert_eq!(counts, [2, 2, 4], "16 MiB, 16 MiB, the rest");
}

#[tokio::test]
async fn a_retry_keeps_the_id_and_counts() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    let id = queue.push(event(1)).await.unwrap();
    let first = queue.claim("w", HOOK, 9, LEASE).await.unwrap().remove(0);
    assert!(queue.retry(&first, LATER, "503").await.unwrap());
    assert!(
        queue.claim("w", HOOK, 9, LEASE).await.unwrap().is_empty(),
        "not before its time"
    );
    assert_eq!(queue.counts().await.unwrap().waiting, 1);
    assert!(!queue.retry(&first, OVER, "stale").await.unwrap());
    let id2 = queue.push(event(2)).await.unwrap();
    let second = queue.claim("w", HOOK, 9, LEASE).await.unwrap().remove(0);
    assert_eq!(second.id, id2);
    assert!(queue.retry(&second, OVER, "504").await.unwrap());
    let again = queue.claim("w", HOOK, 9, LEASE).await.unwrap().remove(0);
    assert_eq!(
        (&again.id, again.attempt, again.error.as_deref()),
        (&id2, 2, Some("504"))
    );
    assert_ne!(id, id2);
}

#[tokio::test]
async fn a_lease_that_ended_frees_the_event_and_binds_its_old_worker() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    queue.push(event(1)).await.unwrap();
    let old = queue.claim("killed", HOOK, 1, OVER).await.unwrap().remove(0);
    let new = queue.claim("w", HOOK, 1, LEASE).await.unwrap().remove(0);
    assert_eq!((&new.id, new.attempt), (&old.id, 2));
    assert!(!queue.retry(&old, OVER, "").await.unwrap());
    assert!(!queue.dead(&old, "").await.unwrap());
    assert_eq!(queue.release("killed").await.unwrap(), 0);
    assert_eq!(queue.release("w").await.unwrap(), 1);
    let third = queue.claim("w", HOOK, 1, LEASE).await.unwrap().remove(0);
    assert_eq!(third.attempt, 3);
    assert!(
        queue.done(&old.id).await.unwrap(),
        "whoever handled it handled it"
    );
    assert!(!queue.dead(&third, "").await.unwrap());
}

#[tokio::test]
async fn a_full_queue_says_so_and_takes_all_or_nothing() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    queue.set_limits(at_most(10));
    queue.push_all(events(8)).await.unwrap();
    assert!(matches!(
        queue.push_all(events(3)).await,
        Err(QueueError::Full(_))
    ));
    queue.push_all(events(2)).await.unwrap();
    assert!(matches!(queue.push(event(0)).await, Err(QueueError::Full(_))));
    let first = queue.claim("w", HOOK, 1, LEASE).await.unwrap().remove(0);
    queue.done(&first.id).await.unwrap();
    queue.push(event(0)).await.unwrap();
    let text = format!("\"{}\"", "x".repeat(MAX_PAYLOAD));
    assert!(matches!(
        queue.push_some(events(2)).await,
        Err(QueueError::Full(_))
    ));
    let first = queue.claim("w", HOOK, 1, LEASE).await.unwrap().remove(0);
    queue.dead(&first, "").await.unwrap();
    assert_eq!(
        queue.push_some(events(2)).await.unwrap(),
        1,
        "as many as have room"
    );
    let large = NewEvent {
        payload: RawValue::from_string(text).unwrap(),
        ..event(0)
    };
    assert!(matches!(queue.push(large).await, Err(QueueError::TooLarge(_))));
}

#[tokio::test]
async fn dead_events_are_listed_replayed_and_purged() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    let ids = queue.push_all(events(5)).await.unwrap();
    for event in queue.claim("w", HOOK, 5, LEASE).await.unwrap() {
        assert!(queue.dead(&event, &"ü".repeat(9_000)).await.unwrap());
    }
    assert_eq!(
        queue.counts().await.unwrap(),
        Counts {
            dead: 5,
            ..Counts::default()
        }
    );
    assert!(queue.claim("w", HOOK, 5, LEASE).await.unwrap().is_empty());
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = queue.list_dead(cursor.as_deref(), 2).await.unwrap();
        seen.extend(page.events);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(
        seen.iter().map(|d| d.event.id.clone()).collect::<HashSet<_>>(),
        ids.iter().cloned().collect()
    );
    assert!(
        seen.windows(2)
            .all(|two| (two[0].died, &two[0].event.id) > (two[1].died, &two[1].event.id))
    );
    assert_eq!(seen[0].event.error.as_ref().unwrap().len(), 4_096);
    assert!(matches!(
        queue.list_dead(Some("x"), 2).await,
        Err(QueueError::Cursor)
    ));

    queue.set_limits(at_most(2));
    assert_eq!(
        queue
            .replay(Pick::One(EventId::from_text("nothing")))
            .await
            .unwrap(),
        0
    );
    assert_eq!(queue.replay(Pick::One(ids[4].clone())).await.unwrap(), 1);
    assert_eq!(queue.replay(Pick::All).await.unwrap(), 1, "as many as have room");
    assert!(matches!(queue.replay(Pick::All).await, Err(QueueError::Full(_))));
    let back = queue.claim("w", HOOK, 5, LEASE).await.unwrap();
    assert!(back.iter().all(|e| e.attempt == 1));
    assert!(back.iter().any(|e| e.id == ids[4]));
    assert_eq!(queue.purge(Pick::Before(Timestamp::UNIX_EPOCH)).await.unwrap(), 0);
    assert_eq!(
        queue.purge(Pick::One(back[0].id.clone())).await.unwrap(),
        0,
        "not dead"
    );
    assert_eq!(queue.purge(Pick::All).await.unwrap(), 3);
    assert_eq!(
        queue.counts().await.unwrap(),
        Counts {
            claimed: 2,
            ..Counts::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_workers_each_event_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite://s.db", dir.path()).await.unwrap();
    let ids = store.queue().push_all(events(500)).await.unwrap();
    let workers: Vec<_> = (0..8)
        .map(|n| {
            let queue = store.queue().clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let some = queue.claim(&format!("w{n}"), HOOK, 7, LEASE).await.unwrap();
                    if some.is_empty() {
                        return mine;
                    }
                    for event in some {
                        queue.done(&event.id).await.unwrap();
                        mine.push(event.id);
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    all.sort();
    assert_eq!(all, ids);
}

#[tokio::test]
async fn a_push_is_news_and_says_for_which_hook() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    let news = queue.news();
    assert_eq!(queue.due().await.unwrap(), []);
    queue.push(event(1)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), news).await.unwrap();
    for hook in ["b", "a", "b"] {
        let other = NewEvent {
            hook: hook.to_owned(),
            ..event(2)
        };
        queue.push(other).await.unwrap();
    }
    let first = queue.claim("w", "b", 1, LEASE).await.unwrap().remove(0);
    queue.retry(&first, LATER, "").await.unwrap();
    assert_eq!(queue.claim("w", "b", 9, LEASE).await.unwrap().len(), 1);
    let due = queue.due().await.unwrap();
    assert_eq!(
        due.iter().map(|due| &*due.hook).collect::<Vec<_>>(),
        ["a", "b", HOOK]
    );
    assert!(due[0].wait.is_zero());
    assert!(!due[1].wait.is_zero(), "one waits and one is with a worker");
    assert_eq!(queue.claim("w", "c", 9, LEASE).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_waited_by_a_clock_that_was_ahead_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let open = async |now: Timestamp| {
        let database = Database::open("sqlite://s.db", dir.path(), None).await.unwrap();
        Store::of(database, SteadyClock::at(now))
    };
    let longest = Duration::from_secs(900);
    for (ahead, waits) in [(3, false), (24 * 365 * 50, false), (0, true)] {
        // The machine's clock is ahead; a retry is due in a minute, and another event is with a worker that is killed.
        let store = open(Timestamp::now() + SignedDuration::from_hours(ahead)).await;
        let queue = store.queue();
        queue.push_all(events(2)).await.unwrap();
        let claimed = queue.claim("w", HOOK, 2, LEASE).await.unwrap();
        queue
            .retry(&claimed[0], Duration::from_secs(60), "503")
            .await
            .unwrap();
        store.close().await;
        // It is set right, and the hub starts anew.
        let store = open(Timestamp::now()).await;
        let queue = store.queue();
        assert_eq!(queue.release("w").await.unwrap(), 1);
        let released = queue.claim("w", HOOK, 2, LEASE).await.unwrap();
        assert_eq!(released.len(), 1, "what the worker held is ready");
        assert!(queue.done(&released[0].id).await.unwrap());
        let due = queue.due().await.unwrap();
        assert_eq!(due[0].wait > longest, !waits, "{due:?}");
        assert_eq!(queue.hurry(HOOK, longest).await.unwrap(), u64::from(!waits));
        let retried = queue.claim("w", HOOK, 2, LEASE).await.unwrap();
        assert_eq!(
            retried.len(),
            usize::from(!waits),
            "a retry that is near keeps its time"
        );
        queue.purge(Pick::All).await.unwrap();
        for event in retried.iter().chain(&claimed) {
            queue.done(&event.id).await.unwrap();
        }
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_never_ready_stays_so() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    queue.push(event(1)).await.unwrap();
    sqlx::query("UPDATE hook_events SET ready_ms = $1")
        .bind(1_i64 << 60)
        .execute(store.database.writer())
        .await
        .unwrap();
    assert_eq!(queue.hurry(HOOK, Duration::ZERO).await.unwrap(), 0);
    assert!(queue.claim("w", HOOK, 1, LEASE).await.unwrap().is_empty());
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    let size = event(0).payload.get().len() as u64;
    queue.set_limits(Limits {
        bytes: 3 * size,
        ..LIMITS
    });
    let ids = queue.push_all(events(3)).await.unwrap();
    assert!(matches!(queue.push(event(0)).await, Err(QueueError::Full(_))));
    queue.done(&ids[0]).await.unwrap();
    queue.push(event(0)).await.unwrap();
    for event in queue.claim("w", HOOK, 9, LEASE).await.unwrap() {
        queue.dead(&event, "").await.unwrap();
    }
    queue.set_limits(Limits {
        bytes: 2 * size,
        ..LIMITS
    });
    assert_eq!(queue.replay(Pick::All).await.unwrap(), 2, "as many as have room");
    assert!(matches!(queue.replay(Pick::All).await, Err(QueueError::Full(_))));
}

#[tokio::test]
async fn of_the_dead_the_last_are_kept() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue();
    let large = |n: usize| NewEvent {
        payload: RawValue::from_string(format!("\"{n}{}\"", "x".repeat(1_000_000))).unwrap(),
        ..event(0)
    };
    let most = DEAD_LIMITS.bytes as usize / large(10).payload.get().len();
    let mut ids = Vec::new();
    for n in 10..most + 12 {
        ids.push(queue.push(large(n)).await.unwrap());
        let event = queue.claim("w", HOOK, 1, LEASE).await.unwrap().remove(0);
        queue.dead(&event, "").await.unwrap();
    }
    assert_eq!(queue.counts().await.unwrap().dead, most as u64);
    let last = queue.list_dead(None, 1).await.unwrap().events.remove(0);
    assert_eq!(last.event.id, ids[most + 1]);
}

#[tokio::test]
async fn what_was_pushed_outlives_a_store_that_was_not_closed() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open("sqlite://s.db", dir.path()).await.unwrap();
    let ids = first.queue().push_all(events(1_000)).await.unwrap();
    let claimed = first.queue().claim("hub", HOOK, 100, LEASE).await.unwrap();
    first.queue().done(&claimed[0].id).await.unwrap();
    // As after a kill: the first one says nothing any more, and still has the file open.
    let second = Store::open("sqlite://s.db", dir.path()).await.unwrap();
    assert_eq!(second.queue().release("hub").await.unwrap(), 99);
    let mut again = Vec::new();
    while again.len() < 999 {
        let some = second.queue().claim("hub", HOOK, 1_000, LEASE).await.unwrap();
        assert!(!some.is_empty());
        again.extend(some);
    }
    let again: HashSet<_> = again.into_iter().map(|e| e.id).collect();
    assert_eq!(again, ids.into_iter().skip(1).collect());
}

/// Prints how fast events go through: `cargo test store::queue_tests::throughput -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn throughput() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let store = Store::open("sqlite://s.db", dir.path()).await.unwrap();
    const EVENTS: usize = 20_000;
    const PUSHERS: usize = 64;
    let began = Instant::now();
    let pushers = (0..PUSHERS).map(|_| {
        let queue = store.queue().clone();
        tokio::spawn(async move {
            for n in 0..EVENTS / PUSHERS {
                queue.push(event(n)).await.unwrap();
            }
        })
    });
    futures::future::join_all(pushers).await;
    let pushed = began.elapsed();
    let began = Instant::now();
    let workers = (0..4).map(|n| {
        let queue = store.queue().clone();
        tokio::spawn(async move {
            loop {
                let some = queue.claim(&format!("w{n}"), HOOK, 100, LEASE).await.unwrap();
                if some.is_empty() {
                    return;
                }
                futures::future::join_all(some.iter().map(|e| queue.done(&e.id))).await;
            }
        })
    });
    futures::future::join_all(workers).await;
    let done = began.elapsed();
    let rate = |span: Duration| (EVENTS as f64 / span.as_secs_f64()) as u64;
    println!("push, one by one from {PUSHERS} tasks: {}/s", rate(pushed));
    println!("claim by 100 and done one by one: {}/s", rate(done));
    println!("through: {}/s", rate(pushed + done));
    let began = Instant::now();
    for n in 0..1_000 {
        store.queue().push(event(n)).await.unwrap();
    }
    println!(
        "one push after another: {} µs each",
        began.elapsed().as_micros() / 1_000
    );
    let began = Instant::now();
    for n in 0..1_000_u32 {
        store
            .state()
            .set("a", "k", &n.to_le_bytes(), None, 1_000)
            .await
            .unwrap();
    }
    println!("state set: {} µs each", began.elapsed().as_micros() / 1_000);
    let began = Instant::now();
    for _ in 0..1_000 {
        store.state().get("a", "k").await.unwrap();
    }
    println!("state get: {} µs each", began.elapsed().as_micros() / 1_000);
}

use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn family() -> (Accounts<u8>, Arc<Account>, Arc<Account>) {
    let accounts = Accounts::new(100, "this key", 60);
    let (one, two) = (accounts.of(1), accounts.of(2));
    (accounts, one, two)
}

#[test]
fn bytes_are_taken_at_every_level_and_given_back() {
    let (accounts, one, two) = family();
    let session = one.below("this session", 40);
    let held = session.take(40).unwrap();
    assert_eq!(session.take(1).unwrap_err().whose, "this session");
    assert_eq!(one.take(21).unwrap_err().whose, "this key");
    let other = two.take(60).unwrap();
    assert_eq!(one.take(1).unwrap_err().whose, "the hub");
    assert_eq!((session.used(), one.used(), accounts.all().used()), (40, 40, 100));
    drop(held);
    drop(other);
    assert_eq!((session.used(), one.used(), accounts.all().used()), (0, 0, 0));
}

#[tokio::test]
async fn who_wants_room_waits_for_it_a_short_time() {
    let (_accounts, one, _two) = family();
    let held = one.take(60).unwrap();
    let mut wanted = one.permit();
    let waiting = tokio::spawn(async move { wanted.grow_soon(10).await.map(|()| wanted.bytes()) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(held);
    assert_eq!(waiting.await.unwrap(), Ok(10));
    let _held = one.take(60).unwrap();
    assert_eq!(
        one.permit()
            .grow_within(1, Duration::from_millis(50))
            .await
            .unwrap_err()
            .limit,
        60
    );
    assert_eq!(one.top().refused(), 1);
}

fn budget(key: &Arc<Account>) -> StreamBudget {
    StreamBudget {
        waiting: key.below("this session", 40),
        queued: Some(key.clone()),
        notes: key.clone(),
        kept: None,
    }
}

/// Room for an answer, in the short times of a test.
fn room(budget: &StreamBudget, bytes: usize) -> tokio::task::JoinHandle<Result<Permit, OutOfBudget>> {
    let budget = budget.clone();
    let (patience, in_all) = (Duration::from_millis(400), Duration::from_secs(60));
    tokio::spawn(async move { budget.room_within(bytes, patience, in_all).await })
}

#[tokio::test]
async fn an_answer_waits_for_its_client_to_read_and_counts_for_its_key() {
    let (accounts, one, _two) = family();
    let session = budget(&one);
    let first = session.waiting.take(40).unwrap();
    let second = room(&session, 20);
    while one.used() < 60 {
        tokio::task::yield_now().await;
    }
    assert_eq!(session.waiting.used(), 40);
    // There is no room for a third one, neither here nor with the key; and a larger one than fits never waits.
    assert_eq!(
        room(&session, 1).await.unwrap().unwrap_err().whose,
        "this session"
    );
    assert_eq!(room(&session, 41).await.unwrap().unwrap_err().limit, 40);
    drop(first);
    let second = second.await.unwrap().unwrap();
    assert_eq!(
        (session.waiting.used(), one.used(), accounts.all().used()),
        (20, 20, 20)
    );
    drop(second);
    assert_eq!(
        (session.waiting.used(), one.used(), accounts.all().used()),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn an_answer_waits_as_long_as_its_client_reads() {
    let (_accounts, one, two) = family();
    let session = budget(&one);
    let mut held: Vec<_> = (0..8).map(|_| session.waiting.take(5).unwrap()).collect();
    let begun = Instant::now();
    let large = room(&session, 20);
    // A client that reads slowly: in the end it has taken longer than one patience.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(!large.is_finished());
        held.pop();
    }
    drop(large.await.unwrap().unwrap());
    assert!(begun.elapsed() >= Duration::from_millis(600));
    // One that reads nothing: what others give back does not count.
    let full = session.waiting.take(20).unwrap();
    let refused = room(&session, 20);
    while !refused.is_finished() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(two.take(1));
    }
    assert_eq!(refused.await.unwrap().unwrap_err().whose, "this session");
    assert_eq!(one.used(), 40, "it holds nothing any more");
    drop((full, held));
}

#[test]
fn accounts_that_nobody_holds_are_forgotten() {
    let accounts = Accounts::new(100, "this key", 60);
    (0..10_000).for_each(|n: u32| drop(accounts.of(n)));
    assert!(accounts.of.lock().unwrap().len() <= 128);
}

proptest! {
    #[test]
    fn nothing_is_lost_or_over_the_limit(steps in prop::collection::vec((0_u8..3, 0_usize..50), 1..60)) {
        let (accounts, one, two) = family();
        let mut held = Vec::new();
        for (what, bytes) in steps {
            match what {
                0 => held.extend(one.take(bytes)),
                1 => held.extend(two.take(bytes)),
                _ => drop(held.pop()),
            }
            let sum: usize = held.iter().map(Permit::bytes).sum();
            prop_assert_eq!(accounts.all().used(), sum);
            prop_assert!(sum <= 100 && one.used() <= 60 && two.used() <= 60);
        }
        drop(held);
        prop_assert_eq!(accounts.all().used(), 0);
    }
}

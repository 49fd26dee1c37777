use super::*;
use crate::access::KeyId;
use crate::upstream::testing::client_of;

fn key(name: &str) -> KeyId {
    client_of(name, name).principal.id
}

fn used(item: &str, by: &str) -> Use {
    (item.into(), key(by))
}

fn at_work(uses: &[Use]) -> Vec<Suspect> {
    let suspect = |used: &Use| Suspect {
        used: used.clone(),
        at_work: true,
    };
    uses.iter().map(suspect).collect()
}

fn after(uses: &[Use]) -> Vec<Suspect> {
    let mut suspects = at_work(uses);
    suspects.iter_mut().for_each(|s| s.at_work = false);
    suspects
}

fn names(crashes: &Crashes, now: Instant) -> Vec<String> {
    let parked = crashes.parked(now);
    parked.into_iter().map(|p| p.item.to_string()).collect()
}

#[test]
fn what_ends_the_process_alone_is_parked_ever_longer() {
    let (crashes, mut now) = (Crashes::default(), Instant::now());
    let crash = used("crash", "a");
    for n in 1..=3 {
        assert_eq!(crashes.refusal(&crash, now), None, "{n}");
        let verdict = crashes.ended(&at_work(std::slice::from_ref(&crash)), now);
        assert!(verdict.by_call && verdict.charged == std::slice::from_ref(&crash));
    }
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let parked = crashes.refusal(&crash, now).expect("parked");
        pauses.push(parked.left.as_secs());
        now += parked.left;
        assert_eq!(crashes.refusal(&crash, now), None, "tried again after its time");
        assert_eq!(names(&crashes, now), [""; 0]);
        crashes.ended(&at_work(std::slice::from_ref(&crash)), now);
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600]);
    // A long time without an end, and it starts anew.
    now += LONGEST_PARKING + FORGIVEN;
    crashes.ended(&at_work(std::slice::from_ref(&crash)), now);
    assert_eq!(crashes.refusal(&crash, now), None);
}

#[test]
fn three_ends_in_more_than_five_minutes_park_nothing() {
    let (crashes, mut now) = (Crashes::default(), Instant::now());
    let crash = used("crash", "a");
    for _ in 0..10 {
        crashes.ended(&at_work(std::slice::from_ref(&crash)), now);
        now += WINDOW / 2;
    }
    assert_eq!(crashes.refusal(&crash, now), None);
}

#[test]
fn who_is_answered_is_not_charged_for_others() {
    let (crashes, now) = (Crashes::default(), Instant::now());
    let (echo, crash) = (used("echo", "a"), used("crash", "b"));
    for _ in 0..3 {
        (0..20).for_each(|_| crashes.answered(&echo, now));
        let verdict = crashes.ended(&at_work(&[echo.clone(), crash.clone()]), now);
        assert_eq!(verdict.charged, std::slice::from_ref(&crash));
    }
    assert!(crashes.refusal(&crash, now).is_some());
    assert_eq!(crashes.refusal(&echo, now), None);
    assert_eq!(names(&crashes, now), ["crash"]);
}

#[test]
fn a_tool_that_ends_it_at_times_is_found_too() {
    let (crashes, now) = (Crashes::default(), Instant::now());
    let (echo, run) = (used("echo", "a"), used("run", "b"));
    for _ in 0..3 {
        (0..200).for_each(|_| crashes.answered(&echo, now));
        (0..2).for_each(|_| crashes.answered(&run, now));
        crashes.ended(&at_work(&[echo.clone(), run.clone()]), now);
    }
    assert_eq!(names(&crashes, now), ["run"]);
}

#[test]
fn two_tools_that_could_both_have_done_it_are_not_charged() {
    let (crashes, now) = (Crashes::default(), Instant::now());
    for _ in 0..10 {
        let verdict = crashes.ended(&at_work(&[used("x", "a"), used("y", "b")]), now);
        assert!(verdict.by_call && verdict.charged.is_empty());
    }
    assert_eq!(names(&crashes, now), [""; 0]);
}

#[test]
fn an_end_after_each_answer_is_found_and_an_end_from_outside_is_not() {
    let (crashes, now) = (Crashes::default(), Instant::now());
    let (late, echo) = (used("late", "a"), used("echo", "a"));
    for n in 0..4 {
        (0..20).for_each(|_| crashes.answered(&echo, now));
        crashes.answered(&late, now);
        let verdict = crashes.ended(&after(&[late.clone(), echo.clone()]), now);
        assert_eq!(verdict.charged, vec![late.clone(); usize::from(n > 0)]);
    }
    assert_eq!(names(&crashes, now), ["late"]);
    let crashes = Crashes::default();
    for _ in 0..10 {
        (0..2).for_each(|_| crashes.answered(&echo, now));
        let verdict = crashes.ended(&after(std::slice::from_ref(&echo)), now);
        assert!(verdict.charged.is_empty() && !verdict.by_call);
    }
    // Nothing ran: the server itself is at fault.
    assert!(!crashes.ended(&[], now).by_call);
}

#[test]
fn one_key_cannot_take_a_tool_from_the_others() {
    let (crashes, now) = (Crashes::default(), Instant::now());
    let [mallory, alice, bob] = ["mallory", "alice", "bob"].map(|k| used("run", k));
    for _ in 0..20 {
        (0..5).for_each(|_| crashes.answered(&alice, now));
        // Her calls run at the same time.
        crashes.ended(&at_work(&[mallory.clone(), alice.clone()]), now);
    }
    let parked = crashes.refusal(&mallory, now).unwrap();
    assert!(!parked.everyone);
    assert_eq!(crashes.refusal(&alice, now), None);
    assert_eq!(crashes.refusal(&bob, now), None);
    // A bystander whose call is the first of hers is not charged for long either.
    assert_eq!(crashes.refusal(&alice, now), None);
    // A tool that ends the process for several keys is the tool's fault.
    crashes.ended(&at_work(std::slice::from_ref(&bob)), now);
    for one in [&mallory, &alice, &bob] {
        assert!(crashes.refusal(one, now).is_some_and(|p| p.everyone));
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let (crashes, now) = (Crashes::default(), Instant::now());
    let crash = used("crash", "a");
    for _ in 0..3 {
        crashes.ended(&at_work(std::slice::from_ref(&crash)), now);
    }
    for n in 0..3 * MAX_RECORDS {
        crashes.answered(&used(&n.to_string(), "a"), now);
    }
    assert!(lock(&crashes.state).records.len() <= MAX_RECORDS);
    assert!(crashes.refusal(&crash, now).is_some(), "what matters stays");
}

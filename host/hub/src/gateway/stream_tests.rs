use aih_mcp::{Id, RawJson};
use futures::StreamExt as _;

use super::*;
use crate::{
    access::KeyId,
    memory::{ANSWERS_PER_KEY, ANSWERS_PER_SESSION, KEPT_PER_SESSION, Memory},
};

fn room() -> StreamBudget {
    Memory::default().session(KeyId::ANONYMOUS)
}

fn note(n: usize) -> Message {
    Message::notification(&format!("n{n}"), None)
}

fn answer(n: u64, bytes: usize) -> Message {
    Message::response(Id::number(n), Ok(RawJson::of(&"x".repeat(bytes))))
}

fn text(event: &Event) -> String {
    String::from_utf8_lossy(&event.data).into_owned()
}

#[tokio::test]
async fn a_reader_resumes_behind_what_it_saw() {
    let stream = Stream::new(room());
    (0..4).for_each(|n| stream.push(&note(n)).unwrap());
    let first: Vec<_> = stream.read_as(3, 0, true).take(2).collect().await;
    assert_eq!(first[1].id.as_deref(), Some("3-2"));
    stream.finish();
    assert!(stream.can_resume(0) && stream.can_resume(2) && !stream.can_resume(5));
    let rest: Vec<_> = stream.read_as(3, 2, true).collect().await;
    assert_eq!(rest.len(), 2);
    assert!(text(&rest[0]).contains("n2"));
}

#[tokio::test]
async fn a_stream_that_goes_on_after_a_restart_is_new_to_a_reader_that_saw_another() {
    let stream = Stream::after(room(), 1_000);
    (0..3).for_each(|n| stream.push(&note(n)).unwrap());
    stream.finish();
    // It saw 57 events of the earlier run.
    let events: Vec<_> = stream.read_as(0, 57, true).collect().await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[0].id.as_deref(), Some("0-1001"));
}

#[tokio::test]
async fn a_new_reader_takes_over() {
    let stream = Stream::new(room());
    let old = stream.read();
    let _new = stream.read();
    assert_eq!(old.collect::<Vec<_>>().await, []);
}

#[tokio::test]
async fn notifications_that_nobody_fetches_are_bounded() {
    let stream = Stream::new(room());
    (0..3000).for_each(|n| stream.push(&note(n)).unwrap());
    stream.push(&answer(1, 1)).unwrap();
    stream.finish();
    let events: Vec<_> = stream.read().collect().await;
    assert_eq!(events.len(), MAX_EVENTS + 1);
    assert!(text(&events[MAX_EVENTS]).contains("\"id\":1"));
}

#[tokio::test]
async fn an_answer_without_room_becomes_an_error_with_its_id() {
    let room = room();
    let stream = Stream::new(room.clone());
    for n in 0..10 {
        stream.push(&answer(n, 4 * 1024 * 1024)).unwrap();
    }
    assert!(room.waiting.used() <= ANSWERS_PER_SESSION + 10 * 1024);
    stream.finish();
    let events: Vec<_> = stream.read().collect().await;
    assert_eq!(events.len(), 10);
    for (n, event) in events.iter().enumerate() {
        let value: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        assert_eq!(value["id"], n);
        let told = value["error"]["message"]
            .as_str()
            .is_some_and(|m| m.contains("there is no room"));
        assert_eq!(told, n >= 8, "{n}");
    }
    drop(events);
    assert_eq!(room.waiting.used(), 0);
}

#[tokio::test]
async fn answers_wait_for_a_reader_and_keep_their_order_with_what_was_said_before() {
    let room = room();
    let stream = Stream::new(room.clone());
    let answering: Vec<_> = (0..12)
        .map(|n| {
            let stream = stream.clone();
            let outcome = Ok(RawJson::of(&"x".repeat(4 * 1024 * 1024)));
            tokio::spawn(async move { stream.answer(Id::number(n), outcome).await })
        })
        .collect();
    let mut reader = Box::pin(stream.read());
    let mut read = Vec::new();
    while read.len() < answering.len() {
        tokio::task::yield_now().await;
        assert!(room.waiting.used() <= ANSWERS_PER_SESSION);
        let event = reader.next().await.unwrap();
        let value: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        assert!(value["result"].is_string());
        read.push(value["id"].as_u64().unwrap());
    }
    read.sort_unstable();
    assert_eq!(read, (0..12).collect::<Vec<_>>());
    // One that waits gives up when nobody can read it any more.
    for n in 0..9 {
        let stream = stream.clone();
        let outcome = Ok(RawJson::of(&"x".repeat(4 * 1024 * 1024)));
        tokio::spawn(async move { stream.answer(Id::number(n), outcome).await });
    }
    while room.waiting.used() < 32 * 1024 * 1024 {
        tokio::task::yield_now().await;
    }
    let large = RawJson::of(&"x".repeat(4 * 1024 * 1024));
    let waiting = stream.clone();
    let waiting = tokio::spawn(async move { waiting.answer(Id::number(9), Ok(large)).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    stream.finish();
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_question_without_room_is_refused_and_notifications_take_none() {
    let stream = Stream::new(room());
    let big = RawJson::of(&serde_json::json!({ "x": "x".repeat(5 * 1024 * 1024) }));
    for _ in 0..6 {
        stream
            .push(&Message::notification("n", Some(big.clone())))
            .unwrap();
    }
    let question = |n| Message::Request {
        id: Id::number(n),
        method: "ask".into(),
        params: Some(big.clone()),
    };
    for n in 0..6 {
        stream.push(&question(n)).unwrap();
    }
    stream.push(&question(6)).unwrap_err();
}

#[tokio::test]
async fn what_was_delivered_is_kept_for_seconds_and_within_its_bounds() {
    let room = room();
    let kept = room.kept.clone().unwrap();
    let stream = Stream::new(room.clone());
    let mut reader = Box::pin(stream.read_as(1, 0, true));
    for n in 1..=20 {
        stream.push(&answer(n, 2 * 1024 * 1024)).unwrap();
        reader.next().await.unwrap();
        assert!(kept.used() <= KEPT_PER_SESSION);
    }
    assert!(
        !stream.can_resume(1) && stream.can_resume(19),
        "the oldest go first"
    );
    stream.finish();
    assert!(reader.next().await.is_none());
    drop(reader);
    assert_eq!(room.waiting.used(), 0);
    assert!(!stream.forget(Instant::now()));
    let later = Instant::now() + KEEP_DELIVERED + Duration::from_secs(1);
    assert!(stream.forget(later));
    assert_eq!(kept.used(), 0);
    assert!(!stream.can_resume(19));
}

#[tokio::test]
async fn what_a_reader_without_ids_took_is_not_kept() {
    let room = room();
    let stream = Stream::new(room.clone());
    stream.push(&answer(1, 1024 * 1024)).unwrap();
    let mut reader = Box::pin(stream.read());
    reader.next().await.unwrap();
    assert!(
        room.waiting.used() > 1024 * 1024,
        "its copy counts while it is sent"
    );
    drop(reader);
    assert_eq!((room.waiting.used(), room.kept.unwrap().used()), (0, 0));
}

#[tokio::test]
async fn sessions_of_one_key_share_its_bytes() {
    let memory = Memory::default();
    let streams: Vec<_> = (0..60)
        .map(|_| Stream::new(memory.session(KeyId::ANONYMOUS)))
        .collect();
    for stream in &streams {
        for n in 0..4 {
            stream.push(&answer(n, 4 * 1024 * 1024)).unwrap();
        }
    }
    let used = memory.answers.all().used();
    assert!(used <= ANSWERS_PER_KEY + 60 * 4 * 1024, "{used}");
}

//! The queue of background hooks: a hub that is killed, a burst, and a queue that is full.

use std::{collections::HashSet, time::Duration};

use aih_tests::{Hub, KEY, Program, client::http, eventually, tools};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{JSON, Receiver, again, guest, hook, post, record, signature, until_ran, until_ready};

#[tokio::test]
async fn every_event_that_was_queued_runs_after_a_kill() {
    const EVENTS: usize = 1_000;
    let receiver = Receiver {
        delay: Duration::from_millis(100),
        ..Receiver::default()
    };
    let (receiver, url) = receiver.start().await;
    let config = format!("hooks:\n{}", record("later", "manual", &url, "mode: background,"));
    let mut hub = start_with_record(&config).await;
    until_ready(&hub).await;
    let triggers = (0..EVENTS).map(|n| {
        let hub = &hub;
        async move {
            let body = json!({ "n": n }).to_string();
            let (status, _) = post(hub, "/api/v1/hooks/later/trigger", Some(KEY), &[JSON], &body).await;
            assert_eq!(status, 202);
        }
    });
    futures::stream::iter(triggers)
        .for_each_concurrent(32, |trigger| trigger)
        .await;
    hub.program.kill().await;
    let before = receiver.of("manual").len();
    assert!(before < EVENTS, "all had run before the kill");
    let _second = again(hub.folder, &[]).await;
    let all = eventually("all events ran", || {
        let numbers: HashSet<u64> = receiver
            .of("manual")
            .iter()
            .map(|event| event["payload"]["n"].as_u64().unwrap())
            .collect();
        std::future::ready((numbers.len() == EVENTS).then(|| receiver.of("manual")))
    })
    .await;
    // What ran twice says so by its id.
    let ids: HashSet<String> = all.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), EVENTS);
}

async fn start_with_record(config: &str) -> Hub {
    aih_tests::Start {
        config,
        files: &[("hooks/record.js", crate::RECORD)],
        ..aih_tests::Start::default()
    }
    .run()
    .await
}

/// An entry for a hook of [`guest`] `judge`.
fn judge(name: &str, rest: &str) -> String {
    let file = guest("judge");
    format!("  - {{ name: {name}, action: \"{file}\", {rest} }}\n")
}

#[tokio::test]
async fn a_burst_loses_nothing() {
    const EVENTS: u64 = 10_000;
    let config = format!("hooks:\n{}", judge("later", "trigger: manual, mode: background"));
    let hub = Hub::start(&config).await;
    until_ready(&hub).await;
    let (http, url) = (http(), hub.url("/api/v1/hooks/later/trigger"));
    let triggers = (0..EVENTS).map(|n| {
        let request = http.post(&url).bearer_auth(KEY).json(&json!({ "n": n }));
        async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 202);
            let queued: Value = response.json().await.unwrap();
            queued["event"].as_str().unwrap().to_owned()
        }
    });
    let ids: HashSet<String> = futures::stream::iter(triggers)
        .buffer_unordered(64)
        .collect()
        .await;
    assert_eq!(ids.len(), usize::try_from(EVENTS).unwrap());
    until_ran(&hub, "later", EVENTS).await;
    let later = hook(&hub, "later").await;
    assert_eq!(
        (&later["runs"], &later["failures"], &later["lost"]),
        (&json!(EVENTS), &json!(0), &json!(0)),
        "{later}"
    );
}

#[tokio::test]
async fn a_hook_that_takes_long_holds_up_no_other() {
    let receiver = Receiver {
        delay: Duration::from_secs(3_600),
        ..Receiver::default()
    };
    let (_receiver, url) = receiver.start().await;
    let config = format!(
        "hooks:\n{}{}",
        record("slow", "manual", &url, "mode: background, limits: { time: 10m },"),
        judge("quick", "trigger: manual, mode: background")
    );
    let hub = start_with_record(&config).await;
    until_ready(&hub).await;
    let runs = |name| {
        let hub = &hub;
        async move { hook(hub, name).await["runs"].as_u64().unwrap() }
    };
    for name in ["slow", "quick"] {
        for _ in 0..100 {
            let path = format!("/api/v1/hooks/{name}/trigger");
            let (status, _) = post(&hub, &path, Some(KEY), &[JSON], "{}").await;
            assert_eq!(status, 202);
        }
    }
    eventually("all that is quick ran", || async {
        (runs("quick").await == 100).then_some(())
    })
    .await;
    eventually("half of the places are taken by what is slow", || async {
        (runs("slow").await == 32).then_some(())
    })
    .await;
}

/// As many events as may wait, each for a time that does not come.
const FILL: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
rows = ((f'{n:040}', 'later', 'manual', '{}', 0, 1 << 60, 0) for n in range(100_000))
db.executemany('INSERT INTO hook_events (id, hook, trigger_name, payload, created_ms, ready_ms, attempt) VALUES (?, ?, ?, ?, ?, ?, ?)', rows)
db.commit()
db.close()
";

#[tokio::test]
async fn an_event_that_finds_no_room_is_reported() {
    const SECRET: &str = "It's a secret";
    let config = format!(
        "plugins:\n  - {{ name: echo, file: \"{}\" }}\nhooks:\n{}{}{}",
        guest("echo"),
        judge("later", "trigger: manual, mode: background"),
        judge("calls", "trigger: tool.after, mode: background"),
        judge(
            "push",
            "trigger: http, mode: background, webhook: { secret: HOOK_SECRET }"
        ),
    );
    let mut first = Hub::start(&config).await;
    until_ready(&first).await;
    first.program.kill().await;
    let mut fill = Program::command(&tools::python("python"));
    fill.args(["-c", FILL])
        .arg(first.folder.path().join("data/aih.db"));
    let filled = Program::run("fill", fill, aih_tests::SOON).await;
    assert!(filled.status.success(), "{}", filled.text);
    let hub = again(first.folder, &[("HOOK_SECRET", SECRET)]).await;
    until_ready(&hub).await;

    let (status, told) = post(&hub, "/api/v1/hooks/later/trigger", Some(KEY), &[JSON], "{}").await;
    assert_eq!(status, 503, "{told}");
    assert!(
        told["detail"].as_str().unwrap().contains("100000 events wait"),
        "{told}"
    );
    let right = signature(SECRET, "{}");
    for _ in 0..2 {
        // It was not taken, so the same request again is not a repetition.
        let header = ("x-hub-signature-256", &*right);
        let (status, told) = post(&hub, "/api/v1/hooks/push/webhook", None, &[header], "{}").await;
        assert_eq!(status, 503, "{told}");
    }
    // A call goes on, whatever becomes of what is told of it.
    let client = hub.legacy().await;
    hub.until_tools(&client, &["echo__echo"]).await;
    assert_eq!(
        client.call("echo__echo", json!({ "text": "on" })).await.text(),
        "on"
    );
    let tool = client
        .call("aih__trigger_hook", json!({ "name": "later" }))
        .await
        .result();
    assert!(
        tool["isError"] == true && tool.to_string().contains("events wait"),
        "{tool}"
    );
    // The call of the hub's own tool is told of as well.
    for (name, lost) in [("later", 2), ("push", 2), ("calls", 2)] {
        eventually(&format!("{name}: {lost} events are counted as lost"), || async {
            (hook(&hub, name).await["lost"] == lost).then_some(())
        })
        .await;
    }
    let (_, _, metrics) = hub.get("/api/v1/metrics", Some(KEY), &[]).await;
    for line in [
        "aih_hook_events_lost_total{hook=\"later\"} 2",
        "aih_hook_events{state=\"waiting\"} 100000",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}:\n{metrics}");
    }
    hub.logged(&["an event was lost", "\"hook\":\"later\""]).await;
    hub.logged(&["were lost", "events wait"]).await;
}

//! Tools that end the process of their server: the others go on, and the tool alone is refused.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use aih_tests::{
    Hub, KEY, Legacy, Reply, SOON, eventually,
    fixture::{local, mcps, read_record, with_method},
};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{ALICE, BOB, for_two, health_of};

/// How long a call may take while the process is started anew, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(10);

async fn hub_with(more: &str) -> Hub {
    let hub = Hub::start(&for_two(&mcps("", &local("child", "stateless", &[], more)))).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["child__echo"]).await;
    hub
}

fn kind(reply: &Reply) -> Value {
    reply.value()["error"]["data"]["kind"].clone()
}

/// Calls until there is an answer; only what a process was at work on may fail, and nothing may take long.
async fn echo(client: &Legacy) -> usize {
    let began = Instant::now();
    let mut failed = 0;
    loop {
        let reply = client.call("child__echo", json!({ "text": "on" })).await;
        assert!(reply.took < AT_ONCE, "{:?}: {}", reply.took, reply.raw());
        if reply.value().get("result").is_some() {
            assert_eq!(reply.text(), "on");
            return failed;
        }
        assert_eq!(kind(&reply), "process-ended", "{}", reply.raw());
        failed += 1;
        assert!(began.elapsed() < SOON);
    }
}

#[tokio::test]
async fn a_tool_that_ends_its_server_is_refused_alone() {
    let hub = hub_with("").await;
    let clients = join_all((0..20).map(|_| Legacy::connect(&hub, "/mcp", BOB))).await;
    let alice = Legacy::connect(&hub, "/mcp", ALICE).await;
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let others = join_all(clients.iter().map(|client| async {
        let mut failed = 0;
        while !stop.load(Ordering::Relaxed) {
            failed += echo(client).await;
            answered.fetch_add(1, Ordering::Relaxed);
        }
        failed
    }));
    let crashing = async {
        let mut ends = 0;
        loop {
            // The others have been answered by each process.
            let before = answered.load(Ordering::Relaxed);
            eventually("the others go on", || async {
                (answered.load(Ordering::Relaxed) > before + 40).then_some(())
            })
            .await;
            let reply = alice.call("child__exit", json!({})).await;
            if kind(&reply) == "parked" {
                stop.store(true, Ordering::Relaxed);
                return (ends, reply);
            }
            ends += 1;
            let error = reply.error();
            assert_eq!(error["data"]["kind"], "process-ended", "{error}");
            assert_eq!(error["data"]["exit_status"], 4, "{error}");
            assert!(
                error["message"]
                    .as_str()
                    .unwrap()
                    .contains("exited with status 4"),
                "{error}"
            );
            assert!(ends < 10, "the tool is never refused");
        }
    };
    let (failed, (ends, refused)) = tokio::join!(others, crashing);
    // Its first end may be put down to nobody, when it had no record.
    assert!((3..=4).contains(&ends), "{ends} ends");
    for failed in failed {
        assert!(
            failed <= ends,
            "{failed} calls of one client failed at {ends} ends"
        );
    }
    let text = refused.error()["message"].as_str().unwrap().to_owned();
    assert!(text.contains("`exit`") && text.contains("`child`"), "{text}");
    let health = health_of(&hub, "child").await;
    assert_eq!(health["state"], "up", "{health}");
    let parked = &health["parked"][0];
    assert_eq!(
        (&parked["name"], &parked["everyone"]),
        (&json!("exit"), &json!(false)),
        "{health}"
    );
    assert!(parked["seconds"].as_u64().unwrap() > 0, "{health}");
    assert_eq!(health["parked"].as_array().unwrap().len(), 1, "{health}");
    let (_, _, metrics) = hub.get("/api/v1/metrics", Some(KEY), &[]).await;
    assert!(
        metrics.contains("aih_mcp_parked_tools{mcp=\"child\"} 1"),
        "{metrics}"
    );
    assert_eq!(echo(&alice).await, 0, "her other calls go on");
}

#[tokio::test]
async fn every_way_to_end_a_process_is_found() {
    let hub = hub_with("").await;
    let [alice, bob] = [
        Legacy::connect(&hub, "/mcp", ALICE).await,
        Legacy::connect(&hub, "/mcp", BOB).await,
    ];
    let ways = [
        ("exit_after", json!({ "ms": 300 })),
        ("cut", json!({})),
        ("exit", json!({ "ms": 100 })),
    ];
    for (tool, arguments) in ways {
        let name = format!("child__{tool}");
        let mut calls = 0;
        loop {
            for _ in 0..5 {
                echo(&bob).await;
            }
            let before = health_of(&hub, "child").await["restarts"].as_u64().unwrap();
            let reply = alice.call(&name, arguments.clone()).await;
            if kind(&reply) == "parked" {
                break;
            }
            calls += 1;
            assert!(calls < 10, "{tool} is never refused");
            eventually("the next process is there", || async {
                let now = health_of(&hub, "child").await;
                (now["restarts"].as_u64().unwrap() > before && now["state"] == "up").then_some(())
            })
            .await;
        }
        assert!(calls >= 3, "{tool} is refused after {calls} calls");
        // Others may use it, with arguments that do no harm.
        if tool == "exit_after" {
            bob.call(&name, json!({ "ms": 300_000 })).await.text();
        }
    }
    let health = health_of(&hub, "child").await;
    assert_eq!(health["parked"].as_array().unwrap().len(), 3, "{health}");
    // An answer that is too large costs its call, and not the process.
    let before = alice.call("child__pid", json!({})).await.text();
    let reply = alice.call("child__huge", json!({ "bytes": 40_000_000 })).await;
    assert!(
        reply.raw().contains("more than 33554432 bytes"),
        "{}",
        reply.raw()
    );
    assert_eq!(alice.call("child__pid", json!({})).await.text(), before);
}

#[tokio::test]
async fn calls_that_may_run_twice_are_sent_again() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("record.jsonl");
    let record = ["--record", file.to_str().unwrap()];
    let config = mcps("", &local("child", "stateless", &record, ""));
    let hub = Hub::start(&for_two(&config)).await;
    let client = Legacy::connect(&hub, "/mcp", ALICE).await;
    hub.until_tools(&client, &["child__echo"]).await;
    let runs = |tool: &str| {
        let all = read_record(&file);
        let calls = with_method(&all, "tools/call");
        calls.iter().filter(|m| m["params"]["name"] == tool).count()
    };
    let slow = |tool: &'static str| {
        let arguments = json!({ "ms": 700, "text": tool });
        let client = &client;
        async move { client.call(&format!("child__{tool}"), arguments).await }
    };
    let crash = async {
        eventually("all are at work", || async {
            let all = ["read", "set", "slow"].iter().all(|tool| runs(tool) == 1);
            all.then_some(())
        })
        .await;
        client.call("child__exit", json!({})).await
    };
    let (read, set, plain, crashed) = tokio::join!(slow("read"), slow("set"), slow("slow"), crash);
    assert_eq!((read.text(), set.text()), ("read".to_owned(), "set".to_owned()));
    for told in [plain, crashed] {
        assert_eq!(kind(&told), "process-ended", "{}", told.raw());
        assert!(told.took < AT_ONCE, "{:?}", told.took);
    }
    assert_eq!(["read", "set", "slow", "exit"].map(runs), [2, 2, 1, 1]);
}

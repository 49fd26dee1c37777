//! Guests that compute, and what they cost others.

use std::{
    fs,
    time::{Duration, Instant},
};

use aih_runtime::{CallError, Context, Loaded, Output, Runtime, RuntimeOptions, Spec, ToolCall, World};
use aih_tests::{
    Fixture, Hub, Legacy,
    fixture::{external, mcps},
    tools,
};
use serde_json::{Value, json};

use crate::{guest, until_state};

/// Calls of one measurement.
const CALLS: usize = 200;
/// How often a measurement is made anew: the machine may do something else meanwhile.
const TRIES: usize = 8;

/// Times of calls, one after the other.
#[derive(Debug)]
struct Times {
    p50: Duration,
    p99: Duration,
}

async fn measure(client: &Legacy, tool: &str) -> Times {
    let mut times = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        let (said, begun) = (format!("call {number}"), Instant::now());
        let answer = client.call(tool, json!({ "text": said })).await.text();
        times.push(begun.elapsed());
        assert!(answer.contains(&said), "{answer}");
    }
    times.sort_unstable();
    Times {
        p50: times[CALLS / 2],
        p99: times[CALLS * 99 / 100],
    }
}

/// Loops that run at the same time in a hub; they end by their own limit of time.
async fn compute(hub: &Hub, client: &Legacy, tool: &str, loops: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let mut calls = Vec::new();
    for _ in 0..loops {
        let request = client.builder(reqwest::Method::POST).body(
            json!({ "jsonrpc": "2.0", "id": client.next_id(), "method": "tools/call",
                "params": { "name": tool, "arguments": {} } })
            .to_string(),
        );
        calls.push(tokio::spawn(async move {
            let answer = request.send().await.unwrap().text().await.unwrap();
            assert!(answer.contains("timed-out"), "{answer}");
        }));
    }
    let running = || async { (crate::health(hub, "hostile").await?["running"] == loops).then_some(()) };
    aih_tests::eventually("the loops run", running).await;
    calls
}

#[tokio::test]
async fn calls_beside_guests_that_compute_stay_fast() {
    let fixture = Fixture::start().await;
    let server = external("server", &format!("{}/stateless/c", fixture.url), "");
    let plugins = [guest("hostile", "limits: { time: \"6s\" }"), guest("echo", "")];
    let hub = Hub::start(&format!("{}plugins:\n{}", mcps(&server, ""), plugins.concat())).await;
    for name in ["hostile", "echo"] {
        until_state(&hub, name, "up").await;
    }
    hub.until_up("server").await;
    let client = hub.legacy().await;
    for loops in [2, 4, 16] {
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let idle = (
                measure(&client, "echo__echo").await,
                measure(&client, "server__echo").await,
            );
            let calls = compute(&hub, &client, "hostile__endless_loop", loops).await;
            let beside = (
                measure(&client, "echo__echo").await,
                measure(&client, "server__echo").await,
            );
            futures::future::join_all(calls)
                .await
                .into_iter()
                .for_each(|call| call.unwrap());
            let fits = |idle: &Times, beside: &Times| {
                beside.p50 <= idle.p50.mul_f64(1.5)
                    && beside.p99 <= Duration::from_millis(25).max(idle.p99 * 2)
            };
            let well = fits(&idle.0, &beside.0) && fits(&idle.1, &beside.1);
            seen.push((idle, beside));
            if well {
                break;
            }
        }
        println!("beside {loops} loops, a plugin's and a server's call: {seen:?}");
        assert!(seen.len() < TRIES, "{loops} loops: {seen:?}");
    }
}

async fn load(folder: &std::path::Path, time: Duration) -> (Runtime, Loaded) {
    let runtime = Runtime::new(&RuntimeOptions {
        cache: Some(folder.join("code")),
        instances: 100,
        ..RuntimeOptions::default()
    })
    .unwrap();
    let wasm = fs::read(tools::guest("hostile")).unwrap();
    let mut spec = Spec {
        name: "hostile".to_owned(),
        ..Spec::default()
    };
    spec.limits.time = time;
    let loaded = runtime.load(wasm, World::Plugin, spec).await.unwrap();
    (runtime, loaded)
}

async fn call(
    component: &Loaded,
    principal: &str,
    tool: &str,
    arguments: Value,
) -> (Result<Output, CallError>, Duration) {
    let call = ToolCall {
        call_id: "1".to_owned(),
        tool: tool.to_owned(),
        arguments_json: arguments.to_string(),
        deadline_ms: 60_000,
        extras: Vec::new(),
    };
    let context = Context {
        principal: Some(principal.into()),
        ..Context::default()
    };
    let begun = Instant::now();
    let outcome = component.call_tool(call, context).await;
    (outcome, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_time_holds_however_many_guests_wait_for_a_turn() {
    let folder = tempfile::tempdir().unwrap();
    let limit = Duration::from_secs(2);
    let (_runtime, component) = load(folder.path(), limit).await;
    let loops = (0..60).map(|_| call(&component, "anna", "endless_loop", json!({})));
    let mut late = Vec::new();
    for (outcome, took) in futures::future::join_all(loops).await {
        assert!(matches!(outcome, Err(CallError::TimedOut(_))), "{outcome:?}");
        assert!(took >= limit, "{took:?}");
        late.push(took - limit);
    }
    late.sort_unstable();
    // Each of sixty would wait 150 ms for a turn in which it is stopped.
    assert!(late[30] < Duration::from_millis(100), "{late:?}");
    // Their places come back.
    let (outcome, _) = call(&component, "anna", "work", json!({"amount": 1})).await;
    outcome.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_gets_its_share_beside_many_guests_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (_runtime, component) = load(folder.path(), Duration::from_secs(15)).await;
    let work = json!({"amount": 300});
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let (outcome, alone) = call(&component, "bert", "work", work.clone()).await;
        outcome.unwrap();
        let loops: Vec<_> = (0..32)
            .map(|_| {
                let component = component.clone();
                tokio::spawn(async move { call(&component, "anna", "endless_loop", json!({})).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (outcome, beside) = call(&component, "bert", "work", work.clone()).await;
        outcome.unwrap();
        for call in loops {
            let (outcome, _) = call.await.unwrap();
            assert!(matches!(outcome, Err(CallError::TimedOut(_))), "{outcome:?}");
        }
        seen.push((alone, beside));
        // One of 33 on two processors would take sixteen times as long; its share is every second turn.
        if beside < alone * 4 {
            println!("alone and beside 32 loops: {seen:?}");
            return;
        }
    }
    panic!("{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_memory_is_written_where_it_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (_runtime, component) = load(folder.path(), Duration::from_secs(60)).await;
    let mut longest = Vec::new();
    for _ in 0..TRIES {
        let fills: Vec<_> = (0..4)
            .map(|_| {
                let component = component.clone();
                tokio::spawn(
                    async move { call(&component, "anna", "fill_memory", json!({"amount": 200})).await },
                )
            })
            .collect();
        // This task is one that waits for a thread of the async runtime.
        let mut waited = Duration::ZERO;
        while !fills.iter().all(|fill| fill.is_finished()) {
            let begun = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            waited = waited.max(begun.elapsed());
        }
        for fill in fills {
            fill.await.unwrap().0.unwrap();
        }
        longest.push(waited);
        if waited < Duration::from_millis(50) {
            println!("longest wait of a timer: {longest:?}");
            return;
        }
    }
    panic!("{longest:?}");
}

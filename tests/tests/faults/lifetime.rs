//! Nothing outlives the hub, and sessions leave nothing behind.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aih_tests::{
    Events, Fixture, Hub, KEY, Legacy, SOON, Start,
    client::http,
    eventually,
    fixture::{external, local, mcps, processes, read_record, servers, with_method},
    tools,
};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::questions::{all_capabilities, answers};

#[tokio::test]
async fn sigterm_lets_a_call_finish_and_leaves_no_child() {
    let fixture = Fixture::start().await;
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let inside = local("child", "stateless", &["--record", mark.to_str().unwrap()], "")
        + &local("deaf", "silent", &["--record", mark.to_str().unwrap()], "");
    let mut hub = Hub::start(&mcps(
        &external("up", &format!("{}/stateful/t", fixture.url), ""),
        &inside,
    ))
    .await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["child__echo", "up__echo"]).await;
    let mut standing = client.standing().await;
    let (one, two) = {
        let started = with_method(&read_record(&mark), "tools/call").len();
        let one = client.call("child__slow", json!({ "ms": 3_000 }));
        let two = client.call("up__slow", json!({ "ms": 3_000 }));
        let stop = async {
            eventually("both calls run", || async {
                let child = with_method(&read_record(&mark), "tools/call").len() > started;
                let up = !with_method(&fixture.record("stateful/t").await, "tools/call").is_empty();
                (child && up).then_some(())
            })
            .await;
            hub.program.signal(Signal::SIGTERM);
        };
        let (one, two, ()) = tokio::join!(one, two, stop);
        (one, two)
    };
    assert_eq!((one.text(), two.text()), ("done".to_owned(), "done".to_owned()));
    tokio::time::timeout(SOON, async { while standing.next().await.is_some() {} })
        .await
        .expect("the standing stream holds the hub up");
    let status = hub.program.ended().await;
    assert_eq!(status.code(), Some(0), "{}", hub.output());
    assert_eq!(processes(mark.to_str().unwrap()), [], "children are left");
}

#[tokio::test]
async fn sigterm_cuts_off_what_does_not_end() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let inside = local("child", "stateless", &["--record", mark.to_str().unwrap()], "");
    let config = mcps("", &inside);
    let start = Start {
        config: &config,
        args: &["--grace", "1"],
        ..Start::default()
    };
    let mut hub = start.run().await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["child__echo"]).await;
    let call = client.builder(reqwest::Method::POST).body(
        json!({ "jsonrpc": "2.0", "id": 1000, "method": "tools/call", "params": { "name": "child__silent" } }).to_string(),
    );
    let call = tokio::spawn(call.send());
    eventually("the call runs", || async {
        (!with_method(&read_record(&mark), "tools/call").is_empty()).then_some(())
    })
    .await;
    let began = Instant::now();
    hub.program.signal(Signal::SIGTERM);
    hub.program.ended().await;
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?} with --grace 1",
        began.elapsed()
    );
    assert_eq!(processes(mark.to_str().unwrap()), [], "children are left");
    call.abort();
}

#[tokio::test]
async fn no_child_outlives_a_hub_that_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    // One under a shell, as npx and uvx put it: a grandchild of the hub.
    let inside = local("child", "stateless", &["--record", mark], "")
        + &local("deaf", "silent", &["--record", mark], "")
        + &format!(
            "    - {{ name: under-a-shell, command: sh, args: [\"-c\", \"'{}' --stdio stateless --record {mark}; true\"] }}\n",
            tools::binary("fixture-hostile").display()
        );
    let mut hub = Hub::start(&mcps("", &inside)).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["child__echo", "under_a_shell__echo"])
        .await;
    assert!(servers(mark) >= 3);
    hub.program.kill().await;
    eventually("all children are gone", || {
        std::future::ready(processes(mark).is_empty().then_some(()))
    })
    .await;
}

/// A server that starts processes which leave its group and its session, as browsers, daemons and watchdogs do.
fn with_daemons(name: &str, place: &Path, mark: &str, more: &str) -> String {
    let script = place.join("server.sh");
    let text = format!(
        r#"daemon='trap "" TERM HUP INT; while :; do sleep 1; done'
setsid sh -c "$daemon" "$1" &
(setsid sh -c "$daemon" "$1" &)
setsid sh -c 'setsid sh -c "$1" "$0" & exit 0' "$1" "$daemon" &
exec '{}' --stdio stateless --record "$1"
"#,
        tools::binary("fixture-hostile").display()
    );
    std::fs::write(&script, text).unwrap();
    format!(
        "    - {{ name: {name}, command: sh, args: [\"{}\", \"{mark}\"]{more} }}\n",
        script.display()
    )
}

async fn all_gone(what: &str, mark: &str) {
    eventually(what, || {
        std::future::ready(processes(mark).is_empty().then_some(()))
    })
    .await;
}

#[tokio::test]
async fn processes_that_left_their_group_end_with_the_hub_and_with_their_server() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("record.jsonl");
        let mark = mark.to_str().unwrap();
        let mut hub = Hub::start(&mcps("", &with_daemons("child", place.path(), mark, ""))).await;
        let client = Legacy::connect(&hub, "/mcp", KEY).await;
        hub.until_tools(&client, &["child__echo"]).await;
        eventually("the daemons run", || {
            std::future::ready((daemons(mark).len() == 3).then_some(()))
        })
        .await;
        // The server ends by itself: what it left does not stay beside that of the next process.
        let first = daemons(mark);
        let pid: i32 = client.call("child__pid", json!({})).await.text().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        eventually("the next process has its own daemons alone", || {
            let now = daemons(mark);
            std::future::ready((now.len() == 3 && first.iter().all(|pid| !now.contains(pid))).then_some(()))
        })
        .await;
        hub.program.signal(signal);
        hub.program.ended().await;
        all_gone(&format!("all processes are gone after {signal}"), mark).await;
    }
}

#[tokio::test]
async fn processes_that_left_their_group_end_with_a_private_process() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    let hub = Hub::start(&mcps(
        "",
        &with_daemons("own", place.path(), mark, ", sessions: per_client"),
    ))
    .await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["own__echo"]).await;
    let of_hub = daemons(mark);
    client.call("own__echo", json!({ "text": "x" })).await.text();
    // The hub's own process has made way for that of the client.
    let of_client = eventually("the process of the client has its daemons", || {
        let all = daemons(mark);
        let fresh = all.len() == 3 && all.iter().all(|pid| !of_hub.contains(pid));
        std::future::ready(fresh.then_some(all))
    })
    .await;
    client.close().await;
    eventually("those of the client are gone", || {
        let gone = daemons(mark).iter().all(|pid| !of_client.contains(pid));
        std::future::ready(gone.then_some(()))
    })
    .await;
}

#[tokio::test]
async fn what_a_server_leaves_is_taken_in_while_it_runs() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.1 &); done; exec '{}' --stdio stateless --record {mark}",
        tools::binary("fixture-hostile").display()
    );
    let inside = format!("    - {{ name: child, command: sh, args: [\"-c\", \"{script}\"] }}\n");
    let hub = Hub::start(&mcps("", &inside)).await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&client, &["child__echo"]).await;
    let pid = client.call("child__pid", json!({})).await.text();
    let all = processes(mark);
    let (guard, _) = all.iter().find(|(_, line)| line.contains("__guard")).unwrap();
    eventually("the guard has one child, the server", || {
        let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).unwrap();
        std::future::ready((children.trim() == pid).then_some(()))
    })
    .await;
}

/// The processes of [`with_daemons`] that left their group: (pid).
fn daemons(mark: &str) -> Vec<u32> {
    let all = processes(mark).into_iter();
    all.filter(|(_, line)| line.starts_with("sh -c trap"))
        .map(|(pid, _)| pid)
        .collect()
}

#[tokio::test]
async fn sessions_that_are_dropped_leave_nothing_behind() {
    let fixture = Fixture::start().await;
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    let inside = local("child", "stateless", &["--record", mark], "")
        + &local("own", "stateless", &["--record", mark], ", sessions: per_client");
    let config = mcps(
        &external("up", &format!("{}/stateful/many-sessions", fixture.url), ""),
        &inside,
    );
    let hub = Hub::start(&config).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["child__echo", "own__echo", "up__echo"])
        .await;
    first.call("own__echo", json!({ "text": "x" })).await.text();
    first.close().await;
    eventually("the first client's child is gone", || {
        std::future::ready((servers(mark) == 2).then_some(()))
    })
    .await;
    let files = || {
        std::fs::read_dir(format!("/proc/{}/fd", hub.pid()))
            .unwrap()
            .count()
    };
    let before = files();
    let mut most = 0;
    for round in 0..50 {
        let ten = (0..10).map(|n| {
            let hub = &hub;
            async move {
                // Every other one could be asked, and so has a child of its own.
                let capabilities = if n % 2 == 0 { json!({}) } else { all_capabilities() };
                let client = Legacy::connect_with(hub, "/mcp", KEY, capabilities, answers).await;
                client.call("child__echo", json!({ "text": "c" })).await.text();
                client.call("up__echo", json!({ "text": "u" })).await.text();
                if round % 10 == 0 {
                    client.call("own__echo", json!({ "text": "o" })).await.text();
                }
                assert_eq!(client.close().await, 204);
            }
        });
        futures::future::join_all(ten).await;
        most = most.max(servers(mark));
    }
    eventually("no process is left beyond the two shared ones", || {
        std::future::ready((servers(mark) == 2).then_some(()))
    })
    .await;
    assert!(most <= 2 + 2 * 16, "{most} processes at once");
    eventually("open files are given back", || {
        std::future::ready((files() <= before + 20).then_some(()))
    })
    .await;
    // Every session that was opened at the stateful server was ended there too.
    eventually("sessions are ended at the server", || async {
        let record = fixture.record("stateful/many-sessions").await;
        let opened = with_method(&record, "initialize").len();
        let ended = with_method(&record, "DELETE").len();
        (opened >= 500 && ended + 2 >= opened).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_that_just_vanish_leave_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("record.jsonl");
    let mark = mark.to_str().unwrap();
    let inside = local("child", "stateless", &["--record", mark], "");
    let hub = Hub::start(&mcps("", &inside)).await;
    let first = Legacy::connect(&hub, "/mcp", KEY).await;
    hub.until_tools(&first, &["child__echo"]).await;
    for _ in 0..50 {
        let ten = (0..10).map(|_| async {
            // Neither DELETE nor goodbye.
            let client = Legacy::connect(&hub, "/mcp", KEY).await;
            client.call("child__echo", json!({ "text": "c" })).await.text();
        });
        futures::future::join_all(ten).await;
    }
    assert_eq!(servers(mark), 1);
    assert_eq!(
        first.call("child__echo", json!({ "text": "on" })).await.text(),
        "on"
    );
    // The old transport's session ends with its stream, and so does what it had.
    let capable = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2024-11-05",
        "capabilities": all_capabilities(), "clientInfo": { "name": "t", "version": "1" } } });
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": { "name": "child__pid", "arguments": {} } });
    for _ in 0..20 {
        let response = http()
            .get(hub.url("/mcp/sse"))
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap();
        let mut events = Events::new(response);
        let path = events.next().await.unwrap();
        for message in [&capable, &call] {
            let sent = http()
                .post(hub.url(&path))
                .bearer_auth(KEY)
                .header("content-type", "application/json")
                .body(message.to_string())
                .send();
            assert_eq!(sent.await.unwrap().status(), 202);
            tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap();
        }
    }
    eventually("only the shared child is left", || {
        std::future::ready((servers(mark) == 1).then_some(()))
    })
    .await;
}

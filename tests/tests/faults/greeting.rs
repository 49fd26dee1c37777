//! Processes that start slowly, that do not know the newer greeting, or that end at their start.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use aih_tests::{
    Hub, KEY, Modern, eventually,
    fixture::{local, mcps, read_record},
    real, tools,
};
use serde_json::{Value, json};

use crate::health_of;

/// Calls from both eras get an answer, and the answers name the same process.
async fn both_eras_call(hub: &Hub, server: &str) {
    let name = format!("{server}__pid");
    let legacy = hub.legacy().await.call(&name, json!({})).await.text();
    let modern = hub.modern().call(&name, json!({})).await;
    assert_eq!(modern.result()["resultType"], "complete", "{}", modern.raw());
    assert_eq!(modern.text(), legacy);
}

#[tokio::test]
async fn a_modern_server_that_starts_slowly_stays_modern() {
    let slow = [0, 3, 8, 20].map(|seconds: u32| {
        json!({
            "name": format!("slow-{seconds}"),
            "command": tools::node(),
            "args": [tools::script("slow-server-v2.mjs"), (seconds * 1_000).to_string()],
        })
    });
    let hub = Hub::start(&real::mcps(&json!(slow), &json!([]))).await;
    for seconds in [0, 3, 8, 20] {
        let name = format!("slow-{seconds}");
        hub.until_up(&name).await;
        let health = health_of(&hub, &name).await;
        assert_eq!(health["protocol"], "2026-07-28", "{health}");
        assert_eq!(health["restarts"], 0, "{health}");
        both_eras_call(&hub, &format!("slow_{seconds}")).await;
    }
}

/// The methods of greetings that each process got.
fn greetings(record: &Path) -> Vec<Vec<String>> {
    let mut all: HashMap<u64, Vec<String>> = HashMap::new();
    let mut order = Vec::new();
    for entry in read_record(record) {
        let (pid, method) = (entry["pid"].as_u64().unwrap(), entry["method"].as_str().unwrap());
        if !order.contains(&pid) {
            order.push(pid);
        }
        let methods = all.entry(pid).or_default();
        if ["server/discover", "initialize"].contains(&method) {
            methods.push(method.to_owned());
        }
    }
    order.iter().map(|pid| all[pid].clone()).collect()
}

#[tokio::test]
async fn a_server_that_never_answers_the_newer_greeting_gets_the_older_in_another_process() {
    let place = tempfile::tempdir().unwrap();
    let record = |slow: u32| place.path().join(format!("{slow}.jsonl"));
    let servers = [0, 6].map(|slow: u32| {
        json!({
            "name": format!("silent-{slow}"),
            "command": tools::python("python"),
            "args": [tools::script("odd_server.py")],
            "env": { "SLOW": slow.to_string(), "RECORD": record(slow), "SILENT": "yes" },
        })
    });
    let hub = Hub::start(&real::mcps(&json!(servers), &json!([]))).await;
    for slow in [0, 6] {
        let name = format!("silent-{slow}");
        hub.until_up(&name).await;
        assert_eq!(health_of(&hub, &name).await["protocol"], "2024-11-05");
        both_eras_call(&hub, &format!("silent_{slow}")).await;
        let wanted = [["server/discover"], ["initialize"]];
        assert_eq!(greetings(&record(slow)), wanted, "one greeting for each process");
    }
    // The next process is greeted in the way that is known.
    let pid = hub.modern().call("silent_0__pid", json!({})).await.text();
    let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let record = record(0);
    eventually("another process is greeted", || async {
        (greetings(&record).len() == 3).then_some(())
    })
    .await;
    assert_eq!(greetings(&record)[2], ["initialize"]);
}

/// When each process was started, in milliseconds.
fn starts(file: &Path) -> Vec<u128> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| line.parse::<u128>().unwrap() / 1_000_000)
        .collect()
}

#[tokio::test]
async fn a_server_that_ends_at_its_start_is_parked_with_its_last_words() {
    let place = tempfile::tempdir().unwrap();
    let (log, ready) = (place.path().join("starts"), place.path().join("ready"));
    let server = tools::binary("fixture-hostile");
    let script = format!(
        "date +%s%N >> {}; if [ -e {} ]; then exec {} --stdio stateless; fi; echo 'the token is missing' >&2; exit 7",
        log.display(),
        ready.display(),
        server.display()
    );
    let entry = json!([{ "name": "sick", "command": "/bin/sh", "args": ["-c", script] }]);
    let hub = Hub::start(&real::mcps(&entry, &json!([]))).await;
    let health = eventually("the server is parked", || async {
        let health = health_of(&hub, "sick").await;
        let why = health["last_error"].as_str()?.to_owned();
        why.contains("in a row").then_some(health)
    })
    .await;
    assert_eq!(health["state"], "down", "{health}");
    let why = health["last_error"].as_str().unwrap();
    for words in ["status 7", "the token is missing", "A call of it or a reload"] {
        assert!(why.contains(words), "{words}: {why}");
    }
    let known = starts(&log);
    assert_eq!(known.len(), 6, "one start an attempt");
    let pauses: Vec<u128> = known.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses[4] > 3 * pauses[1], "the pauses grow: {pauses:?}");
    // Whoever lists the servers sees it too.
    let listed = hub.modern().call("aih__list_mcps", json!({})).await;
    assert!(listed.raw().contains("the token is missing"), "{}", listed.raw());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(starts(&log).len(), 6, "a parked server is left alone");
    // A call starts it once, and says why it does not work.
    let direct = Modern::new(&hub, "/mcp/sick", KEY, json!({}));
    let error = direct.call("echo", json!({})).await.error();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("the token is missing"),
        "{error}"
    );
    eventually("a call starts it", || async {
        (starts(&log).len() == 7).then_some(())
    })
    .await;
    // A reload starts it too.
    hub.reload().await;
    eventually("a reload starts it", || async {
        (starts(&log).len() == 8).then_some(())
    })
    .await;
    std::fs::write(&ready, "").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = Instant::now();
    assert_eq!(
        direct.call("echo", json!({ "text": "well" })).await.text(),
        "well"
    );
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let health = health_of(&hub, "sick").await;
    assert_eq!(
        (&health["state"], &health["last_error"]),
        (&json!("up"), &Value::Null),
        "{health}"
    );
}

#[tokio::test]
async fn many_servers_start_in_turns_and_none_is_given_up_for_it() {
    // Each works for a while before it reads, and would be silent for too long if its clock began with the hub.
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec ";
    let server = tools::binary("fixture-hostile");
    let many: Vec<Value> = (0..12)
        .map(|n| {
            let script = format!("{busy}{} --stdio stateless", server.display());
            json!({ "name": format!("s{n}"), "command": "/bin/sh", "args": ["-c", script], "start_timeout": "10s" })
        })
        .collect();
    // These take no turn for good, although they never answer.
    let deaf: Vec<Value> = (0..8)
        .map(|n| json!({ "name": format!("deaf{n}"), "command": "/bin/sleep", "args": ["1000"] }))
        .collect();
    let all: Vec<Value> = deaf.into_iter().chain(many).collect();
    let hub = Hub::start(&real::mcps(&json!(all), &json!([]))).await;
    for n in 0..12 {
        let name = format!("s{n}");
        hub.until_up(&name).await;
        assert_eq!(health_of(&hub, &name).await["restarts"], 0);
    }
    assert_eq!(hub.rows("not reachable"), 0, "{}", hub.output());
}

#[tokio::test]
async fn a_start_is_given_up_after_the_limit_of_its_entry() {
    let config = mcps(
        "",
        &(local("deaf", "silent", &[], ", start_timeout: 2s, protocol: modern")
            + &local("patient", "silent", &[], ", start_timeout: 10m, protocol: modern")),
    );
    let hub = Hub::start(&config).await;
    eventually("the silent server is given up", || async {
        let health = health_of(&hub, "deaf").await;
        let why = health["last_error"].as_str()?;
        (health["state"] == "down" && why.contains("within 2 s")).then_some(())
    })
    .await;
    assert_eq!(health_of(&hub, "patient").await["state"], "starting");
}

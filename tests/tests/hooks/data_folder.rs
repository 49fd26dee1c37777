//! Who may use a data folder and its store: one `aih serve`, and any number of `aih stdio` beside it.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Stdio},
};

use aih_tests::{Hub, KEY, Program, SOON, Start, eventually, program::Output, tools};
use serde_json::{Value, json};

use crate::{RECORD, Receiver, again, guest, record, until_up};

/// Runs `aih serve` on a folder in which it should not start.
async fn serve(folder: &Path) -> Output {
    let mut command = Program::command(&tools::binary("aih"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(folder.join("aih-config.yaml"))
        .current_dir(folder);
    Program::run("aih", command, SOON).await
}

/// An `aih stdio`, as a client starts it.
struct Beside {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Beside {
    fn start(folder: &Path) -> Self {
        let mut command = Program::command(&tools::binary("aih"));
        command
            .args(["stdio", "--config"])
            .arg(folder.join("aih-config.yaml"))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut beside = Self { child, answers };
        beside.request(
            "initialize",
            &json!({
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": { "name": "beside", "version": "1" },
            }),
        );
        beside.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        beside
    }

    fn send(&mut self, message: &Value) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{message}").unwrap();
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params }));
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "aih stdio ended");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == method {
                return message;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.request("tools/call", &json!({ "name": tool, "arguments": arguments }))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_second_hub_on_a_data_folder_is_refused() {
    let mut hub = Hub::start("name: first").await;
    let second = serve(hub.folder.path()).await;
    assert_eq!(second.status.code(), Some(2), "{}", second.text);
    for told in [
        "another `aih serve`",
        &format!("process {}", hub.pid()),
        "nothing was started",
    ] {
        assert!(second.text.contains(told), "{told}: {}", second.text);
    }
    let (status, ..) = hub.get("/api/v1/health", None, &[]).await;
    assert_eq!(status, 200);
    // Nothing of it stays after a kill.
    hub.program.kill().await;
    let hub = again(hub.folder, &[]).await;

    // Another folder, and the same store.
    let store = hub.folder.path().join("data/aih.db");
    let config = format!("store: {{ url: \"sqlite://{}\" }}", store.display());
    let other = Start {
        config: &config,
        ..Start::default()
    };
    let (code, text) = other.fail().await;
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("a hub with the data folder") && text.contains(hub.folder.path().to_str().unwrap()),
        "{text}"
    );
    let (status, ..) = hub.get("/api/v1/health", None, &[]).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn processes_beside_a_hub_share_its_store_and_one_of_all_runs_background_hooks() {
    let (receiver, url) = Receiver::default().start().await;
    let echo = guest("echo");
    let config = format!(
        "plugins:\n  - {{ name: echo, file: \"{echo}\" }}\nhooks:\n{}{}",
        record("tick", "schedule", &url, "schedule: \"* * * * * *\","),
        record(
            "calls",
            "tool.after",
            &url,
            "mode: background, match: { mcps: [echo] },"
        ),
    );
    let mut hub = Start {
        config: &config,
        files: &[("hooks/record.js", RECORD)],
        ..Start::default()
    }
    .run()
    .await;
    for name in ["tick", "calls"] {
        until_up(&hub, name).await;
    }
    let folder = hub.folder.path().to_owned();
    let (mut one, mut two) = (Beside::start(&folder), Beside::start(&folder));
    let ticks = || {
        let times = receiver.of("schedule");
        times
            .iter()
            .map(|tick| tick["scheduled_for"].to_string())
            .collect::<Vec<_>>()
    };
    let more_ticks = async |who: &str| {
        let before = ticks().len();
        eventually(&format!("schedules are kept by {who}"), || {
            std::future::ready((ticks().len() >= before + 4).then_some(()))
        })
        .await;
    };
    let heard = async |beside: &mut Beside, text: &str| {
        let answer = eventually("the plugin is up", || {
            let answer = beside.call("echo__echo", &json!({ "text": text }));
            std::future::ready(
                (answer["result"]["isError"] != true && answer["error"].is_null()).then_some(answer),
            )
        })
        .await;
        assert_eq!(answer["result"]["content"][0]["text"], text);
        receiver
            .until(&hub, "tool.after", |event| event["arguments"]["text"] == text)
            .await;
    };
    more_ticks("the hub").await;
    heard(&mut one, "first").await;
    heard(&mut two, "second").await;
    // An event that is handled while the hub is killed runs once more.
    eventually("no event is being handled", || async {
        let (_, _, body) = hub.get("/api/v1/health", Some(KEY), &[]).await;
        let store = serde_json::from_str::<Value>(&body).unwrap()["store"].clone();
        (store["events_queued"] == 0 && store["events_waiting"] == 0).then_some(())
    })
    .await;
    hub.program.kill().await;
    more_ticks("a process beside it").await;
    let third = {
        two.call("echo__echo", &json!({ "text": "third" }));
        eventually("an event of a process without a hub", || {
            let events = receiver.of("tool.after");
            std::future::ready(
                events
                    .into_iter()
                    .find(|event| event["arguments"]["text"] == "third"),
            )
        })
        .await
    };
    assert_eq!(third["server"], "echo");
    let hub = again(hub.folder, &[]).await;
    until_up(&hub, "tick").await;
    more_ticks("the next hub").await;
    drop((one, two));
    more_ticks("the hub alone").await;

    let all = ticks();
    let once: HashSet<&String> = all.iter().collect();
    // An event runs at least once: that of a kill may come twice.
    assert!(once.len() + 2 >= all.len(), "each time is kept once: {all:?}");
    let ids: HashSet<String> = receiver
        .of("tool.after")
        .iter()
        .map(|event| event["id"].to_string())
        .collect();
    assert!(ids.len() >= 3);
}

/// Runs `aih serve` with its data folder on a disk of some kilobytes, of which so many stay free.
async fn on_a_small_disk(kilobytes: u32, free: u32, config: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aih-config.yaml");
    std::fs::write(&file, config).unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    // A mount of its own, in a namespace of its own, which ends with the process.
    let script = format!(
        "mount -t tmpfs -o size={kilobytes}k tmpfs data && \
         head -c {}k /dev/zero > data/fill && \
         exec \"$0\" serve --listen 127.0.0.1:0 --config aih-config.yaml",
        kilobytes - free
    );
    let mut command = Program::command(Path::new("unshare"));
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .arg(tools::binary("aih"))
        .current_dir(folder.path());
    let output = Program::run("aih on a full disk", command, SOON).await;
    assert!(
        !output.text.contains("unshare:") && !output.text.contains("mount:"),
        "this test needs user namespaces: {}",
        output.text
    );
    output
}

#[tokio::test]
async fn a_start_on_a_full_disk_says_what_to_do() {
    let with_key = aih_tests::config("name: full");
    let without_key = "version: \"1.0\"\nname: full\n";
    let judge = guest("judge");
    let with_hooks = aih_tests::config(&format!(
        "hooks:\n  - {{ name: judge, trigger: tool.before, action: \"{judge}\" }}"
    ));
    for config in [&*with_key, without_key, &*with_hooks] {
        for free in [0, 4, 8, 16, 32] {
            let output = on_a_small_disk(256, free, config).await;
            let told = &output.text;
            assert_eq!(output.status.code(), Some(2), "{free} kB free: {told}");
            for part in [
                "the disk of the folder",
                "/data is full",
                "free some space",
                "nothing was started",
            ] {
                assert!(told.contains(part), "{free} kB free: {part}: {told}");
            }
            assert!(!told.contains("panicked"), "{told}");
        }
    }
}

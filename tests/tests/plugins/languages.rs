//! The attacks again in JavaScript and in Python, as the hub builds them: an engine that runs in the sandbox adds
//! nothing that reaches out of it.

use std::path::Path;

use aih_tests::{
    Hub, Legacy,
    program::{memory_now_kb, pin_machine},
};
use serde_json::json;

use crate::{
    guest,
    hostile::{forbidden, neighbour, outcome, redirector},
    hub, plugin,
};

/// Attacks, each with what comes of it: `timed-out`, or how the outcome begins.
type Attacks<'a> = &'a [(&'a str, &'a str)];

async fn start(language: &str, file: &str, grants: &str) -> (Hub, Legacy) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(file);
    pin_machine();
    let file = file.display().to_string();
    // As for the components in Rust: time runs out in the first alone.
    let entry = |name: &str, time: &str| {
        let limits = format!("limits: {{ time: \"{time}\", memory: \"96MB\", output: \"1MB\" }}{grants}");
        plugin(name, &file, &limits)
    };
    // Built once, and then found by both.
    drop(hub(&[entry(language, "5m")], &[language]).await);
    let short = short(language);
    let entries = [entry(&short, "2s"), entry(language, "5m"), guest("echo", "")];
    let hub = hub(&entries, &[&short, language, "echo"]).await;
    let client = hub.legacy().await;
    (hub, client)
}

/// The plugin whose time runs out soon.
fn short(language: &str) -> String {
    format!("{language}short")
}

async fn run(hub: &Hub, client: &Legacy, language: &str, attacks: Attacks<'_>) {
    let tool = format!("{language}__attack");
    let first = outcome(client, &tool, json!({"how": "count"})).await;
    assert_eq!(first, "answered: 1");
    let before = memory_now_kb(hub.pid());
    for (how, expected) in attacks {
        let plugin = match *expected {
            "timed-out" => short(language),
            _ => language.to_owned(),
        };
        let came = outcome(client, &format!("{plugin}__attack"), json!({"how": how})).await;
        assert!(came.starts_with(expected), "{language}: {how}: {came:.300}");
        neighbour(client, how).await;
    }
    let after = memory_now_kb(hub.pid());
    assert!(
        after < before + 400 * 1024,
        "{language}: {before} kB before, {after} kB after"
    );
    // No call saw what another one left.
    assert_eq!(
        outcome(client, &tool, json!({"how": "count"})).await,
        "answered: 1"
    );
}

const STATE: &str = ", grants: { state: { max_bytes: \"2MB\" } }";

#[tokio::test]
async fn javascript_is_bounded() {
    let (hub, client) = start("js", "js/hostile.js", STATE).await;
    run(
        &hub,
        &client,
        "js",
        &[
            ("endless_loop", "timed-out"),
            ("endless_promises", "told: "),
            ("endless_timers", "timed-out"),
            ("endless_pattern", "timed-out"),
            ("never", "told: the handler waits"),
            ("sleep", "timed-out"),
            ("memory_bomb", "told: out of memory"),
            ("text_bomb", "told: string too long"),
            ("deep_recursion", "trapped"),
            ("deep_value", "trapped"),
            ("output_1gb", "told: invalid string length"),
            ("output_4mb", "too-large"),
            ("log_flood", "answered: logged"),
            ("state_flood", "told: state"),
            ("unhandled_rejection", "answered: came back"),
            ("throw_text", "told: "),
            ("throw_null", "told"),
            ("throw_nothing", "told"),
            ("throw_trap", "told: "),
            ("reject_symbol", "told"),
            ("exit", "told: process.exit(3) was called"),
            ("secret", "told"),
            ("self_call", "told"),
            ("bad_mime", "bad-answer"),
            ("html_image", "bad-answer"),
            ("bad_link", "bad-answer"),
            ("no_link", "bad-answer"),
            ("nothing", "told"),
        ],
    )
    .await;
    let promised = outcome(&client, "js__promise", json!({})).await;
    assert!(promised.starts_with("bad-answer"), "{promised:.300}");
    let seen = outcome(&client, "js__attack", json!({"how": "environment"})).await;
    // What packages of npm look for is there, and nothing of this machine.
    let nothing = ["undefined"; 5];
    let expected = json!([{"NODE_ENV": "production"}, "function"]);
    let expected = [
        &expected.as_array().unwrap()[..],
        &nothing.map(|word| json!(word)),
    ]
    .concat();
    assert_eq!(seen, format!("answered: {}", json!(expected)));
    let read = outcome(
        &client,
        "js__attack",
        json!({"how": "read_path", "arg": "/etc/passwd"}),
    )
    .await;
    assert!(
        read.starts_with("told: hostile.js: `fs` cannot be used in a sandbox"),
        "{read:.300}"
    );
}

#[tokio::test]
async fn python_is_bounded() {
    let (hub, client) = start("py", "python/hostile.py", STATE).await;
    run(
        &hub,
        &client,
        "py",
        &[
            ("endless_loop", "timed-out"),
            ("endless_host_calls", "timed-out"),
            ("never", "told: RuntimeError"),
            ("sleep", "timed-out"),
            ("memory_bomb", "told: MemoryError"),
            ("number_bomb", "timed-out"),
            ("deep_recursion", "told: RecursionError"),
            ("deeper_recursion", "out-of-memory"),
            ("output_1gb", "told: MemoryError"),
            ("output_4mb", "too-large"),
            ("log_flood", "answered: logged"),
            ("state_flood", "told"),
            ("throw_base", "told: BaseException"),
            ("throw_trap", "trapped"),
            ("sys_exit", "told: SystemExit: 3"),
            ("os_exit", "trapped"),
            ("abort", "trapped"),
            ("interrupt", "told: KeyboardInterrupt"),
            ("process", "told"),
            ("system", "told: AttributeError"),
            ("thread", "told"),
            ("secret", "told"),
            ("self_call", "told"),
            ("nothing", "told"),
        ],
    )
    .await;
    let seen = outcome(&client, "py__attack", json!({"how": "environment"})).await;
    assert!(!seen.contains("PATH=") && !seen.contains("/root"), "{seen:.500}");
    let address = hub.address();
    let sockets = outcome(&client, "py__attack", json!({"how": "sockets", "arg": address})).await;
    assert!(sockets.starts_with("told"), "{sockets:.300}");
    for path in ["/etc/passwd", "../x", "/proc/self/environ", "//etc/passwd"] {
        let read = outcome(&client, "py__attack", json!({"how": "read_path", "arg": path})).await;
        assert!(read.starts_with("told"), "{path}: {read:.300}");
    }
}

#[tokio::test]
async fn no_engine_reaches_further_than_its_grants() {
    let server = redirector().await;
    let port = server.port;
    let grants = format!(
        ", grants: {{ http: [\"http://127.0.0.1:{port}\", \"https://*\", \"http://*\"], mcps: [\"js/*\"] }}"
    );
    let (hub, client) = start("js", "js/hostile.js", &grants).await;
    let other = hub.address().rsplit(':').next().unwrap().to_owned();
    let fetch = async |url: &str| outcome(&client, "js__attack", json!({"how": "fetch", "arg": url})).await;
    let hello = fetch(&format!("http://127.0.0.1:{port}/hello")).await;
    assert_eq!(hello, "answered: hello");
    for url in forbidden(port, &other) {
        let came = fetch(&url).await;
        assert!(came.starts_with("told"), "{url}: {came:.300}");
    }
    let deep = outcome(&client, "js__attack", json!({"how": "self_call", "arg": "js"})).await;
    assert!(deep.contains("depth-exceeded"), "{}", deep.replace('\\', ""));
    let again = outcome(&client, "js__attack", json!({"how": "reenter", "arg": "js"})).await;
    assert_eq!(again, "answered: 1 1");
    neighbour(&client, "all of it").await;
}

#[tokio::test]
async fn python_stays_in_its_folder_and_its_grants() {
    let server = redirector().await;
    let port = server.port;
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("granted");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("note.txt"), "a note").unwrap();
    let outside = folder.path().join("outside.txt");
    std::fs::write(&outside, "out of reach").unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("link.txt")).unwrap();
    let grants = format!(
        ", grants: {{ http: [\"http://127.0.0.1:{port}\", \"https://*\", \"http://*\"], mcps: [\"py/*\"], \
         files: [{{ path: \"{}\", mode: \"rw\", as: \"/files\" }}] }}",
        inside.display()
    );
    let (hub, client) = start("py", "python/hostile.py", &grants).await;
    let attack =
        async |how: &str, arg: &str| outcome(&client, "py__attack", json!({"how": how, "arg": arg})).await;
    assert_eq!(attack("read_path", "/files/note.txt").await, "answered: a note");
    let absolute = outside.display().to_string();
    for (how, arg) in [
        ("read_path", "/files/link.txt"),
        ("read_path", "/files/../outside.txt"),
        ("read_path", "/files/./../granted/../outside.txt"),
        ("read_path", &absolute),
        ("list_path", "/files/.."),
        ("list_path", "/etc"),
        ("write_path", "/files/../written.txt"),
        ("symlink", "../outside.txt"),
        ("symlink", &absolute),
        ("rename", "/files/../moved.txt"),
    ] {
        let came = attack(how, arg).await;
        assert!(!came.contains("out of reach"), "{how} {arg}: {came:.300}");
        assert!(came.starts_with("told"), "{how} {arg}: {came:.300}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(
        attack("fetch", &format!("http://127.0.0.1:{port}/hello")).await,
        "answered: hello"
    );
    let other = hub.address().rsplit(':').next().unwrap().to_owned();
    for url in forbidden(port, &other) {
        let came = attack("fetch", &url).await;
        assert!(came.starts_with("told"), "{url}: {came:.300}");
    }
    let direct = attack("sockets", &format!("127.0.0.1:{port}")).await;
    assert!(direct.starts_with("told"), "{direct:.300}");
    let deep = attack("self_call", "py").await;
    assert!(
        deep.contains("plugins call one another too deeply"),
        "{deep:.500}"
    );
    assert_eq!(attack("reenter", "py").await, "answered: 1 1");
    neighbour(&client, "all of it").await;
}

//! The attacks again in JavaScript and in Python, as the hub builds them: an engine that runs in the sandbox adds
//! nothing that reaches out of it.

use std::path::Path;

use aih_tests::{Hub, Legacy};
use serde_json::json;

use crate::{
    guest,
    hostile::{MB, forbidden, memory, neighbour, outcome, redirector},
    hub, plugin,
};

/// Attacks, each with what may come of it.
type Attacks<'a> = &'a [(&'a str, &'a [&'a str])];

async fn start(language: &str, file: &str, grants: &str) -> (Hub, Legacy) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(file);
    let entry = format!("limits: {{ time: \"2s\", memory: \"96MB\", output: \"1MB\" }}{grants}");
    let entry = plugin(language, &file.display().to_string(), &entry);
    let hub = hub(&[entry, guest("echo", "")], &[language, "echo"]).await;
    let client = hub.legacy().await;
    (hub, client)
}

async fn run(hub: &Hub, client: &Legacy, language: &str, attacks: Attacks<'_>) {
    let tool = format!("{language}__attack");
    let first = outcome(client, &tool, json!({"how": "count"})).await;
    assert_eq!(first, "answered: 1");
    let before = memory(hub);
    for (how, expected) in attacks {
        let came = outcome(client, &tool, json!({"how": how})).await;
        let fits = expected.iter().any(|word| came.starts_with(word));
        assert!(fits, "{language}: {how}: {came:.300}");
        neighbour(client, how).await;
    }
    let after = memory(hub);
    assert!(
        after < before + 400 * MB,
        "{language}: {} MB before, {} MB after",
        before / MB,
        after / MB
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
    let full: &[&str] = &["out-of-memory", "trapped", "told"];
    run(
        &hub,
        &client,
        "js",
        &[
            ("endless_loop", &["timed-out"]),
            ("endless_promises", &["timed-out", "out-of-memory", "told"]),
            ("endless_timers", &["timed-out"]),
            ("endless_pattern", &["timed-out", "told"]),
            ("never", &["timed-out", "trapped", "told"]),
            ("sleep", &["timed-out"]),
            ("memory_bomb", full),
            ("text_bomb", full),
            ("deep_recursion", full),
            ("deep_value", &["told", "trapped", "bad-answer", "out-of-memory"]),
            (
                "output_1gb",
                &["out-of-memory", "trapped", "told", "too-large", "timed-out"],
            ),
            ("output_4mb", &["too-large"]),
            ("log_flood", &["answered", "timed-out"]),
            ("state_flood", &["told", "timed-out"]),
            ("unhandled_rejection", &["answered", "told", "trapped"]),
            ("throw_text", &["told: "]),
            ("throw_null", &["told"]),
            ("throw_nothing", &["told"]),
            ("throw_trap", &["told", "trapped"]),
            ("reject_symbol", &["told"]),
            ("exit", &["told", "trapped"]),
            ("secret", &["told"]),
            ("self_call", &["told"]),
            ("bad_mime", &["bad-answer", "told"]),
            ("html_image", &["bad-answer", "told"]),
            ("bad_link", &["bad-answer", "told"]),
            ("no_link", &["bad-answer", "told"]),
            ("nothing", &["told"]),
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
        read.starts_with("told") || read.starts_with("trapped"),
        "{read:.300}"
    );
}

#[tokio::test]
async fn python_is_bounded() {
    let (hub, client) = start("py", "python/hostile.py", STATE).await;
    let full: &[&str] = &["out-of-memory", "trapped", "told"];
    run(
        &hub,
        &client,
        "py",
        &[
            ("endless_loop", &["timed-out"]),
            ("endless_host_calls", &["timed-out"]),
            ("never", &["timed-out", "trapped", "told"]),
            ("sleep", &["timed-out"]),
            ("memory_bomb", full),
            ("number_bomb", &["timed-out", "out-of-memory", "told", "trapped"]),
            ("deep_recursion", full),
            ("deeper_recursion", full),
            (
                "output_1gb",
                &["out-of-memory", "trapped", "told", "too-large", "timed-out"],
            ),
            ("output_4mb", &["too-large"]),
            ("log_flood", &["answered", "timed-out"]),
            ("state_flood", &["told"]),
            ("throw_base", &["told", "trapped"]),
            ("throw_trap", &["told", "trapped"]),
            ("sys_exit", &["told", "trapped"]),
            ("os_exit", &["trapped"]),
            ("abort", &["trapped"]),
            ("interrupt", &["told", "trapped"]),
            ("process", &["told"]),
            ("system", &["told", "trapped"]),
            ("thread", &["told"]),
            ("secret", &["told"]),
            ("self_call", &["told"]),
            ("nothing", &["told"]),
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
    assert!(
        deep.contains("depth-exceeded") || deep.starts_with("timed-out"),
        "{}",
        deep.replace('\\', "")
    );
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
        deep.contains("deep") || deep.starts_with("timed-out"),
        "{deep:.500}"
    );
    assert_eq!(attack("reenter", "py").await, "answered: 1 1");
    neighbour(&client, "all of it").await;
}

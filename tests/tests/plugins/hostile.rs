//! One attack after the other: each gets a typed error, the hub lives, its neighbours serve, and memory comes back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aih_tests::{
    Legacy,
    program::{memory_now_kb, pin_machine},
};
use serde_json::{Value, json};

use crate::{guest, hub, plugin, text};

/// What a call came to: `data.kind` of an error, `isError` with its text, or the text.
pub(crate) async fn outcome(client: &Legacy, tool: &str, arguments: Value) -> String {
    let reply = client.call(tool, arguments).await;
    let value = reply.value();
    if let Some(error) = value.get("error") {
        let kind = error["data"]["kind"].as_str().unwrap_or("error");
        return format!("{kind}: {}", error["message"].as_str().unwrap_or_default());
    }
    let result = &value["result"];
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    let word = if result["isError"] == true {
        "told"
    } else {
        "answered"
    };
    format!(
        "{word}: {text}{}",
        result
            .get("structuredContent")
            .map(Value::to_string)
            .unwrap_or_default()
    )
}

/// The same for a tool of the plugin `hostile`.
async fn attack(client: &Legacy, tool: &str, arguments: Value) -> String {
    outcome(client, &format!("hostile__{tool}"), arguments).await
}

/// The same component under two names: the time of the one runs out soon, that of the other does not on any machine. So
/// each attack has one outcome, however fast the machine is.
pub(crate) fn plugin_for(expected: &str) -> &'static str {
    match expected {
        "timed-out" => "hostile",
        _ => "patient",
    }
}

async fn start(grants: &str) -> (aih_tests::Hub, Legacy) {
    pin_machine();
    let entry =
        |time: &str| format!("limits: {{ time: \"{time}\", memory: \"64MB\", output: \"1MB\" }}{grants}");
    let file = aih_tests::tools::guest("hostile").display().to_string();
    let entries = [
        plugin("hostile", &file, &entry("1500ms")),
        plugin("patient", &file, &entry("5m")),
        guest("echo", ""),
    ];
    let hub = hub(&entries, &["hostile", "patient", "echo"]).await;
    let client = hub.legacy().await;
    (hub, client)
}

/// The neighbour serves.
pub(crate) async fn neighbour(client: &Legacy, after: &str) {
    let answer = text(client, "echo__echo", json!({"text": "still here"})).await;
    assert_eq!(answer, "still here", "after {after}");
}

#[tokio::test]
async fn time_memory_and_output_are_bounded() {
    let (hub, client) = start(", grants: { state: { max_bytes: \"2MB\" } }").await;
    neighbour(&client, "the start").await;
    let before = memory_now_kb(hub.pid());
    for (tool, arguments, expected) in [
        ("endless_loop", json!({}), "timed-out"),
        ("loop_in_host_call", json!({"how": "log"}), "timed-out"),
        ("loop_in_host_call", json!({"how": "state"}), "timed-out"),
        ("loop_in_host_call", json!({"how": "sleep"}), "timed-out"),
        ("loop_in_host_call", json!({"how": "random"}), "timed-out"),
        ("sleep_forever", json!({"how": "host"}), "timed-out"),
        ("sleep_forever", json!({"how": "wasi"}), "timed-out"),
        ("never", json!({}), "trapped"),
        ("memory_bomb", json!({}), "out-of-memory"),
        // It is told that there is no more, and goes on.
        ("memory_grow", json!({}), "answered: 60 MB"),
        ("deep_recursion", json!({"how": "stack"}), "trapped"),
        ("deep_recursion", json!({"how": "frames"}), "trapped"),
        ("panic", json!({}), "trapped"),
        ("exit", json!({"amount": 3}), "trapped"),
        ("abort", json!({}), "trapped"),
        ("output_1gb", json!({"to": "result"}), "out-of-memory"),
        (
            "output_1gb",
            json!({"to": "stdout", "megabytes": 64}),
            "answered: 64 MB",
        ),
        (
            "output_1gb",
            json!({"to": "stderr", "megabytes": 64}),
            "answered: 64 MB",
        ),
        ("many_blocks", json!({}), "too-large"),
        ("many_blocks", json!({"amount": 20_000}), "too-large"),
        ("huge_error", json!({}), "too-large"),
        ("huge_error", json!({"amount": 3}), "too-large"),
        ("log_flood", json!({}), "answered: 100000 lines"),
        (
            "progress_flood",
            json!({"amount": 100_000}),
            "answered: 100000 reports",
        ),
        ("state_flood", json!({}), "told: after 1 values"),
        ("random_huge", json!({"how": "host"}), "trapped"),
        ("random_huge", json!({"how": "wasi"}), "trapped"),
        (
            "header_flood",
            json!({"url": "http://127.0.0.1:9/"}),
            "told: the request is wrong",
        ),
        (
            "header_flood",
            json!({"url": "http://127.0.0.1:9/", "wasi": true}),
            "trapped",
        ),
        ("many_resources", json!({}), "trapped"),
    ] {
        let plugin = plugin_for(expected);
        let came = outcome(&client, &format!("{plugin}__{tool}"), arguments.clone()).await;
        assert!(came.starts_with(expected), "{tool} {arguments}: {came:.300}");
        neighbour(&client, tool).await;
    }
    // Some of it stays for the next calls; nothing piles up.
    let after = memory_now_kb(hub.pid());
    assert!(
        after < before + 400 * 1024,
        "{before} kB before, {after} kB after"
    );
}

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    let (_hub, client) = start("").await;
    for (tool, arguments, kind) in [
        ("bad_json_output", json!({"how": "resource"}), "bad-answer"),
        ("bad_json_output", json!({"how": "array"}), "bad-answer"),
        ("bad_json_output", json!({"how": "deep"}), "bad-answer"),
        ("bad_json_output", json!({"how": "nan"}), "bad-answer"),
        ("bad_json_output", json!({"how": "duplicate"}), "bad-answer"),
        ("invalid_utf8", json!({}), "trapped"),
        ("huge_structured", json!({"amount": 200}), "bad-answer"),
        ("bad_mime", json!({}), "bad-answer"),
        ("bad_resource", json!({}), "bad-answer"),
    ] {
        let came = attack(&client, tool, arguments.clone()).await;
        assert!(came.starts_with(kind), "{tool} {arguments}: {came:.300}");
        neighbour(&client, tool).await;
    }
}

#[tokio::test]
async fn nothing_is_reached_that_was_not_granted() {
    let (hub, client) = start("").await;
    let local = hub.base.clone();
    let address = hub.address().to_owned();
    for (tool, arguments) in [
        ("fetch", json!({"url": local})),
        ("fetch", json!({"url": "http://example.com/"})),
        ("wasi_http", json!({"authority": address})),
        ("tcp_connect", json!({"address": address})),
        ("tcp_listen", json!({"address": "127.0.0.1:0"})),
        ("udp_send", json!({"address": address})),
        ("dns_lookup", json!({"address": "localhost:80"})),
        ("read_path", json!({"path": "/etc/passwd"})),
        ("write_path", json!({"path": "/tmp/written-by-a-plugin"})),
        ("secret", json!({"name": "PATH"})),
        ("self_call", json!({"server": "hostile"})),
        ("state_flood", json!({})),
    ] {
        let came = attack(&client, tool, arguments.clone()).await;
        assert!(came.starts_with("told"), "{tool} {arguments}: {came:.300}");
    }
    let environment = attack(&client, "env_dump", json!({})).await;
    assert!(!environment.contains("PATH"), "{environment:.300}");
    assert!(!std::path::Path::new("/tmp/written-by-a-plugin").exists());
    neighbour(&client, "all of it").await;
}

#[tokio::test]
async fn requests_go_where_they_are_granted_and_nowhere_else() {
    let server = redirector().await;
    let port = server.port;
    let grants = format!(
        ", grants: {{ http: [\"http://127.0.0.1:{port}\", \"http://localhost:{port}\", \"https://*\", \"http://*\"] }}"
    );
    let (hub, client) = start(&grants).await;
    let fetched = attack(
        &client,
        "fetch",
        json!({"url": format!("http://127.0.0.1:{port}/hello")}),
    )
    .await;
    assert!(fetched.contains("hello"), "{fetched:.300}");
    // The name was granted, and leads to an address that was granted too.
    let named = attack(
        &client,
        "fetch",
        json!({"url": format!("http://localhost:{port}/hello")}),
    )
    .await;
    assert!(named.contains("hello"), "{named:.300}");
    let direct = attack(
        &client,
        "wasi_http",
        json!({"authority": format!("127.0.0.1:{port}"), "path": "/hello"}),
    )
    .await;
    assert!(direct.contains("hello"), "{direct:.300}");
    let other = hub.address().rsplit(':').next().unwrap().to_owned();
    for url in forbidden(port, &other) {
        let came = attack(&client, "fetch", json!({"url": url})).await;
        assert!(came.starts_with("told"), "{url}: {came:.300}");
    }
    for authority in [
        format!("127.0.0.1:{other}"),
        "169.254.169.254".to_owned(),
        format!("[::ffff:127.0.0.1]:{other}"),
    ] {
        let came = attack(&client, "wasi_http", json!({"authority": authority})).await;
        assert!(came.starts_with("told"), "{authority}: {came:.300}");
    }
    let large = attack(
        &client,
        "fetch",
        json!({"url": format!("http://127.0.0.1:{port}/endless")}),
    )
    .await;
    assert!(
        large.starts_with("told: the response is larger than"),
        "{large:.300}"
    );
    neighbour(&client, "all of it").await;
}

#[tokio::test]
async fn a_trap_while_a_body_is_on_its_way_ends_the_request_and_nothing_else() {
    let server = redirector().await;
    let authority = format!("127.0.0.1:{}", server.port);
    let (hub, client) = start(&format!(", grants: {{ http: [\"http://{authority}\"] }}")).await;
    let files = || {
        std::fs::read_dir(format!("/proc/{}/fd", hub.pid()))
            .unwrap()
            .count()
    };
    neighbour(&client, "the start").await;
    let mut before = None;
    for round in 0..4 {
        for how in ["read", "write", "both", "read-loop", "write-loop"] {
            let arguments = json!({ "authority": authority, "how": how });
            let came = attack(&client, "fail_in_body", arguments).await;
            let kind = if how.ends_with("-loop") {
                "timed-out"
            } else {
                "trapped"
            };
            assert!(came.starts_with(kind), "{how}: {came:.300}");
            neighbour(&client, how).await;
        }
        // Several at once, beside a caller who goes away in the middle.
        let many = (0..8).map(|_| {
            attack(
                &client,
                "fail_in_body",
                json!({ "authority": authority, "how": "both" }),
            )
        });
        for came in futures::future::join_all(many).await {
            assert!(came.starts_with("trapped"), "{came:.300}");
        }
        let left = attack(
            &client,
            "fail_in_body",
            json!({ "authority": authority, "how": "read-loop" }),
        );
        let _ = tokio::time::timeout(std::time::Duration::from_millis(200), left).await;
        neighbour(&client, "a caller that left").await;
        // What the first round opened for good, such as a connection that is kept, is not opened again.
        let allowed = *before.get_or_insert_with(files) + 4;
        aih_tests::eventually("the requests of dead guests end", || {
            let open = files();
            async move { (round == 0 || open <= allowed).then_some(()) }
        })
        .await;
    }
    aih_tests::eventually("the server sees the end of each request", || {
        let open = server.open.load(Ordering::SeqCst);
        async move { (open == 0).then_some(()) }
    })
    .await;
}

#[tokio::test]
async fn a_granted_folder_is_not_left() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("granted");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("note.txt"), "a note").unwrap();
    std::fs::write(folder.path().join("outside.txt"), "out of reach").unwrap();
    std::os::unix::fs::symlink(folder.path().join("outside.txt"), inside.join("link.txt")).unwrap();
    let path = inside.display();
    let (hub, client) = start(&format!(
        ", grants: {{ files: [{{ path: \"{path}\", mode: \"rw\", as: \"/files\" }}] }}"
    ))
    .await;
    assert_eq!(
        attack(&client, "read_path", json!({"path": "/files/note.txt"})).await,
        "answered: a note"
    );
    for (tool, arguments) in [
        ("read_path", json!({"path": "/files/link.txt"})),
        ("read_path", json!({"path": "/files/../outside.txt"})),
        ("read_path", json!({"path": "/outside.txt"})),
        ("read_path", json!({"path": folder.path().join("outside.txt")})),
        ("symlink_escape", json!({"target": "../outside.txt"})),
        (
            "symlink_escape",
            json!({"target": folder.path().join("outside.txt")}),
        ),
        (
            "hard_link",
            json!({"from": "/files/../outside.txt", "to": "/files/hard"}),
        ),
        ("rename", json!({"from": "/files", "to": "/elsewhere"})),
        ("write_path", json!({"path": "/files/../written.txt"})),
    ] {
        let came = attack(&client, tool, arguments.clone()).await;
        assert!(!came.contains("out of reach"), "{tool} {arguments}: {came:.300}");
        assert!(came.starts_with("told"), "{tool} {arguments}: {came:.300}");
    }
    assert!(!folder.path().join("written.txt").exists());
    drop(hub);
}

/// A server that says hello, redirects where it is told, redirects to itself, and never stops sending.
pub(crate) struct Redirector {
    pub(crate) port: u16,
    /// Answers without an end that somebody still receives.
    pub(crate) open: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Redirector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn redirector() -> Redirector {
    use axum::{
        Router, body::Body, extract::RawQuery, http::header::LOCATION, response::IntoResponse as _,
        routing::get,
    };
    let to = |RawQuery(query): RawQuery| async move {
        (
            axum::http::StatusCode::FOUND,
            [(LOCATION, query.unwrap_or_default())],
        )
            .into_response()
    };
    struct Open(Arc<AtomicUsize>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let open = Arc::<AtomicUsize>::default();
    let count = open.clone();
    let endless = move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        let open = Open(count);
        let chunk = axum::body::Bytes::from(vec![b'x'; 1 << 20]);
        Body::from_stream(futures::stream::repeat_with(move || {
            let _ = &open;
            Ok::<_, std::io::Error>(chunk.clone())
        }))
    };
    let app = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/to", get(to))
        .route(
            "/loop",
            get(|| async { (axum::http::StatusCode::FOUND, [(LOCATION, "/loop")]) }),
        )
        .route("/endless", get(endless.clone()).post(endless));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Redirector { port, open, task }
}

/// Addresses that no grant by name or by pattern leads to; what the server at `port` redirects to is as far.
pub(crate) fn forbidden(port: u16, other: &str) -> Vec<String> {
    vec![
        format!("http://127.0.0.1:{other}/"),
        format!("http://[::ffff:127.0.0.1]:{other}/"),
        "http://127.0.0.1/".to_owned(),
        "http://localhost/".to_owned(),
        "http://0/".to_owned(),
        "http://0x7f.1/".to_owned(),
        "http://2130706433/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::ffff:169.254.169.254]/".to_owned(),
        "http://[fe80::1]/".to_owned(),
        "http://[::1]/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://127.0.0.1:{port}/to?http://127.0.0.1:{other}/"),
        format!("http://127.0.0.1:{port}/to?http://169.254.169.254/"),
        format!("http://127.0.0.1:{port}/to?file:///etc/passwd"),
        format!("http://127.0.0.1:{port}/loop"),
        "http://0177.0.0.1/".to_owned(),
        "http://127.1/".to_owned(),
        "http://[64:ff9b::7f00:1]/".to_owned(),
    ]
}

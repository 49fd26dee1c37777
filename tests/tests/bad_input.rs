//! What clients must not send, against the real program: each gets the protocol's own error and a log row, and
//! the hub goes on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use aih_tests::{
    Events, Hub, KEY, Legacy, SOON, Start,
    client::http,
    eventually, key_hash,
    program::{memory_now_kb, memory_peak_kb, pin_machine},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn plain() -> Hub {
    Hub::start("").await
}

async fn alive(hub: &Hub) {
    let client = Legacy::connect(hub, "/mcp", KEY).await;
    assert!(client.tool_names().await.iter().any(|t| t == "aih__health"));
}

/// POSTs text without a session: status and body.
async fn post(hub: &Hub, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let answer = http()
        .post(hub.url(path))
        .bearer_auth(KEY)
        .header("content-type", kind)
        .header("accept", "application/json, text/event-stream")
        .body(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn code(body: &str) -> i64 {
    let value: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: `{body}`"));
    assert_eq!(value["jsonrpc"], "2.0", "{body}");
    value["error"]["code"].as_i64().unwrap()
}

#[tokio::test]
async fn what_is_no_json_is_a_parse_error() {
    let hub = plain().await;
    for text in [
        "{",
        "",
        "{\"jsonrpc\":\"2.0\",",
        "\u{feff}",
        "<html>",
        "{\"a\":1}}",
        "\"\\ud800",
    ] {
        let (status, body) = post(&hub, "/mcp", "application/json", text.to_owned()).await;
        assert_eq!((status, code(&body)), (400, -32700), "{text:?}: {body}");
    }
    let (status, body) = post(&hub, "/mcp", "application/json", vec![0x7b, 0xff, 0xfe, 0x7d]).await;
    assert_eq!((status, code(&body)), (400, -32700), "not UTF-8: {body}");
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    let outcome = client.post("{\"jsonrpc\"").await;
    assert_eq!((outcome.status.as_u16(), outcome.code()), (400, -32700));
    client.request("ping", json!({})).await.result();
}

#[tokio::test]
async fn what_is_json_and_no_message_is_an_invalid_request() {
    let hub = plain().await;
    for text in [
        "[]",
        "1",
        "null",
        "\"text\"",
        "{}",
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
    ] {
        let (status, body) = post(&hub, "/mcp", "application/json", text).await;
        assert_eq!((status, code(&body)), (400, -32600), "{text}: {body}");
    }
    alive(&hub).await;
}

#[tokio::test]
async fn another_content_type_is_not_taken() {
    let hub = plain().await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "x",
    ] {
        let (status, _) = post(&hub, "/mcp", kind, ping).await;
        assert_eq!(status, 415, "{kind}");
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        let (status, _) = post(&hub, "/mcp", kind, ping).await;
        assert_ne!(status, 415, "{kind}");
    }
}

/// Writes a request by hand and reads the status line, while the body is still being sent.
async fn send_much(hub: &Hub, path: &str, declared: bool) -> String {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 100;
    let address = hub.address();
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let length = if declared {
        format!("content-length: {}", CHUNK * CHUNKS)
    } else {
        "transfer-encoding: chunked".to_owned()
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{length}\r\n\r\n"
    );
    let writing = tokio::spawn(async move {
        if write.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        let chunk = vec![b' '; CHUNK];
        for _ in 0..CHUNKS {
            let mut part = Vec::new();
            if !declared {
                part.extend_from_slice(format!("{CHUNK:x}\r\n").as_bytes());
            }
            part.extend_from_slice(&chunk);
            if !declared {
                part.extend_from_slice(b"\r\n");
            }
            if write.write_all(&part).await.is_err() {
                return;
            }
        }
        let _ = write.write_all(b"0\r\n\r\n").await;
    });
    let mut start = vec![0; 12];
    let got = tokio::time::timeout(SOON, read.read_exact(&mut start)).await;
    writing.abort();
    match got.expect("no answer") {
        Ok(_) => String::from_utf8_lossy(&start).into_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_and_not_kept() {
    pin_machine();
    let hub = plain().await;
    alive(&hub).await;
    let before = memory_now_kb(hub.pid());
    for declared in [true, false] {
        for path in ["/mcp", "/api/v1/hooks/none/trigger"] {
            let start = send_much(&hub, path, declared).await;
            // A hook that is not there may be said to be so before the body is looked at.
            let fine = start == "HTTP/1.1 413" || (path != "/mcp" && start == "HTTP/1.1 404");
            assert!(fine, "{path}, declared: {declared}: {start}");
        }
    }
    let grown = memory_peak_kb(hub.pid()).saturating_sub(before);
    assert!(grown < 64 * 1024, "the hub grew by {grown} kB");
    alive(&hub).await;
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let hub = plain().await;
    const DEPTH: usize = 100_000;
    let lists = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}{}}}}}"#,
        "[".repeat(DEPTH),
        "]".repeat(DEPTH)
    );
    let objects = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    let open = "[".repeat(DEPTH);
    for text in [lists, objects, open] {
        let (status, body) = post(&hub, "/mcp", "application/json", text.clone()).await;
        assert_eq!(status, 400, "{body}");
        assert!([-32600, -32700].contains(&code(&body)), "{body}");
        let client = Legacy::connect(&hub, "/mcp", KEY).await;
        assert_eq!(client.post(text).await.status, 400);
        client.request("ping", json!({})).await.result();
    }
}

#[tokio::test]
async fn a_session_is_known_to_its_key_and_endpoint_only() {
    const OTHER: &str = "aih_key-of-somebody-else";
    let config = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: other, key_hash: \"{}\", permissions: [\"*\"] }}\n",
        key_hash(KEY),
        key_hash(OTHER)
    );
    let hub = Hub::start(&config).await;
    let mine = Legacy::connect(&hub, "/mcp", KEY).await;
    let ping = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    let send = async |method: Method, path: &str, key: &str, session: &str, body: &'static str| {
        http()
            .request(method, hub.url(path))
            .bearer_auth(key)
            .header("mcp-session-id", session)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let id = mine.session.clone();
    for method in [Method::POST, Method::GET, Method::DELETE] {
        assert_eq!(
            send(method.clone(), "/mcp", KEY, "no-such-session", ping).await,
            404,
            "{method}"
        );
        assert_eq!(
            send(method.clone(), "/mcp", OTHER, &id, ping).await,
            404,
            "{method}"
        );
        assert_eq!(
            send(method.clone(), "/mcp/aih", KEY, &id, ping).await,
            404,
            "{method}"
        );
    }
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(send(Method::POST, "/mcp", OTHER, &id, answer).await, 404);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(send(Method::POST, "/mcp", OTHER, &id, note).await, 404);
    assert_eq!(
        send(Method::POST, "/mcp", KEY, &id, ping).await,
        200,
        "still the owner's"
    );
    let without = http()
        .post(hub.url("/mcp"))
        .bearer_auth(KEY)
        .header("content-type", "application/json")
        .body(ping)
        .send();
    assert_eq!(without.await.unwrap().status(), 400, "no session at all");
    assert_eq!(mine.close().await, 204);
    assert_eq!(
        send(Method::POST, "/mcp", KEY, &id, ping).await,
        404,
        "after DELETE"
    );
    let path = format!("/mcp/messages?sessionId={id}");
    assert_eq!(send(Method::POST, &path, KEY, "", ping).await, 404);
}

#[tokio::test]
async fn the_old_transport_refuses_in_the_same_way() {
    let hub = plain().await;
    let stream = http().get(hub.url("/mcp/sse")).bearer_auth(KEY).send();
    let mut events = Events::new(stream.await.unwrap());
    let path = events.next().await.unwrap();
    assert!(path.starts_with("/mcp/messages?sessionId="), "{path}");
    let (status, body) = post(&hub, &path, "application/json", "{").await;
    assert_eq!((status, code(&body)), (400, -32700));
    let (status, _) = post(&hub, &path, "text/plain", "{}").await;
    assert_eq!(status, 415);
    let (status, _) = post(&hub, &path, "application/json", "[".repeat(100_000)).await;
    assert_eq!(status, 400);
    let (status, _) = post(
        &hub,
        "/mcp/messages?sessionId=unknown",
        "application/json",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
    )
    .await;
    assert_eq!(status, 404);
    let (status, _) = post(
        &hub,
        &path,
        "application/json",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
    )
    .await;
    assert_eq!(status, 202);
    let pong: Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
    assert_eq!(pong["result"], json!({}));
}

#[tokio::test]
async fn wrong_hosts_and_origins_are_turned_away() {
    let hub = plain().await;
    let port = hub.base.rsplit(':').next().unwrap();
    let send = async |path: &str, name: &str, value: &str| {
        let (status, headers, body) = hub.get(path, Some(KEY), &[(name, value)]).await;
        if status == 403 {
            let answer: Value = serde_json::from_str(&body).unwrap();
            if path.starts_with("/mcp") {
                assert_eq!(headers["content-type"], "application/json");
                assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &Value::Null));
                assert!(answer["error"]["message"].is_string(), "{body}");
            } else {
                assert_eq!(headers["content-type"], "application/problem+json");
                assert_eq!(answer["status"], 403);
            }
            assert!(!body.contains("evil"), "what was sent is not repeated: {body}");
        }
        status.as_u16()
    };
    for path in ["/api/v1/health", "/api/v1/registry", "/mcp", "/mcp/sse"] {
        assert_eq!(send(path, "host", "evil.example").await, 403, "{path}");
        assert_eq!(
            send(path, "host", &format!("127.0.0.1.evil.example:{port}")).await,
            403,
            "{path}"
        );
        assert_eq!(send(path, "origin", "https://evil.example").await, 403, "{path}");
        assert_eq!(send(path, "origin", "null").await, 403, "{path}");
    }
    assert_eq!(
        send("/api/v1/health", "host", &format!("localhost:{port}")).await,
        200
    );
    assert_eq!(
        send("/api/v1/health", "origin", &format!("http://localhost:{port}")).await,
        200
    );
    hub.logged(&["refused", "evil.example"]).await;
}

#[tokio::test]
async fn every_refusal_leaves_one_row() {
    let hub = plain().await;
    alive(&hub).await;
    let warnings = || hub.rows("\"level\":\"WARN\"");
    let cases: [(&str, &str, &str); 4] = [
        ("no JSON", "application/json", "{"),
        ("no message", "application/json", "[]"),
        ("content type", "text/plain", "{}"),
        (
            "unknown session",
            "application/json",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        ),
    ];
    for (what, kind, body) in cases {
        let before = warnings();
        let answer = http()
            .post(hub.url("/mcp"))
            .bearer_auth(KEY)
            .header("content-type", kind)
            .header("mcp-session-id", "no-such")
            .body(body)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_client_error());
        eventually(&format!("a log row for `{what}`"), || {
            std::future::ready((warnings() == before + 1).then_some(()))
        })
        .await;
    }
    let before = warnings();
    let deep = "[".repeat(100_000);
    post(&hub, "/mcp", "application/json", deep).await;
    send_much(&hub, "/mcp", true).await;
    eventually("log rows for nesting and size", || {
        std::future::ready((warnings() == before + 2).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn a_bad_configuration_ends_with_2_and_every_problem() {
    let start = Start {
        config: "name: x\nmcps:\n  external:\n    - name: one\n      url: http://localhost/\n      transport: htp\n    \
                 - name: one\n      ulr: http://localhost/\nserver:\n  listne: 127.0.0.1:0\n",
        ..Start::default()
    };
    let (code, output) = start.fail().await;
    assert_eq!(code, Some(2), "{output}");
    for word in ["transport", "htp", "ulr", "listne", "aih-config.yaml:"] {
        assert!(output.contains(word), "{word} is not in:\n{output}");
    }
    assert!(!output.contains("listening on"), "{output}");
    let no_yaml = Start {
        config: "mcps: [ {",
        ..Start::default()
    };
    assert_eq!(no_yaml.fail().await.0, Some(2));
}

#[tokio::test]
async fn heads_that_never_end_hold_nothing_up() {
    let hub = plain().await;
    let address = hub.address();
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket
            .write_all(b"POST /mcp HTTP/1.1\r\nhost: x\r\nx: ")
            .await
            .unwrap();
        slow.push(socket);
    }
    let mut big = TcpStream::connect(address).await.unwrap();
    let mut head = b"GET /mcp HTTP/1.1\r\n".to_vec();
    head.extend(std::iter::repeat_n(b'a', 2 << 20));
    let _ = big.write_all(&head).await;
    tokio::time::timeout(Duration::from_secs(5), alive(&hub))
        .await
        .unwrap();
}

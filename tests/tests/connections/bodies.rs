//! Bodies that nobody wants, that break off, or that come slowly.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use aih_tests::{
    Hub, KEY, SOON, Start,
    program::{memory_now_kb, memory_peak_kb, pin_machine},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{alive, clients, many_files};

const LENGTH: usize = 20 * 1024 * 1024;

/// Requests that are refused without a look at the whole body: path, headers, status.
fn refused() -> Vec<(&'static str, String, u16)> {
    let key = format!("authorization: Bearer {KEY}\r\n");
    let json = "content-type: application/json\r\n";
    vec![
        ("/mcp", format!("{key}{json}"), 413),
        ("/mcp", json.to_owned(), 401),
        ("/mcp", format!("{key}content-type: text/plain\r\n"), 415),
        (
            "/mcp",
            format!("{key}{json}origin: https://elsewhere.example\r\n"),
            403,
        ),
        ("/nothing", key.clone(), 404),
        ("/api/v1/health", key.clone(), 405),
        ("/api/v1/hooks/none/trigger", format!("{key}{json}"), 413),
        ("/api/v1/hooks/none/webhook", json.to_owned(), 413),
    ]
}

/// Writes all of the body, and reads only then.
fn write_first(address: &str, path: &str, headers: &str, chunked: bool) -> String {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let framing = match chunked {
        true => "transfer-encoding: chunked".to_owned(),
        false => format!("content-length: {LENGTH}"),
    };
    let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{headers}{framing}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..LENGTH / piece.len() {
        if chunked {
            socket
                .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                .unwrap();
        }
        socket.write_all(&piece).unwrap();
        if chunked {
            socket.write_all(b"\r\n").unwrap();
        }
    }
    if chunked {
        socket.write_all(b"0\r\n\r\n").unwrap();
    }
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_still_writes() {
    let hub = Hub::start("").await;
    for (path, headers, status) in refused() {
        for chunked in [false, true] {
            let (address, headers) = (hub.address().to_owned(), headers.clone());
            let writing = tokio::task::spawn_blocking(move || write_first(&address, path, &headers, chunked));
            assert_eq!(
                writing.await.unwrap(),
                format!("HTTP/1.1 {status}"),
                "{path} {chunked}"
            );
        }
    }
    alive(&hub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_still_writes_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let hub = Start {
        config: "server:\n  tls: { cert: ./cert.pem, key: ./key.pem }\n",
        files: &[
            ("cert.pem", &made.cert.pem()),
            ("key.pem", &made.signing_key.serialize_pem()),
        ],
        ..Start::default()
    };
    let hub = hub.run().await;
    for http1 in [true, false] {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true);
        let client = if http1 { builder.http1_only() } else { builder }
            .build()
            .unwrap();
        for (path, headers, status) in refused() {
            let mut request = client.post(hub.url(path)).body(vec![b'x'; LENGTH]);
            for line in headers.lines() {
                let (name, value) = line.split_once(": ").unwrap();
                request = request.header(name, value);
            }
            let answer = request
                .send()
                .await
                .unwrap_or_else(|e| panic!("{path} {http1}: {e:?}"));
            assert_eq!(answer.status().as_u16(), status, "{path} {http1}");
            answer.text().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_reported_as_that() {
    let hub = Hub::start("").await;
    for path in ["/mcp", "/api/v1/hooks/none/trigger", "/api/v1/hooks/none/webhook"] {
        for rest in [
            "content-length: 1000\r\n\r\n0123456789",
            "transfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n5\r\nab",
            "transfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let mut socket = TcpStream::connect(hub.address()).await.unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n\
                 content-type: application/json\r\n{rest}"
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(SOON, socket.read_to_end(&mut answer))
                .await
                .unwrap();
            let answer = String::from_utf8_lossy(&answer);
            let told = answer.starts_with("HTTP/1.1 400") && answer.contains("ended early");
            assert!(answer.is_empty() || told, "{path} {rest:?}: {answer}");
        }
    }
    assert_eq!(hub.rows("bytes at most"), 0, "none of them is too large");
    alive(&hub).await;
}

/// Many clients with large bodies that come slowly hold a budget and no more; another key works.
#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_hold_a_budget() {
    pin_machine();
    many_files();
    const OTHER: &str = "aih_key-of-somebody-else";
    let config = format!(
        "auth:\n  api_keys:\n    - {{ name: admin, key_hash: \"{}\", permissions: [\"*\"] }}\n    \
         - {{ name: other, key_hash: \"{}\", permissions: [\"*\"] }}\n",
        aih_tests::key_hash(KEY),
        aih_tests::key_hash(OTHER)
    );
    let hub = Hub::start(&config).await;
    alive(&hub).await;
    let before = memory_now_kb(hub.pid());
    const BODY: usize = 15 * 1024 * 1024;
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..40 {
        let address = hub.address().to_owned();
        senders.spawn(async move {
            let mut socket = TcpStream::connect(&address).await.unwrap();
            let (path, auth) = match n % 4 {
                0 => ("/api/v1/hooks/none/webhook", String::new()),
                _ => ("/mcp", format!("authorization: Bearer {OTHER}\r\n")),
            };
            let length = if n % 4 == 0 { 1_000_000 } else { BODY };
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: {address}\r\n{auth}content-type: application/json\r\n\
                 content-length: {length}\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            // All but the last byte, as far as the hub takes it.
            let most = vec![b' '; length - 1];
            let _ = tokio::time::timeout(Duration::from_secs(20), socket.write_all(&most)).await;
            let mut answer = vec![0; 12];
            let _ = tokio::time::timeout(Duration::from_secs(1), socket.read(&mut answer)).await;
            (socket, String::from_utf8_lossy(&answer).into_owned())
        });
    }
    let mut most_held = 0;
    let mut held = Vec::new();
    while let Some(sender) = tokio::time::timeout(SOON, senders.join_next()).await.unwrap() {
        held.push(sender.unwrap());
        let now = clients(&hub).await;
        most_held = most_held.max(now["request_bytes"].as_u64().unwrap());
        assert!(
            now["stranger_bytes"].as_u64().unwrap() <= 16 * 1024 * 1024,
            "{now}"
        );
        alive(&hub).await;
    }
    assert!(most_held <= 64 * 1024 * 1024, "{most_held}");
    assert!(
        held.iter().any(|(_, answer)| answer == "HTTP/1.1 503"),
        "the rest is told to come back"
    );
    let grown = memory_peak_kb(hub.pid()).saturating_sub(before);
    assert!(grown < 250 * 1024, "the hub grew by {grown} kB");
    drop(held);
}

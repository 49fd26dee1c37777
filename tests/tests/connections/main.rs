//! Connections that misbehave, against the real program: silent ones, slow ones, many of them, bodies that nobody
//! wants, HTTP/2 frames without use; what the hub holds for clients that fetch nothing; and clients behind a pipe.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bodies;
mod http2;
mod long;
mod memory;
mod pipes;
mod restart;
mod silent;
mod surface;

use aih_tests::{Hub, KEY, SOON, eventually};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// This process may open as many files as it can.
fn many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard >= 4_096, "these tests need 4,096 open files, not {hard}");
}

/// What health says of clients.
async fn clients(hub: &Hub) -> Value {
    let (status, _, body) = hub.get("/api/v1/health", Some(KEY), &[]).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["clients"].clone()
}

/// How many connections the hub closed or refused for this reason.
async fn closed(hub: &Hub, reason: &str) -> u64 {
    let clients = clients(hub).await;
    let all = clients["closed"].as_array().unwrap();
    all.iter().find(|row| row["reason"] == reason).unwrap()["count"]
        .as_u64()
        .unwrap()
}

/// One request with the key over a connection of its own: the status line.
async fn ask(hub: &Hub) -> Option<String> {
    let mut socket = TcpStream::connect(hub.address()).await.ok()?;
    exchange(&mut socket, hub, true).await
}

/// `GET /api/v1/registry` on this connection: the status line. With `close` it is the last request of it.
async fn exchange(socket: &mut TcpStream, hub: &Hub, close: bool) -> Option<String> {
    let close = if close { "connection: close\r\n" } else { "" };
    let head = format!(
        "HEAD /api/v1/registry HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {KEY}\r\n{close}\r\n",
        hub.address()
    );
    socket.write_all(head.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 512];
        let read = tokio::time::timeout(SOON, socket.read(&mut byte))
            .await
            .ok()?
            .ok()?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&byte[..read]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().next().map(str::to_owned)
}

/// A client with a key is served.
async fn alive(hub: &Hub) {
    eventually("a client with a key is served", || async {
        ask(hub).await.filter(|line| line.starts_with("HTTP/1.1 200"))
    })
    .await;
}

/// Reads until the connection ends; whether it did within the time.
async fn ends(socket: &mut TcpStream) -> bool {
    let mut sink = Vec::new();
    tokio::time::timeout(SOON, socket.read_to_end(&mut sink))
        .await
        .is_ok()
}

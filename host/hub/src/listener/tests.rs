//! A listener with short deadlines, and raw clients that misbehave.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Extension, Router, body::Body, http::HeaderMap, response::IntoResponse as _, routing};
use bytes::Bytes;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{
    limits::{BodyLimits, DrainLimits},
    *,
};
use crate::{
    access::{AccessState, Guard, GuardConfig, KeyId, KeyRing, KeyedConnection, Principal},
    memory::Memory,
};

mod early;
mod floods;
mod frames;

use frames::*;

/// Deadlines that a test can wait for.
const SHORT: Duration = Duration::from_millis(400);
/// Longer than any deadline, on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);

fn short() -> Limits {
    let body = BodyLimits {
        grace: SHORT,
        rate: 100_000,
        total: SOON,
    };
    Limits {
        first_byte: SHORT,
        handshake: SHORT,
        head: SHORT * 2,
        idle: SHORT,
        write: SHORT,
        goodbye: SHORT,
        body,
        unauthenticated_body: body,
        drain: DrainLimits {
            total: SHORT * 2,
            max_silence: SHORT,
            bytes: 64 * 1024 * 1024,
        },
        ..Limits::for_files(1_024)
    }
}

/// Deadlines that play no part.
fn long() -> Limits {
    Limits::for_files(65_536)
}

struct Server {
    address: SocketAddr,
    registry: Arc<Registry>,
    memory: Arc<Memory>,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn take(memory: Arc<Memory>, headers: HeaderMap, body: Body) -> (StatusCode, String) {
    let mut permit = memory.requests.of(KeyId::ANONYMOUS).permit();
    let declared = headers
        .get("content-length")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match body::read(body, declared, 16 * 1024 * 1024, &mut permit).await {
        Ok(bytes) => (StatusCode::OK, bytes.len().to_string()),
        Err(error) => (error.status(), error.to_string()),
    }
}

async fn start(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let guard = Guard::new(&GuardConfig {
        listen: address,
        public_url: None,
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        ip_allowlist: Vec::new(),
    });
    let memory = Arc::<Memory>::default();
    let bodies = memory.clone();
    let key = |Extension(KeyedConnection(connection)): Extension<KeyedConnection>| async move {
        connection.note_key(Principal::hook("x").id);
        "keyed"
    };
    let large = || async { Bytes::from(vec![b'x'; 64 * 1024 * 1024]) };
    let router = Router::new()
        .route("/", routing::get(|| async { "hello" }))
        .route("/key", routing::get(key))
        .route("/large", routing::get(large))
        .route("/never", routing::get(std::future::pending::<&'static str>))
        .route(
            "/events",
            routing::get(|| async {
                Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()).into_response()
            }),
        )
        .route(
            "/refuse",
            routing::post(|| async { (StatusCode::UNAUTHORIZED, "no") }),
        )
        .route(
            "/body",
            routing::post(move |headers: HeaderMap, body: Body| take(bodies.clone(), headers, body)),
        );
    let registry = Registry::new(limits);
    let stop = CancellationToken::new();
    let with = Listener {
        tls: None,
        router,
        access: AccessState::new(KeyRing::default(), guard.unwrap(), true, None).unwrap(),
        registry: registry.clone(),
    };
    tokio::spawn(serve(listener, with, stop.clone(), Duration::ZERO));
    Server {
        address,
        registry,
        memory,
        stop,
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn send(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut socket = self.connect().await;
        socket.write_all(bytes.as_ref()).await.unwrap();
        socket
    }

    fn closed(&self, reason: Reason) -> u64 {
        let counts = self.registry.counts();
        counts.closed.iter().find(|(r, _)| *r == reason).unwrap().1
    }

    /// Another client is served at once.
    async fn alive(&self) {
        let mut socket = self
            .send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await;
        let answer = rest(&mut socket).await;
        assert!(answer.ends_with("hello"), "{answer}");
    }
}

/// All that comes until the connection ends.
async fn rest(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(SOON, socket.read_to_end(&mut all)).await;
    // A reset ends it too.
    let _ = read.expect("the connection should have ended");
    String::from_utf8_lossy(&all).into_owned()
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < SOON, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_become_a_request_is_closed() {
    let server = start(short()).await;
    let starts: [(&[u8], Reason); 7] = [
        (b"", Reason::Silent),
        (b"G", Reason::SlowHead),
        (b"GET / HTTP/1.1\r\nhost: x\r\n", Reason::SlowHead),
        (b"\r\n\r\n", Reason::SlowHead),
        (&PREFACE[..5], Reason::SlowHead),
        (&PREFACE[..23], Reason::SlowHead),
        (PREFACE, Reason::SlowHead),
    ];
    for (bytes, reason) in starts {
        let before = server.closed(reason);
        let mut socket = server.send(bytes).await;
        rest(&mut socket).await;
        assert_eq!(server.closed(reason), before + 1, "{bytes:?}");
    }
    // With settings, but never a request.
    let mut socket = server.send(hello(65_535)).await;
    rest(&mut socket).await;
    server.alive().await;
    until("all places are given back", || {
        server.registry.counts().unauthenticated == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_is_closed_in_spite_of_its_bytes() {
    let server = start(short()).await;
    let (mut read, mut write) = server.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        write.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        while write.write_all(b"x-more: y\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 8).await;
        }
    });
    let mut all = Vec::new();
    let _ = tokio::time::timeout(SOON, read.read_to_end(&mut all))
        .await
        .unwrap();
    assert_eq!(server.closed(Reason::SlowHead), 1);
    trickle.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_end_and_busy_ones_stay() {
    let server = start(short()).await;
    let mut max_silence = server.send("GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut never = server.send("GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut http2 = server
        .send([hello(65_535), get(1, "/"), get(3, "/events")].concat())
        .await;
    let mut idle = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut idle2 = server.send([hello(65_535), get(1, "/")].concat()).await;
    let answer = rest(&mut idle).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    // HTTP/2 is told so, and can send its next request elsewhere.
    wait_for(&mut idle2, GOAWAY, 0).await;
    while next(&mut idle2).await.is_some() {}
    assert_eq!(server.closed(Reason::Idle), 2);
    tokio::time::sleep(SHORT * 3).await;
    assert_eq!(server.registry.counts().unauthenticated, 3);
    for socket in [&mut max_silence, &mut never] {
        let more = tokio::time::timeout(SHORT, rest(socket)).await;
        assert!(more.is_err(), "{more:?}");
    }
    wait_for(&mut http2, DATA, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_least_speed() {
    let server = start(short()).await;
    let post = |length: usize| format!("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    // One byte and no more, one byte now and then, and nothing at all.
    let mut one = server.send(post(1_000_000) + "x").await;
    let mut none = server.send(post(10)).await;
    let (mut read, mut write) = server.send(post(1_000_000)).await.into_split();
    let trickle = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 8).await;
        }
    });
    let mut trickled = vec![0; 24];
    tokio::time::timeout(SOON, read.read_exact(&mut trickled))
        .await
        .unwrap()
        .unwrap();
    assert!(
        trickled.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&trickled)
    );
    for socket in [&mut one, &mut none] {
        let answer = rest(socket).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    drop(read);
    trickle.await.unwrap();
    // Slow, but faster than the least speed: it takes several times the grace.
    let mut honest = server.send(post(800_000)).await;
    for _ in 0..20 {
        honest.write_all(&[b'x'; 40_000]).await.unwrap();
        tokio::time::sleep(SHORT / 5).await;
    }
    let mut answer = vec![0; 12];
    honest.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_closed_over_http_1() {
    let server = start(short()).await;
    let mut socket = server.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    until("it is closed", || server.closed(Reason::Stalled) == 1).await;
    rest(&mut socket).await;
    server.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_read_is_reset_and_the_others_go_on_over_http_2() {
    let server = start(short()).await;
    for window in [0, 1, 10_000] {
        let mut socket = server
            .send([hello(window), get(1, "/large"), get(3, "/never")].concat())
            .await;
        wait_for(&mut socket, RST_STREAM, 1).await;
        // The other request still runs, and new ones are answered.
        let more = frame(WINDOW_UPDATE, 0, 5, &1_000_u32.to_be_bytes());
        socket.write_all(&[get(5, "/"), more].concat()).await.unwrap();
        assert_eq!(wait_for(&mut socket, DATA, 5).await, b"hello", "{window}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_that_read_are_served() {
    let server = start(short()).await;
    let mut socket = server
        .send("GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    let (mut all, mut piece) = (0, vec![0; 4 * 1024 * 1024]);
    loop {
        let read = tokio::time::timeout(SOON, socket.read(&mut piece))
            .await
            .unwrap()
            .unwrap();
        if read == 0 {
            break;
        }
        all += read;
        tokio::time::sleep(SHORT / 100).await;
    }
    assert!(all > 64 * 1024 * 1024, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_connections_are_closed_first() {
    let server = start(Limits {
        connections: 40,
        unauthenticated: 20,
        per_address: 10,
        ..long()
    })
    .await;
    let mut keyed = Vec::new();
    for _ in 0..20 {
        let mut socket = server.send("GET /key HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(socket.read(&mut [0; 1_000]).await.unwrap() > 0);
        keyed.push(socket);
    }
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(server.connect().await);
    }
    until("the strangers are counted", || {
        server.closed(Reason::Crowded) == 90
    })
    .await;
    let counts = server.registry.counts();
    assert_eq!((counts.unauthenticated, counts.keyed), (10, 20));
    for socket in &mut keyed {
        socket
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        assert!(socket.read(&mut [0; 1_000]).await.unwrap() > 0);
    }
    server.alive().await;
}

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
    access::{AccessState, Guard, GuardConfig, KeyId, KeyRing, Principal},
    memory::Memory,
};

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
        stranger_body: body,
        drain: DrainLimits {
            total: SHORT * 2,
            quiet: SHORT,
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
    let key = |Extension(connection): Extension<Arc<Connection>>| async move {
        connection.show_key(Principal::hook("x").id);
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
        access: AccessState::new(KeyRing::default(), guard.unwrap(), true).unwrap(),
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

// ---- HTTP/2 by hand -----------------------------------------------------------------------------------

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Preface and SETTINGS; `window` is what the server may send of each stream.
fn hello(window: u32) -> Vec<u8> {
    let mut setting = vec![0, 4];
    setting.extend(window.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat()
}

fn literal(index: u8, text: &str) -> Vec<u8> {
    let mut out = vec![index, u8::try_from(text.len()).unwrap()];
    out.extend(text.as_bytes());
    out
}

fn head(method: u8, path: &str) -> Vec<u8> {
    // RFC 7541, appendix A: 2 GET, 3 POST, 6 http, 4 :path, 1 :authority.
    let mut out = vec![0x80 | method, 0x86];
    out.extend(literal(0x04, path));
    out.extend(literal(0x01, "x"));
    out
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(2, path))
}

/// The next frame: kind, stream, payload. Nothing at the end of the connection.
async fn next(socket: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    let read = tokio::time::timeout(SOON, socket.read_exact(&mut head)).await;
    read.expect("a frame or the end").ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload).await.ok()?;
    Some((head[3], stream, payload))
}

/// Waits for a frame of this kind.
async fn wait_for(socket: &mut TcpStream, kind: u8, stream: u32) -> Vec<u8> {
    loop {
        let (got, of, payload) = next(socket).await.expect("the connection goes on");
        if (got, of) == (kind, stream) {
            return payload;
        }
    }
}

// ---- deadlines ----------------------------------------------------------------------------------------

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
        server.registry.counts().strangers == 0
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
    let mut quiet = server.send("GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await;
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
    assert_eq!(server.registry.counts().strangers, 3);
    for socket in [&mut quiet, &mut never] {
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

// ---- early answers ------------------------------------------------------------------------------------

/// A client that writes all before it reads anything.
fn blocking(address: SocketAddr, head: String, body: usize, chunked: bool) -> String {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..body / piece.len() {
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
async fn an_early_answer_reaches_a_client_that_writes_first() {
    const LENGTH: usize = 20 * 1024 * 1024;
    let server = start(long()).await;
    for (path, status) in [
        ("/refuse", "401"),
        ("/body", "413"),
        ("/nothing", "404"),
        ("/key", "405"),
    ] {
        for chunked in [false, true] {
            let framing = match chunked {
                true => "transfer-encoding: chunked".to_owned(),
                false => format!("content-length: {LENGTH}"),
            };
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n");
            let address = server.address;
            let answer = tokio::task::spawn_blocking(move || blocking(address, head, LENGTH, chunked));
            assert_eq!(
                answer.await.unwrap(),
                format!("HTTP/1.1 {status}"),
                "{path} {chunked}"
            );
        }
    }
    // A head that is too long, and what is no HTTP.
    for (start, status) in [("GET / HTTP/1.1\r\nx: ", "431"), ("nonsense\r\n\r\n", "400")] {
        let (address, start) = (server.address, start.to_owned());
        let answer = tokio::task::spawn_blocking(move || blocking(address, start, 2 * 1024 * 1024, false));
        assert_eq!(answer.await.unwrap(), format!("HTTP/1.1 {status}"));
    }
    assert_eq!(server.memory.requests.all().used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_after_an_early_answer() {
    let server = start(long()).await;
    let mut socket = server.connect().await;
    for _ in 0..3 {
        let head = "POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
        let mut answer = vec![0; 1_000];
        let read = socket.read(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 401"),
            "{}",
            String::from_utf8_lossy(&answer[..read])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_before_it_sends_is_refused_without_being_asked_to_send() {
    let server = start(short()).await;
    let head = "POST /refuse HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n";
    let mut socket = server.send(head).await;
    let answer = rest(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let head = head.replace("/refuse", "/body");
    let mut socket = server.send(head).await;
    let mut answer = vec![0; 25];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_not_called_too_large() {
    let server = start(long()).await;
    let broken = [
        "content-length: 1000\r\n\r\n0123456789",
        "content-length: 16777216\r\n\r\n0123456789",
        "transfer-encoding: chunked\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nab",
        "transfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        "transfer-encoding: chunked\r\n\r\nzz\r\n",
    ];
    for rest_of in broken {
        let mut socket = server
            .send(format!("POST /body HTTP/1.1\r\nhost: x\r\n{rest_of}"))
            .await;
        socket.shutdown().await.unwrap();
        let answer = rest(&mut socket).await;
        // A client that is gone may get nothing.
        let told = answer.starts_with("HTTP/1.1 400") && answer.contains("ended early");
        assert!(answer.is_empty() || told, "{rest_of:?}: {answer}");
    }
}

// ---- HTTP/2 that is no use ----------------------------------------------------------------------------

/// Sends `bytes` again and again. Gives how many bytes went until the connection ended, `limit` at most.
async fn flood(socket: TcpStream, bytes: Vec<u8>, limit: usize) -> usize {
    let (mut read, mut write) = socket.into_split();
    let reader = tokio::spawn(async move { while matches!(read.read(&mut [0; 8192]).await, Ok(1..)) {} });
    let many = bytes.repeat((64 * 1024 / bytes.len()).max(1));
    let mut sent = 0;
    while sent < limit {
        match tokio::time::timeout(SOON, write.write_all(&many)).await {
            Ok(Ok(())) => sent += many.len(),
            _ => break,
        }
    }
    reader.abort();
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_without_use_end_the_connection() {
    const LIMIT: usize = 256 * 1024 * 1024;
    let server = start(long()).await;
    let floods: [(&str, Vec<u8>); 5] = [
        ("ping", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])),
        ("window update", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", frame(0xbb, 0, 0, &[0; 100])),
        ("priority", frame(2, 0, 1, &[0, 0, 0, 3, 16])),
    ];
    for (name, bytes) in floods {
        for first in [
            hello(65_535),
            [hello(65_535), get(1, "/")].concat(),
            [hello(65_535), get(1, "/never")].concat(),
        ] {
            let socket = server.send(first).await;
            let sent = flood(socket, bytes.clone(), LIMIT).await;
            assert!(sent < LIMIT, "{name}");
        }
        server.alive().await;
    }
    // Headers that never end.
    let mut start = [hello(65_535), frame(HEADERS, 0, 1, &head(2, "/"))].concat();
    let socket = server.send(&start).await;
    assert!(flood(socket, frame(CONTINUATION, 0, 1, &[0; 64]), LIMIT).await < LIMIT);
    // Requests that are cancelled as soon as they are sent.
    for path in ["/never", "/large"] {
        start = hello(65_535);
        let socket = server.send(&start).await;
        let mut stream = 1;
        let (mut read, mut write) = socket.into_split();
        let reader = tokio::spawn(async move { while matches!(read.read(&mut [0; 8192]).await, Ok(1..)) {} });
        let mut sent = 0;
        // The buffers of both ends take some megabytes before anybody looks at them.
        while sent < LIMIT {
            let mut many = Vec::new();
            while many.len() < 32 * 1024 {
                many.extend(get(stream, path));
                many.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                stream += 2;
            }
            if write.write_all(&many).await.is_err() {
                break;
            }
            sent += many.len();
        }
        assert!(sent < LIMIT, "{path}");
        reader.abort();
        server.alive().await;
    }
    assert!(server.closed(Reason::Flood) > 0);
    until("all places are given back", || {
        server.registry.counts().strangers == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_now_and_then_is_fine() {
    let server = start(long()).await;
    let mut socket = server.send([hello(65_535), get(1, "/key")].concat()).await;
    wait_for(&mut socket, DATA, 1).await;
    for stream in (3..200).step_by(2) {
        let cancel = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        socket.write_all(&get(stream, "/never")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        socket.write_all(&cancel).await.unwrap();
    }
    socket.write_all(&get(201, "/")).await.unwrap();
    assert_eq!(wait_for(&mut socket, DATA, 201).await, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_frames_of_one_byte_costs_no_more_than_its_bytes() {
    let server = start(long()).await;
    let mut socket = server.send([hello(65_535), get(1, "/key")].concat()).await;
    wait_for(&mut socket, DATA, 1).await;
    let mut bytes = frame(HEADERS, END_HEADERS, 3, &head(3, "/body"));
    for _ in 0..50_000 {
        bytes.extend(frame(DATA, 0, 3, b"x"));
    }
    bytes.extend(frame(DATA, END_STREAM, 3, b"x"));
    // It may be ended for so many small frames, or be taken: the hub goes on, and holds nothing afterwards.
    let _ = socket.write_all(&bytes).await;
    loop {
        match next(&mut socket).await {
            None | Some((GOAWAY, ..)) => break,
            Some((DATA, 3, payload)) => {
                assert_eq!(payload, b"50001");
                break;
            }
            Some(_) => {}
        }
    }
    server.alive().await;
    until("nothing is held", || server.memory.requests.all().used() == 0).await;
}

// ---- how many -----------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_room_and_keys_stay() {
    let server = start(Limits {
        connections: 40,
        strangers: 20,
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
    assert_eq!((counts.strangers, counts.keyed), (10, 20));
    for socket in &mut keyed {
        socket
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        assert!(socket.read(&mut [0; 1_000]).await.unwrap() > 0);
    }
    server.alive().await;
}

//! HTTP/2 frames without use, one by one: each ends its own connection at most, and others are served meanwhile.

use std::time::{Duration, Instant};

use aih_tests::{
    Hub, KEY, SOON,
    program::{memory_now_kb, memory_peak_kb, pin_machine},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{alive, clients};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Bytes of a flood at most.
const LIMIT: usize = 64 * 1024 * 1024;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

fn hello(window: u32) -> Vec<u8> {
    let mut setting = vec![0, 4];
    setting.extend(window.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat()
}

/// A literal field without indexing: an index of the static table, or a name.
fn field(index: u8, name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![index];
    for text in [name, value] {
        if !text.is_empty() {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend(text.as_bytes());
        }
    }
    out
}

/// A header block; with the key or without.
fn head(method: u8, path: &str, keyed: bool) -> Vec<u8> {
    let mut out = vec![0x80 | method, 0x86];
    out.extend(field(0x04, "", path));
    out.extend(field(0x01, "", "localhost"));
    if keyed {
        out.extend(field(0x00, "x-api-key", KEY));
        out.extend(field(0x00, "content-type", "application/json"));
    }
    out
}

fn get(stream: u32, path: &str, keyed: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(2, path, keyed))
}

/// Sends pieces until the connection ends; whether it did before `LIMIT` bytes.
async fn ends_under(hub: &Hub, start: Vec<u8>, mut piece: impl FnMut(u32) -> Vec<u8>) -> bool {
    let socket = TcpStream::connect(hub.address()).await.unwrap();
    let (mut read, mut write) = socket.into_split();
    let reader = tokio::spawn(async move { while matches!(read.read(&mut [0; 16_384]).await, Ok(1..)) {} });
    let mut sent = 0;
    let mut ended = write.write_all(&start).await.is_err();
    let mut round = 0;
    while !ended && sent < LIMIT {
        let mut many = Vec::new();
        while many.len() < 32 * 1024 {
            many.extend(piece(round));
            round += 1;
        }
        sent += many.len();
        ended = !matches!(
            tokio::time::timeout(SOON, write.write_all(&many)).await,
            Ok(Ok(()))
        );
    }
    reader.abort();
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_their_own_connection_only() {
    pin_machine();
    let hub = Hub::start("").await;
    alive(&hub).await;
    let before = memory_now_kb(hub.pid());
    // Another client, all the while.
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let url = hub.url("/api/v1/health");
    let watcher = tokio::spawn(async move {
        let client = aih_tests::client::http();
        let mut worst = Duration::ZERO;
        while stopped.try_recv().is_err() {
            let began = Instant::now();
            let answer = client.get(&url).bearer_auth(KEY).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            worst = worst.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        worst
    });
    let cancel = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let id = |round: u32| round * 2 + 1;
    for keyed in [false, true] {
        let start = [hello(65_535), get(1, "/api/v1/health", keyed)].concat();
        let simple: [(&str, Vec<u8>); 5] = [
            ("ping", frame(PING, 0, 0, &[0; 8])),
            ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])),
            ("window update", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
            ("priority", frame(2, 0, 3, &[0, 0, 0, 1, 16])),
            ("unknown", frame(0xbb, 0, 0, &[0; 100])),
        ];
        for (name, bytes) in simple {
            assert!(
                ends_under(&hub, start.clone(), |_| bytes.clone()).await,
                "{name}, key: {keyed}"
            );
        }
        let endless = [hello(65_535), frame(HEADERS, 0, 1, &head(2, "/", keyed))].concat();
        let more = frame(CONTINUATION, 0, 1, &field(0x00, "x-more", "and more"));
        assert!(
            ends_under(&hub, endless.clone(), |_| more.clone()).await,
            "continuation"
        );
        let empty = frame(CONTINUATION, 0, 1, b"");
        assert!(
            ends_under(&hub, endless, |_| empty.clone()).await,
            "empty continuation"
        );
        let reset = |n| [get(id(n), "/api/v1/health", keyed), cancel(id(n))].concat();
        assert!(
            ends_under(&hub, hello(65_535), reset).await,
            "rapid reset, key: {keyed}"
        );
        let begin = |n| {
            [
                frame(HEADERS, END_HEADERS, id(n), &head(3, "/mcp", keyed)),
                cancel(id(n)),
            ]
            .concat()
        };
        assert!(
            ends_under(&hub, hello(65_535), begin).await,
            "rapid reset of bodies, key: {keyed}"
        );
        // More streams at a time than allowed: the hub resets them itself, which has a bound too.
        let open = |n| frame(HEADERS, END_HEADERS, id(n), &head(3, "/mcp", keyed));
        assert!(
            ends_under(&hub, hello(65_535), open).await,
            "too many streams, key: {keyed}"
        );
        let nothing = [
            hello(65_535),
            frame(HEADERS, END_HEADERS, 1, &head(3, "/mcp", keyed)),
        ]
        .concat();
        assert!(
            ends_under(&hub, nothing, |_| frame(DATA, 0, 1, b"")).await,
            "empty data, key: {keyed}"
        );
    }
    stop.send(()).unwrap();
    let worst = watcher.await.unwrap();
    assert!(worst < Duration::from_secs(5), "another client waited {worst:?}");
    let grown = memory_peak_kb(hub.pid()).saturating_sub(before);
    assert!(grown < 150 * 1024, "the hub grew by {grown} kB");
    let now = clients(&hub).await;
    assert!(
        now["closed"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["reason"] == "flood" && row["count"] != 0),
        "{now}"
    );
    alive(&hub).await;
}

/// Clients that let the hub send nothing: what waits for them is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_window_hold_little() {
    pin_machine();
    let hub = Hub::start("").await;
    alive(&hub).await;
    let before = memory_now_kb(hub.pid());
    let mut held = Vec::new();
    for window in [0, 1] {
        for _ in 0..10 {
            let mut socket = TcpStream::connect(hub.address()).await.unwrap();
            socket.write_all(&hello(window)).await.unwrap();
            for n in 0..100 {
                socket
                    .write_all(&get(n * 2 + 1, "/api/v1/openapi.json", true))
                    .await
                    .unwrap();
            }
            held.push(socket);
        }
    }
    alive(&hub).await;
    let grown = memory_peak_kb(hub.pid()).saturating_sub(before);
    assert!(grown < 150 * 1024, "the hub grew by {grown} kB");
    assert_eq!(held.len(), 20);
}

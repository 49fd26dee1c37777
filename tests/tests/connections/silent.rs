//! Connections that say nothing.

use std::time::{Duration, Instant};

use aih_tests::{KEY, Legacy, Start, eventually, fixture::processes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{alive, ask, clients, closed, ends, exchange, many_files};

/// The usual limit of 1,024 files, and more silent connections than that.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_stop_the_hub() {
    many_files();
    let hub = Start {
        open_files: Some((1_024, 1_024)),
        ..Start::default()
    }
    .run()
    .await;
    let client = Legacy::connect(&hub, "/mcp", KEY).await;
    let mut kept = TcpStream::connect(hub.address()).await.unwrap();
    assert!(
        exchange(&mut kept, &hub, false)
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    let mut silent = Vec::new();
    for n in 0..2_000 {
        silent.push(TcpStream::connect(hub.address()).await.unwrap());
        if n % 500 == 499 {
            let began = Instant::now();
            alive(&hub).await;
            assert!(began.elapsed() < Duration::from_secs(5), "a new client waits");
            assert!(
                exchange(&mut kept, &hub, false)
                    .await
                    .unwrap()
                    .starts_with("HTTP/1.1 200"),
                "it had a key"
            );
            assert!(!client.tool_names().await.is_empty());
        }
    }
    let now = clients(&hub).await;
    let limit = now["limit"].as_u64().unwrap();
    assert!(
        limit < 1_024 && now["strangers"].as_u64().unwrap() <= limit / 2,
        "{now}"
    );
    assert!(closed(&hub, "crowded").await >= 1_000, "{now}");
    // Those that are left end by themselves, all within the deadline of the first byte.
    for socket in &mut silent {
        assert!(ends(socket).await);
    }
    assert!(closed(&hub, "silent").await > 0);
    alive(&hub).await;
}

/// Where even the hub's own files are gone, it still accepts.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_with_few_files_goes_on() {
    many_files();
    let hub = Start {
        open_files: Some((90, 90)),
        ..Start::default()
    }
    .run()
    .await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(hub.address()).await.unwrap());
    }
    alive(&hub).await;
    drop(silent);
    alive(&hub).await;
}

/// A proxy in front: a thousand connections from one address, each with a key.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_keyed_connections_of_one_address_stay() {
    many_files();
    let hub = Start {
        open_files: Some((1_024, 4_096)),
        ..Start::default()
    }
    .run()
    .await;
    let mut keyed = Vec::new();
    for _ in 0..1_000 {
        let mut socket = TcpStream::connect(hub.address()).await.unwrap();
        assert!(
            exchange(&mut socket, &hub, false)
                .await
                .unwrap()
                .starts_with("HTTP/1.1 200")
        );
        keyed.push(socket);
    }
    let mut silent = Vec::new();
    for _ in 0..1_500 {
        silent.push(TcpStream::connect(hub.address()).await.unwrap());
    }
    alive(&hub).await;
    for socket in &mut keyed {
        let line = exchange(socket, &hub, false).await;
        assert!(line.is_some_and(|line| line.starts_with("HTTP/1.1 200")));
    }
    assert!(clients(&hub).await["keyed"].as_u64().unwrap() >= 1_000);
}

/// The real deadlines: 10 s for the first byte, and for a TLS handshake.
#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_after_ten_seconds() {
    let hub = aih_tests::Hub::start("").await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Start {
        config: "server:\n  tls: { cert: ./cert.pem, key: ./key.pem }\n",
        files: &[
            ("cert.pem", &made.cert.pem()),
            ("key.pem", &made.signing_key.serialize_pem()),
        ],
        ..Start::default()
    };
    let tls = tls.run().await;
    let began = Instant::now();
    let mut plain = TcpStream::connect(hub.address()).await.unwrap();
    let mut none = TcpStream::connect(tls.address()).await.unwrap();
    // The start of a ClientHello, one byte a second.
    let mut slow = TcpStream::connect(tls.address()).await.unwrap();
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    let mut sent = hello.iter().cycle();
    while slow.write_all(&[*sent.next().unwrap()]).await.is_ok() {
        let more = tokio::time::timeout(Duration::from_secs(1), slow.read(&mut [0; 64])).await;
        if more.is_ok() {
            break;
        }
    }
    assert!(ends(&mut plain).await && ends(&mut none).await);
    assert!(began.elapsed() > Duration::from_secs(9), "{:?}", began.elapsed());
    // Many half handshakes at a time leave room for whole ones.
    let mut half = Vec::new();
    for _ in 0..200 {
        let mut socket = TcpStream::connect(tls.address()).await.unwrap();
        socket.write_all(&hello).await.unwrap();
        half.push(socket);
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let health = client.get(tls.url("/api/v1/health")).send().await.unwrap();
    assert_eq!(health.status(), 200);
}

/// An address outside of `server.ip_allowlist` does not get as far as a handshake or an answer.
#[tokio::test]
async fn addresses_outside_of_the_list_are_closed_at_once() {
    let hub = aih_tests::Hub::start("server:\n  ip_allowlist: [\"192.0.2.0/24\"]\n").await;
    for _ in 0..3 {
        let mut socket = TcpStream::connect(hub.address()).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket
            .write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await;
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(ask(&hub).await.is_none());
    hub.logged(&["refused", "ip_allowlist"]).await;
}

/// The hub raises its own limit of open files; a child gets the one that the hub was started with.
#[tokio::test]
async fn children_get_the_limit_of_files_back() {
    let config = "mcps:\n  local:\n    - { name: limits, command: sh, args: [\"-c\", \"ulimit -Sn > limit.txt; sleep 60\"] }\n";
    let hub = Start {
        config,
        open_files: Some((512, 2_048)),
        ..Start::default()
    }
    .run()
    .await;
    let of = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap()
            .to_owned();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!(of(hub.pid()), "2048");
    let file = hub.folder.path().join("limit.txt");
    let child = eventually("the child wrote its limit", || async {
        std::fs::read_to_string(&file)
            .ok()
            .filter(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(child.trim(), "512", "{:?}", processes("limit.txt"));
}

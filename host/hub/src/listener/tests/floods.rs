//! HTTP/2 frames without use.

use super::*;

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
        server.registry.counts().unauthenticated == 0
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

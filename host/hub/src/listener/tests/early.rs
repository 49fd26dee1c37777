//! Answers that come before the request has been read.

use super::*;

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
    // A head that is too long, and what is not HTTP.
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

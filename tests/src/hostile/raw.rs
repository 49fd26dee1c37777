//! Below HTTP: a port that speaks no protocol, and one that never speaks.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Answers every connection with bytes that are not HTTP.
pub(crate) async fn noise(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut some = [0_u8; 1024];
            let _ = stream.read(&mut some).await;
            let _ = stream
                .write_all(b"\x00\x01\x02 220 this is no HTTP\r\n\xff\xff")
                .await;
        });
    }
}

/// Accepts and says nothing.
pub(crate) async fn hole(listener: TcpListener) {
    let mut held = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        held.push(stream);
    }
}

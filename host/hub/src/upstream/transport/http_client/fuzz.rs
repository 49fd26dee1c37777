//! The answer of a server that sends any bytes, read over a connection that is not a socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Body, HttpConnection};

/// Longest read of an answer that is there already: one that waits for more than it was sent never ends.
const LIMIT: Duration = Duration::from_secs(10);

/// A peer that has sent all that it will ever send, in pieces, and takes everything.
struct Sent {
    rest: Bytes,
    piece: usize,
}

impl AsyncRead for Sent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.piece.min(into.remaining()).min(self.rest.len());
        into.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What was read of an answer: its status, its headers, and how many bytes its body had; `None` where it is none.
pub(crate) type Answer = Option<(u16, Vec<(String, Vec<u8>)>, usize)>;

/// Reads the answer to one request from `sent`, which comes `piece` bytes at a time (at least 1).
///
/// # Panics
/// Reading does not end although the peer has.
pub(crate) async fn answer(sent: &[u8], piece: usize) -> Answer {
    let reading = async {
        let io = Sent {
            rest: Bytes::copy_from_slice(sent),
            piece: piece.max(1),
        };
        let connection = HttpConnection::open(Box::new(io)).await.ok()?;
        let request = Request::get("/mcp")
            .header("host", "h")
            .body(Body::default())
            .ok()?;
        let (response, mut connection) = connection.send(request).await.ok()?;
        let (head, mut body) = response.into_parts();
        let mut length = 0;
        loop {
            let frame =
                std::future::poll_fn(|cx| connection.poll_with(cx, |cx| Pin::new(&mut body).poll_frame(cx)))
                    .await;
            match frame {
                Some(Ok(frame)) => length += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) => return None,
                None => break,
            }
        }
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Some((head.status.as_u16(), headers.collect(), length))
    };
    match tokio::time::timeout(LIMIT, reading).await {
        Ok(answer) => answer,
        #[expect(clippy::panic, reason = "it is what the fuzzers look for")]
        Err(_) => panic!("reading did not end: {sent:?}"),
    }
}

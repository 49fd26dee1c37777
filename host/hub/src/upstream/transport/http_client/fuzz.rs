//! The answer of a server that sends any bytes, read over a connection that is not a socket.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connection::{Body, HttpConnection},
    encoding::{Coding, DecodedBody},
    response::RawBody,
};

/// Longest read of an answer that is there already: one that waits for more than it was sent never ends.
const LIMIT: Duration = Duration::from_secs(10);

/// Most bytes that a body is decoded to.
const MOST: usize = 1 << 20;

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

/// What was read of an answer: its status, its headers, and how many bytes its body had without its content coding, up to
/// [`MOST`] where it has one; `None` where it is none.
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
        let (response, connection) = connection.send(request).await.ok()?;
        let (head, body) = response.into_parts();
        let codings = Coding::of(&head.headers).ok()?;
        let length = match DecodedBody::new(RawBody::new(body, Some(connection)), &codings) {
            Ok(mut body) => {
                let mut length = 0;
                while let Some(piece) = body.data().await.ok()? {
                    length += piece.len();
                    if length >= MOST {
                        break;
                    }
                }
                length.min(MOST)
            }
            Err(mut body) => {
                let mut length = 0;
                while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
                    length += piece.ok()?.len();
                }
                length
            }
        };
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

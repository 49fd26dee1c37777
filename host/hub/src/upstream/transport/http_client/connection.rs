//! One HTTP/1 connection without a task of its own: the code that sends a request over it also polls it.
//!
//! A connection with a task costs each call two wake-ups of that task and usually a hand-over to another thread and
//! back. Here a call waits only for the socket. In return, nothing watches an idle connection, so call
//! [`HttpConnection::usable`] before you use one again.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, Connection, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::coalesce::CoalescingPoller;

/// The body of every request: one piece, known before it is sent.
pub(super) type Body = Full<Bytes>;

/// Bytes to and from a server, with or without TLS.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// See the module.
pub(super) struct HttpConnection {
    sender: SendRequest<Body>,
    connection: Connection<TokioIo<Box<dyn Io>>, Body>,
    /// The connection ended and must not be polled again.
    ended: bool,
    poller: CoalescingPoller,
}

impl HttpConnection {
    /// Speaks HTTP/1 over `io`; nothing is sent yet.
    ///
    /// # Errors
    /// hyper's.
    pub(super) async fn open(io: Box<dyn Io>) -> hyper::Result<Box<Self>> {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        Ok(Box::new(Self {
            sender,
            connection,
            ended: false,
            poller: CoalescingPoller::default(),
        }))
    }

    /// Polls `work`, which waits for something of this connection, and the connection with it.
    pub(super) fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut work: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.poller.poll(cx, |cx| {
            if let Poll::Ready(out) = work(cx) {
                return Poll::Ready(out);
            }
            if !self.ended {
                // Its error, if it is one, also reaches who waits for the answer.
                self.ended = Pin::new(&mut self.connection).poll(cx).is_ready();
            }
            Poll::Pending
        })
    }

    /// Sends a request and waits for the head of its answer. Dropping the future closes the connection.
    ///
    /// # Errors
    /// hyper's; with the request in it when nothing of it was sent.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Box<Self>), TrySendError<Request<Body>>> {
        let mut sending = std::pin::pin!(self.sender.try_send_request(request));
        let response = std::future::poll_fn(|cx| self.poll_with(cx, |cx| sending.as_mut().poll(cx))).await?;
        Ok((response, self))
    }

    /// Whether another request can be sent now. Looks at the socket without waiting: the server may have
    /// closed it meanwhile.
    pub(super) fn usable(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let _ = self.poll_with(&mut nobody, |_| Poll::<()>::Pending);
        !self.ended && self.sender.is_ready()
    }
}

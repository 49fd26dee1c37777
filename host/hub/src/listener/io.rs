//! The byte stream of a connection. It notes when bytes arrive, and sets a deadline for bytes that the peer does not
//! read.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::connection::{Connection, Reason};

/// How long is read on after the last byte was sent.
const LINGER: Duration = Duration::from_secs(2);
/// Most bytes that are read on.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that are thrown away at once.
const SCRATCH: usize = 8 * 1024;

/// See the module.
pub(super) struct Watched<I> {
    inner: I,
    connection: Arc<Connection>,
    limit: Duration,
    /// Runs while bytes wait for the peer.
    stall: Option<Pin<Box<Sleep>>>,
    /// The peer will send no more.
    ended: bool,
    linger: Linger,
}

/// What happens between the last byte that is sent and the end of the connection.
enum Linger {
    /// There is more to send.
    NotYet,
    /// All was sent. What still comes is thrown away, so that the peer, which may still be writing, can read its answer
    /// before the connection is reset.
    Reading { until: Pin<Box<Sleep>>, left: usize },
}

impl<I> Watched<I> {
    pub(super) fn new(inner: I, connection: Arc<Connection>, limit: Duration) -> Self {
        Self {
            inner,
            connection,
            limit,
            stall: None,
            ended: false,
            linger: Linger::NotYet,
        }
    }

    /// What became of bytes that are to be sent: those that wait too long end the connection.
    fn sent<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let limit = self.limit;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        if stall.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.stall = None;
        self.connection.close(Reason::Stalled);
        let text = "the peer does not take what is sent";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        let count = buf.filled().len().saturating_sub(before);
        if count > 0 {
            self.connection.read(count);
        } else if outcome.is_ready() && buf.remaining() > 0 {
            self.ended = true;
        }
        outcome
    }
}

impl<I: AsyncRead + Unpin> Watched<I> {
    /// Throws away what comes, until nothing comes any more.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended || self.connection.retired.is_cancelled() {
            return Poll::Ready(());
        }
        if let Linger::NotYet = self.linger {
            self.linger = Linger::Reading {
                until: Box::pin(tokio::time::sleep(LINGER)),
                left: LINGER_BYTES,
            };
        }
        let Linger::Reading { until, left } = &mut self.linger else {
            return Poll::Ready(());
        };
        let mut scratch = [std::mem::MaybeUninit::uninit(); SCRATCH];
        // A few rounds, so that others get their turn.
        for _ in 0..16 {
            let mut buf = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    *left = left.saturating_sub(buf.filled().len());
                    if *left == 0 {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return until.as_mut().poll(cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.sent(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.sent(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Linger::NotYet = self.linger {
            let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.sent(cx, outcome))?;
        }
        self.poll_linger(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.sent(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

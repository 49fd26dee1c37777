//! Bodies of requests and responses. A request's body has a deadline. A response's body is sent in small pieces, so
//! that little waits in memory for the client, and the hub notices a client that does not read.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{
    connection::{Busy, Connection},
    limits::{BodyLimits, DrainLimits, Limits},
};
use crate::memory::{OutOfBudget, Permit};

/// Largest piece of a response over HTTP/1, in bytes.
const PIECE: usize = 128 * 1024;
/// Largest piece of a response over HTTP/2, in bytes: each stream holds one that waits for its client.
const HTTP2_PIECE: usize = 16 * 1024;
/// Room that is taken for a body when its first bytes come, in bytes; less where it says that it is shorter.
const STEP: usize = 64 * 1024;
/// The same for a body that does not say how long it is.
const SMALL: usize = 4 * 1024;
/// How long a client that waits for `100 Continue` gets to read that it need not send its body.
const CONTINUE: Duration = Duration::from_millis(100);

/// The length that a request declares, if it does.
pub fn declared(headers: &http::HeaderMap) -> Option<u64> {
    headers
        .get(http::header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is too long.
    #[error("a body may have {0} bytes at most")]
    TooLarge(usize),
    /// The client sends it too slowly.
    #[error("the body came too slowly: after {seconds} s there were {received} bytes of it")]
    TooSlow {
        /// How long it took.
        seconds: u64,
        /// Bytes that came.
        received: u64,
    },
    /// It ended before its end.
    #[error("the body ended early, or its framing is wrong")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no room for it now.
    #[error("too many large requests are being worked on; send it again in a second ({0})")]
    OutOfBudget(#[from] OutOfBudget),
}

impl BodyError {
    /// The HTTP status that says so.
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::TooLarge(_) => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => http::StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => http::StatusCode::BAD_REQUEST,
            Self::OutOfBudget(_) => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Reads a body of `limit` bytes at most into one piece, whose room `permit` takes as bytes come.
///
/// `declared` is the length that the request names, if it does. Small frames cost no more than their bytes.
///
/// # Errors
/// [`BodyError`].
pub async fn read(
    mut body: Body,
    declared: Option<u64>,
    limit: usize,
    permit: &mut Permit,
) -> Result<Bytes, BodyError> {
    if declared.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(BodyError::TooLarge(limit));
    }
    let declared = declared.and_then(|length| usize::try_from(length).ok());
    let first_step = declared.map_or(SMALL, |length| length.min(STEP));
    let mut whole = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(unwrapped)?.into_data() else {
            continue;
        };
        let needed = whole.len().saturating_add(data.len());
        if needed > limit {
            return Err(BodyError::TooLarge(limit));
        }
        let room = permit.bytes();
        if needed > room {
            // Twice as much as there is, so that the copies of growing are few.
            let target = room.saturating_mul(2).max(first_step).min(limit).max(needed);
            permit.grow_soon(target.saturating_sub(room)).await?;
            if whole.is_empty() && data.len() >= STEP && body.is_end_stream() {
                return Ok(data);
            }
            whole.reserve(target.saturating_sub(whole.len()));
        }
        // Copied, so that a small frame does not keep the buffer that it was read into.
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The error of [`Received`] below those that axum put around it.
fn unwrapped(error: axum::Error) -> BodyError {
    match error.into_inner().downcast::<BodyError>() {
        Ok(own) => *own,
        Err(other) => BodyError::Broken(other),
    }
}

/// The body of a request, with its deadline.
pub(super) struct Received {
    inner: Option<Incoming>,
    connection: Arc<Connection>,
    limits: Arc<Limits>,
    /// When somebody first waited for it.
    began: Option<Instant>,
    received: u64,
    sleep: Option<Pin<Box<Sleep>>>,
    drain: Option<Drain>,
}

/// What becomes of a body that nobody reads to its end.
struct Drain {
    busy: Busy,
    limits: DrainLimits,
    /// The client sends its body only when it is told to.
    expects: bool,
}

impl Received {
    /// A body that is not read to its end is drained when it is dropped; see [`Drain::run`].
    /// `expects` says that the request has `Expect: 100-continue`.
    pub(super) fn new(inner: Incoming, busy: Busy, limits: Arc<Limits>, expects: bool) -> Self {
        Self {
            connection: busy.connection().clone(),
            drain: Some(Drain {
                busy,
                limits: limits.drain,
                expects,
            }),
            inner: Some(inner),
            limits,
            began: None,
            received: 0,
            sleep: None,
        }
    }

    fn limits(&self) -> BodyLimits {
        match self.connection.key() {
            Some(_) => self.limits.body,
            None => self.limits.unauthenticated_body,
        }
    }

    /// Nothing came: is it too late?
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let until = began + self.limits().allowed(self.received);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(BodyError::TooSlow {
            seconds: began.elapsed().as_secs(),
            received: self.received,
        })
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.received = this.received.saturating_add(data.len() as u64);
                    this.connection.used(data.len());
                }
                // A sender that never lets the reader wait has to be in time too.
                let began = *this.began.get_or_insert_with(Instant::now);
                if began.elapsed() > this.limits().total {
                    let seconds = began.elapsed().as_secs();
                    let received = this.received;
                    return Poll::Ready(Some(Err(BodyError::TooSlow { seconds, received })));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.inner = None;
                Poll::Ready(Some(Err(BodyError::Broken(Box::new(error)))))
            }
            Poll::Ready(None) => {
                this.inner = None;
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_late(cx).map(|error| Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let Some((inner, drain)) = self.inner.take().zip(self.drain.take()) else {
            return;
        };
        // Without a runtime the hub is gone, and its connections with it.
        if !inner.is_end_stream()
            && !drain.busy.connection().cut.is_cancelled()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(drain.run(inner));
        }
    }
}

impl Drain {
    /// Reads the rest of a body that nobody wants. A client that writes all before it reads would otherwise find the
    /// connection reset, and never see its answer.
    async fn run(self, mut body: Incoming) {
        let Self {
            busy,
            limits,
            expects,
        } = self;
        let all = async {
            if expects {
                tokio::time::sleep(CONTINUE).await;
            }
            let mut left = limits.bytes;
            loop {
                let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
                let Ok(Some(Ok(frame))) = tokio::time::timeout(limits.max_silence, next).await else {
                    return;
                };
                let length = frame.data_ref().map_or(0, Bytes::len);
                busy.connection().used(length);
                let Some(rest) = left.checked_sub(length as u64) else {
                    return;
                };
                left = rest;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(limits.total, all) => {}
            () = busy.connection().cut.cancelled() => {}
        }
    }
}

/// Whether a response waits for its client. Shared with what runs the stream.
#[derive(Debug)]
pub(super) struct Progress {
    opened_at: Instant,
    /// Since when a piece waits, in milliseconds after `opened_at`; 0: none does.
    since: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            opened_at: Instant::now(),
            since: AtomicU64::new(0),
        }
    }
}

impl Progress {
    fn waits(&self, waits: bool) {
        let since = match waits {
            true => u64::try_from(self.opened_at.elapsed().as_millis())
                .map_or(u64::MAX, |ms| ms.saturating_add(1)),
            false => 0,
        };
        self.since.store(since, Ordering::Relaxed);
    }

    /// When a piece that waits has waited for `limit`.
    pub(super) fn deadline(&self, limit: Duration) -> Option<Instant> {
        match self.since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(self.opened_at + Duration::from_millis(since) + limit),
        }
    }
}

tokio::task_local! {
    /// The progress of the HTTP/2 stream whose response is being made.
    pub(super) static PROGRESS: Arc<Progress>;
}

/// The body of a response.
pub(super) struct Sent {
    inner: Body,
    /// Of the last frame: what was not handed out yet.
    rest: Bytes,
    piece: usize,
    progress: Option<Arc<Progress>>,
    busy: Busy,
    /// It was handed out to its end.
    ended: bool,
}

impl Sent {
    pub(super) fn new(inner: Body, http2: bool, busy: Busy) -> Self {
        let ended = inner.is_end_stream();
        Self {
            inner,
            rest: Bytes::new(),
            piece: if http2 { HTTP2_PIECE } else { PIECE },
            progress: if http2 {
                PROGRESS.try_with(Arc::clone).ok()
            } else {
                None
            },
            busy,
            ended,
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => {
                    self.ended = true;
                    return Poll::Ready(other);
                }
            }
        }
        let piece = self.rest.split_to(self.piece.min(self.rest.len()));
        self.busy.connection().used(piece.len());
        self.ended = self.is_end_stream();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = self.poll_piece(cx);
        if let Some(progress) = &self.progress {
            // Whoever sends it polls again when the client takes the piece.
            progress.waits(matches!(polled, Poll::Ready(Some(Ok(_)))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        !self.rest.has_remaining() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.inner.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.ended && self.progress.is_some() {
            self.busy.connection().cancelled();
        }
    }
}

/// Bytes of a response that are accounted for until they are sent.
pub fn held(bytes: Bytes, permit: Permit) -> Body {
    struct Held {
        bytes: Option<Bytes>,
        _permit: Permit,
    }
    impl http_body::Body for Held {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
        }

        fn is_end_stream(&self) -> bool {
            self.bytes.is_none()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
        }
    }
    Body::new(Held {
        bytes: Some(bytes),
        _permit: permit,
    })
}

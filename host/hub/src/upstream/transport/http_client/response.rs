//! An answer of a server: its head, and its body as it arrives.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, response::Parts};
use hyper::body::{Body as _, Frame, Incoming};
use url::Url;

use super::{
    closed,
    connection::HttpConnection,
    encoding::{Coding, DecodedBody},
    excerpt::excerpt,
    pool::{ENDING, Pool},
};
use crate::upstream::transport::TransportError;

/// How many pieces behind an answer are thrown away before the connection is given up instead.
const MAX_UNREAD: usize = 16;

/// A body as it arrives.
pub(super) struct RawBody {
    body: Incoming,
    /// The HTTP/1 connection.
    connection: Option<Box<HttpConnection>>,
    ended: bool,
}

impl RawBody {
    /// The body of an answer that came over `connection` (HTTP/1).
    pub(super) fn new(body: Incoming, connection: Option<Box<HttpConnection>>) -> Self {
        Self {
            body,
            connection,
            ended: false,
        }
    }

    /// The next piece; `None` at the end.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        while !self.ended {
            match ready!(poll_frame(self.connection.as_deref_mut(), &mut self.body, cx)) {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    // Trailers mean nothing here.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            }
        }
        Poll::Ready(None)
    }

    /// Lets go of a body of which all that matters was read, so that its connection can be used again.
    fn finish(mut self, pool: &Arc<Pool>) {
        match self.connection.take() {
            Some(connection) if self.ended => pool.give(connection),
            Some(connection) => {
                let unread = UnreadBody {
                    connection,
                    body: self.body,
                };
                match unread.end() {
                    DrainResult::Yes(connection) => pool.give(connection),
                    DrainResult::NotYet(unread) => pool.give_unread(unread),
                    DrainResult::Never => {}
                }
            }
            None if self.ended || self.body.is_end_stream() => {}
            // HTTP/2: dropping the body now would tell the server that its answer was not wanted.
            None => {
                tokio::spawn(tokio::time::timeout(ENDING, async move {
                    while let Some(Ok(_)) = poll_fn(|cx| self.poll_data(cx)).await {}
                }));
            }
        }
    }
}

/// How a body is read.
enum Body {
    /// As it arrives.
    Raw(RawBody),
    /// Without its codings.
    Decoded(Box<DecodedBody>),
    /// It has this coding, which the hub does not read.
    Unknown(RawBody, String),
    /// It has ended.
    Ended,
}

/// An answer whose body was not read yet. Dropped before its end, it closes its HTTP/1 connection; see
/// [`Response::finish`].
pub(in crate::upstream::transport) struct Response {
    head: Parts,
    /// How many bytes the body has at least, as it arrives.
    announced: u64,
    body: Body,
    pool: Arc<Pool>,
    /// Where it came from, after redirects.
    url: Arc<Url>,
}

impl Response {
    pub(super) fn new(
        response: http::Response<Incoming>,
        connection: Option<Box<HttpConnection>>,
        pool: &Arc<Pool>,
        url: &Arc<Url>,
    ) -> Self {
        let (head, body) = response.into_parts();
        let announced = body.size_hint().lower();
        let raw = RawBody::new(body, connection);
        let body = match Coding::of(&head.headers) {
            Ok(codings) => {
                DecodedBody::new(raw, &codings).map_or_else(Body::Raw, |d| Body::Decoded(Box::new(d)))
            }
            Err(unknown) => Body::Unknown(raw, unknown),
        };
        Self {
            head,
            announced,
            body,
            pool: pool.clone(),
            url: url.clone(),
        }
    }

    /// The status.
    pub(in crate::upstream::transport) fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The headers.
    pub(in crate::upstream::transport) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The address that answered: the one that was asked, or the one that it redirected to.
    pub(in crate::upstream::transport) fn url(&self) -> &Url {
        &self.url
    }

    /// The `Content-Type`, or nothing.
    pub(in crate::upstream::transport) fn content_type(&self) -> &str {
        let value = self.head.headers.get(header::CONTENT_TYPE);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// How many bytes the body has at least, as it arrives; exact where the server said so.
    pub(in crate::upstream::transport) fn announced(&self) -> u64 {
        self.announced
    }

    /// The next piece of the body, without its content coding; `None` at its end.
    ///
    /// # Errors
    /// [`TransportError::Closed`]: the connection broke. [`TransportError::Protocol`]: the coding cannot be read.
    pub(in crate::upstream::transport) async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let piece = match &mut self.body {
            Body::Raw(raw) => poll_fn(|cx| raw.poll_data(cx))
                .await
                .transpose()
                .map_err(closed)?,
            Body::Decoded(decoded) => decoded.data().await?,
            Body::Unknown(_, coding) => {
                let coding = excerpt(coding.as_bytes());
                let text = format!("Content-Encoding `{coding}` is not one of gzip, deflate, br, zstd");
                return Err(TransportError::Protocol(text.into()));
            }
            Body::Ended => None,
        };
        if piece.is_none() {
            self.let_go();
        }
        Ok(piece)
    }

    /// Lets go of an answer of which all that matters was read, so that its connection can be used again.
    pub(in crate::upstream::transport) fn finish(mut self) {
        self.let_go();
    }

    fn let_go(&mut self) {
        let raw = match std::mem::replace(&mut self.body, Body::Ended) {
            Body::Raw(raw) | Body::Unknown(raw, _) => Some(raw),
            Body::Decoded(decoded) => decoded.into_raw(),
            Body::Ended => None,
        };
        if let Some(raw) = raw {
            raw.finish(&self.pool);
        }
    }
}

fn poll_frame(
    connection: Option<&mut HttpConnection>,
    body: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
    match connection {
        Some(connection) => connection.poll_with(cx, |cx| Pin::new(&mut *body).poll_frame(cx)),
        None => Pin::new(body).poll_frame(cx),
    }
}

/// What is left of an HTTP/1 answer behind what mattered.
pub(super) struct UnreadBody {
    connection: Box<HttpConnection>,
    body: Incoming,
}

/// Whether a [`UnreadBody`] has ended.
pub(super) enum DrainResult {
    /// It has, and the connection is free.
    Yes(Box<HttpConnection>),
    /// Not yet.
    NotYet(UnreadBody),
    /// It broke, or goes on and on.
    Never,
}

impl UnreadBody {
    /// Reads what is there, without waiting.
    pub(super) fn end(mut self) -> DrainResult {
        let mut nobody = Context::from_waker(Waker::noop());
        for _ in 0..MAX_UNREAD {
            match poll_frame(Some(&mut self.connection), &mut self.body, &mut nobody) {
                Poll::Ready(None) => return DrainResult::Yes(self.connection),
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_))) => return DrainResult::Never,
                Poll::Pending => return DrainResult::NotYet(self),
            }
        }
        DrainResult::Never
    }
}

//! An answer of a server: its head, and its body as it arrives.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, response::Parts};
use hyper::body::{Body as _, Frame, Incoming};
use url::Url;

use super::{
    closed,
    connection::HttpConnection,
    pool::{ENDING, Pool},
};
use crate::upstream::transport::TransportError;

/// How many pieces behind an answer are thrown away before the connection is given up instead.
const MAX_UNREAD: usize = 16;

/// An answer whose body was not read yet. Dropped before its end, it closes its HTTP/1 connection; see
/// [`Response::finish`].
pub(in crate::upstream::transport) struct Response {
    head: Parts,
    body: Incoming,
    /// The HTTP/1 connection, until the body has ended.
    connection: Option<Box<HttpConnection>>,
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
        Self {
            head,
            body,
            connection,
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

    /// How many bytes the body has at least; exact where the server said so.
    pub(in crate::upstream::transport) fn announced(&self) -> u64 {
        self.body.size_hint().lower()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`TransportError::Closed`]: the connection broke.
    pub(in crate::upstream::transport) async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            let frame =
                std::future::poll_fn(|cx| poll_frame(self.connection.as_deref_mut(), &mut self.body, cx));
            match frame.await {
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.pool.give(connection);
                    }
                    return Ok(None);
                }
                Some(Ok(frame)) => {
                    // Trailers mean nothing here.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(closed(error)),
            }
        }
    }

    /// Lets go of an answer of which all that matters was read, so that its connection can be used again.
    pub(in crate::upstream::transport) fn finish(mut self) {
        match self.connection.take() {
            Some(connection) => {
                let unread = UnreadBody {
                    connection,
                    body: self.body,
                };
                match unread.end() {
                    DrainResult::Yes(connection) => self.pool.give(connection),
                    DrainResult::NotYet(unread) => self.pool.give_unread(unread),
                    DrainResult::Never => {}
                }
            }
            None if self.body.is_end_stream() => {}
            // HTTP/2: dropping the body now would tell the server that its answer was not wanted.
            None => {
                tokio::spawn(tokio::time::timeout(ENDING, async move {
                    while let Ok(Some(_)) = self.chunk().await {}
                }));
            }
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

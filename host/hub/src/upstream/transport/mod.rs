//! Transports to one upstream server, below requests and eras: bytes to messages and back.
//!
//! A transport knows nothing of clients, names or lists. There are three kinds: streamable HTTP ([`http`]), HTTP with
//! SSE (2024-11-05, [`sse`]), and a child process on stdio ([`stdio`]). The first two share [`http_client`]. A child
//! runs below a [`guard`] that ends it with the hub, [`command`] finds its program, [`last_words`] keeps what it wrote for
//! people, [`lines`] reads past what is too large, [`process_group`] ends all that it started, and [`activity`] shows whether
//! it works while it does not answer. [`pending`] holds the requests that wait for an answer on one stream. [`connector`] is the interface that makes transports, and [`connect`] makes
//! the real ones.

pub mod activity;
mod command;
pub mod connect;
pub mod connector;
pub mod guard;
pub mod http;
pub mod http_client;
mod last_words;
mod lines;
mod pending;
mod process_group;
pub mod sse;
pub mod stdio;

use aih_mcp::{
    ErrorObject, Message, ParseError, ProtocolVersion, RawJson, Unreadable, headers::ParamHeader, received,
};
use aih_redact as redact;
use aih_redact::OutsideText;
use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

/// Reads what a server sent as one text, without the secrets that it may have got from the hub: what is sent to one
/// server is not for the clients of it. A text without secrets is not copied. It holds one message, mostly.
pub(super) fn read(text: &Bytes) -> impl Iterator<Item = Result<Message, Unreadable>> + use<> {
    received::read(&redact::json(text))
}

/// The error of a request whose answer cannot be read; `start` is the start of what came instead.
fn unreadable(error: ParseError, start: &str) -> TransportError {
    TransportError::Protocol(Cause::with_text(format!("{error}: {start}"), error))
}

/// Takes what a server says by itself. Must not block: it runs on the task that reads.
pub trait Inbox: Send + Sync {
    /// A request or a notification of the server. `during` is the id of our request in whose answer
    /// stream it came (streamable HTTP only).
    fn message(&self, during: Option<u64>, message: Message);

    /// The connection is gone for good; called once, never after [`Transport::close`], and before the requests that
    /// wait get their errors. `unanswered` are the ids of those requests that the server had got; a transport that
    /// cannot tell gives none.
    fn closed(&self, error: TransportError, unanswered: &[u64]);
}

/// What went wrong below a transport: the text that people read, without any secret, and the library's error where
/// there is one.
#[derive(Clone)]
pub struct Cause {
    text: OutsideText,
    error: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cause {
    /// A library's error. The text is that of its innermost cause: those above it say nothing that a reader of
    /// [`TransportError`] does not know.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Self {
        Self::with_text(innermost(&error), error)
    }

    /// A library's error, in these words.
    pub fn with_text(text: impl Into<OutsideText>, error: impl Error + Send + Sync + 'static) -> Self {
        Self {
            text: text.into(),
            error: Some(Arc::new(error)),
        }
    }

    /// What people read.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

impl<T: AsRef<str>> From<T> for Cause {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            error: None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text alone: the error below may hold what the filter took out of it.
impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.as_deref().map(|error| error as &(dyn Error + 'static))
    }
}

/// Why a message did not get through.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing listens there, the name does not resolve, TLS failed, the command is missing.
    #[error("cannot connect: {0}")]
    Connect(#[source] Cause),
    /// The server answered with an HTTP status that is not an answer; the body's start is in `detail`.
    #[error("HTTP {status}: {detail}")]
    Status {
        /// The status code.
        status: u16,
        /// What the body says, 200 characters at most, without control characters.
        detail: OutsideText,
        /// For how long the server wants no further request (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// The server redirects the request, and the hub does not follow.
    #[error("HTTP {status}: the server redirects to {to}, and the hub does not follow: {why}")]
    Redirect {
        /// The status code.
        status: u16,
        /// Where to, without what may be secret.
        to: OutsideText,
        /// Why the hub does not follow.
        why: &'static str,
    },
    /// The server does not know our session (any more): connect anew.
    #[error("the server no longer knows this session")]
    SessionLost,
    /// 401 or 403: the credentials in the configuration are wrong or missing.
    #[error("HTTP {status}: the server refuses {}{}; check `auth` and `headers`", if *status == 401 { "the credentials" } else { "access" }, reason(detail))]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// What the body says, as in [`TransportError::Status`].
        detail: OutsideText,
    },
    /// The server sent something that is not MCP.
    #[error("the server sent something that is not MCP: {0}")]
    Protocol(#[source] Cause),
    /// An answer or a line above the limit.
    #[error("the server sent more than {limit} bytes in one message")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection ended before the answer.
    #[error("the connection closed: {0}")]
    Closed(#[source] Cause),
    /// The server's process ended before the answer.
    #[error("the process {text}")]
    Exited {
        /// How it ended, and what it wrote to standard error last.
        text: OutsideText,
        /// The exit status; 128 and the number of a signal where a signal ended what the process ran.
        status: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// The connection ended before the request was sent: the server has seen nothing of it.
    #[error("not sent: {0}")]
    NotSent(#[source] Box<TransportError>),
}

/// The end of a sentence that says why, if there is a reason.
fn reason(detail: &OutsideText) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {}", &**detail)
    }
}

impl TransportError {
    /// Whether the server or a proxy in front of it says that it cannot answer now and may later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: 408 | 425 | 429 | 502..=504,
                ..
            }
        )
    }

    /// For how long the server wants no further request.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } if self.is_passing() => *retry_after,
            _ => None,
        }
    }
}

/// One connection to one server.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request and waits for its answer. Dropping the future gives the answer up: over HTTP the
    /// stream is closed, which in the modern era is how a request is cancelled. No timeout of its own.
    ///
    /// `bindings` are the called tool's `Mcp-Param-*` headers (modern HTTP; others ignore them).
    ///
    /// # Errors
    /// [`TransportError`]; a JSON-RPC error of the server is an `Ok(Err(…))`.
    async fn request(
        &self,
        id: u64,
        method: &str,
        params: Option<RawJson>,
        bindings: &[ParamHeader],
    ) -> Result<Result<RawJson, ErrorObject>, TransportError>;

    /// Sends a notification, or the answer to a request of the server.
    ///
    /// # Errors
    /// [`TransportError`].
    async fn send(&self, message: Message) -> Result<(), TransportError>;

    /// The revision is settled: HTTP sends it in `MCP-Protocol-Version` from now on, and in the legacy era
    /// opens the GET stream for what the server says by itself (a server without one answers 405: fine).
    fn negotiated(&self, version: ProtocolVersion);

    /// What the server's process wrote for people last; empty where there is no process, or it wrote nothing.
    fn last_words(&self) -> String {
        String::new()
    }

    /// Whether the server keeps state for this connection: a process, an SSE stream, or a session id.
    fn stateful(&self) -> bool;

    /// What can be seen of a server that has not answered yet; `None` where nothing can be seen (HTTP). Reads a few
    /// small files of the system.
    fn activity(&self) -> Option<activity::Activity> {
        None
    }

    /// Ends the connection: DELETE of a session, end of a process (and its group). Idempotent.
    async fn close(&self);
}

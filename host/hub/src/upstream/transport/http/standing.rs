//! The standing stream of the legacy era: messages that the server sends by itself.

use std::time::Duration;

use aih_mcp::{Message, Unreadable, sse::Decoder};
use http::StatusCode;
use tokio::time::Instant;

use super::{
    Core, MAX_MESSAGE, Response, is_stream, passing,
    resume::{ResumePoint, backoff},
};
use crate::upstream::transport::{TransportError, read};

/// After how many failures in a row a server that cannot be connected to is gone: a restart behind a proxy, which
/// keeps its sessions, may take a moment.
const MISSED: u32 = 3;
/// A stream that ends sooner, without a message, ends at once.
const AT_ONCE: Duration = Duration::from_secs(10);
/// How many streams in a row may end at once before the pauses between them grow: a server may end its streams on
/// purpose, and say with `retry` when it wants the next request (SEP-1699).
const FREE_ENDS: u32 = 3;

/// How a standing stream ended.
enum End {
    /// It brought a message, or was open for a while.
    Used,
    /// At once, and without a message.
    AtOnce,
    /// A message was too large.
    TooLarge,
}

impl Core {
    /// Reads what the server says by itself, until the connection is closed or the session is lost.
    pub(super) async fn read_standing(&self) {
        let mut resume = ResumePoint::start();
        let (mut known, mut failures, mut ended_at_once) = (false, 0, 0_u32);
        loop {
            match self.open_stream(resume.last_id.as_ref()).await {
                Ok(response) if is_stream(&response) => {
                    known = true;
                    (failures, ended_at_once) = match self.read_unasked(response, &mut resume).await {
                        End::Used => (0, 0),
                        End::AtOnce => (0, ended_at_once.saturating_add(1)),
                        End::TooLarge => (MISSED, 0),
                    };
                }
                Ok(response) => match response.status() {
                    // 404 is for a session that the server does not know, and 400 is what many servers say to one from
                    // before their restart. Servers without this stream say them too.
                    StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST if known && self.has_session() => {
                        return self.lose(TransportError::SessionLost);
                    }
                    // No such method: the server says nothing by itself.
                    StatusCode::NOT_IMPLEMENTED => return,
                    status if passing(status) => failures += 1,
                    // No standing stream here (404, 405 and the like).
                    _ => return,
                },
                // The server is gone: the next one does not know this session.
                Err(gone @ TransportError::Connect(_)) if failures >= MISSED => return self.lose(gone),
                Err(TransportError::Redirect { .. }) => return,
                Err(_) => failures += 1,
            }
            let growth = failures.saturating_add(ended_at_once.saturating_sub(FREE_ENDS));
            tokio::time::sleep(backoff(resume.retry, growth)).await;
        }
    }

    /// Reads one standing stream to its end.
    async fn read_unasked(&self, mut response: Response, resume: &mut ResumePoint) -> End {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut events = Vec::new();
        let opened = Instant::now();
        let mut brought = false;
        while let Ok(Some(chunk)) = response.chunk().await {
            let fed = decoder.feed(&chunk, &mut events);
            for event in events.drain(..) {
                resume.pass(&event);
                if event.data.is_empty() || !event.is_message() {
                    continue;
                }
                for message in read(&event.data) {
                    match message {
                        Ok(message @ (Message::Request { .. } | Message::Notification { .. })) => {
                            brought = true;
                            self.inbox.message(None, message);
                        }
                        Ok(Message::Response { .. }) => {}
                        Err(Unreadable { error, .. }) => {
                            tracing::debug!(target: "aih::upstream", %error, "an event is not an MCP message")
                        }
                    }
                }
            }
            if let Err(error) = fed {
                tracing::warn!(target: "aih::upstream", %error, "the stream for the server's own messages is opened again");
                // It would come again.
                resume.last_id = None;
                return End::TooLarge;
            }
        }
        if brought || opened.elapsed() >= AT_ONCE {
            End::Used
        } else {
            End::AtOnce
        }
    }
}

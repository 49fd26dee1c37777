//! The standing stream of the legacy era: messages that the server sends by itself.

use aih_mcp::{Message, Unreadable, sse::Decoder};
use http::StatusCode;

use super::{
    Core, MAX_MESSAGE, Response, is_stream, passing,
    resume::{ResumePoint, backoff},
};
use crate::upstream::transport::{TransportError, read};

/// After how many failures in a row a server that cannot be connected to is gone: a restart behind a proxy, which
/// keeps its sessions, may take a moment.
const MISSED: u32 = 3;

impl Core {
    /// Reads what the server says by itself, until the connection is closed or the session is lost.
    pub(super) async fn read_standing(&self) {
        let mut resume = ResumePoint::start();
        let (mut known, mut failures) = (false, 0);
        loop {
            match self.open_stream(resume.last_id.as_ref()).await {
                Ok(response) if is_stream(&response) => {
                    known = true;
                    failures = self.read_unasked(response, &mut resume).await;
                }
                Ok(response) => match response.status() {
                    StatusCode::NOT_FOUND if self.has_session() => {
                        return self.lose(TransportError::SessionLost);
                    }
                    // What many servers say, instead of 404, to a session from before their restart.
                    StatusCode::BAD_REQUEST if known && self.has_session() => {
                        return self.lose(TransportError::SessionLost);
                    }
                    status if passing(status) => failures += 1,
                    // No standing stream here (405 and the like): the server says nothing by itself.
                    _ => return,
                },
                // The server is gone: the next one does not know this session.
                Err(gone @ TransportError::Connect(_)) if failures >= MISSED => return self.lose(gone),
                Err(_) => failures += 1,
            }
            tokio::time::sleep(backoff(resume.retry, failures)).await;
        }
    }

    /// Reads one standing stream to its end; gives back the number of failures to reckon with.
    async fn read_unasked(&self, mut response: Response, resume: &mut ResumePoint) -> u32 {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut events = Vec::new();
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
                return 3;
            }
        }
        0
    }
}

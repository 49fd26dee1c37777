//! Legacy sessions whose tools can close the stream that their answer is awaited on (SEP-1699).
//!
//! rmcp's session handle can close a stream, but a handler is not told which stream is its own. This manager
//! leaves that in the extensions of each request and otherwise is rmcp's.

use std::time::Duration;

use futures::Stream;
use rmcp::{
    model::{ClientJsonRpcMessage, GetExtensions as _, JsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_server::{
        SessionId, SessionManager,
        session::{
            ServerSseMessage,
            local::{LocalSessionHandle, LocalSessionManager, LocalSessionManagerError, SessionError},
        },
    },
};
use tokio_stream::wrappers::ReceiverStream;

/// The stream that the answer to a request is awaited on.
#[derive(Clone)]
pub(super) struct AnswerStream {
    session: LocalSessionHandle,
    id: u64,
}

impl AnswerStream {
    /// Ends the stream; the answer waits for the client to resume it with `Last-Event-ID`.
    pub(super) async fn close(&self) -> Result<(), SessionError> {
        self.session.close_sse_stream(self.id, None).await
    }
}

/// rmcp's sessions in memory, with an [`AnswerStream`] in the extensions of every request.
pub(super) struct Sessions(LocalSessionManager);

impl Sessions {
    /// No sessions yet. `retry` is how soon a client is told to resume a closed stream.
    pub(super) fn new(retry: Duration) -> Self {
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.sse_retry = Some(retry);
        Self(sessions)
    }
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        self.0.create_session().await
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.0.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.0.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.0.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let session = self.0.sessions.read().await.get(id).cloned();
        let session = session.ok_or_else(|| LocalSessionManagerError::SessionNotFound(id.clone()))?;
        let receiver = session.establish_request_wise_channel().await?;
        if let (JsonRpcMessage::Request(request), Some(id)) = (&mut message, receiver.http_request_id) {
            request.request.extensions_mut().insert(AnswerStream {
                session: session.clone(),
                id,
            });
        }
        session.push_message(message, receiver.http_request_id).await?;
        Ok(ReceiverStream::new(receiver.inner))
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.0.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.0.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.0.resume(id, last_event_id).await
    }
}

//! HTTP with SSE to an upstream, the transport of 2024-11-05: one GET stream for everything the server
//! says, a POST for everything the hub says.
//!
//! It must never POST to another origin than the one that is configured, nor leave a request waiting when
//! the stream is gone: it does not reconnect, that is for who made it.

use std::{sync::Arc, time::Duration};

use aih_mcp::{
    Id, Message, ProtocolVersion, RawJson, Unreadable,
    headers::ParamHeader,
    sse::{Decoder, Event},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header as h};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use super::{
    Inbox, Transport, TransportError,
    http::{MAX_MESSAGE, is_kind},
    http_client::{HttpClient, Refusal, Response, Target, excerpt, excerpt_without},
    pending::{Outcome, Pending},
    read as read_message, unreadable,
};

/// How long the server may take to say where to POST.
const OPENING: Duration = Duration::from_secs(10);
/// How long a POST may still take when its answer has come over the stream already, or none can come any more.
const ENDING: Duration = Duration::from_secs(2);

/// See the module.
pub struct SseTransport {
    address: Target,
    headers: HeaderMap,
    pending: Arc<Pending>,
    /// The POSTs on their way.
    posts: TaskTracker,
    end: CancellationToken,
}

impl SseTransport {
    /// Opens the stream and waits for the `endpoint` event.
    ///
    /// # Errors
    /// [`TransportError`]; also when the address to POST to is of another origin than `url`.
    pub async fn connect(
        client: &HttpClient,
        url: Url,
        mut headers: HeaderMap,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<Self>, TransportError> {
        let target = client.target(url, &mut headers)?;
        let opened = tokio::time::timeout(OPENING, open(client, &target, &headers)).await;
        let (address, events) = opened.map_err(|_| silent())??;
        let pending = Arc::<Pending>::default();
        let end = CancellationToken::new();
        let posts = TaskTracker::new();
        let (table, sending, ended) = (pending.clone(), posts.clone(), end.clone());
        tokio::spawn(async move {
            let over = async {
                let error = read(events, &table, &*inbox).await;
                // A server that forgot the session refuses what is being sent: it may be sent once more.
                sending.close();
                let _ = tokio::time::timeout(ENDING, sending.wait()).await;
                error
            };
            let error = tokio::select! {
                error = over => error,
                () = ended.cancelled() => TransportError::Closed("the hub closed the connection".into()),
            };
            table.close(&error);
            if !ended.is_cancelled() {
                inbox.closed(error, &[]);
            }
        });
        Ok(Arc::new(Self {
            address,
            headers,
            pending,
            posts,
            end,
        }))
    }

    /// Sends one message; the future is independent of `self`.
    fn post(&self, body: Bytes) -> impl Future<Output = Result<(), TransportError>> + Send + 'static {
        let (mut headers, address) = (self.headers.clone(), self.address.clone());
        headers.insert(h::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sending = self.posts.token();
        async move {
            let _sending = sending;
            let response = address.send(Method::POST, headers.clone(), body).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Err(TransportError::SessionLost);
            }
            checked(response, &headers, address.url()).await?.finish();
            Ok(())
        }
    }
}

fn silent() -> TransportError {
    TransportError::Protocol("no `endpoint` event came".into())
}

/// The response, unless its status is not a success.
async fn checked(mut response: Response, headers: &HeaderMap, url: &Url) -> Result<Response, TransportError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let refusal = Refusal::of(&response);
    let start = response.chunk().await.ok().flatten().unwrap_or_default();
    Err(refusal.error(&start, headers, url))
}

/// Opens the stream and reads it to the `endpoint` event: where to POST, and the rest of the events.
async fn open(
    client: &HttpClient,
    target: &Target,
    headers: &HeaderMap,
) -> Result<
    (
        Target,
        impl Stream<Item = Result<Event, TransportError>> + Send + Unpin + use<>,
    ),
    TransportError,
> {
    let url = target.url();
    let mut asking = headers.clone();
    asking.insert(h::ACCEPT, HeaderValue::from_static("text/event-stream"));
    let response = target.send(Method::GET, asking, Bytes::new()).await?;
    let response = checked(response, headers, url).await?;
    let kind = response.content_type();
    if !is_kind(kind, "text/event-stream") {
        let kind = excerpt_without(kind.as_bytes(), headers, url);
        return Err(TransportError::Protocol(
            format!("Content-Type `{kind}` instead of events").into(),
        ));
    }
    // A redirect may change the path and turn `http` into `https`, and never leads to another server (`http_client`).
    let base = response.url().clone();
    let mut events = Box::pin(events(chunks(response)));
    let endpoint_event = loop {
        let event = events.next().await.ok_or_else(silent)??;
        // Before it comes a ping, or what an official SDK does not wait for either.
        if event.name.as_deref() == Some("endpoint") {
            break event.data;
        }
    };
    let text = String::from_utf8_lossy(&endpoint_event);
    let address = base.join(text.trim()).map_err(|_| {
        let text = excerpt_without(&endpoint_event, headers, url);
        TransportError::Protocol(format!("`{text}` is not an address to POST to").into())
    })?;
    if address.origin() != base.origin() {
        return Err(TransportError::Protocol(
            "the address to POST to is of another origin".into(),
        ));
    }
    let address = client.target(address, &mut headers.clone())?;
    Ok((address, events))
}

/// The pieces of a body.
fn chunks(response: Response) -> impl Stream<Item = Result<Bytes, TransportError>> + Send {
    futures::stream::unfold(Some(response), |response| async {
        let mut response = response?;
        match response.chunk().await {
            Ok(chunk) => Some((Ok(chunk?), Some(response))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// The events of a body.
fn events(
    body: impl Stream<Item = Result<Bytes, TransportError>> + Send,
) -> impl Stream<Item = Result<Event, TransportError>> + Send {
    let decoder = Decoder::new(MAX_MESSAGE);
    body.scan(decoder, |decoder, chunk| {
        let mut out = Vec::new();
        let events: Vec<Result<Event, TransportError>> = match chunk {
            Err(e) => vec![Err(e)],
            Ok(chunk) => match decoder.feed(&chunk, &mut out) {
                Ok(()) => out.into_iter().map(Ok).collect(),
                Err(e) => vec![Err(TransportError::TooLarge { limit: e.limit })],
            },
        };
        std::future::ready(Some(futures::stream::iter(events)))
    })
    .flatten()
}

/// Reads until the stream ends, and says why it did.
async fn read(
    mut events: impl Stream<Item = Result<Event, TransportError>> + Send + Unpin,
    pending: &Pending,
    inbox: &dyn Inbox,
) -> TransportError {
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => return error,
        };
        if event.data.is_empty() || !event.is_message() {
            continue;
        }
        for message in read_message(&event.data) {
            match message {
                Ok(Message::Response { id, outcome }) => {
                    pending.answer(id, outcome);
                }
                Ok(message) => inbox.message(None, message),
                Err(Unreadable { id, error }) => {
                    tracing::debug!(target: "aih::upstream", %error, "an event is not an MCP message");
                    if let Some(id) = id {
                        pending.unreadable(&id, || unreadable(error, &excerpt(&event.data)));
                    }
                }
            }
        }
    }
    TransportError::Closed("the server ended the stream".into())
}

#[async_trait]
impl Transport for SseTransport {
    async fn request(
        &self,
        id: u64,
        method: &str,
        params: Option<RawJson>,
        _: &[ParamHeader],
    ) -> Result<Outcome, TransportError> {
        // The stream is the session: without it nothing is sent.
        let mut waiting = self.pending.expect(id).map_err(|_| TransportError::SessionLost)?;
        self.pending.sent(id);
        let message = Message::Request {
            id: Id::number(id),
            method: method.into(),
            params,
        };
        let mut posting = Box::pin(self.post(message.to_bytes()));
        tokio::select! {
            posted = &mut posting => posted?,
            answer = waiting.answer() => {
                // Given up, the POST would take its connection with it.
                tokio::spawn(tokio::time::timeout(ENDING, posting));
                return answer;
            }
        }
        waiting.answer().await
    }

    async fn send(&self, message: Message) -> Result<(), TransportError> {
        self.post(message.to_bytes()).await
    }

    fn negotiated(&self, _: ProtocolVersion) {}

    fn stateful(&self) -> bool {
        true
    }

    async fn close(&self) {
        self.end.cancel();
    }
}

impl Drop for SseTransport {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;

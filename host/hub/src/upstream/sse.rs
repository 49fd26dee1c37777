//! HTTP with SSE to an upstream, the transport of 2024-11-05: one GET stream for everything the server
//! says, a POST for everything the hub says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header as h};
use reqwest::Client;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    http::MAX_MESSAGE,
    http_client::{excerpt, failed},
    transport::{Inbox, Transport, TransportError},
};
use crate::mcp::{
    ErrorObject, Id, Message, ProtocolVersion, RawJson,
    headers::ParamHeader,
    sse::{Decoder, Event},
};

/// How long the server may take to say where to POST.
const OPENING: Duration = Duration::from_secs(10);

type Outcome = Result<RawJson, ErrorObject>;
type Answer = oneshot::Sender<Result<Outcome, TransportError>>;

#[derive(Default)]
struct Pending {
    answers: HashMap<u64, Answer>,
    /// Why no more answers will come.
    closed: Option<TransportError>,
}

/// See the module.
pub struct SseTransport {
    client: Client,
    address: Url,
    headers: HeaderMap,
    pending: Arc<Mutex<Pending>>,
    end: CancellationToken,
}

fn lock(pending: &Mutex<Pending>) -> std::sync::MutexGuard<'_, Pending> {
    // Every change under the lock is a single call: it cannot be left half-done.
    pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl SseTransport {
    /// Opens the stream and waits for the `endpoint` event.
    ///
    /// # Errors
    /// [`TransportError`]; also when the address to POST to is of another origin than `url`.
    pub async fn connect(
        client: Client,
        url: Url,
        headers: HeaderMap,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<Self>, TransportError> {
        let open = client
            .get(url.clone())
            .headers(headers.clone())
            .header(h::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let silent = || TransportError::Protocol("no `endpoint` event came".to_owned());
        let response = tokio::time::timeout(OPENING, open.send())
            .await
            .map_err(|_| silent())?
            .map_err(failed)?;
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(TransportError::Unauthorized {
                    status: response.status().as_u16(),
                });
            }
            status if !status.is_success() => {
                return Err(TransportError::Status {
                    status: status.as_u16(),
                    detail: String::new(),
                });
            }
            _ => {}
        }
        let kind = response
            .headers()
            .get(h::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let text = format!("Content-Type `{}` instead of events", excerpt(kind.as_bytes()));
            return Err(TransportError::Protocol(text));
        }
        let mut events = Box::pin(events(response.bytes_stream().map(|c| c.map_err(failed))));
        let first = tokio::time::timeout(OPENING, events.next())
            .await
            .map_err(|_| silent())?;
        let first = first.ok_or_else(silent)??;
        if first.name.as_deref() != Some("endpoint") {
            return Err(silent());
        }
        let text = String::from_utf8_lossy(&first.data).into_owned();
        let address = url
            .join(text.trim())
            .map_err(|_| TransportError::Protocol(format!("`{}` is no address", excerpt(text.as_bytes()))))?;
        if address.origin() != url.origin() {
            return Err(TransportError::Protocol(
                "the address to POST to is of another origin".to_owned(),
            ));
        }
        let pending = Arc::<Mutex<Pending>>::default();
        let end = CancellationToken::new();
        let (table, ended) = (pending.clone(), end.clone());
        tokio::spawn(async move {
            let error = tokio::select! {
                error = read(events, &table, &*inbox) => error,
                () = ended.cancelled() => TransportError::Closed("the hub closed it".to_owned()),
            };
            let waiting = {
                let mut pending = lock(&table);
                pending.closed = Some(error.clone());
                std::mem::take(&mut pending.answers)
            };
            for (_, answer) in waiting {
                // Who asked may have given up.
                let _ = answer.send(Err(error.clone()));
            }
            if !ended.is_cancelled() {
                inbox.closed(error);
            }
        });
        Ok(Arc::new(Self {
            client,
            address,
            headers,
            pending,
            end,
        }))
    }

    async fn post(&self, body: Bytes) -> Result<(), TransportError> {
        let request = self
            .client
            .post(self.address.clone())
            .headers(self.headers.clone())
            .header(h::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body);
        let response = request.send().await.map_err(failed)?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Err(TransportError::SessionLost),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(TransportError::Unauthorized {
                status: response.status().as_u16(),
            }),
            status => Err(TransportError::Status {
                status: status.as_u16(),
                detail: String::new(),
            }),
        }
    }
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
    pending: &Mutex<Pending>,
    inbox: &dyn Inbox,
) -> TransportError {
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => return error,
        };
        match Message::parse(&event.data) {
            Ok(Message::Response { id, outcome }) => {
                let answer = id.and_then(|id| lock(pending).answers.remove(&id.as_u64()?));
                if let Some(answer) = answer {
                    // Who asked may have given up.
                    let _ = answer.send(Ok(outcome));
                }
            }
            Ok(message) => inbox.message(None, message),
            Err(error) => tracing::debug!(target: "aih::upstream", %error, "an event is no MCP message"),
        }
    }
    TransportError::Closed("the server ended the stream".to_owned())
}

/// Takes a request out of the table when nobody waits for its answer any more.
struct Forget<'t>(&'t Mutex<Pending>, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.0).answers.remove(&self.1);
    }
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
        let (answer, answered) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            if let Some(error) = &pending.closed {
                return Err(error.clone());
            }
            pending.answers.insert(id, answer);
        }
        let _forget = Forget(&self.pending, id);
        let message = Message::Request {
            id: Id::number(id),
            method: method.into(),
            params,
        };
        self.post(message.to_bytes()).await?;
        answered
            .await
            .unwrap_or_else(|_| Err(TransportError::Closed("the stream ended".to_owned())))
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

//! Streamable HTTP to an upstream, both eras: a POST a message, answers as JSON or as a stream of events.

use std::{
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header as h};
use reqwest::{Client, Response};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    http_client::{excerpt, failed},
    transport::{Inbox, Transport, TransportError},
};
use crate::mcp::{
    Era, ErrorObject, Id, Message, ProtocolVersion, RawJson,
    headers::{self, ParamHeader},
    method::{self, header},
    sse::Decoder,
};

/// Largest message of a server, in bytes.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// How often the rest of a broken answer stream is fetched before the call fails.
const MAX_RESUMES: u32 = 20;
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);
const GOODBYE: Duration = Duration::from_secs(2);

type Outcome = Result<RawJson, ErrorObject>;

/// See the module.
pub struct HttpTransport {
    client: Client,
    url: Url,
    headers: HeaderMap,
    inbox: Arc<dyn Inbox>,
    session: OnceLock<HeaderValue>,
    version: Mutex<Option<ProtocolVersion>>,
    closed: CancellationToken,
    lost: AtomicBool,
    this: Weak<Self>,
}

impl HttpTransport {
    /// A transport to `url`; nothing is sent yet. `headers` go with every request and must be marked
    /// sensitive where they are secret.
    pub fn new(client: Client, url: Url, headers: HeaderMap, inbox: Arc<dyn Inbox>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            client,
            url,
            headers,
            inbox,
            session: OnceLock::new(),
            version: Mutex::default(),
            closed: CancellationToken::new(),
            lost: AtomicBool::new(false),
            this: this.clone(),
        })
    }

    fn version(&self) -> Option<ProtocolVersion> {
        *self
            .version
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What goes with every request: the configured headers, session and revision.
    fn common_headers(&self, version: Option<ProtocolVersion>) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(session) = self.session.get() {
            headers.insert(header::SESSION_ID, session.clone());
        }
        if let Some(version) = version {
            headers.insert(
                header::PROTOCOL_VERSION,
                HeaderValue::from_static(version.as_str()),
            );
        }
        headers
    }

    async fn post(
        &self,
        body: Bytes,
        method: &str,
        params: Option<&RawJson>,
        bindings: &[ParamHeader],
    ) -> Result<Response, TransportError> {
        let version = match self.version() {
            None if method == method::DISCOVER => Some(ProtocolVersion::LATEST),
            version => version,
        };
        let mut headers = self.common_headers(version);
        if version.is_some_and(|v| v.era() == Era::Modern) && !method.is_empty() {
            headers::write(&mut headers, method, params, bindings);
        }
        headers.insert(h::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            h::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        request.send().await.map_err(failed)
    }

    /// Turns a status that is no success into an error, or into the JSON-RPC error that it carries.
    async fn refused(&self, id: u64, response: Response) -> Result<Outcome, TransportError> {
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(TransportError::Unauthorized {
                    status: status.as_u16(),
                });
            }
            StatusCode::NOT_FOUND if self.session.get().is_some() => {
                self.lost.store(true, Ordering::Relaxed);
                return Err(TransportError::SessionLost);
            }
            _ => {}
        }
        let body = whole(response).await.unwrap_or_default();
        if let Ok(Message::Response {
            id: answered,
            outcome: Err(error),
        }) = Message::parse(&body)
            && answered.is_none_or(|a| a == Id::number(id))
        {
            return Ok(Err(error));
        }
        Err(TransportError::Status {
            status: status.as_u16(),
            detail: excerpt(&body),
        })
    }

    /// One message of an answer; `Some` when it is the answer itself.
    fn sort(&self, id: u64, data: &Bytes) -> Result<Option<Outcome>, TransportError> {
        let message = Message::parse(data).map_err(|e| {
            TransportError::Protocol(format!("{e}: {}", excerpt(data.get(..80).unwrap_or(data))))
        })?;
        match message {
            Message::Response {
                id: Some(answered),
                outcome,
            } if answered == Id::number(id) => Ok(Some(outcome)),
            Message::Response {
                id: None,
                outcome: Err(error),
            } => Ok(Some(Err(error))),
            Message::Response { .. } => Err(TransportError::Protocol(
                "an answer to a request that was not sent".to_owned(),
            )),
            other => {
                self.inbox.message(Some(id), other);
                Ok(None)
            }
        }
    }

    /// Reads an answer stream to the answer, and fetches the rest where it breaks off (SEP-1699).
    async fn read_answer(&self, id: u64, mut response: Response) -> Result<Outcome, TransportError> {
        let (mut last_id, mut retry) = (None::<String>, DEFAULT_RETRY);
        let mut resumes = 0;
        loop {
            let mut decoder = Decoder::new(MAX_MESSAGE);
            let mut events = Vec::new();
            let mut body = response.bytes_stream();
            let broken = loop {
                let chunk = match body.next().await {
                    None => {
                        break TransportError::Closed("the answer stream ended before the answer".to_owned());
                    }
                    Some(Err(e)) => break failed(e),
                    Some(Ok(chunk)) => chunk,
                };
                decoder
                    .feed(&chunk, &mut events)
                    .map_err(|e| TransportError::TooLarge { limit: e.limit })?;
                for event in events.drain(..) {
                    if let Some(id) = event.id {
                        last_id = Some(id);
                    }
                    if let Some(ms) = event.retry {
                        retry = Duration::from_millis(ms).min(MAX_RETRY);
                    }
                    if !event.data.is_empty()
                        && let Some(outcome) = self.sort(id, &event.data)?
                    {
                        return Ok(outcome);
                    }
                }
            };
            let Some(last) = last_id
                .as_deref()
                .filter(|_| self.session.get().is_some() && resumes < MAX_RESUMES)
            else {
                return Err(broken);
            };
            resumes += 1;
            tokio::time::sleep(retry).await;
            response = self.open_stream(Some(last)).await?;
            if !response.status().is_success() {
                return Err(broken);
            }
        }
    }

    async fn open_stream(&self, last_event: Option<&str>) -> Result<Response, TransportError> {
        let mut headers = self.common_headers(self.version());
        headers.insert(h::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(value) = last_event.and_then(|last| HeaderValue::from_str(last).ok()) {
            headers.insert(header::LAST_EVENT_ID, value);
        }
        self.client
            .get(self.url.clone())
            .headers(headers)
            .send()
            .await
            .map_err(failed)
    }

    /// Reads what the server says by itself, until the connection is closed or the session is lost.
    async fn read_standing(self: Arc<Self>) {
        let (mut last_id, mut retry) = (None::<String>, DEFAULT_RETRY);
        loop {
            match self.open_stream(last_id.as_deref()).await {
                Ok(response) if response.status().is_success() => {
                    let mut decoder = Decoder::new(MAX_MESSAGE);
                    let mut events = Vec::new();
                    let mut body = response.bytes_stream();
                    while let Some(Ok(chunk)) = body.next().await {
                        if decoder.feed(&chunk, &mut events).is_err() {
                            break;
                        }
                        for event in events.drain(..) {
                            last_id = event.id.or(last_id);
                            if let Some(ms) = event.retry {
                                retry = Duration::from_millis(ms).min(MAX_RETRY);
                            }
                            if let Ok(message @ (Message::Request { .. } | Message::Notification { .. })) =
                                Message::parse(&event.data)
                            {
                                self.inbox.message(None, message);
                            }
                        }
                    }
                }
                Ok(response)
                    if response.status() == StatusCode::NOT_FOUND && self.session.get().is_some() =>
                {
                    return self.lose();
                }
                // No standing stream here (405 and the like): the server says nothing by itself.
                Ok(response) if response.status().is_client_error() => return,
                Ok(_) => retry = (retry * 2).min(MAX_RETRY),
                Err(_) => {
                    // Resuming at a server that came back would miss that it forgot the session.
                    retry = (retry * 2).min(MAX_RETRY);
                }
            }
            tokio::time::sleep(retry).await;
        }
    }

    fn lose(&self) {
        if !self.lost.swap(true, Ordering::Relaxed) && !self.closed.is_cancelled() {
            self.inbox.closed(TransportError::SessionLost);
        }
    }
}

/// A whole body within the limit.
async fn whole(response: Response) -> Result<Bytes, TransportError> {
    let too_large = TransportError::TooLarge { limit: MAX_MESSAGE };
    if response.content_length().is_some_and(|n| n > MAX_MESSAGE as u64) {
        return Err(too_large);
    }
    let mut stream = response.bytes_stream();
    let Some(first) = stream.next().await.transpose().map_err(failed)? else {
        return Ok(Bytes::new());
    };
    let Some(second) = stream.next().await.transpose().map_err(failed)? else {
        return Ok(first);
    };
    let mut all = Vec::with_capacity((first.len() + second.len()) * 2);
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(chunk) = stream.next().await.transpose().map_err(failed)? {
        if all.len() + chunk.len() > MAX_MESSAGE {
            return Err(too_large);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

#[async_trait]
impl Transport for HttpTransport {
    async fn request(
        &self,
        id: u64,
        method: &str,
        params: Option<RawJson>,
        bindings: &[ParamHeader],
    ) -> Result<Outcome, TransportError> {
        let message = Message::Request {
            id: Id::number(id),
            method: method.into(),
            params: params.clone(),
        };
        let response = self
            .post(message.to_bytes(), method, params.as_ref(), bindings)
            .await?;
        if !response.status().is_success() {
            return self.refused(id, response).await;
        }
        if method == method::INITIALIZE
            && let Some(session) = response.headers().get(header::SESSION_ID)
        {
            let mut session = session.clone();
            session.set_sensitive(true);
            // The first one counts: a connection greets once.
            let _ = self.session.set(session);
        }
        let kind = response
            .headers()
            .get(h::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            return self.read_answer(id, response).await;
        }
        if !kind.starts_with("application/json") {
            let text = format!(
                "Content-Type `{}` instead of JSON or events",
                excerpt(kind.as_bytes())
            );
            return Err(TransportError::Protocol(text));
        }
        let body = whole(response).await?;
        self.sort(id, &body)?
            .ok_or_else(|| TransportError::Protocol("a message that is no answer".to_owned()))
    }

    async fn send(&self, message: Message) -> Result<(), TransportError> {
        let (method, params) = match &message {
            Message::Request { method, params, .. } | Message::Notification { method, params } => {
                (method.clone(), params.clone())
            }
            Message::Response { .. } => (Box::default(), None),
        };
        let response = self
            .post(message.to_bytes(), &method, params.as_ref(), &[])
            .await?;
        if response.status().is_success() {
            return Ok(());
        }
        self.refused(0, response).await.map(|_| ())
    }

    fn negotiated(&self, version: ProtocolVersion) {
        *self
            .version
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(version);
        if version.era() == Era::Legacy
            && let Some(this) = self.this.upgrade()
        {
            let closed = self.closed.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = closed.cancelled() => {}
                    () = this.read_standing() => {}
                }
            });
        }
    }

    fn stateful(&self) -> bool {
        self.session.get().is_some()
    }

    async fn close(&self) {
        if self.closed.is_cancelled() {
            return;
        }
        self.closed.cancel();
        if self.session.get().is_some() && !self.lost.load(Ordering::Relaxed) {
            let request = self
                .client
                .delete(self.url.clone())
                .headers(self.common_headers(self.version()));
            // The server may not support it, or be gone: nothing is left to do then.
            let _ = tokio::time::timeout(GOODBYE, request.send()).await;
        }
    }
}

impl Drop for HttpTransport {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

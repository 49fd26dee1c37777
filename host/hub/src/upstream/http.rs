//! Streamable HTTP to an upstream, both eras: a POST a message, answers as JSON or as a stream of events.
//!
//! On the way of a call there is one request and its answer: no task, no channel, no tree of values. What
//! was sent and may have run must never be reported as [`TransportError::Connect`] or
//! [`TransportError::SessionLost`]: for these the request is sent once more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header as h};
use reqwest::{Client, Request, Response};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    http_client::{excerpt_without, failed},
    transport::{Inbox, Transport, TransportError},
};
use crate::mcp::{
    Era, ErrorObject, Id, Message, ProtocolVersion, RawJson,
    headers::{self, ParamHeader},
    method::{self, header},
    sse::{Decoder, Event},
};

/// Largest message of a server, in bytes.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// How often in a row the rest of an answer is fetched without anything new in it.
const MAX_EMPTY: u32 = 20;
/// How often in a row fetching the rest of an answer may fail.
const MAX_FAILED: u32 = 3;
/// Between the end of a stream and its resumption, unless the server says otherwise (`retry:`).
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
const MIN_RETRY: Duration = Duration::from_millis(10);
const MAX_RETRY: Duration = Duration::from_secs(30);
/// How long a server may take to end the stream behind its answer before the connection is given up.
const ENDING: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_secs(2);

type Outcome = Result<RawJson, ErrorObject>;

/// See the module.
pub struct HttpTransport(Arc<Core>);

/// What goes with every request from now on.
#[derive(Clone)]
struct Standing {
    /// The configured headers, and those of the session and the revision once they are known.
    headers: HeaderMap,
    version: Option<ProtocolVersion>,
}

/// Held by the transport and by the task that reads its standing stream.
struct Core {
    client: Client,
    url: Url,
    inbox: Arc<dyn Inbox>,
    standing: ArcSwap<Standing>,
    session: AtomicBool,
    listening: AtomicBool,
    closed: CancellationToken,
    lost: AtomicBool,
}

/// From where a stream can be resumed.
struct Place {
    last_id: Option<HeaderValue>,
    retry: Duration,
}

impl Place {
    fn start() -> Self {
        Self {
            last_id: None,
            retry: DEFAULT_RETRY,
        }
    }

    fn pass(&mut self, event: &Event) {
        if let Some(id) = event.id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
            self.last_id = Some(id);
        }
        if let Some(ms) = event.retry {
            self.retry = Duration::from_millis(ms).clamp(MIN_RETRY, MAX_RETRY);
        }
    }
}

/// How reading a stream ended.
enum Ending {
    Answered(Outcome),
    /// The stream ended or broke; `news` says whether an event came.
    Broken {
        why: TransportError,
        news: bool,
    },
}

impl HttpTransport {
    /// A transport to `url`; nothing is sent yet. `headers` go with every request and must be marked
    /// sensitive where they are secret.
    pub fn new(client: Client, url: Url, headers: HeaderMap, inbox: Arc<dyn Inbox>) -> Arc<Self> {
        let standing = Standing {
            headers,
            version: None,
        };
        Arc::new(Self(Arc::new(Core {
            client,
            url,
            inbox,
            standing: ArcSwap::from_pointee(standing),
            session: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            closed: CancellationToken::new(),
            lost: AtomicBool::new(false),
        })))
    }
}

impl Core {
    fn has_session(&self) -> bool {
        self.session.load(Ordering::Acquire)
    }

    /// Adds a header to all that will be sent.
    fn stand(&self, name: &'static str, value: &HeaderValue, version: Option<ProtocolVersion>) {
        self.standing.rcu(|old| {
            let mut new = Standing::clone(old);
            new.headers.insert(name, value.clone());
            new.version = version.or(new.version);
            new
        });
    }

    fn excerpt(&self, body: &[u8]) -> String {
        excerpt_without(body, &self.standing.load().headers, &self.url)
    }

    async fn execute(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Response, TransportError> {
        let mut request = Request::new(method, self.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        self.client.execute(request).await.map_err(failed)
    }

    async fn post(
        &self,
        body: Bytes,
        method: &str,
        params: Option<&RawJson>,
        bindings: &[ParamHeader],
    ) -> Result<Response, TransportError> {
        let (mut headers, mut version) = {
            let standing = self.standing.load();
            (standing.headers.clone(), standing.version)
        };
        if version.is_none() && method == method::DISCOVER {
            let latest = ProtocolVersion::LATEST;
            headers.insert(
                header::PROTOCOL_VERSION,
                HeaderValue::from_static(latest.as_str()),
            );
            version = Some(latest);
        }
        if version.is_some_and(|v| v.era() == Era::Modern) && !method.is_empty() {
            headers::write(&mut headers, method, params, bindings);
        }
        headers.insert(h::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            h::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        self.execute(Method::POST, headers, Some(body)).await
    }

    async fn open_stream(&self, last_event: Option<&HeaderValue>) -> Result<Response, TransportError> {
        let mut headers = self.standing.load().headers.clone();
        headers.insert(h::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event {
            headers.insert(header::LAST_EVENT_ID, id.clone());
        }
        self.execute(Method::GET, headers, None).await
    }

    /// Turns a status that is no success into an error, or into the JSON-RPC error that it carries.
    async fn refused(&self, id: Option<u64>, response: Response) -> Result<Outcome, TransportError> {
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(TransportError::Unauthorized {
                    status: status.as_u16(),
                });
            }
            StatusCode::NOT_FOUND if self.has_session() => {
                self.lose();
                return Err(TransportError::SessionLost);
            }
            _ => {}
        }
        let body = whole(response).await.unwrap_or_default();
        if let Ok(Message::Response {
            id: answered,
            outcome: Err(error),
        }) = Message::parse(&body)
            && answered.is_none_or(|a| Some(a) == id.map(Id::number))
        {
            return Ok(Err(error));
        }
        Err(TransportError::Status {
            status: status.as_u16(),
            detail: self.excerpt(&body),
        })
    }

    /// One message of an answer; `Some` when it is the answer itself.
    fn sort(&self, id: u64, data: &Bytes) -> Result<Option<Outcome>, TransportError> {
        let message = Message::parse(data).map_err(|e| {
            let start = self.excerpt(data.get(..80).unwrap_or(data));
            TransportError::Protocol(format!("{e}: {start}"))
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

    /// Reads one stream to the answer or to its end.
    async fn read_stream(
        &self,
        id: u64,
        response: &mut Response,
        place: &mut Place,
    ) -> Result<Ending, TransportError> {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut events = Vec::new();
        let mut news = false;
        let why = loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    break TransportError::Closed("the answer stream ended before the answer".to_owned());
                }
                Err(error) => break sent(failed(error)),
            };
            let fed = decoder.feed(&chunk, &mut events);
            for event in events.drain(..) {
                news = true;
                place.pass(&event);
                if !event.data.is_empty()
                    && let Some(outcome) = self.sort(id, &event.data)?
                {
                    return Ok(Ending::Answered(outcome));
                }
            }
            fed.map_err(|e| TransportError::TooLarge { limit: e.limit })?;
        };
        Ok(Ending::Broken { why, news })
    }

    /// Reads an answer stream to the answer, and fetches the rest where it breaks off (SEP-1699).
    async fn read_answer(&self, id: u64, mut response: Response) -> Result<Outcome, TransportError> {
        let mut place = Place::start();
        let mut empty = 0;
        loop {
            let why = match self.read_stream(id, &mut response, &mut place).await? {
                Ending::Answered(outcome) => {
                    finish(response);
                    return Ok(outcome);
                }
                Ending::Broken { why, news } => {
                    empty = if news { 0 } else { empty + 1 };
                    why
                }
            };
            let version = self.standing.load().version;
            let resumable = version.is_none_or(|v| v.era() == Era::Legacy) && empty < MAX_EMPTY;
            response = match &place.last_id {
                Some(last) if resumable => self.resume(last, place.retry).await.ok_or(why)?,
                _ => return Err(why),
            };
        }
    }

    /// Opens the rest of an answer stream; `None` when that cannot be had.
    async fn resume(&self, last: &HeaderValue, retry: Duration) -> Option<Response> {
        for failures in 0..MAX_FAILED {
            tokio::time::sleep(backoff(retry, failures)).await;
            let Ok(response) = self.open_stream(Some(last)).await else {
                continue;
            };
            let status = response.status();
            if is_stream(&response) {
                return Some(response);
            }
            if status == StatusCode::NOT_FOUND && self.has_session() {
                self.lose();
                return None;
            }
            if !passing(status) {
                return None;
            }
        }
        None
    }

    /// Reads what the server says by itself, until the connection is closed or the session is lost.
    async fn read_standing(&self) {
        let mut place = Place::start();
        let (mut known, mut failures) = (false, 0);
        loop {
            match self.open_stream(place.last_id.as_ref()).await {
                Ok(response) if is_stream(&response) => {
                    known = true;
                    failures = self.read_unasked(response, &mut place).await;
                }
                Ok(response) => match response.status() {
                    StatusCode::NOT_FOUND if self.has_session() => return self.lose(),
                    // What many servers say, instead of 404, to a session from before their restart.
                    StatusCode::BAD_REQUEST if known && self.has_session() => return self.lose(),
                    status if passing(status) => failures += 1,
                    // No standing stream here (405 and the like): the server says nothing by itself.
                    _ => return,
                },
                Err(_) => failures += 1,
            }
            tokio::time::sleep(backoff(place.retry, failures)).await;
        }
    }

    /// Reads one standing stream to its end; gives back the number of failures to reckon with.
    async fn read_unasked(&self, mut response: Response, place: &mut Place) -> u32 {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut events = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            let fed = decoder.feed(&chunk, &mut events);
            for event in events.drain(..) {
                place.pass(&event);
                match Message::parse(&event.data) {
                    Ok(message @ (Message::Request { .. } | Message::Notification { .. })) => {
                        self.inbox.message(None, message);
                    }
                    Ok(Message::Response { .. }) => {}
                    Err(_) if event.data.is_empty() => {}
                    Err(error) => {
                        tracing::debug!(target: "aih::upstream", %error, "an event is no MCP message")
                    }
                }
            }
            if let Err(error) = fed {
                tracing::warn!(target: "aih::upstream", %error, "the stream of what the server says by itself is opened anew");
                // It would come again.
                place.last_id = None;
                return 3;
            }
        }
        0
    }

    fn lose(&self) {
        if !self.lost.swap(true, Ordering::AcqRel) && !self.closed.is_cancelled() {
            self.inbox.closed(TransportError::SessionLost);
        }
    }
}

/// The error of a connection that broke after the request was sent.
fn sent(error: TransportError) -> TransportError {
    match error {
        TransportError::Connect(text) => TransportError::Closed(text),
        other => other,
    }
}

/// Whether the same request may be answered otherwise later. 409: the server has not seen yet that the
/// last stream ended.
fn passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
        )
}

fn backoff(retry: Duration, failures: u32) -> Duration {
    (retry * 2_u32.saturating_pow(failures.min(8))).min(MAX_RETRY)
}

/// The `Content-Type`, or nothing.
pub(super) fn content_type(response: &Response) -> &str {
    let value = response.headers().get(h::CONTENT_TYPE);
    value.and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// Whether it is of the media type `kind`.
pub(super) fn is_kind(content_type: &str, kind: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(kind)
}

fn is_stream(response: &Response) -> bool {
    response.status().is_success() && is_kind(content_type(response), "text/event-stream")
}

/// Reads an answered stream to its end, off the caller's way. A body that is dropped before its end takes
/// the connection with it, and the next call would have to open another.
fn finish(mut response: Response) {
    if let Some(Ok(None) | Err(_)) = response.chunk().now_or_never() {
        return;
    }
    tokio::spawn(tokio::time::timeout(ENDING, async move {
        while let Ok(Some(_)) = response.chunk().await {}
    }));
}

/// A whole body within the limit.
async fn whole(mut response: Response) -> Result<Bytes, TransportError> {
    let too_large = TransportError::TooLarge { limit: MAX_MESSAGE };
    let announced = response.content_length().unwrap_or(0);
    let Some(announced) = usize::try_from(announced).ok().filter(|n| *n <= MAX_MESSAGE) else {
        return Err(too_large);
    };
    let next = async |response: &mut Response| response.chunk().await.map_err(|e| sent(failed(e)));
    let Some(first) = next(&mut response).await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = next(&mut response).await? else {
        return Ok(first);
    };
    let mut all = Vec::with_capacity(announced.max((first.len() + second.len()) * 2));
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(chunk) = next(&mut response).await? {
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
        let core = &self.0;
        let message = Message::Request {
            id: Id::number(id),
            method: method.into(),
            params: params.clone(),
        };
        let response = core
            .post(message.to_bytes(), method, params.as_ref(), bindings)
            .await?;
        if !response.status().is_success() {
            return core.refused(Some(id), response).await;
        }
        if method == method::INITIALIZE
            && let Some(session) = response.headers().get(header::SESSION_ID)
        {
            let mut session = session.clone();
            session.set_sensitive(true);
            core.stand(header::SESSION_ID, &session, None);
            core.session.store(true, Ordering::Release);
        }
        let kind = content_type(&response);
        if is_kind(kind, "text/event-stream") {
            return core.read_answer(id, response).await;
        }
        if !is_kind(kind, "application/json") {
            let text = format!(
                "Content-Type `{}` instead of JSON or events",
                core.excerpt(kind.as_bytes())
            );
            return Err(TransportError::Protocol(text));
        }
        let body = whole(response).await?;
        core.sort(id, &body)?
            .ok_or_else(|| TransportError::Protocol("a message that is no answer".to_owned()))
    }

    async fn send(&self, message: Message) -> Result<(), TransportError> {
        let (method, params) = match &message {
            Message::Request { method, params, .. } | Message::Notification { method, params } => {
                (method.as_ref(), params.as_ref())
            }
            Message::Response { .. } => ("", None),
        };
        let response = self.0.post(message.to_bytes(), method, params, &[]).await?;
        if response.status().is_success() {
            finish(response);
            return Ok(());
        }
        if let Err(error) = self.0.refused(None, response).await? {
            // The server understood and does not want it; nobody waits for an answer.
            tracing::debug!(target: "aih::upstream", method, %error, "a message was refused");
        }
        Ok(())
    }

    fn negotiated(&self, version: ProtocolVersion) {
        let value = HeaderValue::from_static(version.as_str());
        self.0.stand(header::PROTOCOL_VERSION, &value, Some(version));
        if version.era() == Era::Legacy && !self.0.listening.swap(true, Ordering::AcqRel) {
            let core = self.0.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = core.closed.cancelled() => {}
                    () = core.read_standing() => {}
                }
            });
        }
    }

    fn stateful(&self) -> bool {
        self.0.has_session()
    }

    async fn close(&self) {
        let core = &self.0;
        if core.closed.is_cancelled() {
            return;
        }
        core.closed.cancel();
        if core.has_session() && !core.lost.load(Ordering::Acquire) {
            let headers = core.standing.load().headers.clone();
            let goodbye = core.execute(Method::DELETE, headers, None);
            // The server may not support it, or be gone: nothing is left to do then.
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
    }
}

impl Drop for HttpTransport {
    fn drop(&mut self) {
        self.0.closed.cancel();
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

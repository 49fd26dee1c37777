//! Streamable HTTP to an upstream, both eras: a POST a message, answers as JSON or as a stream of events.
//!
//! On the way of a call there is one request and its answer: no task, no channel, no tree of values. What
//! was sent and may have run must never be reported as [`TransportError::Connect`] or
//! [`TransportError::SessionLost`]: for these the request is sent once more.

mod answer;
mod resume;
mod standing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aih_mcp::{
    Era, ErrorObject, Id, Message, ProtocolVersion, RawJson,
    headers::{self, ParamHeader},
    method::{self, header},
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header as h};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use self::answer::whole;
use super::{
    Inbox, Transport, TransportError,
    http_client::{CODINGS, HttpClient, Response, Target, excerpt_without},
};

/// Largest message of a server, in bytes.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;
const GOODBYE: Duration = Duration::from_secs(2);

type Outcome = Result<RawJson, ErrorObject>;

/// See the module.
pub struct HttpTransport(Arc<Core>);

/// What goes with every request from now on.
#[derive(Clone)]
struct SessionHeaders {
    /// The configured headers, and those of the session and the revision once they are known.
    headers: HeaderMap,
    version: Option<ProtocolVersion>,
}

/// Held by the transport and by the task that reads its standing stream.
struct Core {
    target: Target,
    /// The server is not on this machine.
    far: bool,
    inbox: Arc<dyn Inbox>,
    standing: ArcSwap<SessionHeaders>,
    session: AtomicBool,
    listening: AtomicBool,
    closed: CancellationToken,
    lost: AtomicBool,
}

impl HttpTransport {
    /// A transport to `url`; nothing is sent yet. `headers` go with every request and must be marked
    /// sensitive where they are secret.
    ///
    /// # Errors
    /// [`TransportError::Connect`]: `url` is not an address of `http` or `https`.
    pub fn new(
        client: &HttpClient,
        url: Url,
        mut headers: HeaderMap,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<Self>, TransportError> {
        let far = !is_loopback(&url);
        let target = client.target(url, &mut headers)?;
        let standing = SessionHeaders {
            headers,
            version: None,
        };
        Ok(Arc::new(Self(Arc::new(Core {
            target,
            far,
            inbox,
            standing: ArcSwap::from_pointee(standing),
            session: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            closed: CancellationToken::new(),
            lost: AtomicBool::new(false),
        }))))
    }
}

impl Core {
    fn has_session(&self) -> bool {
        self.session.load(Ordering::Acquire)
    }

    /// Adds a header to all that will be sent.
    fn set_session_header(&self, name: &'static str, value: &HeaderValue, version: Option<ProtocolVersion>) {
        self.standing.rcu(|old| {
            let mut new = SessionHeaders::clone(old);
            new.headers.insert(name, value.clone());
            new.version = version.or(new.version);
            new
        });
    }

    fn excerpt(&self, body: &[u8]) -> String {
        excerpt_without(body, &self.standing.load().headers, self.target.url())
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
        // Where an answer can be large and nothing is to be heard before it. Middleware that compresses tends to hold
        // events back. On this machine it only costs time.
        if self.far && may_be_compressed(method) {
            headers.entry(h::ACCEPT_ENCODING).or_insert(CODINGS);
        }
        self.target.send(Method::POST, headers, body).await
    }

    async fn open_stream(&self, last_event: Option<&HeaderValue>) -> Result<Response, TransportError> {
        let mut headers = self.standing.load().headers.clone();
        headers.insert(h::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event {
            headers.insert(header::LAST_EVENT_ID, id.clone());
        }
        self.target.send(Method::GET, headers, Bytes::new()).await
    }

    fn lose(&self, why: TransportError) {
        if !self.lost.swap(true, Ordering::AcqRel) && !self.closed.is_cancelled() {
            self.inbox.closed(why, &[]);
        }
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

/// Whether it is of the media type `kind`.
pub(super) fn is_kind(content_type: &str, kind: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(kind)
}

/// Whether it is JSON, in one of the names that servers give it: the official SDKs look at its start alone.
fn is_json(content_type: &str) -> bool {
    let start = content_type.trim_start().get(.."application/json".len());
    start.is_some_and(|start| start.eq_ignore_ascii_case("application/json"))
}

/// Whether the answer to `method` can be large, and nothing comes before it.
fn may_be_compressed(method: &str) -> bool {
    matches!(
        method,
        method::DISCOVER
            | method::TOOLS_LIST
            | method::PROMPTS_LIST
            | method::RESOURCES_LIST
            | method::TEMPLATES_LIST
            | method::RESOURCES_READ
            | method::PROMPTS_GET
    )
}

/// Whether an address is that of this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn is_stream(response: &Response) -> bool {
    response.status().is_success() && is_kind(response.content_type(), "text/event-stream")
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
            core.set_session_header(header::SESSION_ID, &session, None);
            core.session.store(true, Ordering::Release);
        }
        let kind = response.content_type();
        if is_kind(kind, "text/event-stream") {
            return core.read_answer(id, response).await;
        }
        if !is_json(kind) {
            let text = format!(
                "Content-Type `{}` instead of JSON or events",
                core.excerpt(kind.as_bytes())
            );
            return Err(TransportError::Protocol(text.into()));
        }
        let body = whole(response).await?;
        let sorted = core.sort(id, &body);
        let none = || TransportError::Protocol("a message that is not an answer".into());
        sorted
            .answer
            .unwrap_or_else(|| Err(sorted.skipped.unwrap_or_else(none)))
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
            response.finish();
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
        self.0
            .set_session_header(header::PROTOCOL_VERSION, &value, Some(version));
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
            let goodbye = core.target.send(Method::DELETE, headers, Bytes::new());
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
mod tests;

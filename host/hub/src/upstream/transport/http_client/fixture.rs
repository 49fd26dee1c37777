//! A small real HTTP server whose answers a test scripts, and an inbox that keeps what was said.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aih_mcp::Message;
use axum::{Router, body::Body, extract::Request, response::Response, serve::ListenerExt as _};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use url::Url;

use crate::upstream::transport::{Inbox, TransportError};

/// Nothing here takes as long.
const BOUND: Duration = Duration::from_secs(20);

/// Waits with a bound.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("in time")
}

/// One request that came.
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn rpc(&self) -> String {
        self.json()["method"].as_str().unwrap_or_default().to_owned()
    }

    /// The answer with this result to the request.
    pub(crate) fn result(&self, result: &Value) -> String {
        json!({"jsonrpc": "2.0", "id": self.json()["id"], "result": result}).to_string()
    }
}

/// The server; it ends with this value.
pub(crate) struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Arc<Seen>>>>,
    came: Arc<Notify>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start<F, R>(script: F) -> Self
    where
        F: Fn(Arc<Seen>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Arc<Seen>>>>::default();
        let came = Arc::new(Notify::new());
        let connections = Arc::<AtomicUsize>::default();
        let (table, bell, count) = (seen.clone(), came.clone(), connections.clone());
        let router = Router::new().fallback(move |request: Request| {
            let (script, table, bell) = (script.clone(), table.clone(), bell.clone());
            async move {
                let (parts, body) = request.into_parts();
                let request = Arc::new(Seen {
                    method: parts.method,
                    path: parts.uri.to_string(),
                    headers: parts.headers,
                    body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
                });
                table.lock().unwrap().push(request.clone());
                bell.notify_waiters();
                script(request).await
            }
        });
        let listener = listener.tap_io(move |io| {
            count.fetch_add(1, Ordering::SeqCst);
            io.set_nodelay(true).unwrap();
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            seen,
            came,
            connections,
            task,
        }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.address)).unwrap()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Seen) -> bool) -> usize {
        self.seen.lock().unwrap().iter().filter(|s| wanted(s)).count()
    }

    /// Waits for the request number `nth` (from 0) that is `wanted`.
    pub(crate) async fn request(&self, nth: usize, wanted: impl Fn(&Seen) -> bool) -> Arc<Seen> {
        soon(async {
            loop {
                let mut came = std::pin::pin!(self.came.notified());
                came.as_mut().enable();
                let found = (self.seen.lock().unwrap().iter())
                    .filter(|s| wanted(s))
                    .nth(nth)
                    .cloned();
                match found {
                    Some(found) => return found,
                    None => came.await,
                }
            }
        })
        .await
    }
}

/// A response with a body.
pub(crate) fn answer(status: u16, kind: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if !kind.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
    }
    response
}

/// A JSON response.
pub(crate) fn json_answer(body: String) -> Response {
    answer(200, "application/json", body)
}

/// An event stream that sends these pieces and ends.
pub(crate) fn events(pieces: Vec<String>) -> Response {
    stream(futures::stream::iter(pieces))
}

/// An event stream.
pub(crate) fn stream(pieces: impl Stream<Item = String> + Send + 'static) -> Response {
    let body = Body::from_stream(pieces.map(Ok::<_, Infallible>));
    answer(200, "text/event-stream; charset=utf-8", body)
}

/// An event stream that stays open after these pieces; `dropped` rings when the client closes it.
pub(crate) fn open_stream(pieces: Vec<String>, dropped: &Arc<Notify>) -> Response {
    struct Ring(Arc<Notify>);
    impl Drop for Ring {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let ring = Ring(dropped.clone());
    stream(
        futures::stream::iter(pieces)
            .chain(futures::stream::pending())
            .inspect(move |_| {
                let _held = &ring;
            }),
    )
}

/// One message as an event.
pub(crate) fn event(json: impl std::fmt::Display) -> String {
    format!("data: {json}\n\n")
}

/// A notification as JSON.
pub(crate) fn notification(method: &str) -> String {
    json!({"jsonrpc": "2.0", "method": method}).to_string()
}

/// What an inbox got.
#[derive(Debug)]
pub(crate) enum InboxEvent {
    Message(Option<u64>, String),
    Closed(TransportError),
}

/// An inbox, and its other end.
pub(crate) struct RecordingInbox(mpsc::UnboundedSender<InboxEvent>);

impl RecordingInbox {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<InboxEvent>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self(sender)), receiver)
    }
}

impl Inbox for RecordingInbox {
    fn message(&self, during: Option<u64>, message: Message) {
        let method = match message {
            Message::Request { method, .. } | Message::Notification { method, .. } => method,
            Message::Response { .. } => panic!("an answer in the inbox"),
        };
        let _ = self.0.send(InboxEvent::Message(during, method.into()));
    }

    fn closed(&self, error: TransportError, _: &[u64]) {
        let _ = self.0.send(InboxEvent::Closed(error));
    }
}

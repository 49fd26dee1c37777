//! Many servers on one port, told apart by their paths.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Mode, raw,
    server::{Context, Incoming, Reply, Server, Session, lock},
    sse,
};

const SESSION: &str = "mcp-session-id";
/// What paths of servers over the transport of 2024-11-05 begin with.
const SSE: &str = "sse/";

/// All servers of this process.
pub(crate) struct Host {
    servers: Mutex<HashMap<String, Arc<Server>>>,
    /// The open streams of [`sse`], by session.
    pub(crate) streams: Mutex<HashMap<String, sse::Lines>>,
    /// Where [`Mode::Redirect`] points: another port of this process.
    foreign: String,
    strangers: Arc<Mutex<Vec<Value>>>,
}

impl Host {
    fn server(&self, path: &str) -> Option<Arc<Server>> {
        let mode = Mode::parse(path.strip_prefix(SSE).unwrap_or(path).split('/').next()?)?;
        let mut servers = lock(&self.servers);
        let server = servers
            .entry(path.to_owned())
            .or_insert_with(|| Server::new(mode, None));
        Some(server.clone())
    }
}

/// Serves until killed. The first line on stdout is a JSON object with the addresses.
pub(crate) async fn serve(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let foreign = TcpListener::bind("127.0.0.1:0").await?;
    let noise = TcpListener::bind("127.0.0.1:0").await?;
    let hole = TcpListener::bind("127.0.0.1:0").await?;
    let address = |l: &TcpListener| l.local_addr().map(|a| format!("http://{a}"));
    let strangers: Arc<Mutex<Vec<Value>>> = Arc::default();
    let host = Arc::new(Host {
        servers: Mutex::default(),
        streams: Mutex::default(),
        foreign: format!("http://localhost:{}/stolen", foreign.local_addr()?.port()),
        strangers: strangers.clone(),
    });
    println!(
        "{}",
        json!({ "url": address(&listener)?, "noise": address(&noise)?, "hole": address(&hole)? })
    );
    tokio::spawn(raw::noise(noise));
    tokio::spawn(raw::hole(hole));
    let stranger = Router::new().fallback(any(move |request: Request| async move {
        lock(&strangers).push(headers_of(request.headers()));
        StatusCode::NOT_FOUND
    }));
    tokio::spawn(async move { axum::serve(foreign, stranger).await });
    let router = Router::new()
        .route("/control/{*path}", post(control))
        .route("/record/{*path}", get(record))
        .route("/{*path}", any(mcp))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(host);
    axum::serve(listener, router).await
}

pub(crate) fn headers_of(headers: &HeaderMap) -> Value {
    let pairs = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), Value::from(value))
    });
    Value::Object(pairs.collect())
}

async fn record(State(host): State<Arc<Host>>, Path(path): Path<String>) -> Response {
    if path == "strangers" {
        return axum::Json(lock(&host.strangers).clone()).into_response();
    }
    match host.server(&path) {
        Some(server) => axum::Json(server.noted()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn control(
    State(host): State<Arc<Host>>,
    Path(path): Path<String>,
    axum::Json(order): axum::Json<Value>,
) -> StatusCode {
    let Some(server) = host.server(&path) else {
        return StatusCode::NOT_FOUND;
    };
    let word = |name: &str| order.get(name).and_then(Value::as_str).unwrap_or_default();
    match word("do") {
        // As after a restart: all sessions and their streams are gone.
        "forget" => lock(&server.sessions).clear(),
        "down" => {
            lock(&server.sessions).clear();
            server.down.store(true, Ordering::Relaxed);
        }
        "up" => server.down.store(false, Ordering::Relaxed),
        "add-tool" => server.add_tool(word("name")),
        "touch" => server.touch(word("uri"), word("uri")),
        _ => return StatusCode::BAD_REQUEST,
    }
    StatusCode::NO_CONTENT
}

async fn mcp(State(host): State<Arc<Host>>, Path(path): Path<String>, request: Request) -> Response {
    let Some(server) = host.server(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if server.down.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let old = path.starts_with(SSE);
    match server.mode {
        Mode::Redirect => {
            server.note(json!({ "method": "redirected", "headers": headers_of(request.headers()) }));
            return (
                StatusCode::TEMPORARY_REDIRECT,
                [(header::LOCATION, host.foreign.clone())],
            )
                .into_response();
        }
        Mode::Unauthorized => return StatusCode::UNAUTHORIZED.into_response(),
        Mode::Broken => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mode::Silent => return std::future::pending().await,
        Mode::Garbage => return bytes("application/json", b"\xff\xfe{{{ this is no JSON".to_vec()),
        _ if old => return sse::serve(host, server, &path, request).await,
        Mode::HalfClose => return cut("application/json", r#"{"jsonrpc":"2.0","id":1,"res"#.to_owned()),
        _ => {}
    }
    let (parts, body) = request.into_parts();
    match parts.method.as_str() {
        "POST" => match body_of(body).await {
            Some(message) => receive(server, &parts.headers, message).await,
            None => StatusCode::BAD_REQUEST.into_response(),
        },
        "GET" => match session(&server, &parts.headers) {
            Some(session) if server.mode != Mode::Modern => standing(&server, &session),
            Some(_) => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        "DELETE" => {
            let id = parts.headers.get(SESSION).and_then(|v| v.to_str().ok());
            let gone = id.and_then(|id| lock(&server.sessions).remove(id));
            server.note(json!({ "method": "DELETE", "session": id }));
            if gone.is_some() {
                StatusCode::NO_CONTENT.into_response()
            } else {
                StatusCode::NOT_FOUND.into_response()
            }
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn stateful(server: &Server) -> bool {
    !matches!(server.mode, Mode::Stateless | Mode::Modern)
}

fn session(server: &Server, headers: &HeaderMap) -> Option<Arc<Session>> {
    if !stateful(server) {
        return Some(server.shared());
    }
    let id = headers.get(SESSION)?.to_str().ok()?;
    lock(&server.sessions).get(id).cloned()
}

fn standing(server: &Server, session: &Session) -> Response {
    // Ends when the session is forgotten: then its sender is dropped.
    let receiver = session.standing.subscribe();
    // After it hears: who sees the note may count on that.
    server.note(json!({ "method": "GET" }));
    let messages = stream::unfold(receiver, |mut receiver| async move {
        let text = receiver.recv().await.ok()?;
        Some((text, receiver))
    });
    events(messages.map(|text| Ok(Bytes::from(format!("data: {text}\n\n")))))
}

pub(crate) fn events(
    stream: impl stream::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
) -> Response {
    let first = stream::iter([Ok(Bytes::from_static(b": hello\n\n"))]);
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(first.chain(stream)),
    )
        .into_response()
}

fn bytes(kind: &'static str, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// A body that breaks off: the connection is closed within a chunk's sequence.
pub(crate) fn cut(kind: &'static str, part: String) -> Response {
    let broken = stream::iter([
        Ok(Bytes::from(part)),
        Err(std::io::Error::other("broken off on purpose")),
    ]);
    // One turn of the loop between the two, so that the first part is on its way.
    let slowly = broken.then(|item| async move {
        if item.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        item
    });
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(slowly)).into_response()
}

pub(crate) fn envelope(id: &str, reply: Reply) -> Result<String, Reply> {
    Ok(match reply {
        Reply::Result(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Reply::Error(error) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
        Reply::WrongId(result) => format!(r#"{{"jsonrpc":"2.0","id":"not-yours","result":{result}}}"#),
        other => return Err(other),
    })
}

/// The message in a body, however large.
pub(crate) async fn body_of(body: Body) -> Option<Incoming> {
    let body = axum::body::to_bytes(body, usize::MAX).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// An answer without a body.
pub(crate) fn bare(status: StatusCode) -> Response {
    status.into_response()
}

/// The credentials that came with a request.
pub(crate) fn credentials(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    value.unwrap_or_default().to_owned()
}

async fn receive(server: Arc<Server>, headers: &HeaderMap, message: Incoming) -> Response {
    server.note(message.entry_with("headers", headers_of(headers)));
    let method = message.method.clone().unwrap_or_default();
    let (session, opened) = if method == "initialize" && stateful(&server) {
        let (id, session) = server.open();
        (session, Some(id))
    } else {
        match session(&server, headers) {
            Some(session) => (session, None),
            None => {
                let known = headers.contains_key(SESSION);
                let status = if known {
                    StatusCode::NOT_FOUND
                } else {
                    StatusCode::BAD_REQUEST
                };
                let error =
                    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no such session"}}"#;
                return (status, [(header::CONTENT_TYPE, "application/json")], error).into_response();
            }
        }
    };
    let Some(id) = message
        .id
        .as_ref()
        .filter(|_| message.method.is_some())
        .map(|id| id.get().to_owned())
    else {
        server.hear(&session, &message);
        return StatusCode::ACCEPTED.into_response();
    };
    if server.mode == Mode::WrongId {
        let reply = r#"{"jsonrpc":"2.0","id":"not-yours","result":{}}"#;
        return bytes("application/json", reply.into());
    }
    if method == "subscriptions/listen" && server.mode == Mode::Modern {
        return listen(&server, &id);
    }
    let authorization = credentials(headers);
    let mut response = answer(server, session, message, id, authorization).await;
    if let Some(value) = opened.and_then(|id| HeaderValue::from_str(&id).ok()) {
        response.headers_mut().insert(SESSION, value);
    }
    response
}

fn listen(server: &Server, id: &str) -> Response {
    let subscription = serde_json::from_str::<Value>(id).unwrap_or_default();
    let meta = json!({ "io.modelcontextprotocol/subscriptionId": subscription });
    let ack = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": { "_meta": meta, "notifications": { "toolsListChanged": true } } });
    let messages = stream::unfold(server.listeners.subscribe(), move |mut receiver| {
        let meta = meta.clone();
        async move {
            let mut message: Value = serde_json::from_str(&receiver.recv().await.ok()?).ok()?;
            if let Some(fields) = message.as_object_mut() {
                fields.insert("params".to_owned(), json!({ "_meta": meta }));
            }
            Some((message.to_string(), receiver))
        }
    });
    let all = stream::iter([ack.to_string()]).chain(messages);
    events(all.map(|text| Ok(Bytes::from(format!("data: {text}\n\n")))))
}

/// Answers with JSON where the answer comes first, with a stream where something else does.
async fn answer(
    server: Arc<Server>,
    session: Arc<Session>,
    message: Incoming,
    id: String,
    authorization: String,
) -> Response {
    let cancel = CancellationToken::new();
    // In the modern era, closing the stream is how a client cancels.
    let on_close = (server.mode == Mode::Modern).then(|| cancel.clone().drop_guard());
    let (out, mut before) = mpsc::unbounded_channel::<String>();
    let context = Context {
        out,
        authorization,
        cancel,
    };
    let mut work = tokio::spawn(async move { server.answer(&session, &message, &context).await });
    let first = tokio::select! {
        biased;
        Some(text) = before.recv() => text,
        reply = &mut work => {
            if let Some(guard) = on_close {
                drop(guard.disarm());
            }
            return match envelope(&id, reply.unwrap_or(Reply::Never)) {
                Ok(text) => bytes("application/json", text.into_bytes()),
                Err(Reply::Bytes(noise)) => bytes("application/json", noise),
                Err(Reply::Cut(part)) => {
                    cut("application/json", format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{part}"#))
                }
                Err(Reply::Exit) => std::process::exit(4),
                Err(_) => std::future::pending().await,
            };
        }
    };
    let (lines, rest) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    let line = |text: &str| Ok(Bytes::from(format!("data: {text}\n\n")));
    let _ = lines.send(line(&first));
    tokio::spawn(async move {
        let _guard = on_close;
        loop {
            tokio::select! {
                biased;
                Some(text) = before.recv() => {
                    if lines.send(line(&text)).is_err() {
                        return;
                    }
                }
                reply = &mut work => {
                    match envelope(&id, reply.unwrap_or(Reply::Never)) {
                        Ok(text) => { let _ = lines.send(line(&text)); }
                        Err(Reply::Bytes(noise)) => { let _ = lines.send(Ok(noise.into())); }
                        Err(Reply::Cut(part)) => {
                            let half = format!(r#"data: {{"jsonrpc":"2.0","id":{id},"result":{part}"#);
                            let _ = lines.send(Ok(Bytes::from(half)));
                            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                            let _ = lines.send(Err(std::io::Error::other("broken off on purpose")));
                        }
                        Err(Reply::Exit) => std::process::exit(4),
                        Err(_) => lines.closed().await,
                    }
                    return;
                }
                () = lines.closed() => return,
            }
        }
    });
    events(stream::unfold(rest, |mut rest| async move {
        let item = rest.recv().await?;
        Some((item, rest))
    }))
}

//! A server over the transport of 2024-11-05: one stream for all that it says, a POST for all that it hears.

use std::sync::Arc;

use axum::{body::Bytes, response::Response};
use futures::stream;
use http::{HeaderMap, Request, StatusCode};
use serde_json::json;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Mode,
    http::{Host, bare, body_of, credentials, cut, envelope, events, headers_of},
    server::{Context, Incoming, Reply, Server, Session, lock},
};

/// What goes out on a stream; an error breaks the connection.
pub(crate) type Lines = mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

fn line(text: impl AsRef<[u8]>) -> Result<Bytes, std::io::Error> {
    Ok(Bytes::from([b"data: ", text.as_ref(), b"\n\n"].concat()))
}

/// Opens the stream, or takes a message.
pub(crate) async fn serve(
    host: Arc<Host>,
    server: Arc<Server>,
    path: &str,
    request: Request<axum::body::Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    match parts.method.as_str() {
        "GET" => open(&host, &server, path),
        "POST" => {
            let query = parts.uri.query().unwrap_or_default();
            let id = query.strip_prefix("session=").unwrap_or_default();
            let session = lock(&server.sessions).get(id).cloned();
            let lines = lock(&host.streams).get(id).cloned();
            let (Some(session), Some(lines)) = (session, lines) else {
                return bare(StatusCode::NOT_FOUND);
            };
            match body_of(body).await {
                Some(message) => receive(server, session, lines, message, &parts.headers),
                None => bare(StatusCode::BAD_REQUEST),
            }
        }
        _ => bare(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn open(host: &Arc<Host>, server: &Arc<Server>, path: &str) -> Response {
    server.note(json!({ "method": "GET" }));
    if server.mode == Mode::HalfClose {
        return cut(
            "text/event-stream",
            format!("event: endpoint\ndata: /{path}?sess"),
        );
    }
    let (id, session) = server.open();
    let (lines, rest) = mpsc::unbounded_channel();
    let _ = lines.send(Ok(Bytes::from(format!(
        "event: endpoint\ndata: /{path}?session={id}\n\n"
    ))));
    lock(&host.streams).insert(id.clone(), lines.clone());
    let mut standing = session.standing.subscribe();
    drop(session);
    let (host, server) = (host.clone(), server.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                // Ends when the session is forgotten: then its sender is dropped.
                said = standing.recv() => match said {
                    Ok(text) => { let _ = lines.send(line(text)); }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
                () = lines.closed() => break,
            }
        }
        lock(&host.streams).remove(&id);
        let session = lock(&server.sessions).remove(&id);
        server.note(json!({ "method": "DELETE", "session": id }));
        drop(session);
    });
    events(stream::unfold(rest, |mut rest| async move {
        let item = rest.recv().await?;
        Some((item, rest))
    }))
}

fn receive(
    server: Arc<Server>,
    session: Arc<Session>,
    lines: Lines,
    message: Incoming,
    headers: &HeaderMap,
) -> Response {
    server.note(message.entry_with("headers", headers_of(headers)));
    let accepted = bare(StatusCode::ACCEPTED);
    let id = message.id.as_ref().filter(|_| message.method.is_some());
    let Some(id) = id.map(|id| id.get().to_owned()) else {
        server.hear(&session, &message);
        return accepted;
    };
    let (out, mut before) = mpsc::unbounded_channel::<String>();
    let context = Context {
        out,
        authorization: credentials(headers),
        cancel: CancellationToken::new(),
    };
    let told = lines.clone();
    let telling = tokio::spawn(async move {
        while let Some(text) = before.recv().await {
            let _ = told.send(line(text));
        }
    });
    tokio::spawn(async move {
        let reply = match server.mode {
            Mode::WrongId => Reply::WrongId("{}".to_owned()),
            _ => server.answer(&session, &message, &context).await,
        };
        drop(context);
        let _ = telling.await;
        match envelope(&id, reply) {
            Ok(text) => {
                let _ = lines.send(line(text));
            }
            Err(Reply::Bytes(noise)) => {
                let _ = lines.send(line(noise));
            }
            Err(Reply::Cut(part)) => {
                let half = format!(r#"data: {{"jsonrpc":"2.0","id":{id},"result":{part}"#);
                let _ = lines.send(Ok(Bytes::from(half)));
                // So that the first part is on its way.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                let _ = lines.send(Err(std::io::Error::other("broken off on purpose")));
            }
            Err(Reply::Exit) => std::process::exit(4),
            Err(_) => {}
        }
    });
    accepted
}

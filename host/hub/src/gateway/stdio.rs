//! `aih stdio`: the gateway on standard input and output, for clients that only start commands. Both eras.

use std::{collections::HashMap, sync::Arc};

use aih_mcp::{ErrorCode, ErrorObject, Id, Message, RawObject, Refusal, method};
use futures::StreamExt as _;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::{
    Gateway, MAX_BODY, MAX_NESTING,
    modern::{self, StartedRequest},
    session::Session,
    sse,
    stream::Stream,
};
use crate::{access::Principal, catalogue::Scope, memory::Permit};

/// Modern requests that run, so that `notifications/cancelled` finds them.
type Running = Arc<std::sync::Mutex<HashMap<Id, CancellationToken>>>;

/// Serves one client until its input ends.
///
/// # Errors
/// Reading or writing failed.
pub async fn serve(
    gateway: Arc<Gateway>,
    principal: Arc<Principal>,
    scope: Scope,
    input: impl AsyncBufRead + Unpin,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> std::io::Result<()> {
    let (session, _) = gateway
        .sessions
        .open(&principal, scope)
        .map_err(std::io::Error::other)?;
    // The client is there for as long as its pipes are, however silent.
    let _open = session.open_stream();
    let writer = tokio::spawn(write(session.standing.clone(), output));
    let running = Running::default();
    let outcome = read(&gateway, &session, &running, input).await;
    gateway.end_session(&session);
    writer.await.map_err(std::io::Error::other)??;
    outcome
}

async fn write(stream: Arc<Stream>, mut output: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut events = Box::pin(stream.read());
    while let Some(event) = events.next().await {
        output.write_all(&event.data).await?;
        output.write_all(b"\n").await?;
        output.flush().await?;
    }
    Ok(())
}

async fn read(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    running: &Running,
    mut input: impl AsyncBufRead + Unpin,
) -> std::io::Result<()> {
    let refuse = |id, error| {
        let outcome = Err(error);
        // An answer that finds no room becomes an error.
        let _ = session.standing.push(&Message::Response { id, outcome });
    };
    let limit = MAX_BODY as u64 + 1;
    let account = gateway.memory.requests.of(session.principal().id);
    loop {
        // A client that does not read its answers is not read from.
        tokio::select! {
            () = session.standing.until_room() => {}
            () = gateway.stopping.cancelled() => return Ok(()),
        }
        let mut line = Vec::new();
        let mut limited = (&mut input).take(limit);
        let read = tokio::select! {
            read = limited.read_until(b'\n', &mut line) => read?,
            () = gateway.stopping.cancelled() => return Ok(()),
        };
        if read == 0 {
            return Ok(());
        }
        if line.len() > MAX_BODY {
            let text = format!("a message may have {MAX_BODY} bytes at most");
            refuse(None, ErrorObject::new(ErrorCode::INVALID_REQUEST, text));
            return Ok(());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        // One client, which started the hub: its line is in memory already.
        let permit = account.force(line.len());
        match Message::from_client(&line.into(), MAX_NESTING) {
            Err(Refusal { id, error }) => refuse(id, error),
            Ok(message) => receive(gateway, session, running, message, permit),
        }
    }
}

fn receive(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    running: &Running,
    message: Message,
    permit: Permit,
) {
    let active = |running: &Running| {
        running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .len()
    };
    match message {
        Message::Request { id, method, params }
            if modern::says_version(params.as_ref()) || &*method == method::DISCOVER =>
        {
            if active(running) >= super::session::MAX_RUNNING {
                let e = ErrorObject::internal("too many requests are running; wait for one to end");
                let _ = session.standing.push(&Message::response(id, Err(e)));
                return;
            }
            let cancel = CancellationToken::new();
            let table = running.clone();
            {
                let mut table = table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if table.contains_key(&id) {
                    let e = ErrorObject::new(ErrorCode::INVALID_REQUEST, "a request with this id is running");
                    let _ = session.standing.push(&Message::response(id, Err(e)));
                    return;
                }
                table.insert(id.clone(), cancel.clone());
            }
            let (gateway, out, principal) = (
                gateway.clone(),
                session.standing.clone(),
                session.principal().clone(),
            );
            let (scope, ended) = (session.scope.clone(), session.ended.clone());
            let tasks = gateway.tasks.clone();
            tasks.spawn(async move {
                let work = answer_modern(
                    &gateway,
                    &principal,
                    scope,
                    id.clone(),
                    method,
                    params,
                    permit,
                    &out,
                );
                tokio::select! {
                    () = work => {}
                    () = cancel.cancelled() => {}
                    () = ended.cancelled() => {}
                }
                table
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .remove(&id);
            });
        }
        Message::Notification { method, params } if &*method == method::CANCELLED => {
            let id = params
                .as_ref()
                .and_then(|p| RawObject::parse(p).ok()?.raw("requestId"))
                .and_then(Id::from_json);
            if let Some(id) = id {
                if let Some(cancel) = running
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .get(&id)
                {
                    cancel.cancel();
                }
                session.cancel(&id);
            }
        }
        other => sse::receive(gateway, session, other, permit),
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one request, split once and used once"
)]
async fn answer_modern(
    gateway: &Arc<Gateway>,
    principal: &Arc<Principal>,
    scope: Scope,
    id: Id,
    method: Box<str>,
    params: Option<aih_mcp::RawJson>,
    permit: Permit,
    out: &Arc<Stream>,
) {
    match gateway
        .begin_modern(principal, scope, None, id.clone(), method, params, permit)
        .await
    {
        Err(e) => {
            let _ = out.push(&Message::response(id, Err(e)));
        }
        Ok(StartedRequest::Listen(listening)) => {
            let mut events = Box::pin(listening.stream.read());
            while let Some(event) = events.next().await {
                out.push_raw(event.data);
            }
        }
        Ok(StartedRequest::Call { mut answer, stream }) => {
            let mut events = Box::pin(stream.read().fuse());
            let outcome = loop {
                tokio::select! {
                    biased;
                    Some(event) = events.next() => out.push_raw(event.data),
                    outcome = &mut answer => break outcome,
                }
            };
            // What was said before the answer comes before it.
            stream.finish();
            while let Some(event) = events.next().await {
                out.push_raw(event.data);
            }
            let _ = out.push(&Message::response(id, outcome));
        }
    }
}

//! `aih stdio`: the gateway on standard input and output, for clients that only start commands. Both eras.

use std::sync::Arc;

use aih_mcp::{ErrorCode, ErrorObject, Id, Message, Refusal, method};
use futures::StreamExt as _;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    Gateway, MAX_BODY, MAX_NESTING,
    modern::{self, StartedRequest},
    session::Session,
    sse,
    stream::Stream,
};
use crate::{access::Principal, catalogue::Scope, memory::Permit};

/// Serves one client. When its input ends, the requests that were read are answered before this returns.
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
    let mut writer = tokio::spawn(write(session.standing.clone(), output));
    let outcome = read(&gateway, &session, input).await;
    session.end_of_input();
    let mut written = None;
    if outcome.is_ok() {
        // It ends behind the answer to the last request that runs.
        tokio::select! {
            done = &mut writer => written = Some(done),
            () = gateway.stopping.cancelled() => {}
        }
    }
    gateway.end_session(&session);
    let written = match written {
        Some(written) => written,
        None => writer.await,
    };
    written.map_err(std::io::Error::other)??;
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
            Ok(message) => receive(gateway, session, message, permit),
        }
    }
}

fn receive(gateway: &Arc<Gateway>, session: &Arc<Session>, message: Message, permit: Permit) {
    match message {
        Message::Request { id, method, params }
            if modern::says_version(params.as_ref()) || &*method == method::DISCOVER =>
        {
            let running = match session.begin(&id) {
                Ok(running) => running,
                Err(e) => {
                    let _ = session.standing.push(&Message::response(id, Err(e)));
                    return;
                }
            };
            let (gateway, session) = (gateway.clone(), session.clone());
            let tasks = gateway.tasks.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = answer_modern(&gateway, &session, id, method, params, permit) => {}
                    () = running.cancel.cancelled() => {}
                }
            });
        }
        other => sse::receive(gateway, session, other, permit),
    }
}

async fn answer_modern(
    gateway: &Arc<Gateway>,
    session: &Session,
    id: Id,
    method: Box<str>,
    params: Option<aih_mcp::RawJson>,
    permit: Permit,
) {
    let out: &Arc<Stream> = &session.standing;
    let (principal, scope) = (session.principal(), session.scope.clone());
    match gateway
        .begin_modern(principal, scope, None, id.clone(), method, params, permit)
        .await
    {
        Err(e) => {
            let _ = out.push(&Message::response(id, Err(e)));
        }
        Ok(StartedRequest::Listen(listening)) => {
            let mut events = Box::pin(listening.stream.read());
            // The first one acknowledges the request.
            if let Some(event) = events.next().await {
                out.push_awaited(event.data);
            }
            loop {
                tokio::select! {
                    event = events.next() => match event {
                        Some(event) => out.push_note(event.data),
                        None => return,
                    },
                    () = session.input_ended() => return,
                }
            }
        }
        Ok(StartedRequest::Call {
            mut answer, stream, ..
        }) => {
            let mut events = Box::pin(stream.read().fuse());
            let outcome = loop {
                tokio::select! {
                    biased;
                    Some(event) = events.next() => out.push_note(event.data),
                    outcome = &mut answer => break outcome,
                }
            };
            // What was said before the answer comes before it.
            stream.finish();
            while let Some(event) = events.next().await {
                out.push_note(event.data);
            }
            out.answer(id, outcome).await;
        }
    }
}

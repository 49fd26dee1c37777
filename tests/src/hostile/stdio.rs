//! One server on stdin and stdout.

use std::sync::Arc;

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    Mode,
    server::{Context, Incoming, Reply, Server},
};

/// A line for stdout, or the end.
enum Line {
    Text(Vec<u8>),
    /// These bytes, no line end, then the process ends.
    Last(Vec<u8>),
}

/// Serves until stdin ends.
pub(crate) async fn serve(mode: Mode, record: Option<String>) -> std::io::Result<()> {
    if mode == Mode::Broken {
        eprintln!("fixture-hostile: cannot start, the moon is full");
        std::process::exit(3);
    }
    let server = Server::new(mode, record);
    let (lines, mut queue) = mpsc::unbounded_channel::<Line>();
    let writer = tokio::spawn(async move {
        let mut stdout = tokio::io::stdout();
        while let Some(line) = queue.recv().await {
            let (bytes, last) = match line {
                Line::Text(mut bytes) => {
                    bytes.push(b'\n');
                    (bytes, false)
                }
                Line::Last(bytes) => (bytes, true),
            };
            if stdout.write_all(&bytes).await.is_err() || stdout.flush().await.is_err() {
                return;
            }
            if last {
                std::process::exit(0);
            }
        }
    });
    let mut standing = server.shared().standing.subscribe();
    let to_standing = lines.clone();
    tokio::spawn(async move {
        while let Ok(text) = standing.recv().await {
            let _ = to_standing.send(Line::Text(text.into_bytes()));
        }
    });
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).await? == 0 {
            break;
        }
        let Ok(message) = serde_json::from_slice::<Incoming>(&line) else {
            continue;
        };
        server.note(message.entry_with("pid", json!(std::process::id())));
        tokio::spawn(receive(server.clone(), message, lines.clone()));
    }
    drop(lines);
    writer.abort();
    Ok(())
}

async fn receive(server: Arc<Server>, message: Incoming, lines: mpsc::UnboundedSender<Line>) {
    let session = server.shared();
    let (Some(id), Some(_)) = (&message.id, &message.method) else {
        server.hear(&session, &message);
        return;
    };
    let id = id.get();
    let send = |bytes: Vec<u8>| {
        let _ = lines.send(Line::Text(bytes));
    };
    match server.mode {
        Mode::Garbage => return send(b"\xff\xfe{{{ this is no JSON".to_vec()),
        Mode::Silent => return,
        Mode::HalfClose => {
            let _ = lines.send(Line::Last(
                format!(r#"{{"jsonrpc":"2.0","id":{id},"res"#).into_bytes(),
            ));
            return;
        }
        Mode::WrongId => return send(br#"{"jsonrpc":"2.0","id":"not-yours","result":{}}"#.to_vec()),
        _ => {}
    }
    let (out, mut before) = mpsc::unbounded_channel::<String>();
    let forward = lines.clone();
    let forwarding = tokio::spawn(async move {
        while let Some(text) = before.recv().await {
            let _ = forward.send(Line::Text(text.into_bytes()));
        }
    });
    let context = Context {
        out,
        authorization: String::new(),
        cancel: CancellationToken::new(),
    };
    let reply = server.answer(&session, &message, &context).await;
    drop(context);
    let _ = forwarding.await;
    match reply {
        Reply::Result(r) => send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{r}}}"#).into_bytes()),
        Reply::Error(e) => send(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{e}}}"#).into_bytes()),
        Reply::WrongId(r) => {
            send(format!(r#"{{"jsonrpc":"2.0","id":"not-yours","result":{r}}}"#).into_bytes());
        }
        Reply::Bytes(bytes) => send(bytes),
        Reply::Cut(part) => {
            let _ = lines.send(Line::Last(
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{part}"#).into_bytes(),
            ));
        }
        Reply::Exit => std::process::exit(4),
        Reply::Never => {}
    }
}

//! An upstream that does what upstreams must not do.
//!
//! One process plays as many servers as it has paths: `http://127.0.0.1:PORT/MODE` or `/MODE/TAG`, each with a
//! state of its own; `/sse/MODE` and `/sse/MODE/TAG` are the same over the transport of 2024-11-05. The modes are in [`Mode`]; what goes wrong in the middle of a call is a tool of its own
//! (see [`tools`]), so that the same server can be well and sick. `POST /control/MODE/TAG` and
//! `GET /record/MODE/TAG` command and read it. With `--stdio MODE` it is one server on stdio.
//! It shares no code with the hub: what it sends is written by hand, byte for byte.

mod http;
mod raw;
mod server;
mod sse;
mod stdio;
mod tools;

/// How a server behaves before any tool is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Legacy, with sessions. Well.
    Stateful,
    /// Legacy, without sessions. Well.
    Stateless,
    /// 2026-07-28. Well.
    Modern,
    /// Every answer is something other than JSON.
    Garbage,
    /// No request is ever answered.
    Silent,
    /// Every answer breaks off.
    HalfClose,
    /// Every answer has another id than its request.
    WrongId,
    /// Every request is sent on to another host.
    Redirect,
    /// Greets, and never answers `tools/list`.
    SilentList,
    /// Greets, and answers `tools/list` with no JSON.
    GarbageList,
    /// Lists 5,000 tools, 100 a page.
    Many,
    /// Lists one tool twice.
    Duplicate,
    /// The list of tools has no end: the same cursor for ever.
    EndlessList,
    /// Answers every request with 401.
    Unauthorized,
    /// A child that ends at once (stdio); 500 to everything over HTTP.
    Broken,
}

impl Mode {
    /// Reads a mode as paths and arguments write it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "stateful" => Self::Stateful,
            "stateless" => Self::Stateless,
            "modern" => Self::Modern,
            "garbage" => Self::Garbage,
            "silent" => Self::Silent,
            "half-close" => Self::HalfClose,
            "wrong-id" => Self::WrongId,
            "redirect" => Self::Redirect,
            "silent-list" => Self::SilentList,
            "garbage-list" => Self::GarbageList,
            "many" => Self::Many,
            "duplicate" => Self::Duplicate,
            "endless-list" => Self::EndlessList,
            "unauthorized" => Self::Unauthorized,
            "broken" => Self::Broken,
            _ => return None,
        })
    }
}

/// Runs as the arguments say: `--stdio MODE [--record FILE]` or `[--port N]`.
pub(crate) async fn run(arguments: Vec<String>) -> std::io::Result<()> {
    let value = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    if let Some(mode) = value("--stdio") {
        let mode = Mode::parse(&mode)
            .ok_or_else(|| std::io::Error::other(format!("fixture-hostile: no mode `{mode}`")))?;
        return stdio::serve(mode, value("--record")).await;
    }
    let port = value("--port").and_then(|p| p.parse().ok()).unwrap_or(0);
    http::serve(port).await
}

//! One row of the log for each call of a tool: who called what, through which plugin, what became of it and how
//! long it took. A call that a plugin makes leaves the same row as a client's own.

use std::time::{Duration, Instant};

use crate::{
    catalogue::provider::{Answer, Call},
    mcp::{ErrorCode, ErrorObject, RawJson, RawObject},
};

/// A call of a tool that has begun.
pub(crate) struct Row<'a> {
    /// The client's call that is behind it.
    pub(crate) call: &'a Call,
    /// The server that is called.
    pub(crate) server: &'a str,
    /// The plugin that makes the call, if it is no client.
    pub(crate) through: Option<&'a str>,
    /// When it began.
    pub(crate) begun: Instant,
}

impl Row<'_> {
    /// Whether somebody reads the rows of calls that went well.
    pub(crate) fn is_read() -> bool {
        tracing::enabled!(target: "aih::call", tracing::Level::DEBUG)
    }

    /// The call of a tool with these parameters of `tools/call` has ended.
    pub(crate) fn ended(&self, params: Option<&RawJson>, outcome: &Result<Answer, ErrorObject>) {
        let unreachable = outcome.as_ref().is_err_and(is_unreachable);
        if !unreachable && !Self::is_read() {
            return;
        }
        let name = params.and_then(|params| Some(RawObject::parse(params).ok()?.str("name")?.into_owned()));
        let tool = name.as_deref().unwrap_or_default();
        match outcome {
            Ok(answer) => self.write(tool, result(answer.result.bytes()), None),
            Err(error) if unreachable => self.write_error(tool, &error.message, true),
            // The words are the server's own, and may hold what nobody else should read.
            Err(error) => self.write(tool, "error", Some(&format!("JSON-RPC error {}", error.code.0))),
        }
    }

    /// It has ended with an error. `warn` where the operator should see it.
    pub(crate) fn write_error(&self, tool: &str, why: &str, warn: bool) {
        if warn {
            let (key, depth, ms) = self.facts();
            let (server, through) = (self.server, self.through);
            let method = crate::mcp::method::TOOLS_CALL;
            tracing::warn!(
                target: "aih::call", key, server, method, tool = ?cut(tool), through, depth, ms,
                "failed: {why}"
            );
            return;
        }
        self.write(tool, "error", Some(why));
    }

    /// It has ended.
    pub(crate) fn write(&self, tool: &str, outcome: &str, why: Option<&str>) {
        let (key, depth, ms) = self.facts();
        let (server, through) = (self.server, self.through);
        tracing::debug!(
            target: "aih::call", key, server, tool = cut(tool), through, depth, outcome, ms, why,
            "called a tool"
        );
    }

    fn facts(&self) -> (&str, u8, u64) {
        let took: Duration = self.begun.elapsed();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let depth = self.call.depth + u8::from(self.through.is_some());
        (&self.call.client.principal.name, depth, ms)
    }
}

/// What a result of `tools/call` is to whoever called.
pub(crate) fn result(result: impl AsRef<[u8]>) -> &'static str {
    let told = RawJson::parse(result.as_ref().to_vec())
        .ok()
        .and_then(|result| RawObject::parse(&result).ok()?.read::<bool>("isError"));
    match told {
        Some(true) => "told",
        _ => "ok",
    }
}

fn is_unreachable(error: &ErrorObject) -> bool {
    matches!(error.code, ErrorCode::UPSTREAM_UNAVAILABLE | ErrorCode::TIMED_OUT)
}

/// A name that somebody made up may be of any length.
fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(200)).unwrap_or_default()
}

//! One row of the log for each call of a tool: who called what, through which plugin, what became of it and how
//! long it took. A call that a plugin makes leaves the same row as a client's own.

use std::time::{Duration, Instant};

use aih_mcp::{ErrorObject, method};

use crate::provider::{Answer, Call};

/// A call of a tool that has begun.
pub(crate) struct Row<'a> {
    /// The client's call that is behind it.
    call: &'a Call,
    /// The server that is called.
    server: &'a str,
    /// The plugin or hook that makes the call, if it is not the client.
    through: Option<&'a str>,
    begun: Instant,
}

impl<'a> Row<'a> {
    /// It begins now.
    pub(crate) fn new(call: &'a Call, server: &'a str, through: Option<&'a str>) -> Self {
        Self {
            call,
            server,
            through,
            begun: Instant::now(),
        }
    }

    /// The call of the tool with the server's own name `tool` has ended.
    pub(crate) fn ended(&self, tool: &str, outcome: &Result<Answer, ErrorObject>) {
        let unreachable = outcome.as_ref().err().filter(|error| error.is_unreachable());
        if unreachable.is_none() && !is_read() {
            return;
        }
        if let Some(error) = unreachable {
            let (key, depth, ms) = self.facts();
            let (server, through) = (self.server, self.through);
            // The operator should see it.
            tracing::warn!(
                target: "aih::call", key, server, method = method::TOOLS_CALL, tool = ?cut(tool), through, depth, ms,
                "failed: {}", error.message
            );
            return;
        }
        match outcome {
            Ok(answer) => self.write(tool, if answer.is_error() { "told" } else { "ok" }, None),
            // The words are the server's own, and may hold what nobody else should read.
            Err(error) => self.write(tool, "error", Some(&format!("JSON-RPC error {}", error.code.0))),
        }
    }

    /// The call was not let through; the words are the hub's.
    pub(crate) fn refused(&self, tool: &str, why: &str) {
        if is_read() {
            self.write(tool, "error", Some(why));
        }
    }

    fn write(&self, tool: &str, outcome: &str, why: Option<&str>) {
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
        (&self.call.client.principal.name, self.call.depth, ms)
    }
}

/// Whether somebody reads the rows of calls that did not find their server gone.
fn is_read() -> bool {
    tracing::enabled!(target: "aih::call", tracing::Level::DEBUG)
}

/// A name that somebody made up may be of any length.
fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(200)).unwrap_or_default()
}

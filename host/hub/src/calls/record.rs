//! What became of one call: who made it, of what, through which component, how it ended and how long it took.
//!
//! Each call leaves one [`Record`], whether a client, a plugin or a hook made it, and whatever its method is. The record
//! goes to every [`Sink`]; nothing else writes about calls.

use std::{sync::Arc, time::Duration};

use aih_mcp::{ErrorObject, method};

use crate::{
    catalogue::Target,
    provider::{Answer, Call},
};

/// One call that has ended.
pub(crate) struct Record<'a> {
    /// The call. For a call of a component it is derived from the client's call that is behind it.
    pub(crate) call: &'a Call,
    /// The method.
    pub(crate) method: &'a str,
    /// The provider that the call names; `None` for all providers together, or where none was found.
    pub(crate) server: Option<&'a str>,
    /// What the call names there.
    pub(crate) item: Item<'a>,
    /// The plugin or hook that made the call; `None` for the client itself.
    pub(crate) through: Option<&'a str>,
    /// How it ended.
    pub(crate) result: Ended<'a>,
    /// The time from the moment in which the hub had read the call until its answer.
    pub(crate) took: Duration,
}

/// What a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A tool, by its server's own name; by the caller's name where no such tool was found.
    Tool(&'a str),
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A resource or a resource template, by its URI.
    Resource(&'a str),
    /// Nothing: a list, or the provider as a whole.
    None,
}

impl<'a> Item<'a> {
    /// What a request names at its provider.
    pub(crate) fn of(target: &'a Target) -> Self {
        match target {
            Target::Tool { names, .. } => Self::Tool(&names.own),
            Target::Prompt(name) => Self::Prompt(name),
            Target::Resource(uri) => Self::Resource(uri),
            Target::Own | Target::Server => Self::None,
        }
    }

    /// What a client's request of this method names, by the client's own word for it.
    pub(crate) fn named(method: &str, name: &'a str) -> Self {
        match method {
            method::TOOLS_CALL => Self::Tool(name),
            method::PROMPTS_GET => Self::Prompt(name),
            method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE => {
                Self::Resource(name)
            }
            _ => Self::None,
        }
    }

    /// Its name or its URI.
    pub(crate) fn name(self) -> Option<&'a str> {
        match self {
            Self::Tool(name) | Self::Prompt(name) | Self::Resource(name) => Some(name),
            Self::None => None,
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy)]
pub(crate) enum Ended<'a> {
    /// The provider, or a hook in its place, answered.
    Answered(&'a Answer),
    /// The hub answered from what it knows itself, such as a list.
    Known,
    /// An error. Its words may be a server's own, which are for the caller alone.
    Failed(&'a ErrorObject),
    /// The hub did not make the call, or gave it up, for this reason.
    Refused(&'a str),
}

/// The three outcomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A result.
    Ok,
    /// A result of `tools/call` that tells the model of an error (`isError`).
    ToolError,
    /// An error of JSON-RPC, or a refusal.
    Error,
}

impl Outcome {
    /// The word for it in logs and records.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::Error => "error",
        }
    }
}

impl Ended<'_> {
    /// The outcome; reads the result of a tool.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Answered(answer) if answer.is_error() => Outcome::ToolError,
            Self::Answered(_) | Self::Known => Outcome::Ok,
            Self::Failed(_) | Self::Refused(_) => Outcome::Error,
        }
    }
}

/// Takes the record of each call. It must not block: the answer waits for it.
pub(crate) trait Sink: Send + Sync {
    /// Writes one record down.
    fn write(&self, record: &Record<'_>);
}

/// The sinks of the records of all calls.
pub(crate) struct Records(Box<[Box<dyn Sink>]>);

impl Records {
    /// The hub's log is the only sink.
    pub(crate) fn to_log() -> Arc<Self> {
        Arc::new(Self(Box::new([Box::new(Log)])))
    }

    /// These sinks.
    #[cfg(test)]
    pub(crate) fn to(sink: impl Sink + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new([Box::new(sink)])))
    }

    /// Gives a record to every sink.
    pub(crate) fn write(&self, record: &Record<'_>) {
        for sink in &self.0 {
            sink.write(record);
        }
    }
}

/// Rows of the hub's log: a warning for each call that did not reach its server, else a row of the level `debug`.
struct Log;

impl Sink for Log {
    fn write(&self, record: &Record<'_>) {
        let unreachable = match record.result {
            Ended::Failed(error) => Some(error).filter(|error| error.is_unreachable()),
            _ => None,
        };
        if unreachable.is_none() && !tracing::enabled!(target: "aih::call", tracing::Level::DEBUG) {
            return;
        }
        let key = &*record.call.client.principal.name;
        let depth = record.call.depth;
        let ms = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX);
        let (server, method, through) = (record.server, record.method, record.through);
        let name = record.item.name().map(cut);
        let (tool, prompt, uri) = match record.item {
            Item::Tool(_) => (name, None, None),
            Item::Prompt(_) => (None, name, None),
            Item::Resource(_) => (None, None, name),
            Item::None => (None, None, None),
        };
        if let Some(error) = unreachable {
            tracing::warn!(
                target: "aih::call", key, server, method, tool, prompt, uri, through, depth, ms,
                "failed: {}", error.message
            );
            return;
        }
        let code;
        let why = match record.result {
            Ended::Answered(_) | Ended::Known => None,
            Ended::Failed(error) => {
                code = format!("JSON-RPC error {}", error.code.0);
                Some(&*code)
            }
            Ended::Refused(why) => Some(why),
        };
        let outcome = record.result.outcome().as_str();
        tracing::debug!(
            target: "aih::call", key, server, method, tool, prompt, uri, through, depth, outcome, ms, why,
            "answered"
        );
    }
}

/// A name that somebody made up may be of any length.
fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(200)).unwrap_or_default()
}

//! Errors of components, with what the operator or the caller can do about them.

use std::time::Duration;

use crate::bindings::Failure;

/// An error of another library, kept whole: what a message leaves out is in its chain of sources.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a component cannot be used. The message of an error with a `source` says what failed; the source says why.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not a component: what it is instead, and what to do.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// A component of another world: what is missing or too much.
    #[error("the component does not fit: {0}")]
    WrongWorld(String),
    /// Its imports or exports are not those of the contract.
    #[error("the component does not fit")]
    Link(#[source] BoxError),
    /// The compiler refuses it.
    #[error("the component cannot be compiled")]
    Compile(#[source] BoxError),
    /// The machine can run no WebAssembly.
    #[error("the runtime of components cannot be set up")]
    Engine(#[source] BoxError),
    /// A thread that did part of the work panicked or was cut off.
    #[error("the work on the component was interrupted")]
    CutOff(#[source] tokio::task::JoinError),
    /// Its list of tools is wrong.
    #[error("list-tools: {0}")]
    Tools(String),
    /// It failed while its tools were listed.
    #[error("the component failed when its tools were listed")]
    Call(#[source] CallError),
    /// What the operator granted cannot be given.
    #[error(transparent)]
    Grant(#[from] crate::GrantError),
    /// A file cannot be read or written.
    #[error("{what}")]
    Io {
        /// Which file, and what for.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The component itself refused.
    #[error("{}", failure_text(.0))]
    Failed(Failure),
    /// The component trapped: a bug of it, or an attack.
    #[error("the component crashed: {0}")]
    Trapped(String),
    /// The call's time is over.
    #[error("the call took longer than {} s and was stopped; limits.time allows more", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The caller gave up.
    #[error("the call was cancelled")]
    Cancelled,
    /// The component wanted more memory than granted.
    #[error("the component needs more than {} MiB of memory; limits.memory allows more", .0 >> 20)]
    OutOfMemory(u64),
    /// The answer, or something that the component handed over, is too large.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// It got no turn: others had all places, the memory of the pool, or the processors.
    #[error(
        "busy: the call waited {} ms for its turn; try again, or let fewer calls run at once (limits.concurrency)",
        .waited.as_millis()
    )]
    Busy {
        /// How long it waited; the time in which it ran does not count.
        waited: Duration,
    },
    /// The component has no such export.
    #[error("the component is not a {0}")]
    NoSuchExport(&'static str),
    /// A bug of the host.
    #[error("the host failed: {0}")]
    Host(String),
}

fn failure_text(failure: &Failure) -> String {
    match failure {
        Failure::UnknownTool(text) => format!("unknown tool: {text}"),
        Failure::InvalidArguments(text) => format!("invalid arguments: {text}"),
        Failure::Denied(text) => format!("denied: {text}"),
        Failure::Unavailable(text) => format!("unavailable: {text}"),
        Failure::Other(text) => text.clone(),
    }
}

/// Ends a guest from the host's side; found again in the error that the call then answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("out of time")]
    TimedOut,
    #[error("no turn")]
    NoTurn,
}

//! Why a call has no result, and the error that the client gets.

use std::{sync::Arc, time::Duration};

use aih_mcp::{ErrorCode, ErrorObject};
use serde_json::json;

use super::crashes::Parked;
use crate::upstream::transport::TransportError;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server's own error.
    #[error("{0}")]
    Rpc(ErrorObject),
    /// It did not get through.
    #[error(transparent)]
    Transport(TransportError),
    /// The server's process ended while it worked on the request.
    #[error("{error}")]
    Ended {
        /// How it ended.
        #[source]
        error: TransportError,
        /// The tool that was called, or what else the request names.
        item: Option<Arc<str>>,
        /// Whether this request is taken for the cause.
        charged: bool,
    },
    /// It was not sent, because such calls have ended the server's process several times.
    #[error("`{}` is refused for {} s", .0.item, .0.left.as_secs())]
    Parked(Parked),
    /// No answer within this time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The client took it back.
    #[error("the request was cancelled")]
    Cancelled,
}

impl CallError {
    /// The error for the client of server `name`.
    pub(crate) fn into_object(self, name: &str) -> ErrorObject {
        match self {
            Self::Rpc(error) => error,
            Self::Transport(error) => unavailable(name, &error),
            Self::Ended { error, charged, .. } => {
                let (status, signal) = match &error {
                    TransportError::Exited { status, signal, .. } => (*status, *signal),
                    _ => (None, None),
                };
                let cause = if charged { ", probably because of it" } else { "" };
                ErrorObject::new(
                    ErrorCode::UPSTREAM_UNAVAILABLE,
                    format!(
                        "server `{name}`: {error}; that was while it worked on this request{cause}. The next process \
                         starts at once. Try again only if the request may run twice"
                    ),
                )
                .with_data(&json!({ "kind": "process-ended", "exit_status": status, "signal": signal }))
            }
            Self::Parked(parked) => {
                let seconds = parked.left.as_secs() + 1;
                let whose = if parked.everyone {
                    "such calls"
                } else {
                    "your calls of it"
                };
                ErrorObject::new(
                    ErrorCode::UPSTREAM_UNAVAILABLE,
                    format!(
                        "server `{name}`: `{}` is refused for {seconds} s, because {whose} ended the server's process \
                         several times; use other arguments, or mend the server",
                        parked.item
                    ),
                )
                .with_data(&json!({ "kind": "parked", "retry_after_seconds": seconds }))
            }
            Self::TimedOut(limit) => ErrorObject::new(
                ErrorCode::TIMED_OUT,
                format!(
                    "server `{name}`: no answer within {} s; try again, or raise its `timeout` in the configuration",
                    limit.as_secs_f64()
                ),
            ),
            Self::Cancelled => ErrorObject::new(ErrorCode::CANCELLED, "the request was cancelled"),
        }
    }
}

/// The error that says why server `name` cannot be reached, and what to do.
pub(crate) fn unavailable(name: &str, error: &TransportError) -> ErrorObject {
    let advice = match error {
        TransportError::Connect(_) => "check that it runs and how it is configured; the hub keeps trying",
        TransportError::Status { .. } if error.is_passing() => "try again later",
        TransportError::Status { .. } => "check its `url` and its own log",
        TransportError::Redirect { .. } => "if that is the right server, write its address as `url`",
        TransportError::SessionLost => "the hub connects again; try again",
        TransportError::Unauthorized { .. } => "the hub sends what the configuration says",
        TransportError::Protocol(_) => "look into its own log",
        TransportError::TooLarge { .. } => "ask for less data",
        TransportError::Closed(_) | TransportError::Exited { .. } => "the hub connects again; try again",
        TransportError::NotSent(cause) => return unavailable(name, cause),
    };
    let object = ErrorObject::new(
        ErrorCode::UPSTREAM_UNAVAILABLE,
        format!("server `{name}`: {error}; {advice}"),
    );
    match error.retry_after() {
        Some(after) => object.with_data(&json!({ "kind": "busy", "retry_after_seconds": after.as_secs() })),
        None => object,
    }
}

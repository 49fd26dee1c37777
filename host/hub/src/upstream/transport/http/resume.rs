//! The position in a stream of events, and when to ask for the rest.

use std::time::Duration;

use aih_mcp::sse::Event;
use http::HeaderValue;

/// Between the end of a stream and its resumption, unless the server says otherwise (`retry:`).
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
const MIN_RETRY: Duration = Duration::from_millis(10);
const MAX_RETRY: Duration = Duration::from_secs(30);

/// From where a stream can be resumed.
pub(super) struct ResumePoint {
    /// The id of the last event that had one.
    pub(super) last_id: Option<HeaderValue>,
    /// Between the end of the stream and its resumption.
    pub(super) retry: Duration,
}

impl ResumePoint {
    /// The start of a stream.
    pub(super) fn start() -> Self {
        Self {
            last_id: None,
            retry: DEFAULT_RETRY,
        }
    }

    /// Notes what an event says of where it stands.
    pub(super) fn pass(&mut self, event: &Event) {
        if let Some(id) = event.id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
            self.last_id = Some(id);
        }
        if let Some(ms) = event.retry {
            self.retry = Duration::from_millis(ms).clamp(MIN_RETRY, MAX_RETRY);
        }
    }
}

/// How long to wait after `failures` failed attempts in a row.
pub(super) fn backoff(retry: Duration, failures: u32) -> Duration {
    (retry * 2_u32.saturating_pow(failures.min(16))).min(MAX_RETRY)
}

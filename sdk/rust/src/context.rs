//! What a tool knows of the call that it runs in.

use std::time::{Duration, Instant};

use crate::{progress, wit::types::Call};

/// The call. A tool that wants it takes it as an argument.
#[derive(Clone, Debug)]
pub struct Context {
    call_id: String,
    principal: Option<String>,
    ends: Option<Instant>,
}

impl Context {
    #[doc(hidden)]
    pub fn new(call: &Call) -> Self {
        let principal = call.extras.iter().find(|(key, _)| key == "principal");
        Self {
            call_id: call.call_id.clone(),
            principal: principal.map(|(_, name)| name.clone()),
            // A limit beyond what the clock can say is none.
            ends: Instant::now().checked_add(Duration::from_millis(call.deadline_ms)),
        }
    }

    /// Unique in the hub; the same in its logs.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The name of the key that calls, unless the hub itself does.
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// What is left until the hub stops the call.
    pub fn time_left(&self) -> Duration {
        self.ends.map_or(Duration::MAX, |ends| {
            ends.saturating_duration_since(Instant::now())
        })
    }

    /// Tells the client how far the call is, if it asked: see [`progress::report`].
    pub fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        progress::report(progress, total, message);
    }

    /// Whether the client gave up on the call: see [`progress::cancelled`].
    pub fn cancelled(&self) -> bool {
        progress::cancelled()
    }
}

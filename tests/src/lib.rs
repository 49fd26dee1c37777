//! Harness of the end-to-end tests: it starts the real hub, real programs and the hostile upstream, and speaks
//! raw MCP.
//!
//! Everything listens on free loopback ports and ends by its own process id. A failing test prints what the
//! programs said.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness fails its test by panicking"
)]

pub mod client;
pub mod fixture;
pub mod hub;
pub mod program;
pub mod real;
pub mod spill;
pub mod tools;

use std::time::{Duration, Instant};

pub use client::{Events, Legacy, Modern, Pipe, Reply};
pub use fixture::Fixture;
pub use hub::{Hub, KEY, Start, config, key_hash};
pub use program::Program;

/// Longest wait for anything that should come at once, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(120);

/// Looks again and again until `look` finds something.
///
/// # Panics
/// It did not within [`SOON`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let until = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

//! The limits of a connection: time, and its share of all connections.

use std::time::Duration;

use crate::open_files;

/// Deadlines and caps of the listener. The hub uses [`Limits::of_this_machine`]; tests use shorter deadlines.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the end of a TLS handshake (or from accept) to the first byte.
    pub first_byte: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last one; also for the HTTP/2 preface and the first request
    /// of a connection.
    pub head: Duration,
    /// How long a connection may stay open without a request that runs.
    pub idle: Duration,
    /// How long bytes may wait for a client that takes none. A stream of events without an event is not affected.
    pub write: Duration,
    /// Between two HTTP/2 pings of the hub.
    pub ping: Duration,
    /// For the answer to a ping.
    pub pong: Duration,
    /// A busy connection is closed for a newer one only when it is older than this, and only where none is idle.
    pub turn: Duration,
    /// How long a connection gets to end by itself after it was asked to.
    pub goodbye: Duration,
    /// Bodies of requests with a key.
    pub body: BodyLimits,
    /// Bodies of requests without a key: webhooks.
    pub unauthenticated_body: BodyLimits,
    /// What is read and thrown away of a request that was answered early.
    pub drain: DrainLimits,
    /// Cancelled HTTP/2 requests: so many at once, and so many more each second.
    pub resets: (u32, u32),
    /// The same for a connection that has shown no key.
    pub unauthenticated_resets: (u32, u32),
    /// Connections in all.
    pub connections: usize,
    /// Connections that have shown no valid key.
    pub unauthenticated: usize,
    /// Connections of one address that have shown no valid key.
    pub per_address: usize,
    /// Connections of one key.
    pub per_key: usize,
}

/// How slowly a body may come. It may take `grace` plus one second for each `rate` bytes, and never over `total`.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Time that every body has.
    pub grace: Duration,
    /// Bytes for each further second.
    pub rate: u64,
    /// Time that no body exceeds.
    pub total: Duration,
}

impl BodyLimits {
    /// How long a body may have taken of which `received` bytes came.
    #[must_use]
    pub fn allowed(&self, received: u64) -> Duration {
        let earned = Duration::from_secs(received.checked_div(self.rate).unwrap_or(u64::MAX / 2));
        self.grace.saturating_add(earned).min(self.total)
    }
}

/// How much is read of a body that nobody wants, so that a client that is still writing gets its answer.
#[derive(Debug, Clone, Copy)]
pub struct DrainLimits {
    /// Time in all.
    pub total: Duration,
    /// Time without a byte.
    pub max_silence: Duration,
    /// Bytes in all.
    pub bytes: u64,
}

/// Most connections in all, however many files the hub may open.
const MAX_CONNECTIONS: usize = 8_192;
/// Open files that are left to upstreams, children, the store and files, at the least.
const RESERVE: usize = 128;

impl Limits {
    /// The limits of a process that may have `files` files open.
    #[must_use]
    pub fn for_files(files: u64) -> Self {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        // A quarter of all files, and never less than the reserve, is for everything else.
        let spare = (files / 4).max(RESERVE);
        let connections = files.saturating_sub(spare).clamp(16, MAX_CONNECTIONS);
        Self {
            first_byte: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(60),
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(20),
            turn: Duration::from_secs(5),
            goodbye: Duration::from_secs(5),
            body: BodyLimits {
                grace: Duration::from_secs(20),
                rate: 1_024,
                total: Duration::from_secs(1_800),
            },
            unauthenticated_body: BodyLimits {
                grace: Duration::from_secs(10),
                rate: 4_096,
                total: Duration::from_secs(60),
            },
            drain: DrainLimits {
                total: Duration::from_secs(30),
                max_silence: Duration::from_secs(5),
                bytes: 64 * 1024 * 1024,
            },
            resets: (500, 50),
            unauthenticated_resets: (50, 5),
            connections,
            unauthenticated: connections / 2,
            per_address: connections / 4,
            per_key: connections - connections / 8,
        }
    }

    /// The limits under this process's limit of open files.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::for_files(open_files::limit())
    }

    /// How often connections are looked at.
    pub(super) fn beat(&self) -> Duration {
        let shortest = self.first_byte.min(self.head).min(self.idle);
        (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_for_everything_else() {
        for (files, connections) in [(1_024, 768), (256, 128), (65_536, MAX_CONNECTIONS), (64, 16)] {
            assert_eq!(Limits::for_files(files).connections, connections, "{files}");
        }
        let all = Limits::for_files(u64::MAX);
        assert!(all.per_address < all.unauthenticated && all.unauthenticated < all.connections);
    }

    #[test]
    fn a_large_body_over_a_slow_line_has_time_and_a_trickle_has_not() {
        let body = Limits::for_files(1_024).body;
        // 16 MiB at 128 kbit/s take 17 minutes: at each point of the way there is time left.
        for received in (0..=16 * 1024 * 1024_u64).step_by(64 * 1024) {
            let taken = Duration::from_secs(received / 16_000);
            assert!(taken < body.allowed(received), "{received}");
        }
        assert!(body.allowed(6) < Duration::from_secs(60));
        assert_eq!(body.allowed(u64::MAX), body.total);
    }
}

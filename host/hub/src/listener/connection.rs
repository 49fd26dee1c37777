//! One connection: its key, what it is busy with, and when it is closed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{limits::Limits, registry::Registry};
use crate::access::{KeyId, Keyed};

/// Bytes of framing and heads that a connection may send without any use before it is closed.
const WASTE: i64 = 512 * 1024;
/// More of them for each second that a connection is open.
const WASTE_PER_SECOND: i64 = 1_024;
/// What a request earns: more than its head can have.
const REQUEST_WORTH: i64 = 96 * 1024;
/// What a byte of a body earns: frames and chunks may be small.
const BYTE_WORTH: i64 = 12;
/// Most that a connection can have earned.
const MAX_EARNED: i64 = 16 * 1024 * 1024;

/// Why the hub closed a connection, or did not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The address is in no range of `server.ip_allowlist`.
    Address,
    /// There were too many connections, and none of them could be closed for this one.
    Full,
    /// It was closed for a newer one: there were too many.
    Crowded,
    /// The TLS handshake did not come or was none.
    Handshake,
    /// Nothing was sent.
    Silent,
    /// The head of a request did not come in time.
    SlowHead,
    /// No request ran for a long time.
    Idle,
    /// Its peer did not take what was sent.
    Stalled,
    /// Its peer sent frames without use, or cancelled request after request.
    Flood,
}

impl Reason {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Address,
        Self::Full,
        Self::Crowded,
        Self::Handshake,
        Self::Silent,
        Self::SlowHead,
        Self::Idle,
        Self::Stalled,
        Self::Flood,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Full => "full",
            Self::Crowded => "crowded",
            Self::Handshake => "handshake",
            Self::Silent => "silent",
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Flood => "flood",
        }
    }
}

/// One connection. The access layer finds it in the extensions of a request, as a [`KeyedConnection`](crate::access::KeyedConnection).
#[derive(Debug)]
pub struct Connection {
    /// Grows with each connection.
    pub(super) number: u64,
    peer: SocketAddr,
    registry: Weak<Registry>,
    limits: Arc<Limits>,
    opened_at: Instant,
    /// When it became ready for HTTP, in milliseconds after `opened_at`.
    ready: AtomicU64,
    key: OnceLock<KeyId>,
    running: AtomicU32,
    seen: AtomicU64,
    http2: AtomicBool,
    /// When the last request ended, in milliseconds after `opened_at`.
    idle_since: AtomicU64,
    /// When the first byte since then came; 0: none did.
    first_read: AtomicU64,
    /// Bytes that came, less what they were worth.
    waste: AtomicI64,
    resets: Mutex<Bucket>,
    /// Fires when it has to end by itself: no new requests.
    pub(super) retired: CancellationToken,
    /// Fires when it is cut off.
    pub(super) cut: CancellationToken,
}

impl Keyed for Connection {
    fn note_key(self: Arc<Self>, key: KeyId) {
        self.show_key(key);
    }
}

/// Cancelled requests of late.
#[derive(Debug, Default)]
struct Bucket {
    level: f64,
    at: Duration,
}

impl Connection {
    pub(super) fn new(
        number: u64,
        peer: SocketAddr,
        registry: Weak<Registry>,
        limits: Arc<Limits>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            peer,
            registry,
            limits,
            opened_at: Instant::now(),
            ready: AtomicU64::new(0),
            key: OnceLock::new(),
            running: AtomicU32::new(0),
            seen: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            first_read: AtomicU64::new(0),
            waste: AtomicI64::new(0),
            resets: Mutex::default(),
            retired: CancellationToken::new(),
            cut: CancellationToken::new(),
        })
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What connections are counted by: the address, or the /64 network of an IPv6 address, which one host has for
    /// itself.
    pub(super) fn origin(&self) -> IpAddr {
        match self.peer.ip().to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            address => address,
        }
    }

    /// Milliseconds since it was accepted; never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.opened_at.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
    }

    pub(super) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// A request on it had a valid key: from now on it counts as authenticated.
    pub(super) fn show_key(self: &Arc<Self>, key: KeyId) {
        if self.key.get().is_some() || self.key.set(key).is_err() {
            return;
        }
        if let Some(registry) = self.registry.upgrade() {
            registry.keyed(self, key);
        }
    }

    /// The first key that it has shown.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        self.key.get().copied()
    }

    /// The TLS handshake is over, or there is none.
    pub(super) fn becomes_ready(&self) {
        self.ready.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// `count` bytes came.
    pub(super) fn read(&self, count: usize) {
        if !self.is_busy() {
            let now = self.now();
            let _ = self
                .first_read
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let waste = self
            .waste
            .fetch_add(count, Ordering::Relaxed)
            .saturating_add(count);
        // HTTP/1 has nothing to send between requests but heads, which are bounded.
        let may_flood = self.http2.load(Ordering::Relaxed) || self.seen.load(Ordering::Relaxed) == 0;
        if waste > WASTE && may_flood {
            let seconds = i64::try_from(self.age().as_secs()).unwrap_or(i64::MAX);
            if waste > seconds.saturating_mul(WASTE_PER_SECOND).saturating_add(WASTE) {
                self.close(Reason::Flood);
            }
        }
    }

    fn earn(&self, worth: i64) {
        let less = |waste: i64| Some(waste.saturating_sub(worth).max(-MAX_EARNED));
        let _ = self
            .waste
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Bytes of a body came or went.
    pub(super) fn used(&self, bytes: usize) {
        self.earn(
            i64::try_from(bytes)
                .unwrap_or(i64::MAX)
                .saturating_mul(BYTE_WORTH),
        );
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>, http2: bool) -> Busy {
        if http2 {
            self.http2.store(true, Ordering::Relaxed);
        }
        self.seen.fetch_add(1, Ordering::Relaxed);
        self.earn(REQUEST_WORTH);
        self.busy()
    }

    /// Work for a request of it.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.running.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Its peer cancelled a request.
    pub(super) fn cancelled(&self) {
        let known = self.key.get().is_some();
        let (burst, rate) = if known {
            self.limits.resets
        } else {
            self.limits.unauthenticated_resets
        };
        let full = {
            // Two numbers are set under the lock.
            let mut bucket = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.opened_at.elapsed();
            let leaked = now.saturating_sub(bucket.at).as_secs_f64() * f64::from(rate);
            *bucket = Bucket {
                level: (bucket.level - leaked).max(0.0) + 1.0,
                at: now,
            };
            bucket.level > f64::from(burst)
        };
        if full {
            self.close(Reason::Flood);
        }
    }

    /// Cuts it off.
    pub(super) fn close(&self, reason: Reason) {
        if self.cut.is_cancelled() {
            return;
        }
        self.cut.cancel();
        self.count(reason);
    }

    /// Lets it end by itself.
    pub(super) fn retire(&self, reason: Reason) {
        if self.retired.is_cancelled() {
            return;
        }
        self.retired.cancel();
        self.count(reason);
    }

    fn count(&self, reason: Reason) {
        if let Some(registry) = self.registry.upgrade() {
            registry.count(reason);
        }
        tracing::debug!(target: "aih", peer = %self.peer, reason = reason.name(), "a connection is closed");
    }

    /// Closes it if it is overdue.
    pub(super) fn look(&self) {
        let ready = self.ready.load(Ordering::Relaxed);
        if ready == 0 || self.is_busy() {
            return;
        }
        let now = self.now();
        let over = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) > limit.as_millis();
        let first_read = self.first_read.load(Ordering::Relaxed);
        let slow = first_read != 0 && over(first_read, self.limits.head);
        if self.seen.load(Ordering::Relaxed) == 0 {
            if first_read == 0 && over(ready, self.limits.first_byte) {
                self.close(Reason::Silent);
            } else if slow {
                self.close(Reason::SlowHead);
            }
        } else if slow && !self.http2.load(Ordering::Relaxed) {
            self.close(Reason::SlowHead);
        } else if over(self.idle_since.load(Ordering::Relaxed), self.limits.idle) {
            self.retire(Reason::Idle);
        }
    }
}

/// A request is being answered, or its body is still being read.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Busy {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let connection = &self.0;
        connection.idle_since.store(connection.now(), Ordering::Relaxed);
        connection.first_read.store(0, Ordering::Relaxed);
        connection.running.fetch_sub(1, Ordering::Relaxed);
    }
}

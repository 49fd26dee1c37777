//! Memory that the hub holds for clients: counted in bytes, and bounded for each session, each key and in total.
//!
//! An [`Account`] is a counter with a limit, usually below another account. Code that wants to hold bytes takes a
//! [`Permit`] from an account. The account takes the bytes from every account above it too, and the permit gives them
//! back when it is dropped. The limits are constants in this file and do not depend on the machine.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::access::KeyId;

const MIB: usize = 1024 * 1024;

/// Bytes of requests that arrive or are being worked on, over all keys.
pub const REQUESTS: usize = 256 * MIB;
/// The same for one key.
pub const REQUESTS_PER_KEY: usize = 64 * MIB;
/// Bytes of requests without a key (webhooks), in all.
pub const UNAUTHENTICATED: usize = 16 * MIB;
/// The same for one address.
pub const UNAUTHENTICATED_PER_ADDRESS: usize = 8 * MIB;
/// Bytes of answers and questions that wait for a client, over all keys.
pub const ANSWERS: usize = 256 * MIB;
/// The same for one key.
pub const ANSWERS_PER_KEY: usize = 64 * MIB;
/// The same for one session: the largest answer of a server (32 MiB), and a little beside it.
pub const ANSWERS_PER_SESSION: usize = 33 * MIB;
/// Bytes of notifications that wait for a client, over all keys.
pub const NOTES: usize = 64 * MIB;
/// The same for one key.
pub const NOTES_PER_KEY: usize = 32 * MIB;
/// The same for one session.
pub const NOTES_PER_SESSION: usize = 8 * MIB;
/// Bytes that were delivered and are kept for clients that were cut off, over all keys.
pub const KEPT: usize = 128 * MIB;
/// The same for one key.
pub const KEPT_PER_KEY: usize = 48 * MIB;
/// The same for one session.
pub const KEPT_PER_SESSION: usize = 33 * MIB;

/// How long a request waits for room before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer waits for room while its client reads nothing.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer waits for room at most, while its client reads.
const ANSWER_PATIENCE_IN_ALL: Duration = Duration::from_secs(60);

/// There is no room for so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for {wanted} bytes: {used} of the {limit} bytes that {whose} may hold are in use")]
pub struct OutOfBudget {
    /// Whose limit it is.
    pub whose: &'static str,
    /// Bytes that were asked for.
    pub wanted: usize,
    /// Bytes in use.
    pub used: usize,
    /// The limit in bytes.
    pub limit: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Account {
    whose: &'static str,
    limit: usize,
    used: AtomicUsize,
    /// How often bytes were given back here or below.
    returns: AtomicU64,
    above: Option<Arc<Account>>,
    /// Of the topmost account: somebody gave bytes back.
    freed: Notify,
    /// Of the topmost account: how often there was no room.
    refused: AtomicU64,
}

impl Account {
    fn new(whose: &'static str, limit: usize, above: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            whose,
            limit,
            used: AtomicUsize::new(0),
            returns: AtomicU64::new(0),
            above,
            freed: Notify::new(),
            refused: AtomicU64::new(0),
        })
    }

    /// An account with a limit of its own below this one.
    #[must_use]
    pub fn below(self: &Arc<Self>, whose: &'static str, limit: usize) -> Arc<Self> {
        Self::new(whose, limit, Some(self.clone()))
    }

    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |account| account.above.as_deref())
    }

    fn top(&self) -> &Self {
        self.chain().last().unwrap_or(self)
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How often somebody found no room here or below.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn add(&self, wanted: usize) -> Result<(), OutOfBudget> {
        for (depth, account) in self.chain().enumerate() {
            if let Err(error) = account.add_here(wanted) {
                for below in self.chain().take(depth) {
                    below.used.fetch_sub(wanted, Ordering::AcqRel);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Adds to this account alone.
    fn add_here(&self, wanted: usize) -> Result<(), OutOfBudget> {
        let fits = |used: usize| used.checked_add(wanted).filter(|sum| *sum <= self.limit);
        let added = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        added.map(drop).map_err(|used| OutOfBudget {
            whose: self.whose,
            wanted,
            used,
            limit: self.limit,
        })
    }

    fn remove(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        for account in self.chain() {
            account.used.fetch_sub(bytes, Ordering::AcqRel);
            account.returns.fetch_add(1, Ordering::Relaxed);
        }
        self.top().freed.notify_waiters();
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// There is no room here or in an account above.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Result<Permit, OutOfBudget> {
        let mut permit = self.permit();
        permit.grow(bytes)?;
        Ok(permit)
    }

    /// A permit for nothing yet.
    #[must_use]
    pub fn permit(self: &Arc<Self>) -> Permit {
        Permit {
            account: self.clone(),
            bytes: 0,
        }
    }

    /// Takes `bytes` also where there is no room: for the few that say that there is none.
    #[must_use]
    pub fn force(self: &Arc<Self>, bytes: usize) -> Permit {
        for account in self.chain() {
            account.used.fetch_add(bytes, Ordering::AcqRel);
        }
        Permit {
            account: self.clone(),
            bytes,
        }
    }

    /// Counts that somebody was refused.
    pub fn count_refusal(&self) {
        self.top().refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Bytes that somebody holds. Drop gives them back.
#[derive(Debug)]
pub struct Permit {
    account: Arc<Account>,
    bytes: usize,
}

impl Permit {
    /// Takes `more` bytes.
    ///
    /// # Errors
    /// There is no room; the permit stays as it was.
    pub fn grow(&mut self, more: usize) -> Result<(), OutOfBudget> {
        self.account.add(more)?;
        self.bytes = self.bytes.saturating_add(more);
        Ok(())
    }

    /// Takes `more` bytes, and waits for them for a short time.
    ///
    /// # Errors
    /// There was no room for some seconds.
    pub async fn grow_soon(&mut self, more: usize) -> Result<(), OutOfBudget> {
        self.grow_within(more, PATIENCE).await
    }

    async fn grow_within(&mut self, more: usize, patience: Duration) -> Result<(), OutOfBudget> {
        if self.grow(more).is_ok() {
            return Ok(());
        }
        let account = self.account.clone();
        let until = tokio::time::Instant::now() + patience;
        loop {
            let freed = account.top().freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let Err(error) = self.grow(more) else {
                return Ok(());
            };
            if tokio::time::timeout_at(until, freed).await.is_err() {
                account.count_refusal();
                return Err(error);
            }
        }
    }

    /// Bytes that it stands for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves the bytes to `account`, which is right below the account of this permit.
    ///
    /// # Errors
    /// There is no room; the permit stays as it was.
    fn move_below(mut self, account: &Arc<Account>) -> Result<Self, Self> {
        if account.add_here(self.bytes).is_err() {
            return Err(self);
        }
        Ok(Self {
            account: account.clone(),
            bytes: std::mem::take(&mut self.bytes),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.remove(self.bytes);
    }
}

/// Accounts by name below one for all.
#[derive(Debug)]
pub struct Accounts<K> {
    all: Arc<Account>,
    whose: &'static str,
    each: usize,
    of: Mutex<HashMap<K, Weak<Account>>>,
}

impl<K: Eq + Hash> Accounts<K> {
    fn new(all: usize, whose: &'static str, each: usize) -> Self {
        Self {
            all: Account::new("the hub", all, None),
            whose,
            each,
            of: Mutex::default(),
        }
    }

    /// The account of `name`, which lives as long as somebody holds it.
    pub fn of(&self, name: K) -> Arc<Account> {
        // An insertion is one call: a panic cannot leave the map half-changed.
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = of.get(&name).and_then(Weak::upgrade) {
            return account;
        }
        // Now and then the names that nobody holds any more are taken out; each lookup pays its part.
        if of.len() >= 64 && of.len().is_power_of_two() {
            of.retain(|_, account| account.strong_count() > 0);
        }
        let account = self.all.below(self.whose, self.each);
        of.insert(name, Arc::downgrade(&account));
        account
    }

    /// The account of all together.
    #[must_use]
    pub fn all(&self) -> &Arc<Account> {
        &self.all
    }
}

/// Counts one less of `name`, and forgets the name of which there is none left.
pub(crate) fn count_down<K: Hash + Eq>(counts: &mut HashMap<K, usize>, name: &K) {
    if let Some(count) = counts.get_mut(name) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(name);
        }
    }
}

/// Notifications that were dropped, of all streams.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many events were dropped because a client did not fetch them.
pub fn dropped_events() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// An event was dropped because its client did not fetch it.
pub(crate) fn count_dropped_event() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Where the bytes of a stream are accounted for.
#[derive(Clone)]
pub struct StreamBudget {
    /// Answers and questions that wait for the client.
    pub waiting: Arc<Account>,
    /// Answers that wait for room in `waiting`: the account above it. Without one they do not wait.
    queued: Option<Arc<Account>>,
    /// Notifications that wait for it. Apart, so that they never take the place of an answer.
    pub notes: Arc<Account>,
    /// What was delivered and is kept for it. Without one nothing is kept.
    pub kept: Option<Arc<Account>>,
}

impl StreamBudget {
    /// The room of a stream that cannot be picked up again.
    #[must_use]
    pub fn once(&self) -> Self {
        Self {
            kept: None,
            ..self.clone()
        }
    }

    /// Room for an answer of `bytes`. An answer that finds none in its session waits for its client to read others.
    /// While the answer waits, its bytes count for the key.
    ///
    /// # Errors
    /// The key has no room either, or the client read nothing for [`ANSWER_PATIENCE`], or the answer has waited for
    /// [`ANSWER_PATIENCE_IN_ALL`].
    pub async fn room_for_answer(&self, bytes: usize) -> Result<Permit, OutOfBudget> {
        self.room_within(bytes, ANSWER_PATIENCE, ANSWER_PATIENCE_IN_ALL)
            .await
    }

    async fn room_within(
        &self,
        bytes: usize,
        patience: Duration,
        in_all: Duration,
    ) -> Result<Permit, OutOfBudget> {
        let account = &self.waiting;
        let error = match account.take(bytes) {
            Ok(permit) => return Ok(permit),
            Err(error) => error,
        };
        // What the session can never hold does not wait.
        let queued = self.queued.as_ref().filter(|_| bytes <= account.limit);
        let Some(mut queued) = queued.and_then(|queued| queued.take(bytes).ok()) else {
            account.count_refusal();
            return Err(error);
        };
        let end = tokio::time::Instant::now() + in_all;
        loop {
            let returns = account.returns.load(Ordering::Relaxed);
            let until = end.min(tokio::time::Instant::now() + patience);
            // Others of the hub give bytes back too: they do not renew the patience.
            while account.returns.load(Ordering::Relaxed) == returns {
                let freed = account.top().freed.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                queued = match queued.move_below(account) {
                    Ok(permit) => return Ok(permit),
                    Err(queued) => queued,
                };
                if tokio::time::timeout_at(until, freed).await.is_err() {
                    account.count_refusal();
                    return Err(error);
                }
            }
        }
    }
}

/// What the hub holds for its clients.
#[derive(Debug)]
pub struct Memory {
    /// Requests with a key, from their first byte to the end of their work.
    pub requests: Accounts<KeyId>,
    /// Requests without a key, while they arrive.
    pub unauthenticated: Accounts<IpAddr>,
    /// Answers and questions that wait for a client.
    pub answers: Accounts<KeyId>,
    /// Notifications that wait for a client.
    pub notes: Accounts<KeyId>,
    /// What was delivered and is kept for a client that was cut off.
    pub kept: Accounts<KeyId>,
}

impl Memory {
    /// The room of a new session of this key.
    #[must_use]
    pub fn session(&self, key: KeyId) -> StreamBudget {
        let answers = self.answers.of(key);
        StreamBudget {
            waiting: answers.below("this session", ANSWERS_PER_SESSION),
            queued: Some(answers),
            notes: self.notes.of(key).below("this session", NOTES_PER_SESSION),
            kept: Some(self.kept.of(key).below("this session", KEPT_PER_SESSION)),
        }
    }

    /// The room of a request without a session of this key.
    #[must_use]
    pub fn once(&self, key: KeyId) -> StreamBudget {
        StreamBudget {
            waiting: self.answers.of(key),
            queued: None,
            notes: self.notes.of(key).below("this request", NOTES_PER_SESSION),
            kept: None,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            requests: Accounts::new(REQUESTS, "this key", REQUESTS_PER_KEY),
            unauthenticated: Accounts::new(UNAUTHENTICATED, "this address", UNAUTHENTICATED_PER_ADDRESS),
            answers: Accounts::new(ANSWERS, "this key", ANSWERS_PER_KEY),
            notes: Accounts::new(NOTES, "this key", NOTES_PER_KEY),
            kept: Accounts::new(KEPT, "this key", KEPT_PER_KEY),
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;

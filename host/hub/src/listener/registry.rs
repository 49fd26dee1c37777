//! All connections: how many there may be, and which one is closed for a new one.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    connection::{Connection, Reason},
    limits::Limits,
};
use crate::{access::KeyId, memory::count_down};

/// Connections by age.
type ByAge = BTreeMap<u64, Arc<Connection>>;

#[derive(Debug, Default)]
struct Table {
    unauthenticated: ByAge,
    keyed: ByAge,
    by_address: HashMap<IpAddr, usize>,
    by_key: HashMap<KeyId, usize>,
}

/// Who has to go among these: the oldest that is idle, else the oldest that had its time.
fn eviction_candidate<'a>(
    of: impl Iterator<Item = &'a Arc<Connection>> + Clone,
    turn: Duration,
) -> Option<Arc<Connection>> {
    let idle = of.clone().find(|connection| !connection.is_busy());
    let old = || of.clone().find(|connection| connection.age() > turn);
    idle.or_else(old).cloned()
}

impl Table {
    fn len(&self) -> usize {
        self.unauthenticated.len() + self.keyed.len()
    }

    fn remove(&mut self, number: u64) {
        if let Some(gone) = self.unauthenticated.remove(&number) {
            count_down(&mut self.by_address, &gone.origin());
        }
        if let Some(gone) = self.keyed.remove(&number)
            && let Some(key) = gone.key()
        {
            count_down(&mut self.by_key, &key);
        }
    }

    /// Makes room for one more connection from `origin`. Gives those that have to go, or `None` where nobody can.
    fn make_room(&mut self, limits: &Limits, origin: IpAddr) -> Option<Vec<Arc<Connection>>> {
        let mut gone = Vec::new();
        if self
            .by_address
            .get(&origin)
            .is_some_and(|n| *n >= limits.per_address)
        {
            gone.push(eviction_candidate(
                self.unauthenticated.values().filter(|c| c.origin() == origin),
                limits.turn,
            )?);
        } else if self.unauthenticated.len() >= limits.unauthenticated || self.len() >= limits.connections {
            gone.push(eviction_candidate(self.unauthenticated.values(), limits.turn)?);
        }
        for connection in &gone {
            self.remove(connection.number);
        }
        Some(gone)
    }
}

/// How many connections there are, and what became of others.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Connections that have shown no valid key.
    pub unauthenticated: usize,
    /// Connections that have.
    pub keyed: usize,
    /// How many there may be.
    pub limit: usize,
    /// Connections that were refused or closed, with the reason.
    pub closed: Vec<(Reason, u64)>,
}

/// See the module.
#[derive(Debug)]
pub struct Registry {
    limits: Arc<Limits>,
    table: Mutex<Table>,
    next: AtomicU64,
    closed: [AtomicU64; Reason::ALL.len()],
}

impl Registry {
    /// No connections yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: Arc::new(limits),
            table: Mutex::default(),
            next: AtomicU64::new(1),
            closed: Default::default(),
        })
    }

    /// The limits of connections.
    #[must_use]
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code under the lock can panic between two changes that belong together.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in. If there are too many, closes the oldest idle unauthenticated connection.
    /// Nothing where no room can be made.
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Entry> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Connection::new(number, peer, Arc::downgrade(self), self.limits.clone());
        let origin = connection.origin();
        let gone = {
            let mut table = self.table();
            let gone = table.make_room(&self.limits, origin);
            if gone.is_some() {
                table.unauthenticated.insert(number, connection.clone());
                *table.by_address.entry(origin).or_default() += 1;
            }
            gone
        };
        let Some(gone) = gone else {
            self.count(Reason::Full);
            return None;
        };
        for old in gone {
            old.close(Reason::Crowded);
        }
        Some(Entry {
            registry: self.clone(),
            connection,
        })
    }

    /// Closes the oldest idle unauthenticated connection, because there are no more files.
    pub(super) fn close_one(&self) {
        let gone = {
            let mut table = self.table();
            let gone = eviction_candidate(table.unauthenticated.values(), self.limits.turn);
            if let Some(gone) = &gone {
                table.remove(gone.number);
            }
            gone
        };
        if let Some(gone) = gone {
            gone.close(Reason::Crowded);
        }
    }

    /// `connection` has shown a valid key.
    pub(super) fn keyed(&self, connection: &Arc<Connection>, key: KeyId) {
        let gone = {
            let mut table = self.table();
            if table.unauthenticated.remove(&connection.number).is_none() {
                // It had to go meanwhile.
                return;
            }
            count_down(&mut table.by_address, &connection.origin());
            let own = table.by_key.get(&key).copied().unwrap_or_default();
            let gone = (own >= self.limits.per_key)
                .then(|| {
                    eviction_candidate(
                        table.keyed.values().filter(|c| c.key() == Some(key)),
                        self.limits.turn,
                    )
                })
                .flatten();
            if let Some(gone) = &gone {
                table.remove(gone.number);
            }
            table.keyed.insert(connection.number, connection.clone());
            *table.by_key.entry(key).or_default() += 1;
            gone
        };
        if let Some(gone) = gone {
            gone.close(Reason::Crowded);
        }
    }

    pub(super) fn count(&self, reason: Reason) {
        if let Some(count) = self.closed.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Closes what is overdue.
    pub(super) fn look(&self) {
        let all: Vec<_> = {
            let table = self.table();
            table
                .unauthenticated
                .values()
                .chain(table.keyed.values())
                .cloned()
                .collect()
        };
        for connection in all {
            connection.look();
        }
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let table = self.table();
        Counts {
            unauthenticated: table.unauthenticated.len(),
            keyed: table.keyed.len(),
            limit: self.limits.connections,
            closed: Reason::ALL
                .iter()
                .zip(&self.closed)
                .map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
                .collect(),
        }
    }
}

/// A connection's place in the registry; drop gives it back.
#[derive(Debug)]
pub(super) struct Entry {
    registry: Arc<Registry>,
    pub(super) connection: Arc<Connection>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.table().remove(self.connection.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(500);

    fn registry(connections: usize, unauthenticated: usize, per_address: usize) -> Arc<Registry> {
        Registry::new(Limits {
            connections,
            unauthenticated,
            per_address,
            per_key: 3,
            turn: TURN,
            ..Limits::for_files(1_024)
        })
    }

    fn from(address: [u8; 4]) -> SocketAddr {
        (address, 1_000).into()
    }

    fn key(name: &str) -> KeyId {
        crate::access::Principal::hook(name).id
    }

    fn sizes(registry: &Registry) -> (usize, usize) {
        let counts = registry.counts();
        (counts.unauthenticated, counts.keyed)
    }

    #[tokio::test]
    async fn the_oldest_idle_unauthenticated_connection_is_closed_first() {
        let registry = registry(100, 3, 100);
        let held: Vec<_> = (1..=3)
            .map(|n| registry.admit(from([n, 0, 0, 1])).unwrap())
            .collect();
        let _busy = held[0].connection.begin(false);
        let _new = registry.admit(from([9, 0, 0, 1])).unwrap();
        let cut: Vec<_> = held.iter().map(|e| e.connection.cut.is_cancelled()).collect();
        assert_eq!(cut, [false, true, false]);
        assert_eq!(sizes(&registry), (3, 0));
    }

    #[tokio::test]
    async fn busy_unauthenticated_connections_have_a_time_and_are_closed_then() {
        let registry = registry(100, 1, 100);
        let held = registry.admit(from([1, 0, 0, 1])).unwrap();
        let _busy = held.connection.begin(false);
        assert!(registry.admit(from([2, 0, 0, 1])).is_none());
        tokio::time::sleep(TURN * 2).await;
        assert!(registry.admit(from([2, 0, 0, 1])).is_some());
        assert!(held.connection.cut.is_cancelled());
    }

    #[tokio::test]
    async fn an_address_has_its_share_and_keys_are_kept() {
        let registry = registry(6, 6, 2);
        let one = from([1, 0, 0, 1]);
        let keyed: Vec<_> = (0..3)
            .map(|_| {
                let entry = registry.admit(one).unwrap();
                entry.connection.show_key(key("a"));
                entry
            })
            .collect();
        let unauthenticated: Vec<_> = (0..10).map(|_| registry.admit(one).unwrap()).collect();
        assert_eq!(sizes(&registry), (2, 3));
        assert!(keyed.iter().all(|e| !e.connection.cut.is_cancelled()));
        assert_eq!(
            unauthenticated
                .iter()
                .filter(|e| !e.connection.cut.is_cancelled())
                .count(),
            2
        );
        // Another address finds room, and takes it from unauthenticated connections only.
        let _others: Vec<_> = (0..10)
            .map(|_| registry.admit(from([2, 0, 0, 1])).unwrap())
            .collect();
        assert_eq!(sizes(&registry), (3, 3));
        assert!(keyed.iter().all(|e| !e.connection.cut.is_cancelled()));
        // A key has its share too.
        let fourth = registry.admit(one).unwrap();
        fourth.connection.show_key(key("a"));
        assert_eq!(registry.counts().keyed, 3);
        assert!(keyed[0].connection.cut.is_cancelled());
        drop((keyed, unauthenticated, fourth));
    }

    #[tokio::test]
    async fn what_ends_gives_its_place_back() {
        let registry = registry(4, 4, 4);
        let entries: Vec<_> = (0..4)
            .map(|n| {
                let entry = registry.admit(from([1, 0, 0, 1])).unwrap();
                if n % 2 == 0 {
                    entry.connection.show_key(key("a"));
                }
                entry
            })
            .collect();
        assert_eq!(sizes(&registry), (2, 2));
        drop(entries);
        let table = registry.table();
        assert!(table.len() == 0 && table.by_address.is_empty() && table.by_key.is_empty());
    }

    #[tokio::test]
    async fn hosts_of_ipv6_have_a_network_each() {
        let registry = registry(100, 100, 2);
        let address = |last: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, last], 1));
        let held: Vec<_> = (1..=5).map(|n| registry.admit(address(n)).unwrap()).collect();
        assert_eq!(sizes(&registry), (2, 0));
        let other = SocketAddr::from(([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1], 1));
        let _other = registry.admit(other).unwrap();
        assert_eq!(sizes(&registry), (3, 0));
        drop(held);
    }
}

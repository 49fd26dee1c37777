//! The keys and clients that have used a connection since it was opened. A message of a server that names no request
//! can be passed on only if one key alone has used the connection.

use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicBool, Ordering},
};

use super::connection::lock;
use crate::{access::KeyId, provider::Client};

/// Clients of one key that are remembered. With more of them, what names no request reaches none.
const MAX_CLIENTS: usize = 64;

#[derive(Default)]
struct ConnectionUsers {
    key: Option<KeyId>,
    clients: Vec<Weak<Client>>,
}

/// The users of one connection.
#[derive(Default)]
pub(crate) struct Users {
    /// Set for good: more than one key, or too many clients.
    many: AtomicBool,
    seen: Mutex<ConnectionUsers>,
}

impl Users {
    /// `client` uses the connection.
    pub(crate) fn note(&self, client: &Arc<Client>) {
        if self.many.load(Ordering::Acquire) {
            return;
        }
        let mut seen = lock(&self.seen);
        let key = *seen.key.get_or_insert(client.principal.id);
        if key == client.principal.id {
            let pointer = Arc::as_ptr(client);
            if seen.clients.iter().any(|known| known.as_ptr() == pointer) {
                return;
            }
            seen.clients.retain(|known| known.strong_count() > 0);
            if seen.clients.len() < MAX_CLIENTS {
                seen.clients.push(Arc::downgrade(client));
                return;
            }
        }
        self.many.store(true, Ordering::Release);
        seen.clients = Vec::new();
    }

    /// Whether any client has ever used the connection.
    pub(crate) fn was_used(&self) -> bool {
        self.many.load(Ordering::Acquire) || lock(&self.seen).key.is_some()
    }

    /// Whether no client that is still there has used the connection.
    pub(crate) fn is_unused(&self) -> bool {
        let seen = lock(&self.seen);
        !self.many.load(Ordering::Acquire) && seen.clients.iter().all(|known| known.strong_count() == 0)
    }

    /// The clients that are left, when one key alone has ever used the connection.
    pub(crate) fn of_one_key(&self) -> Option<Vec<Arc<Client>>> {
        let seen = lock(&self.seen);
        if self.many.load(Ordering::Acquire) {
            return None;
        }
        Some(seen.clients.iter().filter_map(Weak::upgrade).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::client_of;

    #[test]
    fn one_key_alone_is_known_with_its_clients() {
        let users = Users::default();
        assert_eq!(users.of_one_key().unwrap().len(), 0);
        assert!(users.is_unused() && !users.was_used());
        let (a, b) = (client_of("alice", "a"), client_of("alice", "b"));
        for client in [&a, &b, &a] {
            users.note(client);
        }
        assert_eq!(users.of_one_key().unwrap().len(), 2);
        drop(b);
        assert_eq!(users.of_one_key().unwrap().len(), 1);
        assert!(!users.is_unused());
        drop(a);
        assert!(users.is_unused() && users.was_used());
    }

    #[test]
    fn a_second_key_counts_for_good() {
        let users = Users::default();
        users.note(&client_of("alice", "a"));
        users.note(&client_of("bob", "b"));
        users.note(&client_of("alice", "a"));
        assert!(users.of_one_key().is_none() && !users.is_unused());
    }

    #[test]
    fn too_many_clients_are_nobody() {
        let users = Users::default();
        let clients: Vec<_> = (0..=MAX_CLIENTS)
            .map(|n| client_of("alice", &n.to_string()))
            .collect();
        clients.iter().for_each(|client| users.note(client));
        assert!(users.of_one_key().is_none());
        // Those that are gone take no room.
        let users = Users::default();
        for n in 0..1_000 {
            users.note(&client_of("alice", &n.to_string()));
        }
        assert!(users.of_one_key().is_some());
    }
}

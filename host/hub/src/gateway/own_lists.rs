//! What one client is shown where a server lists something for this client alone.
//!
//! The catalogue has what servers list for all. A client with a process or a session of its own at a server is shown the
//! lists of that one ([`Provider::offers_for`](crate::provider::Provider::offers_for)). The snapshot with these lists in
//! place of the shared ones is made once and kept until one of them changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aih_mcp::Message;

use super::{Gateway, changes};
use crate::{
    access::Principal,
    catalogue::{ListChange, ListKind, Scope, Snapshot},
    provider::{Client, Offers, OwnListChange},
};

/// Snapshots that are kept, over all clients; the oldest goes. Clients that see the same share one.
const MAX_KEPT: usize = 32;

/// A snapshot with lists of one client, and what it was made of.
struct OwnSnapshot {
    base: Arc<Snapshot>,
    own: Vec<(usize, Arc<Offers>)>,
    made: Arc<Snapshot>,
}

impl OwnSnapshot {
    fn is_of(&self, base: &Arc<Snapshot>, own: &[(usize, Arc<Offers>)]) -> bool {
        Arc::ptr_eq(&self.base, base)
            && self.own.len() == own.len()
            && self
                .own
                .iter()
                .zip(own)
                .all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1))
    }
}

/// The snapshots that were made for clients with lists of their own.
#[derive(Default)]
pub(super) struct OwnSnapshots(Mutex<Vec<OwnSnapshot>>);

impl OwnSnapshots {
    fn lock(&self) -> MutexGuard<'_, Vec<OwnSnapshot>> {
        // No code that holds the lock can leave the list half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, base: &Arc<Snapshot>, own: Vec<(usize, Arc<Offers>)>) -> Arc<Snapshot> {
        let known = |kept: &[OwnSnapshot]| {
            let found = kept.iter().find(|kept| kept.is_of(base, &own));
            found.map(|kept| kept.made.clone())
        };
        if let Some(made) = known(&self.lock()) {
            return made;
        }
        // Without the lock: it takes time linear in all that is on offer.
        let made = Arc::new(base.with(&own));
        let mut kept = self.lock();
        kept.retain(|kept| Arc::ptr_eq(&kept.base, base));
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push(OwnSnapshot {
            base: base.clone(),
            own,
            made: made.clone(),
        });
        made
    }
}

impl Gateway {
    /// What `client` is shown on the endpoint `scope`.
    pub(super) fn snapshot_for(&self, scope: &Scope, client: &Client) -> Arc<Snapshot> {
        let base = self.catalogue.snapshot_full();
        let shown = |name: &str| match scope {
            Scope::All => true,
            Scope::One(one) => **one == *name,
        };
        let own: Vec<(usize, Arc<Offers>)> = base
            .offerings()
            .iter()
            .enumerate()
            .filter(|(_, offering)| shown(offering.provider.name()))
            .filter_map(|(at, offering)| Some((at, offering.provider.offers_for(client)?)))
            .collect();
        match own.is_empty() {
            true => base,
            false => self.own_snapshots.get(&base, own),
        }
    }

    /// Notifies the one client whose lists changed, as far as it may see what changed.
    pub(super) fn tell_own(&self, change: OwnListChange) {
        let snapshot = self.catalogue.snapshot_full();
        let Some(offering) = snapshot.provider(&change.provider) else {
            return;
        };
        let lists = ListChange::between(&offering.provider, change.before, change.after);
        for kinds in [
            &[ListKind::Tools][..],
            &[ListKind::Prompts],
            &[ListKind::Resources, ListKind::Templates],
        ] {
            let Some(kind) = kinds.first().copied() else {
                continue;
            };
            if !kinds.iter().any(|kind| lists.kinds.contains(kind)) {
                continue;
            }
            let concerns = |scope: &Scope, principal: &Principal| {
                let in_scope = match scope {
                    Scope::All => true,
                    Scope::One(one) => **one == *change.provider,
                };
                in_scope && kinds.iter().any(|kind| lists.concerns(*kind, principal))
            };
            for session in self.sessions.all() {
                let is_it = session.client().is_some_and(|client| client.key == change.client);
                if is_it && concerns(&session.scope, session.principal()) {
                    // Only a question can fail.
                    let _ = session
                        .standing
                        .push(&Message::notification(changes::notification(kind), None));
                }
            }
            self.modern.tell_client(kind, &change.client, concerns);
        }
    }
}

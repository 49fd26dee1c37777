//! The lists of a process or a session that belongs to one client.
//!
//! Such a process may list something else than the hub's own: some servers list by the capabilities of the client, and
//! some add tools when a tool is called. The client must see the lists of the process that its calls reach. A client that
//! has no process yet gets the lists that a process of a client with the same capabilities had at its start, before any
//! call, so nothing that one client switched on is shown to another.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    clients::Entry,
    core::Core,
    lists::{self, Listing},
};
use crate::{
    provider::{Client, Offers, OwnListChange},
    upstream::link::connection::{Connection, ListSet, lock},
};

/// How long the first call of a client waits until the lists of its process are read; then they are read beside it.
const FIRST: Duration = Duration::from_secs(1);
/// Many changes of a list within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Sets of capabilities whose lists are remembered.
const MAX_SETS: usize = 16;

impl Core {
    /// What calls of `client` reach lists, where that is something else than the shared lists.
    pub(super) fn offers_for(&self, client: &Client) -> Option<Arc<Offers>> {
        if !self.has_own(client) {
            return None;
        }
        let entry = self.pool.entry(&client.key);
        match entry.filter(|entry| entry.live().is_some()) {
            Some(entry) => entry.offers(),
            None => lock(&self.by_capabilities)
                .get(&**client.capabilities.bytes())
                .cloned(),
        }
    }

    /// Reads the lists of a new process of `client`, before its first call. What a session over HTTP lists is read when
    /// the server says that it changed: else each session would cost the server some requests.
    pub(super) async fn first_own_lists(
        &self,
        entry: &Entry,
        client: &Arc<Client>,
        connection: &Arc<Connection>,
    ) {
        if !self.spec.is_stdio() {
            entry.set_offers(None);
            return;
        }
        let read = self.read_own(entry, client, connection, ListSet::ALL);
        match tokio::time::timeout(FIRST, read).await {
            Ok(true) => self.remember_set(client, entry.offers()),
            Ok(false) => {}
            Err(_) => self.own_lists_changed(client, ListSet::ALL),
        }
    }

    /// Remembers what a process of a client with these capabilities lists at its start; `None` where it is what all have.
    fn remember_set(&self, client: &Client, offers: Option<Arc<Offers>>) {
        let set: &[u8] = client.capabilities.bytes();
        let mut sets = lock(&self.by_capabilities);
        match offers {
            None => drop(sets.remove(set)),
            Some(offers) if sets.len() < MAX_SETS || sets.contains_key(set) => {
                sets.insert(set.into(), offers);
            }
            Some(_) => {}
        }
    }

    /// The server says that lists changed for this client.
    pub(super) fn own_lists_changed(&self, client: &Arc<Client>, which: ListSet) {
        let (Some(this), Some(entry)) = (self.this.upgrade(), self.pool.entry(&client.key)) else {
            return;
        };
        if !entry.mark_stale(which) {
            return;
        }
        let client = client.clone();
        self.tasks.spawn(async move {
            let reading = async {
                tokio::time::sleep(DEBOUNCE).await;
                // A process that is being opened is there afterwards.
                drop(entry.opening.lock().await);
                let which = entry.take_stale();
                if let Some(connection) = entry.live() {
                    this.read_own(&entry, &client, &connection, which).await;
                }
            };
            tokio::select! {
                () = reading => {}
                () = this.stop.cancelled() => {}
            }
        });
    }

    /// Reads these lists of a client's own connection, and notifies the client if what it sees is another list than
    /// before. Answers whether all could be read; else what was known stays.
    async fn read_own(
        &self,
        entry: &Entry,
        client: &Arc<Client>,
        connection: &Arc<Connection>,
        which: ListSet,
    ) -> bool {
        let _one = entry.listing.lock().await;
        let shared = || self.listing.load().offers.clone();
        let before = self.offers_for(client).unwrap_or_else(shared);
        let reading = Mutex::new((Listing::of((*before).clone()), true));
        lists::read(connection, which, &self.spec.tools, &|_, found| {
            let mut reading = lock(&reading);
            match found {
                Ok(fresh) => reading.0 = reading.0.with(fresh),
                Err(error) => {
                    reading.1 = false;
                    tracing::debug!(server = %self.name, client = %client.key, %error, "a list of a client's own");
                }
            }
        })
        .await;
        let (listing, whole) = reading.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !whole {
            return false;
        }
        let offers = listing.offers;
        entry.set_offers((!same_lists(&shared(), &offers)).then(|| offers.clone()));
        if !same_lists(&before, &offers) {
            self.changes.mark_own(OwnListChange {
                client: client.key.clone(),
                provider: self.name.clone(),
                before,
                after: offers,
            });
        }
        true
    }
}

fn same_lists(a: &Offers, b: &Offers) -> bool {
    a.tools == b.tools && a.prompts == b.prompts && a.resources == b.resources && a.templates == b.templates
}

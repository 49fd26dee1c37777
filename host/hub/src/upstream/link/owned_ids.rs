//! Ids that a server gave to something while it worked for a client: tasks and elicitations. Later notifications of
//! the server name no request, but they name one of these ids, so the hub remembers the client of each id.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use super::connection::{InFlightRequest, lock};
use crate::{
    access::KeyId,
    provider::{Client, ClientKey, Peer},
};

/// Names that are remembered for one client; the oldest goes first.
const MAX_PER_CLIENT: usize = 64;
/// Names that are remembered for one key; the oldest goes first.
const MAX_PER_KEY: usize = 512;
/// Names that are remembered in all; the oldest goes first.
const MAX_IN_ALL: usize = 4_096;
/// The longest name, in bytes; a longer one is not remembered.
const MAX_NAME: usize = 256;

/// What has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IdKind {
    /// A `taskId` (2025-11-25, Tasks).
    Task,
    /// An `elicitationId` (2025-11-25, Elicitation in URL mode).
    Elicitation,
}

struct Owner {
    key: ClientKey,
    principal: KeyId,
    client: Weak<Client>,
    in_flight: Weak<InFlightRequest>,
    age: u64,
    /// The server gave the name to two clients: nobody can be meant.
    doubtful: bool,
}

#[derive(Default)]
struct Table {
    owners: HashMap<(IdKind, Box<str>), Owner>,
    next: u64,
}

/// The names of one server.
#[derive(Default)]
pub(crate) struct OwnedIds(Mutex<Table>);

impl OwnedIds {
    /// The server gave `name` to something of the client whose request `in_flight` is.
    pub(crate) fn remember(&self, kind: IdKind, name: &str, in_flight: &Arc<InFlightRequest>) {
        let Some((_, client)) = in_flight.call.as_ref().filter(|_| name.len() <= MAX_NAME) else {
            return;
        };
        let mut table = lock(&self.0);
        table.next += 1;
        let age = table.next;
        if let Some(known) = table.owners.get_mut(&(kind, name.into())) {
            if known.key == client.key {
                (known.in_flight, known.age) = (Arc::downgrade(in_flight), age);
            } else {
                known.doubtful = true;
            }
            return;
        }
        let own = |owner: &Owner| owner.key == client.key;
        let of_key = |owner: &Owner| owner.principal == client.principal.id;
        if table.owners.values().filter(|o| own(o)).count() >= MAX_PER_CLIENT {
            remove_oldest(&mut table, own);
        } else if table.owners.values().filter(|o| of_key(o)).count() >= MAX_PER_KEY {
            remove_oldest(&mut table, of_key);
        } else if table.owners.len() >= MAX_IN_ALL {
            remove_oldest(&mut table, |_| true);
        }
        let owner = Owner {
            key: client.key.clone(),
            principal: client.principal.id,
            client: Arc::downgrade(client),
            in_flight: Arc::downgrade(in_flight),
            age,
            doubtful: false,
        };
        table.owners.insert((kind, name.into()), owner);
    }

    /// Whose `name` is: on the stream of the request that it comes from while that runs, else on the client's own.
    pub(crate) fn owner(&self, kind: IdKind, name: &str) -> Option<(Arc<dyn Peer>, Arc<Client>)> {
        let (client, in_flight) = {
            let table = lock(&self.0);
            let owner = table.owners.get(&(kind, name.into())).filter(|o| !o.doubtful)?;
            (owner.client.upgrade()?, owner.in_flight.upgrade())
        };
        let peer = in_flight.and_then(|f| f.call.as_ref().map(|(peer, _)| peer.clone()));
        Some((peer.unwrap_or_else(|| client.peer.clone()), client))
    }
}

fn remove_oldest(table: &mut Table, of: impl Fn(&Owner) -> bool) {
    let oldest = table
        .owners
        .iter()
        .filter(|(_, owner)| of(owner))
        .min_by_key(|(_, owner)| owner.age)
        .map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        table.owners.remove(&oldest);
    }
}

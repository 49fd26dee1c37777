//! Notifies clients of changed lists: sessions on their standing stream, modern clients on the streams that they
//! listen on. A client gets a notification only if the list changed for it.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use aih_mcp::{Message, method};
use tokio::sync::broadcast::error::RecvError;

use super::Gateway;
use crate::{
    access::Principal,
    catalogue::{ListChange, ListKind, Scope},
};

/// Runs until the catalogue ends.
pub async fn tell(gateway: Arc<Gateway>) {
    let mut changes = gateway.catalogue.changes();
    let mut own = gateway.catalogue.own_changes();
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            change = own.recv() => {
                // Of changes that are lost, there are newer ones.
                if let Ok(change) = change {
                    gateway.tell_own(change);
                }
                continue;
            }
        };
        let change = match change {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        // Many servers come up side by side: one notification a list is enough for all of them.
        let mut batch: Vec<ListChange> = change.into_iter().collect();
        let everything = batch.is_empty();
        while let Ok(more) = changes.try_recv() {
            batch.push(more);
        }
        for kind in [ListKind::Tools, ListKind::Prompts, ListKind::Resources] {
            tell_one(&gateway, kind, (!everything).then_some(&*batch));
        }
    }
}

/// The notification for a list.
pub fn notification(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Tools => method::TOOLS_CHANGED,
        ListKind::Prompts => method::PROMPTS_CHANGED,
        ListKind::Resources | ListKind::Templates => method::RESOURCES_CHANGED,
    }
}

/// `batch` is `None` where nobody knows what changed.
fn tell_one(gateway: &Gateway, kind: ListKind, batch: Option<&[ListChange]>) {
    let kinds: &[ListKind] = match kind {
        ListKind::Resources => &[ListKind::Resources, ListKind::Templates],
        _ => &[kind],
    };
    let relevant = |change: &&ListChange| kinds.iter().any(|kind| change.kinds.contains(kind));
    let batch: Option<Vec<&ListChange>> = batch.map(|batch| batch.iter().filter(relevant).collect());
    if batch.as_ref().is_some_and(Vec::is_empty) {
        return;
    }
    // Many sessions are of few principals.
    let known = RefCell::new(HashMap::new());
    let differs = |at: usize, change: &ListChange, principal: &Principal| {
        let mut known = known.borrow_mut();
        let entry = known.entry((at, principal.generation()));
        *entry.or_insert_with(|| kinds.iter().any(|kind| change.concerns(*kind, principal)))
    };
    let snapshot = gateway.catalogue.snapshot_full();
    let concerns = |scope: &Scope, principal: &Principal| match &batch {
        None => snapshot.in_scope(scope).any(|o| o.visible_to(principal)),
        Some(batch) => batch.iter().enumerate().any(|(at, change)| {
            let in_scope = match scope {
                Scope::All => true,
                Scope::One(one) => **one == *change.provider,
            };
            in_scope && differs(at, change, principal)
        }),
    };
    let message = Message::notification(notification(kind), None);
    for session in gateway.sessions.all() {
        if session.client().is_some() && concerns(&session.scope, session.principal()) {
            // Only a question can fail.
            let _ = session.standing.push(&message);
        }
    }
    gateway.modern.tell(kind, concerns);
}

//! Tells clients that lists changed: sessions on their standing stream, modern clients on the streams that
//! they listen with. Only who may see the provider hears of it.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::Gateway;
use crate::{
    catalogue::{ListChange, ListKind, Scope, Snapshot},
    mcp::{Message, method},
};

/// Runs until the catalogue ends.
pub async fn tell(gateway: Arc<Gateway>) {
    let mut changes = gateway.catalogue.changes();
    loop {
        let change = match changes.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        let snapshot = gateway.catalogue.snapshot_full();
        // Many servers come up side by side: one notification a list is enough for all of them.
        let mut batch: Vec<ListChange> = change.into_iter().collect();
        let everything = batch.is_empty();
        while let Ok(more) = changes.try_recv() {
            batch.push(more);
        }
        for kind in [ListKind::Tools, ListKind::Prompts, ListKind::Resources] {
            let relevant = |c: &&ListChange| {
                c.kinds.contains(&kind)
                    || (kind == ListKind::Resources && c.kinds.contains(&ListKind::Templates))
            };
            let providers: Vec<&str> = if everything {
                snapshot.offerings().iter().map(|o| o.provider.name()).collect()
            } else {
                batch.iter().filter(relevant).map(|c| &*c.provider).collect()
            };
            if !providers.is_empty() {
                tell_one(&gateway, &snapshot, kind, &providers);
            }
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

fn tell_one(gateway: &Gateway, snapshot: &Snapshot, kind: ListKind, providers: &[&str]) {
    let concerns = |scope: &Scope, principal: &crate::access::Principal| {
        providers.iter().any(|name| {
            let in_scope = match scope {
                Scope::All => true,
                Scope::One(one) => **one == **name,
            };
            in_scope && snapshot.provider(name).is_some_and(|o| o.visible_to(principal))
        })
    };
    let message = Message::notification(notification(kind), None);
    for session in gateway.sessions.all() {
        if session.client().is_some() && concerns(&session.scope, session.principal()) {
            session.standing.push(&message);
        }
    }
    gateway.modern.tell(kind, concerns);
}

//! Everything that is registered at this hub at the moment.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use arc_swap::ArcSwap;

use super::{BuiltinContent, Health, health};
use crate::{
    access::Principal,
    catalogue::{Catalogue, Snapshot},
    hooks::Hooks,
};

/// What is registered: the hub's own content, what the catalogue offers, and the hooks.
pub struct Inventory {
    content: ArcSwap<BuiltinContent>,
    /// Weak, because the catalogue holds the hub's own tools, which show this.
    catalogue: Weak<Catalogue>,
    hooks: Arc<Hooks>,
    started: Instant,
}

impl Inventory {
    /// An inventory of `content`, of what `catalogue` offers, and of `hooks`. The hub's uptime counts from now.
    pub fn new(content: BuiltinContent, catalogue: &Arc<Catalogue>, hooks: Arc<Hooks>) -> Arc<Self> {
        Arc::new(Self {
            content: ArcSwap::from_pointee(content),
            catalogue: Arc::downgrade(catalogue),
            hooks,
            started: Instant::now(),
        })
    }

    /// What the hub itself holds now.
    pub fn content(&self) -> Arc<BuiltinContent> {
        self.content.load_full()
    }

    /// Registers `content` from now on. Answers what was registered before.
    pub(crate) fn replace(&self, content: Arc<BuiltinContent>) -> Arc<BuiltinContent> {
        self.content.swap(content)
    }

    /// The hooks of this hub.
    pub fn hooks(&self) -> &Arc<Hooks> {
        &self.hooks
    }

    /// All that is on offer; nothing once the hub has stopped.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let catalogue = self.catalogue.upgrade();
        catalogue
            .map(|catalogue| catalogue.snapshot_full())
            .unwrap_or_default()
    }

    /// How everything is that `principal` may see.
    pub fn health(&self, principal: &Principal) -> Health {
        health(
            &self.content(),
            &self.snapshot(),
            &self.hooks,
            self.started.elapsed(),
            principal,
        )
    }
}

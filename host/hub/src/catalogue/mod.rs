//! Everything that the hub offers, as an immutable snapshot. The hub replaces the whole snapshot when something
//! changes.
//!
//! [`Catalogue`] holds the providers. [`snapshot`] is what they offer at one time, and [`listed`] one item of it, with its
//! permission. [`items`] checks what a provider lists. [`target`] is what a call names. [`pages`] makes the pages of
//! lists, [`uri`] the exposed URIs of resources, and [`ui`] finds those of views.
//! [`skills`] and [`configs`] are the hub's own files, which [`files`], [`front_matter`] and [`media`] read.
//! [`skills_mcp`] presents skills over MCP.

pub mod configs;
pub mod files;
pub mod front_matter;
pub mod items;
mod listed;
pub mod media;
pub mod pages;
pub mod skills;
pub mod skills_mcp;
pub mod snapshot;
pub mod target;
pub mod ui;
pub mod uri;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::broadcast;

pub use listed::{Item, ListKind, ListStyle, SchemaRules};
pub use snapshot::{Offering, Scope, Snapshot};
pub use target::{ProviderRequest, Target, ToolNames};

use crate::{
    access::Principal,
    names::NameLimit,
    provider::{ChangeSignal, Offers, OwnListChange, Provider},
};

/// How long the catalogue waits for more changes before it makes a new snapshot.
const SETTLE: Duration = Duration::from_millis(15);

/// Lists of one provider that changed.
#[derive(Clone)]
pub struct ListChange {
    /// The provider's name.
    pub provider: Arc<str>,
    /// Which of its lists.
    pub kinds: Vec<ListKind>,
    before: Option<Arc<Offering>>,
    after: Arc<Offering>,
}

impl ListChange {
    /// What is different between two lists of one client at a provider.
    pub fn between(provider: &Arc<dyn Provider>, before: Arc<Offers>, after: Arc<Offers>) -> Self {
        let before = Offering::of(provider.clone(), before, NameLimit::DEFAULT);
        let after = Offering::of(provider.clone(), after, NameLimit::DEFAULT);
        let kinds = ListKind::ALL.into_iter();
        Self {
            provider: provider.name().into(),
            kinds: kinds
                .filter(|kind| !same(before.items(*kind), after.items(*kind)))
                .collect(),
            before: Some(Arc::new(before)),
            after: Arc::new(after),
        }
    }

    /// Whether the list is another one for this principal. A change of what it may not see is none. Takes time linear in the
    /// length of the list.
    pub fn concerns(&self, kind: ListKind, principal: &Principal) -> bool {
        let visible = |offering: &Arc<Offering>| {
            let items = offering.items(kind).iter();
            let visible = items.filter(|item| item.visible_to(principal));
            visible.map(|item| item.direct.clone()).collect::<Vec<_>>()
        };
        self.before.as_ref().map(visible).unwrap_or_default() != visible(&self.after)
    }
}

/// The live catalogue: providers in, snapshots and changes out.
pub struct Catalogue {
    providers: ArcSwap<Vec<Arc<dyn Provider>>>,
    snapshot: ArcSwap<Snapshot>,
    changes: broadcast::Sender<ListChange>,
    signal: ChangeSignal,
    /// Longest name on the aggregated endpoint.
    name_limit: NameLimit,
    /// Snapshots are made one after the other, so that an older one never replaces a newer one.
    refreshing: Mutex<()>,
}

impl Catalogue {
    /// A catalogue without providers; `signal` is what they will mark when something changes. Plugins make calls
    /// through the catalogue that holds them, so it is made first and filled with [`Catalogue::replace`]. No name on the
    /// aggregated endpoint is longer than `name_limit`.
    pub fn new(signal: ChangeSignal, name_limit: NameLimit) -> Arc<Self> {
        Arc::new(Self {
            providers: ArcSwap::default(),
            snapshot: ArcSwap::default(),
            changes: broadcast::Sender::new(256),
            signal,
            name_limit,
            refreshing: Mutex::default(),
        })
    }

    /// Offers what `providers` have, and nothing else, from now on.
    pub fn replace(&self, providers: Vec<Arc<dyn Provider>>) {
        self.providers.store(Arc::new(providers));
        self.refresh();
    }

    /// A catalogue of `providers`.
    #[cfg(test)]
    pub(crate) fn of(providers: Vec<Arc<dyn Provider>>, signal: ChangeSignal) -> Arc<Self> {
        let catalogue = Self::new(signal, NameLimit::DEFAULT);
        catalogue.replace(providers);
        catalogue
    }

    /// Longest name on the aggregated endpoint.
    pub fn name_limit(&self) -> NameLimit {
        self.name_limit
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The current snapshot, to keep across an await.
    pub fn snapshot_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Wakes when some provider's state or lists change.
    pub fn marks(&self) -> tokio::sync::watch::Receiver<u64> {
        self.signal.subscribe()
    }

    /// List changes for one client alone, from now on.
    pub fn own_changes(&self) -> broadcast::Receiver<OwnListChange> {
        self.signal.subscribe_own()
    }

    /// Every provider.
    pub fn providers(&self) -> Arc<Vec<Arc<dyn Provider>>> {
        self.providers.load_full()
    }

    /// List changes from now on. A receiver that lags must treat every list as changed.
    pub fn changes(&self) -> broadcast::Receiver<ListChange> {
        self.changes.subscribe()
    }

    /// Makes new snapshots until the hub ends; run it once, as a task.
    pub async fn run(self: Arc<Self>) {
        let mut marks = self.signal.subscribe();
        self.refresh();
        while marks.changed().await.is_ok() {
            tokio::time::sleep(SETTLE).await;
            marks.mark_unchanged();
            self.refresh();
        }
    }

    /// Makes a new snapshot if a provider lists something else by now: a client that has seen that a server is up finds its
    /// tools, even before the next snapshot is due.
    pub fn catch_up(&self) {
        let shows = |known: &Arc<Offering>| Arc::ptr_eq(&known.offers, &known.provider.offers());
        if !self.snapshot().offerings().iter().all(shows) {
            self.refresh();
        }
    }

    /// Makes a new snapshot now, and returns which lists are different. Offerings of providers that offer what they did are
    /// kept. Answers whether any offers something else; cheap where none does.
    pub fn refresh(&self) -> bool {
        let _one = self
            .refreshing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let old = self.snapshot.load_full();
        let providers = self.providers.load_full();
        let (mut changed, mut renewed) = (Vec::new(), false);
        let offerings = providers
            .iter()
            .map(|provider| match old.provider(provider.name()) {
                Some(known) if Arc::ptr_eq(&known.offers, &provider.offers()) => known.clone(),
                known => {
                    renewed = true;
                    let fresh = Arc::new(Offering::new(provider.clone(), self.name_limit));
                    let kinds: Vec<ListKind> = ListKind::ALL
                        .into_iter()
                        .filter(|kind| known.is_none_or(|k| !same(k.items(*kind), fresh.items(*kind))))
                        .collect();
                    if !kinds.is_empty() {
                        changed.push(ListChange {
                            provider: provider.name().into(),
                            kinds,
                            before: known.cloned(),
                            after: fresh.clone(),
                        });
                    }
                    fresh
                }
            });
        let offerings: Vec<_> = offerings.collect();
        if !renewed && offerings.len() == old.offerings().len() {
            return false;
        }
        self.snapshot.store(Arc::new(Snapshot::new(offerings)));
        for change in changed {
            // No receiver is not an error: nobody is connected.
            let _ = self.changes.send(change);
        }
        true
    }
}

fn same(a: &[Item], b: &[Item]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.direct == b.direct)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ListingProvider, principal, tools};

    #[tokio::test]
    async fn a_change_concerns_whoever_sees_a_difference() {
        let offers = |names: &[&'static str]| Offers {
            tools: tools(names.iter().copied()),
            ..Offers::default()
        };
        let server = ListingProvider::new("one", offers(&["open", "secret"]));
        let catalogue = Catalogue::of(vec![server.clone()], ChangeSignal::default());
        let mut changes = catalogue.changes();
        let (all, few) = (principal(&["mcps"]), principal(&["mcps", "!mcps/one/secret*"]));
        for (names, concerned) in [
            (&["open", "secret", "secret2"][..], false),
            (&["open", "secret2"], false),
            (&["open", "new", "secret2"], true),
            (&["new"], true),
        ] {
            server.list(offers(names));
            catalogue.catch_up();
            let change = changes.try_recv().unwrap();
            assert!(change.concerns(ListKind::Tools, &all), "{names:?}");
            assert_eq!(change.concerns(ListKind::Tools, &few), concerned, "{names:?}");
        }
    }

    #[tokio::test]
    async fn a_list_that_has_just_changed_is_shown_and_notified_once() {
        let offers = |names: &[&'static str]| Offers {
            tools: tools(names.iter().copied()),
            ..Offers::default()
        };
        let server = ListingProvider::new("one", offers(&["old"]));
        let catalogue = Catalogue::of(vec![server.clone()], ChangeSignal::default());
        let mut changes = catalogue.changes();
        let shown = || {
            catalogue
                .snapshot()
                .provider("one")
                .unwrap()
                .items(ListKind::Tools)
                .len()
        };
        server.list(offers(&["old", "new"]));
        assert_eq!(shown(), 1);
        catalogue.catch_up();
        assert_eq!(shown(), 2);
        assert_eq!(changes.try_recv().unwrap().kinds, [ListKind::Tools]);
        // The same once more is nothing new, and not a reason to make snapshots without end.
        server.list(offers(&["old", "new"]));
        catalogue.catch_up();
        let snapshot = catalogue.snapshot_full();
        catalogue.catch_up();
        assert!(Arc::ptr_eq(&snapshot, &catalogue.snapshot_full()));
        assert!(changes.try_recv().is_err());
    }
}

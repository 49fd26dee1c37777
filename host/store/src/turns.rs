//! Turns of calls that change one value: each reads it when the one before has written it.
//!
//! What makes a change right is the version that [`set`](super::state::PluginState::set) expects, in every database and
//! with several hubs on one. A turn only keeps the calls of this hub from reading what another one is about to write,
//! so that none of them has to begin again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{Mutex as AsyncMutex, oneshot};

/// How long a turn is at most: who takes longer may find that another call was faster.
const LEASE: Duration = Duration::from_secs(1);
/// Keys that are known before those whose turns are over are looked for.
const KEYS: usize = 64;

/// Turns at all keys of all owners. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Keys>>);

/// An owner, and a key of its state.
type Key = (Box<str>, Box<str>);

#[derive(Debug, Default)]
struct Keys {
    /// By owner and key. An entry is dead when nobody has or awaits a turn.
    turns: HashMap<Key, Weak<AsyncMutex<()>>>,
    /// How many entries may be there before the dead ones are taken out.
    most: usize,
}

/// A call's turn at one key. It ends when this is dropped, and after a second.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "what counts is that it is dropped")] oneshot::Sender<()>);

impl Turns {
    /// Waits for a turn, first come, first served. Needs an async runtime of tokio.
    pub(crate) async fn take(&self, owner: &str, key: &str) -> Turn {
        let guard = self.of(owner, key).lock_owned().await;
        let (turn, over) = oneshot::channel();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LEASE, over).await;
            drop(guard);
        });
        Turn(turn)
    }

    fn of(&self, owner: &str, key: &str) -> Arc<AsyncMutex<()>> {
        // The map is whole at every point where code under the lock could panic.
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (owner.into(), key.into());
        if let Some(turns) = keys.turns.get(&name).and_then(Weak::upgrade) {
            return turns;
        }
        if keys.turns.len() >= keys.most.max(KEYS) {
            keys.turns.retain(|_, turns| turns.strong_count() > 0);
            keys.most = keys.turns.len().saturating_mul(2);
        }
        let turns = Arc::<AsyncMutex<()>>::default();
        keys.turns.insert(name, Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_call_after_the_other_and_other_keys_beside() {
        let turns = Turns::default();
        let first = turns.take("plugin/a", "k").await;
        for (owner, key) in [("plugin/a", "l"), ("plugin/b", "k"), ("hook/a", "k")] {
            assert!(turns.take(owner, key).now_or_never().is_some(), "{owner}, {key}");
        }
        assert!(turns.take("plugin/a", "k").now_or_never().is_none());
        drop(first);
        turns.take("plugin/a", "k").await;
    }

    #[tokio::test]
    async fn a_turn_that_does_not_end_is_over_after_a_second() {
        let turns = Turns::default();
        let begun = Instant::now();
        let _first = turns.take("plugin/a", "k").await;
        let _second = turns.take("plugin/a", "k").await;
        let waited = begun.elapsed();
        assert!(waited >= LEASE, "{waited:?}");
    }

    #[tokio::test]
    async fn turns_come_in_order_and_leave_nothing() {
        let turns = Turns::default();
        let order = Arc::<Mutex<Vec<usize>>>::default();
        let first = turns.take("plugin/a", "k").await;
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..100 {
            let (turns, order) = (turns.clone(), order.clone());
            calls.spawn(async move {
                let _turn = turns.take("plugin/a", "k").await;
                order.lock().unwrap().push(number);
            });
        }
        tokio::task::yield_now().await;
        drop(first);
        calls.join_all().await;
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
        for key in 0..1_000 {
            drop(turns.take("plugin/a", &key.to_string()).await);
            tokio::task::yield_now().await;
        }
        assert!(turns.0.lock().unwrap().turns.len() <= 2 * KEYS);
    }
}

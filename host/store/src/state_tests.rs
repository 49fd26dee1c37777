use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;

use super::{
    Store,
    state::{ENTRY_OVERHEAD, KeyPage, MAX_KEY, PluginState, StateEntry, StateError},
};

const MUCH: u64 = 1 << 20;

async fn state() -> PluginState {
    Store::in_memory().await.unwrap().state()
}

#[tokio::test]
async fn a_value_is_set_read_and_removed() {
    let state = state().await;
    assert_eq!(state.get("a", "k").await.unwrap(), None);
    let version = state.set("a", "k", b"\0v", None, MUCH).await.unwrap();
    let value = b"\0v".to_vec();
    assert_eq!(
        state.get("a", "k").await.unwrap(),
        Some(StateEntry { value, version })
    );
    assert_eq!(
        state.get("b", "k").await.unwrap(),
        None,
        "owners see their own keys only"
    );
    state.delete("b", "k").await.unwrap();
    state.delete("a", "k").await.unwrap();
    state.delete("a", "k").await.unwrap();
    assert_eq!(state.get("a", "k").await.unwrap(), None);
    assert_eq!(state.used("a").await.unwrap(), 0);
}

#[tokio::test]
async fn versions_are_never_used_twice() {
    let state = state().await;
    let first = state.set("a", "k", b"1", Some(0), MUCH).await.unwrap();
    state.delete("a", "k").await.unwrap();
    let second = state.set("a", "k", b"2", Some(0), MUCH).await.unwrap();
    assert!(second > first);
    let refused = state.set("a", "k", b"3", Some(first), MUCH).await;
    assert!(
        matches!(refused, Err(StateError::Conflict(now)) if now == second),
        "{refused:?}"
    );
    state.delete("a", "k").await.unwrap();
    let refused = state.set("a", "k", b"3", Some(second), MUCH).await;
    assert!(matches!(refused, Err(StateError::Conflict(0))), "{refused:?}");
}

#[tokio::test]
async fn the_quota_counts_keys_values_and_overhead() {
    let state = state().await;
    let quota = 2 * (ENTRY_OVERHEAD + 1 + 10);
    state.set("a", "k", &[0; 10], None, quota).await.unwrap();
    state.set("a", "l", &[0; 10], None, quota).await.unwrap();
    let refused = state.set("a", "l", &[0; 11], None, quota).await;
    let Err(StateError::Quota {
        used,
        needed,
        quota: granted,
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((used, needed, granted), (quota, quota + 1, quota));
    state.set("a", "l", &[1; 10], None, quota).await.unwrap();
    assert!(matches!(
        state.set("a", "", b"", None, quota).await,
        Err(StateError::Quota { .. })
    ));
    state.delete("a", "k").await.unwrap();
    state.set("a", "", b"", None, quota).await.unwrap();
    assert_eq!(state.used("a").await.unwrap(), 2 * ENTRY_OVERHEAD + 11);
    state.set("b", "k", &[0; 10], None, quota).await.unwrap();
}

#[tokio::test]
async fn keys_have_a_limit_in_bytes() {
    let state = state().await;
    state
        .set("a", &"é".repeat(MAX_KEY / 2), b"", None, MUCH)
        .await
        .unwrap();
    let long = "x".repeat(MAX_KEY + 1);
    assert!(matches!(
        state.set("a", &long, b"", None, MUCH).await,
        Err(StateError::Key(513))
    ));
    assert!(matches!(state.get("a", &long).await, Err(StateError::Key(513))));
    assert!(matches!(
        state.delete("a", &long).await,
        Err(StateError::Key(513))
    ));
    assert!(matches!(
        state.keys("a", &long, None, 1).await,
        Err(StateError::Key(513))
    ));
}

#[tokio::test]
async fn prefixes_are_bytes() {
    let state = state().await;
    let all = [
        "",
        "A",
        "a",
        "a%",
        "a%b",
        "a_",
        "aa",
        "a\u{7f}",
        "a\u{10ffff}",
        "b",
        "é",
        "êa",
    ];
    for key in all {
        state.set("a", key, b"", None, MUCH).await.unwrap();
    }
    let with = async |prefix: &str| state.keys("a", prefix, None, 1_000).await.unwrap().keys;
    assert_eq!(with("").await, all);
    assert_eq!(
        with("a").await,
        ["a", "a%", "a%b", "a_", "aa", "a\u{7f}", "a\u{10ffff}"]
    );
    assert_eq!(with("a%").await, ["a%", "a%b"]);
    assert_eq!(with("a_").await, ["a_"]);
    assert_eq!(with("é").await, ["é"]);
    assert_eq!(
        state.keys("a", "zz", Some("a"), 9).await.unwrap(),
        KeyPage::default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_count_up_one_key_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite://s.db", dir.path()).await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let state = store.state();
            tokio::spawn(async move {
                for _ in 0..10 {
                    loop {
                        let entry = state.get("a", "n").await.unwrap();
                        let version = entry.as_ref().map_or(0, |e| e.version);
                        let number = entry.map_or(0, |e| u32::from_le_bytes(e.value.try_into().unwrap()));
                        let next = (number + 1).to_le_bytes();
                        match state.set("a", "n", &next, Some(version), MUCH).await {
                            Ok(new) => break assert!(new > version),
                            Err(StateError::Conflict(_)) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entry = store.state().get("a", "n").await.unwrap().unwrap();
    assert_eq!(entry.value, 160_u32.to_le_bytes());
    store.close().await;
    assert!(store.state().get("a", "n").await.is_err());
    // And it is there when the file is opened again.
    let store = Store::open("sqlite://s.db", dir.path()).await.unwrap();
    assert_eq!(store.state().get("a", "n").await.unwrap(), Some(entry));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_gives_up_leaves_nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite:s.db", dir.path()).await.unwrap();
    let state = store.state();
    for round in 0..200_u32 {
        let set = state.set("a", "k", &[7; 100], None, MUCH);
        // Cut off after another number of steps each time.
        let mut set = Box::pin(set);
        for _ in 0..round % 20 {
            if futures::poll!(set.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let last = state.set("a", "k", &[8; 100], None, MUCH).await.unwrap();
    assert_eq!(state.get("a", "k").await.unwrap().unwrap().version, last);
    assert_eq!(state.used("a").await.unwrap(), ENTRY_OVERHEAD + 101);
}

/// What the store should do, without one.
#[derive(Default)]
struct Model {
    last: u64,
    entries: BTreeMap<String, StateEntry>,
}

impl Model {
    fn used(&self) -> u64 {
        self.entries
            .iter()
            .map(|(k, e)| (k.len() + e.value.len()) as u64 + ENTRY_OVERHEAD)
            .sum()
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Expects the version that is there, minus the number, or anything.
    Set(String, Vec<u8>, Option<u64>),
    Delete(String),
    Get(String),
    Keys(String, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let key = "[ab%é]{0,3}";
    prop_oneof![
        4 => (key, proptest::collection::vec(any::<u8>(), 0..80), proptest::option::of(0..2_u64))
            .prop_map(|(k, v, e)| Step::Set(k, v, e)),
        1 => key.prop_map(Step::Delete),
        1 => key.prop_map(Step::Get),
        1 => ("[ab%é]{0,2}", 1..4_usize).prop_map(|(p, n)| Step::Keys(p, n)),
    ]
}

async fn follow(state: &PluginState, owner: &str, model: &mut Model, step: Step) {
    const QUOTA: u64 = 600;
    match step {
        Step::Set(key, value, back) => {
            let now = model.entries.get(&key).map_or(0, |e| e.version);
            let expect = back.map(|back| now.saturating_sub(back));
            let mut after = Model {
                last: model.last,
                entries: model.entries.clone(),
            };
            let entry = StateEntry {
                value: value.clone(),
                version: 0,
            };
            after.entries.insert(key.clone(), entry);
            match state.set(owner, &key, &value, expect, QUOTA).await {
                Err(StateError::Conflict(told)) => {
                    assert_eq!(told, now);
                    assert!(expect.is_some_and(|e| e != now));
                }
                Err(StateError::Quota { used, needed, .. }) => {
                    assert_eq!((used, needed), (model.used(), after.used()));
                    assert!(needed > QUOTA);
                }
                Err(other) => panic!("{other}"),
                Ok(version) => {
                    assert!(expect.is_none_or(|e| e == now));
                    assert!(after.used() <= QUOTA);
                    assert!(version > model.last);
                    model.last = version;
                    model.entries.insert(key, StateEntry { value, version });
                }
            }
        }
        Step::Delete(key) => {
            state.delete(owner, &key).await.unwrap();
            model.entries.remove(&key);
        }
        Step::Get(key) => assert_eq!(
            state.get(owner, &key).await.unwrap().as_ref(),
            model.entries.get(&key)
        ),
        Step::Keys(prefix, limit) => {
            let (mut all, mut cursor) = (Vec::new(), None);
            loop {
                let page = state
                    .keys(owner, &prefix, cursor.as_deref(), limit)
                    .await
                    .unwrap();
                assert!(page.keys.len() <= limit);
                all.extend(page.keys);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            let model: Vec<_> = model
                .entries
                .keys()
                .filter(|k| k.starts_with(&prefix))
                .cloned()
                .collect();
            assert_eq!(all, model);
        }
    }
    assert_eq!(state.used(owner).await.unwrap(), model.used());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn state_does_what_a_map_does(steps in proptest::collection::vec((any::<bool>(), step()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open("sqlite::memory:", Path::new("")).await.unwrap();
            let state = store.state();
            let mut models = [Model::default(), Model::default()];
            for (other, step) in steps {
                let owner = if other { "b" } else { "a" };
                follow(&state, owner, &mut models[usize::from(other)], step).await;
            }
            store.close().await;
        });
    }
}

//! The keys that are valid now. Code that acts for a key asks when it acts.
//!
//! One [`Authority`] holds the ring of keys. A reload, or another source of keys, replaces the whole ring. A key that
//! did not change keeps its [`Principal`], and every other principal of the old ring ends. Everything that is done for
//! a key holds the principal, so no code has to look the key up again: the principal says whether it is current, and
//! it has no permissions after it has ended.
//!
//! Work of a principal ends with it:
//!
//! - [`layer`](super::layer) ends a request whose body still arrives or whose answer is still being made, and a stream
//!   of answers;
//! - code that follows [`Authority::changes`] ends sessions, calls that wait for a person's answer, and conversations.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::sync::watch;

use super::key::{AuthError, KeyId, KeyRing, Principal};

/// See the module.
#[derive(Debug)]
pub struct Authority {
    ring: ArcSwap<KeyRing>,
    /// One ring takes the place of another at a time.
    replacing: Mutex<()>,
    changes: watch::Sender<u64>,
}

impl Authority {
    /// The keys of `ring` count.
    #[must_use]
    pub fn new(ring: KeyRing) -> Self {
        Self {
            ring: ArcSwap::from_pointee(ring),
            replacing: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Finds out who sends a request.
    ///
    /// # Errors
    /// See [`KeyRing::authenticate`].
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, AuthError> {
        self.ring.load().authenticate(headers)
    }

    /// Who the key with this id stands for now; `None` where the key does not count any more.
    #[must_use]
    pub fn principal(&self, id: KeyId) -> Option<Arc<Principal>> {
        self.ring.load().principal(id).cloned()
    }

    /// From now on the keys of `ring` count and no others. Principals whose key is not there, or may something else
    /// there, end before this returns. Returns how many ended.
    pub fn replace(&self, mut ring: KeyRing) -> usize {
        // Nothing behind the lock is changed under it but by one call.
        let _one = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = ring.succeed(&self.ring.load());
        self.ring.store(Arc::new(ring));
        // Only now: a caller that is refused because of the end finds the new keys.
        ended.iter().for_each(|principal| principal.end());
        if !ended.is_empty() {
            self.changes.send_modify(|n| *n += 1);
        }
        ended.len()
    }

    /// Wakes after principals have ended.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use http::HeaderValue;

    use super::*;
    use crate::access::key::{KeyEntry, KeyHash};
    use crate::access::permission::PermissionSet;

    fn ring(keys: &[(&str, &str, &[&str])]) -> KeyRing {
        let entry = |(name, key, permissions): &(&str, &str, &[&str])| KeyEntry {
            name: (*name).to_owned(),
            hash: KeyHash::of(key.as_bytes()),
            permissions: PermissionSet::parse(*permissions).unwrap(),
            compat: None,
        };
        KeyRing::new(keys.iter().map(entry)).unwrap()
    }

    fn caller(authority: &Authority, key: &'static str) -> Option<Arc<Principal>> {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static(key));
        authority.authenticate(&headers).ok()
    }

    #[test]
    fn what_did_not_change_stays_the_same_principal() {
        let authority = Authority::new(ring(&[("a", "1", &["mcps/*"]), ("b", "2", &["*"])]));
        let (a, b) = (caller(&authority, "1").unwrap(), caller(&authority, "2").unwrap());
        let mut changes = authority.changes();
        assert_eq!(
            authority.replace(ring(&[("b", "2", &["*"]), ("a", "1", &["mcps/*"])])),
            0
        );
        assert!(Arc::ptr_eq(&a, &caller(&authority, "1").unwrap()));
        assert!(Arc::ptr_eq(&b, &caller(&authority, "2").unwrap()));
        assert!(!changes.has_changed().unwrap());
        assert_eq!(authority.replace(KeyRing::default()), 2);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
    }

    #[test]
    fn every_change_of_a_key_ends_its_principal_and_nobody_elses() {
        type Keys<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];
        let other = ("other", "2", &["*"][..]);
        let after: [(&str, Keys<'_>, bool); 5] = [
            ("it is gone", &[other], false),
            ("fewer permissions", &[("a", "1", &["mcps/x"]), other], true),
            (
                "more permissions",
                &[("a", "1", &["mcps/*", "skills/*"]), other],
                true,
            ),
            (
                "another key under its name",
                &[("a", "3", &["mcps/*"]), other],
                false,
            ),
            ("another name", &[("c", "1", &["mcps/*"]), other], true),
        ];
        for (what, keys, known) in after {
            let authority = Authority::new(ring(&[("a", "1", &["mcps/*"]), other]));
            let (a, bystander) = (caller(&authority, "1").unwrap(), caller(&authority, "2").unwrap());
            assert!(a.is_current() && a.permissions().allows("mcps/x/y"), "{what}");
            assert!(a.ended().now_or_never().is_none(), "{what}");
            assert_eq!(authority.replace(ring(keys)), 1, "{what}");
            assert!(!a.is_current() && a.ended().now_or_never().is_some(), "{what}");
            assert!(!a.permissions().allows("mcps/x/y"), "{what}");
            assert!(!a.permissions().allows_any_under("mcps"), "{what}");
            assert!(!a.permissions().is_all(), "{what}");
            let now = caller(&authority, "1");
            assert_eq!(now.is_some(), known, "{what}");
            assert_eq!(authority.principal(a.id).is_some(), known, "{what}");
            if let Some(now) = now {
                assert_eq!(now.id, a.id, "{what}");
                assert_ne!(now.generation(), a.generation(), "{what}");
            }
            assert!(
                Arc::ptr_eq(&bystander, &caller(&authority, "2").unwrap()),
                "{what}"
            );
        }
    }

    #[test]
    fn a_principal_that_comes_back_is_another_one() {
        let keys: &[(&str, &str, &[&str])] = &[("a", "1", &["*"])];
        let authority = Authority::new(ring(keys));
        let before = caller(&authority, "1").unwrap();
        authority.replace(KeyRing::default());
        authority.replace(ring(keys));
        let after = caller(&authority, "1").unwrap();
        assert_eq!(before, after);
        assert!(!before.is_current() && after.is_current());
        assert_ne!(before.generation(), after.generation());
    }
}

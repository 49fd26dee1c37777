//! The processes of one local server, ended together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::guard;

/// The process group, for as long as its leader is not reaped; ended when dropped.
pub(super) struct Group {
    leader: Mutex<Option<Pid>>,
    /// The leader is a guard, which also ends what has left the group.
    guarded: bool,
}

impl Group {
    /// The group that `leader` leads.
    pub(super) fn new(leader: Option<Pid>, guarded: bool) -> Self {
        Self {
            leader: Mutex::new(leader),
            guarded,
        }
    }

    /// The number of its leader, until that is reaped.
    pub(super) fn leader(&self) -> Option<Pid> {
        *lock(&self.leader)
    }

    /// Asks all to end.
    pub(super) fn terminate(&self) {
        if let Some(pid) = self.leader() {
            // It may be gone already.
            let _ = killpg(pid, Signal::SIGTERM);
        }
    }

    /// Ends all at once.
    pub(super) fn end(&self) {
        if let Some(pid) = self.leader() {
            self.end_below(pid);
        }
    }

    fn end_below(&self, leader: Pid) {
        if self.guarded {
            guard::end(leader);
        } else {
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }

    /// The leader has ended, or does not: kills what is left, and forgets the number: the system may give it to others.
    pub(super) fn kill(&self) {
        if let Some(pid) = lock(&self.leader).take() {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = lock(&self.leader).take() {
            self.end_below(pid);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under a lock is a single call: it cannot be left half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

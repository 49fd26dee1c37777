//! Work that a call leaves until its thread has nothing else to do: it takes the call's sandbox down and makes the
//! next one.
//!
//! The answer goes out before, so nobody waits for this work. It stays on the thread of the call: there the pages of
//! the sandbox are in the processor's cache, and a change of the address space interrupts no other processor.
//!
//! A thread calls [`attend`] to declare that it calls [`tidy`] whenever it goes to sleep. On all other threads no work
//! is left for later. A thread that never sleeps leaves one piece of work at most: the next call does it first.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
};

type Work = Box<dyn FnOnce()>;

thread_local! {
    static ATTENDS: Cell<bool> = const { Cell::new(false) };
    static LEFT: RefCell<Option<Work>> = const { RefCell::new(None) };
}

/// For the start of each thread of an async runtime: it will call [`tidy`] before it sleeps.
pub fn attend() {
    ATTENDS.set(true);
}

/// Whether this thread does.
pub(crate) fn attended() -> bool {
    ATTENDS.get()
}

/// Does what the last call on this thread has left. Takes some ten microseconds where there is something, at most a few
/// milliseconds.
pub fn tidy() {
    // Taken out first: what it drops may leave something in turn.
    let work = LEFT.with(|left| left.try_borrow_mut().ok().and_then(|mut left| left.take()));
    if let Some(work) = work {
        // It must not end the thread, which others need.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!(
                target: "aih::plugin",
                "a sandbox could not be taken down or made in advance; this is a fault of the hub"
            );
        }
    }
}

/// Leaves `work` for [`tidy`], or does it now on a thread that does not attend.
pub(crate) fn later(work: impl FnOnce() + 'static) {
    if !attended() {
        return work();
    }
    tidy();
    LEFT.set(Some(Box::new(work)));
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    #[test]
    fn work_waits_where_a_thread_attends_and_never_piles_up() {
        let done = Rc::new(RefCell::new(Vec::new()));
        let note = |what: &'static str| {
            let done = done.clone();
            move || done.borrow_mut().push(what)
        };
        later(note("at once"));
        assert_eq!(*done.borrow(), ["at once"]);
        attend();
        later(note("first"));
        assert_eq!(done.borrow().len(), 1);
        later(note("second"));
        assert_eq!(*done.borrow(), ["at once", "first"]);
        tidy();
        tidy();
        assert_eq!(*done.borrow(), ["at once", "first", "second"]);
    }

    #[test]
    fn work_may_leave_work() {
        attend();
        let done = Rc::new(Cell::new(false));
        let inner = done.clone();
        later(move || later(move || inner.set(true)));
        tidy();
        assert!(!done.get());
        tidy();
        assert!(done.get());
    }
}

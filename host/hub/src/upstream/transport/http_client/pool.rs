//! The idle connections to one origin.
//!
//! It must never hand out a connection that the runtime knows to be closed by the server, nor keep a connection whose
//! last answer does not end.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use hyper::client::conn::http2;

use super::{
    connection::{Body, HttpConnection},
    response::{DrainResult, UnreadBody},
};

/// Idle connections that are kept per origin.
const MAX_IDLE: usize = 256;
/// After what time without use a connection is closed.
const IDLE: Duration = Duration::from_secs(90);
/// How long a server may take to end the stream behind its answer before the connection is given up.
pub(super) const ENDING: Duration = Duration::from_secs(1);
/// Between two looks at the connections that nobody uses.
const SWEEP: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Pool(Mutex<State>);

#[derive(Default)]
struct State {
    /// Used last, last: the next request takes the warmest.
    idle: Vec<(Box<HttpConnection>, Instant)>,
    /// The answer was read, but not the end of the stream that it came in; oldest first.
    ending: VecDeque<(UnreadBody, Instant)>,
    two: Option<http2::SendRequest<Body>>,
    swept: bool,
}

/// A connection to send one request over.
pub(super) enum Connected {
    /// HTTP/1, and nobody else's.
    One(Box<HttpConnection>),
    /// HTTP/2, shared.
    Two(http2::SendRequest<Body>),
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is one call: a panic cannot leave it half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is open already.
    pub(super) fn take(self: &Arc<Self>) -> Option<Connected> {
        let mut state = self.lock();
        if let Some(two) = &state.two {
            if !two.is_closed() {
                return Some(Connected::Two(two.clone()));
            }
            state.two = None;
        }
        while let Some((mut connection, _)) = state.idle.pop() {
            if connection.usable() {
                return Some(Connected::One(connection));
            }
        }
        for _ in 0..state.ending.len() {
            let (unread, since) = state.ending.pop_front()?;
            match unread.end() {
                DrainResult::Yes(mut connection) => {
                    if connection.usable() {
                        return Some(Connected::One(connection));
                    }
                }
                DrainResult::NotYet(unread) if since.elapsed() < ENDING => {
                    state.ending.push_back((unread, since))
                }
                DrainResult::NotYet(_) | DrainResult::Never => {}
            }
        }
        None
    }

    /// Takes a connection whose last answer was read to its end.
    pub(super) fn give(self: &Arc<Self>, connection: Box<HttpConnection>) {
        let mut state = self.lock();
        if state.idle.len() < MAX_IDLE {
            state.idle.push((connection, Instant::now()));
            self.sweep(&mut state);
        }
    }

    /// Takes what an answer leaves when only the end of its stream is missing.
    pub(super) fn give_unread(self: &Arc<Self>, unread: UnreadBody) {
        let mut state = self.lock();
        if state.ending.len() < MAX_IDLE {
            state.ending.push_back((unread, Instant::now()));
            self.sweep(&mut state);
        }
    }

    /// Takes an HTTP/2 connection, for all requests from now on.
    pub(super) fn share(&self, two: &http2::SendRequest<Body>) {
        self.lock().two = Some(two.clone());
    }

    /// How many HTTP/1 connections could be used now.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        let mut state = self.lock();
        state.clean();
        state.idle.len()
    }

    /// Sees to it that somebody looks after what is in the pool until it is empty.
    fn sweep(self: &Arc<Self>, state: &mut State) {
        if std::mem::replace(&mut state.swept, true) {
            return;
        }
        let pool: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                if !pool.upgrade().is_some_and(|pool| pool.lock().clean()) {
                    return;
                }
            }
        });
    }
}

impl State {
    /// Lets go of what is of no use any more. Says whether anything is left.
    fn clean(&mut self) -> bool {
        self.idle
            .retain_mut(|(connection, since)| since.elapsed() < IDLE && connection.usable());
        for (unread, since) in std::mem::take(&mut self.ending) {
            match unread.end() {
                DrainResult::Yes(connection) => self.idle.push((connection, since)),
                DrainResult::NotYet(unread) if since.elapsed() < ENDING => {
                    self.ending.push_back((unread, since))
                }
                DrainResult::NotYet(_) | DrainResult::Never => {}
            }
        }
        self.swept = !self.idle.is_empty() || !self.ending.is_empty();
        self.swept
    }
}

//! Requests whose answers come back in any order on one stream: who waits for which id.
//!
//! No request may be left waiting when the stream is gone: whoever reads the stream closes the table with the
//! reason, and that is what everyone gets who waits or comes later.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aih_mcp::{ErrorObject, Id, RawJson};
use tokio::sync::oneshot;

use super::TransportError;

/// The server's own answer.
pub(super) type Outcome = Result<RawJson, ErrorObject>;
type Sender = oneshot::Sender<Result<Outcome, TransportError>>;

struct Entry {
    answer: Sender,
    /// Whether the server may have seen the request.
    sent: bool,
}

#[derive(Default)]
struct Table {
    answers: HashMap<u64, Entry>,
    /// Why no more answers will come.
    closed: Option<TransportError>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Pending(Mutex<Table>);

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change under the lock is a single call: it cannot be left half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether answers still come.
    ///
    /// # Errors
    /// Why none will come any more.
    pub(super) fn open(&self) -> Result<(), TransportError> {
        self.lock().closed.clone().map_or(Ok(()), Err)
    }

    /// A place for the answer to request `id`; to be taken before the request is sent.
    ///
    /// # Errors
    /// [`TransportError::NotSent`]: no answer will come any more.
    pub(super) fn expect(&self, id: u64) -> Result<Waiting<'_>, TransportError> {
        let (sender, answered) = oneshot::channel();
        let mut table = self.lock();
        if let Some(error) = &table.closed {
            return Err(TransportError::NotSent(Box::new(error.clone())));
        }
        let entry = Entry {
            answer: sender,
            sent: false,
        };
        table.answers.insert(id, entry);
        Ok(Waiting {
            table: self,
            id,
            answered,
        })
    }

    /// The server may see request `id` from now on.
    pub(super) fn sent(&self, id: u64) {
        self.mark(id, true);
    }

    /// Not a byte of request `id` was taken after all.
    pub(super) fn unsent(&self, id: u64) {
        self.mark(id, false);
    }

    fn mark(&self, id: u64, sent: bool) {
        if let Some(entry) = self.lock().answers.get_mut(&id) {
            entry.sent = sent;
        }
    }

    /// The requests that the server may have seen and has not answered.
    pub(super) fn unanswered(&self) -> Vec<u64> {
        let table = self.lock();
        let sent = table.answers.iter().filter(|(_, entry)| entry.sent);
        sent.map(|(id, _)| *id).collect()
    }

    /// Hands an answer to who waits for it; `false` when nobody does.
    pub(super) fn answer(&self, id: Option<Id>, outcome: Outcome) -> bool {
        let entry = id.and_then(|id| self.lock().answers.remove(&id.as_u64()?));
        // Who asked may have given up.
        entry.is_some_and(|entry| entry.answer.send(Ok(outcome)).is_ok())
    }

    /// The answer to a request came and cannot be read; `false` when nobody waits for it.
    pub(super) fn unreadable(&self, id: &Id, error: impl FnOnce() -> TransportError) -> bool {
        let entry = id.as_u64().and_then(|id| self.lock().answers.remove(&id));
        // Who asked may have given up.
        entry.is_some_and(|entry| entry.answer.send(Err(error())).is_ok())
    }

    /// No more answers will come, for this reason. Requests that were not sent get [`TransportError::NotSent`].
    pub(super) fn close(&self, error: &TransportError) {
        let waiting = {
            let mut table = self.lock();
            table.closed = Some(error.clone());
            std::mem::take(&mut table.answers)
        };
        for entry in waiting.into_values() {
            let error = if entry.sent {
                error.clone()
            } else {
                TransportError::NotSent(Box::new(error.clone()))
            };
            // Who asked may have given up.
            let _ = entry.answer.send(Err(error));
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().answers.len()
    }
}

/// A request that waits. Dropped, it leaves the table.
pub(super) struct Waiting<'t> {
    table: &'t Pending,
    id: u64,
    answered: oneshot::Receiver<Result<Outcome, TransportError>>,
}

impl Waiting<'_> {
    /// The answer.
    ///
    /// # Errors
    /// Why none came.
    pub(super) async fn answer(&mut self) -> Result<Outcome, TransportError> {
        // The sender is dropped unused only by another request with the same id.
        (&mut self.answered)
            .await
            .unwrap_or_else(|_| Err(TransportError::Closed("the request's id was used again".into())))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.table.lock().answers.remove(&self.id);
    }
}

//! What the hub remembers: state of plugins and hooks, and the events that wait for background hooks.
//!
//! SQLite at `store.url`. Every change is one transaction, and nothing here waits for anything but the
//! database while it holds one. Whether a caller may read or write is decided before it comes here.

mod clock;
mod database;
mod error;
pub mod queue;
mod shrink;
pub mod state;
mod turns;

use std::{path::Path, sync::Arc};

use tokio_util::sync::{CancellationToken, DropGuard};

use self::{clock::SteadyClock, database::Database, queue::Queue, state::PluginState, turns::Turns};
pub use database::{Claim, file_of};
pub use error::{OpenError, OpenErrorKind, StoreError};

/// The open store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    queue: Arc<Queue>,
    /// Ends the task that gives free space back.
    _shrinks: Arc<DropGuard>,
    turns: Turns,
}

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// Version of its schema.
    pub schema: i64,
    /// Bytes that its files take; in memory 0.
    pub bytes: u64,
    /// Events for background hooks.
    pub events: queue::Counts,
}

impl Store {
    /// Opens the store that `url` names (`sqlite://PATH`, relative to `base`), makes it where it is not there
    /// (folder 0700, files 0600), and brings its schema up to date.
    ///
    /// # Errors
    /// See [`OpenErrorKind`]: the text says what to do.
    pub async fn open(url: &str, base: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(
            Database::open(url, base, None).await?,
            SteadyClock::start(),
        ))
    }

    /// The same for a hub, whose `claim` keeps others out: hubs of two data folders do not share a store.
    ///
    /// # Errors
    /// See [`OpenErrorKind`]: the text says what to do.
    pub async fn open_with(url: &str, base: &Path, claim: &dyn Claim) -> Result<Self, OpenError> {
        let database = Database::open(url, base, Some(claim)).await?;
        Ok(Self::of(database, SteadyClock::start()))
    }

    fn of(database: Database, clock: SteadyClock) -> Self {
        let stop = CancellationToken::new();
        tokio::spawn(shrink::keep_small(database.clone(), stop.clone()));
        Self {
            queue: Arc::new(Queue::start(database.clone(), clock)),
            database,
            turns: Turns::default(),
            _shrinks: Arc::new(stop.drop_guard()),
        }
    }

    /// A store that is gone with its last clone. For tests.
    ///
    /// # Errors
    /// As [`Store::open`]; hardly ever.
    pub async fn in_memory() -> Result<Self, OpenError> {
        Self::open("sqlite::memory:", Path::new("")).await
    }

    /// State of plugins and hooks.
    pub fn state(&self) -> PluginState {
        PluginState::new(self.database.clone(), self.turns.clone())
    }

    /// Events for background hooks.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// How it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn health(&self) -> Result<StoreHealth, StoreError> {
        let schema = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(self.database.reader())
            .await?;
        let events = self.queue.counts().await?;
        let files = self.database.file().map(database::files);
        let bytes = tokio::task::spawn_blocking(move || {
            let sizes = files.iter().flatten().filter_map(|file| file.metadata().ok());
            sizes.map(|metadata| metadata.len()).sum()
        });
        Ok(StoreHealth {
            schema,
            // The task only fails when the runtime ends.
            bytes: bytes.await.unwrap_or_default(),
            events,
        })
    }

    /// Writes what waits, and closes. Calls that come later fail with [`StoreError::Closed`].
    pub async fn close(&self) {
        self.queue.stop().await;
        self.database.close().await;
    }
}

#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;

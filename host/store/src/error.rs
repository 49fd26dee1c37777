//! What can go wrong with the store, and what to do about it.
//!
//! No text here may hold the store's URL: it may hold a password.

use std::{io, path::PathBuf, sync::Arc};

use sqlx::migrate::MigrateError;

/// The store did not open. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
#[error("the store {location} cannot be opened: {kind}")]
pub struct OpenError {
    /// The path of the file, or the scheme of the URL.
    pub location: String,
    /// Why, and what to do.
    #[source]
    pub kind: OpenErrorKind,
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// `store.url` is not understood.
    #[error("{0}; write `store.url: sqlite://data/aih.db`")]
    Url(&'static str),
    /// This binary has no driver for that database.
    #[error("this version keeps its state in SQLite only; write `store.url: sqlite://data/aih.db`")]
    Unsupported,
    /// The folder could not be made or read.
    #[error("the folder {}: {source}; make it, or let the hub's user write there", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be made or read.
    #[error("{0}; let the hub's user read and write the file, or set `store.url` to another")]
    File(#[source] io::Error),
    /// The path leads to a folder or a device.
    #[error("it is not a file; set `store.url` to the path of a file")]
    NotAFile,
    /// A hub of another data folder uses the store: it would run that one's events by its own configuration.
    #[error(
        "a hub with the data folder {} uses it; end that one first, or set `store.url` to another file",
        .0.display()
    )]
    InUse(PathBuf),
    /// A later version of the hub has used the store.
    #[error(
        "its schema is version {found} and this binary knows up to {known}; start the newer version of the hub, \
         or restore the backup that was made before the upgrade"
    )]
    NewerSchema {
        /// The schema's version.
        found: i64,
        /// The newest version that this binary knows.
        known: i64,
    },
    /// The schema was not made by a release of the hub.
    #[error(
        "its schema (version {0}) is not the one of this hub; restore a backup, or set `store.url` to another file"
    )]
    ForeignSchema(i64),
    /// The database refused.
    #[error("{0}")]
    Database(#[from] StoreError),
}

/// An operation on the store failed; it had no effect. Clones share the cause.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space on the disk.
    #[error("the disk of the store is full; free some space")]
    DiskFull,
    /// The file or its folder may not be written.
    #[error("the store may not be written ({0}); let the hub's user write the file and its folder")]
    Denied(String),
    /// Another process held the store for too long.
    #[error("the store is locked by another process; end the program that holds it open")]
    Busy,
    /// The file is damaged, or no database.
    #[error("the store's file is damaged or not a database ({0}); restore a backup, or move the file away")]
    Damaged(String),
    /// The hub is stopping.
    #[error("the store is closed")]
    Closed,
    /// Anything else.
    #[error("the store failed: {0}")]
    Other(Arc<sqlx::Error>),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return Self::Closed,
            sqlx::Error::PoolTimedOut => return Self::Busy,
            _ => {}
        }
        let code = error.as_database_error().and_then(|e| e.code());
        // The low byte of SQLite's extended result codes: https://www.sqlite.org/rescode.html
        match code.and_then(|c| c.parse::<u32>().ok()).map(|c| c & 0xff) {
            Some(5 | 6) => Self::Busy,
            Some(13) => Self::DiskFull,
            Some(3 | 8 | 14 | 23) => Self::Denied(error.to_string()),
            Some(11 | 26) => Self::Damaged(error.to_string()),
            _ => Self::Other(Arc::new(error)),
        }
    }
}

impl OpenErrorKind {
    /// From what the migrator says, when `known` is the newest version in this binary.
    pub(super) fn of_migration(error: MigrateError, known: i64) -> Self {
        match error {
            MigrateError::VersionMissing(found) if found > known => Self::NewerSchema { found, known },
            MigrateError::VersionMissing(found)
            | MigrateError::VersionMismatch(found)
            | MigrateError::Dirty(found) => Self::ForeignSchema(found),
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                Self::Database(error.into())
            }
            other => Self::Database(StoreError::Other(Arc::new(sqlx::Error::Migrate(Box::new(other))))),
        }
    }
}

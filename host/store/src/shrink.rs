//! Gives the file system back what the store does not need any more.
//!
//! SQLite keeps the pages of what was removed for later. Here those that nothing has used for a while leave the file, a
//! few at a time: a step takes the place of a small write, so that no call waits for the whole.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, Row as _};
use tokio_util::sync::CancellationToken;

use super::{
    StoreError,
    database::{Database, files, free_pages},
};

/// Between two looks. What is free at both of them nothing has used meanwhile.
const LOOK: Duration = Duration::from_secs(5);
/// Free pages that are worth it, and so many stay for what comes next. A page has 4 KiB.
const WORTH: i64 = 1_024;
/// Free pages that stay.
const SPARE: i64 = 256;
/// 128 pages leave the file in one transaction.
const STEP: &str = "PRAGMA incremental_vacuum(128)";
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of the log from which on it is emptied into the file and cut.
const LONG_LOG: u64 = 16 << 20;

/// See the module. Ends with the store.
pub(super) async fn keep_small(database: Database, stop: CancellationToken) {
    if database.file().is_none() {
        return;
    }
    let mut free_before = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let looked = tokio::select! {
            looked = look(&database, free_before) => looked,
            () = stop.cancelled() => return,
        };
        free_before = match looked {
            Ok(free) => free,
            Err(StoreError::Closed) => return,
            // A full disk, or another process that works on the store: at the next look.
            Err(error) => {
                tracing::debug!(target: "aih::store", "the store does not shrink now: {error}");
                0
            }
        };
    }
}

/// Gives back what has been free since the look before; answers how many pages are free now.
async fn look(database: &Database, free_before: i64) -> Result<i64, StoreError> {
    let mut free = free_pages(database).await?;
    let unused = free.min(free_before);
    let mut shrunk = false;
    if unused >= WORTH {
        let until = free - (unused - SPARE);
        while free > until {
            // One row for each page; all have to be asked for.
            sqlx::query(STEP).fetch_all(database.writer()).await?;
            let before = free;
            free = free_pages(database).await?;
            if free >= before {
                break;
            }
            shrunk = true;
            tokio::time::sleep(PAUSE).await;
        }
    }
    if shrunk || log_bytes(database) > LONG_LOG {
        empty_log(database).await?;
    }
    Ok(free)
}

fn log_bytes(database: &Database) -> u64 {
    let [_, log, _] = match database.file() {
        Some(file) => files(file),
        None => return 0,
    };
    // A look at one name; it does not wait for the disk.
    log.metadata().map_or(0, |metadata| metadata.len())
}

/// Writes the log into the file, which gets shorter by that, and cuts the log. Where others read it is left for later.
async fn empty_log(database: &Database) -> Result<(), StoreError> {
    // A connection of its own: it has little patience for those who read, and nobody waits for it.
    let mut connection = database.connect().await?;
    connection.execute("PRAGMA busy_timeout = 100").await?;
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut connection)
        .await?;
    let busy: i64 = row.try_get(0)?;
    if busy != 0 {
        tracing::debug!(target: "aih::store", "the log of the store is in use and was not cut");
    }
    connection.close().await?;
    Ok(())
}

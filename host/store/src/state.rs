//! Key-value state of plugins and hooks, for the interface `state` of `wit/deps/host.wit`.
//!
//! Each owner sees its own keys only. A version is counted for each owner over all its keys and goes up with
//! every write, so a key that was removed and written again never has a version that it had before: compare
//! and set cannot be fooled. Whether an owner may use state at all, and its quota, is the caller's to know.

use sqlx::{Any, Row as _, Transaction};

pub use super::turns::Turn;
use super::{StoreError, database::Database, turns::Turns};

/// Longest key, in bytes.
pub const MAX_KEY: usize = 512;
/// Most keys of one page.
pub const MAX_PAGE: usize = 1_000;
/// What an entry counts against the quota besides its key and its value, in bytes.
pub const ENTRY_OVERHEAD: u64 = 64;

/// A value and the version that a later [`PluginState::set`] can expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// The value as it was set.
    pub value: Vec<u8>,
    /// Counts up over all keys of the owner; never 0.
    pub version: u64,
}

/// Some keys, in the order of their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<String>,
    /// What to ask with for the next page, where there is more.
    pub next: Option<String>,
}

/// Why state was not read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The key has another version than was expected: this one, 0 where it has no value.
    #[error("another call changed the key; its version is {0}")]
    Conflict(u64),
    /// The value does not fit.
    #[error(
        "the state would take {needed} bytes with this value and {quota} are granted ({used} are used); remove \
         keys, or let the operator raise `grants.state.max_bytes`"
    )]
    Quota {
        /// Bytes that the owner's entries take now.
        used: u64,
        /// Bytes that they would take.
        needed: u64,
        /// Bytes that they may take.
        quota: u64,
    },
    /// The key is too long.
    #[error("the key has {0} bytes; at most {MAX_KEY} are allowed")]
    Key(usize),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for StateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// State of all owners. Clones share it.
#[derive(Debug, Clone)]
pub struct PluginState {
    database: Database,
    turns: Turns,
}

impl PluginState {
    pub(super) const fn new(database: Database, turns: Turns) -> Self {
        Self { database, turns }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The key is too long; the store failed.
    pub async fn get(&self, owner: &str, key: &str) -> Result<Option<StateEntry>, StateError> {
        let name = name_of(key)?;
        let row = sqlx::query("SELECT value, version FROM state_entries WHERE owner = $1 AND name = $2")
            .bind(owner)
            .bind(name)
            .fetch_optional(self.database.reader())
            .await?;
        row.map(|row| {
            Ok(StateEntry {
                value: row.try_get(0)?,
                version: count(row.try_get(1)?),
            })
        })
        .transpose()
    }

    /// The value of a key that the caller is about to change, once no other caller is between this and its `set` or
    /// `delete`. The caller's turn ends when it is dropped, and after a second.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_for_update(
        &self,
        owner: &str,
        key: &str,
    ) -> Result<(Option<StateEntry>, Turn), StateError> {
        name_of(key)?;
        let turn = self.turns.take(owner, key).await;
        Ok((self.get(owner, key).await?, turn))
    }

    /// Writes a value and answers its new version. `expect` is the version that the key must have, 0 for none;
    /// without it the value is written over whatever is there. `quota` is what all entries of the owner may
    /// take, in bytes, each with [`ENTRY_OVERHEAD`]. A conflict is reported before a quota.
    ///
    /// # Errors
    /// See [`StateError`]; nothing was written then.
    pub async fn set(
        &self,
        owner: &str,
        key: &str,
        value: &[u8],
        expect: Option<u64>,
        quota: u64,
    ) -> Result<u64, StateError> {
        let name = name_of(key)?;
        let size = cost(name.len(), value.len());
        let mut tx = self.database.begin().await?;
        // Takes the owner's row, so that writes of one owner follow each other in every database.
        let row = sqlx::query(
            "INSERT INTO state_owners (owner, last_version, used_bytes) VALUES ($1, 1, 0) \
             ON CONFLICT (owner) DO UPDATE SET last_version = state_owners.last_version + 1 \
             RETURNING last_version, used_bytes",
        )
        .bind(owner)
        .fetch_one(&mut *tx)
        .await?;
        let (version, used): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let old =
            sqlx::query("SELECT version, LENGTH(value) FROM state_entries WHERE owner = $1 AND name = $2")
                .bind(owner)
                .bind(name)
                .fetch_optional(&mut *tx)
                .await?;
        let (current, freed) = match old {
            Some(row) => (count(row.try_get(0)?), cost(name.len(), length(row.try_get(1)?))),
            None => (0, 0),
        };
        if expect.is_some_and(|expected| expected != current) {
            return Err(StateError::Conflict(current));
        }
        let used = count(used);
        let needed = used.saturating_sub(freed).saturating_add(size);
        if needed > quota {
            return Err(StateError::Quota { used, needed, quota });
        }
        sqlx::query(
            "INSERT INTO state_entries (owner, name, version, value) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (owner, name) DO UPDATE SET version = excluded.version, value = excluded.value",
        )
        .bind(owner)
        .bind(name)
        .bind(version)
        .bind(value)
        .execute(&mut *tx)
        .await?;
        set_used(&mut tx, owner, needed).await?;
        tx.commit().await?;
        Ok(count(version))
    }

    /// Removes a key. Removing a key that is not there is not an error.
    ///
    /// # Errors
    /// The key is too long; the store failed.
    pub async fn delete(&self, owner: &str, key: &str) -> Result<(), StateError> {
        let name = name_of(key)?;
        let mut tx = self.database.begin().await?;
        // Takes the owner's row, as `set` does.
        let owned = sqlx::query(
            "UPDATE state_owners SET last_version = last_version WHERE owner = $1 RETURNING used_bytes",
        )
        .bind(owner)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(owned) = owned else { return Ok(()) };
        let gone =
            sqlx::query("DELETE FROM state_entries WHERE owner = $1 AND name = $2 RETURNING LENGTH(value)")
                .bind(owner)
                .bind(name)
                .fetch_optional(&mut *tx)
                .await?;
        let Some(gone) = gone else { return Ok(()) };
        let freed = cost(name.len(), length(gone.try_get(0)?));
        set_used(&mut tx, owner, count(owned.try_get(0)?).saturating_sub(freed)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Keys that begin with `prefix`, compared byte by byte, at most `limit` (1 to [`MAX_PAGE`]) of them after
    /// `cursor`, which is the `next` of the page before.
    ///
    /// # Errors
    /// The prefix or the cursor is longer than a key can be; the store failed.
    pub async fn keys(
        &self,
        owner: &str,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<KeyPage, StateError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let (prefix, cursor) = (name_of(prefix)?, cursor.map(name_of).transpose()?);
        let (from, below) = (prefix, end_of(prefix));
        // One more than asked for tells whether there is another page.
        let rows = sqlx::query(
            "SELECT name FROM state_entries \
             WHERE owner = $1 AND name >= $2 AND name < $3 AND (name > $4 OR $5 = 0) ORDER BY name LIMIT $6",
        )
        .bind(owner)
        .bind(from.max(cursor.unwrap_or_default()))
        .bind(below)
        .bind(cursor.unwrap_or_default())
        .bind(i64::from(cursor.is_some()))
        .bind(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
        .fetch_all(self.database.reader())
        .await?;
        let more = rows.len() > limit;
        let mut page = KeyPage::default();
        for row in rows.iter().take(limit) {
            let name: Vec<u8> = row.try_get(0)?;
            page.keys
                .push(String::from_utf8(name).map_err(|e| sqlx::Error::Decode(e.into()))?);
        }
        page.next = page.keys.last().filter(|_| more).cloned();
        Ok(page)
    }

    /// What the entries of an owner count against its quota, in bytes.
    ///
    /// # Errors
    /// The store failed.
    pub async fn used(&self, owner: &str) -> Result<u64, StoreError> {
        let used: Option<i64> = sqlx::query_scalar("SELECT used_bytes FROM state_owners WHERE owner = $1")
            .bind(owner)
            .fetch_optional(self.database.reader())
            .await?;
        Ok(used.map_or(0, count))
    }
}

async fn set_used(tx: &mut Transaction<'static, Any>, owner: &str, used: u64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE state_owners SET used_bytes = $2 WHERE owner = $1")
        .bind(owner)
        .bind(i64::try_from(used).unwrap_or(i64::MAX))
        .execute(&mut **tx)
        .await
        .map(drop)
}

fn name_of(key: &str) -> Result<&[u8], StateError> {
    if key.len() > MAX_KEY {
        return Err(StateError::Key(key.len()));
    }
    Ok(key.as_bytes())
}

/// The first bytes after all texts that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    match prefix.split_last() {
        // No byte of UTF-8 is 0xff, so the sum holds and the result is after every key of that prefix.
        Some((last, head)) => [head, &[last.saturating_add(1)]].concat(),
        None => vec![0xff],
    }
}

fn cost(name: usize, value: usize) -> u64 {
    let bytes = name.saturating_add(value);
    u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(ENTRY_OVERHEAD)
}

/// Counts are never negative in the store.
fn count(value: i64) -> u64 {
    value.max(0).cast_unsigned()
}

fn length(value: i64) -> usize {
    usize::try_from(value).unwrap_or_default()
}

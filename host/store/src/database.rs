//! The connections: where the database is, how its file is made, and its migrations.
//!
//! Everything that knows SQLite is here; queries elsewhere are of the SQL that PostgreSQL speaks too
//! (docs/decisions/0004-store.md).

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::{
    Any, AnyConnection, ConnectOptions as _, Connection as _, Executor as _, SqlSafeStr as _, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::{Migration, MigrationType, Migrator},
};

use super::error::{OpenError, OpenErrorKind, StoreError};

/// Connections that read at the same time.
const READERS: u32 = 4;
/// How long a call waits for a connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long opening waits for another process that is making the same database.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// A transaction that will write says so at its begin: one that starts to read and then writes can fail in
/// SQLite where another wrote in between.
const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
/// What every connection to a file sets. The log lets readers go on beside the writer; NORMAL loses nothing
/// when the process dies, and at most the last moments when the machine does.
const PRAGMAS: &str =
    "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 8388608;";
/// How free pages leave the file: in steps, when they are asked to (`INCREMENTAL`, which SQLite answers as 2).
/// https://www.sqlite.org/pragma.html#pragma_auto_vacuum
const SHRINKS: &str = "PRAGMA auto_vacuum = INCREMENTAL";
const INCREMENTAL: i64 = 2;

/// What of an absolute path is escaped in a URL: all that could mean something there.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// Name and text of every migration, oldest first; the number is the schema's version.
const MIGRATIONS: &[(i64, &str, &str)] = &[(
    1,
    "state and events",
    include_str!("migrations/sqlite/0001_state_and_events.sql"),
)];

/// The newest schema that this binary knows.
pub(super) fn known_schema() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
}

/// Who may use a store. The processes of one data folder share one; others are kept out.
pub trait Claim: Send + Sync {
    /// Claims the store in `file`, which may be used for as long as the answered file is open. May block for a second.
    ///
    /// # Errors
    /// Inside: the folder of those who use it, where it is another. Outside: the claim cannot be written.
    fn claim(&self, file: &Path) -> io::Result<Result<fs::File, PathBuf>>;
}

/// The pools. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Database {
    /// One connection: SQLite has one writer at a time, and waiting in this pool is fair.
    writer: sqlx::Pool<Any>,
    reader: sqlx::Pool<Any>,
    /// The file, unless in memory.
    file: Option<PathBuf>,
    /// Keeps hubs of other data folders out.
    _member: Option<Arc<fs::File>>,
}

impl Database {
    /// Opens what `url` names, relative to `base`, makes it where it is not there, and brings its schema up
    /// to date. With `claim` it is used by those alone whom that lets in.
    pub(super) async fn open(url: &str, base: &Path, claim: Option<&dyn Claim>) -> Result<Self, OpenError> {
        let location = StoreLocation::parse(url, base)?;
        let named = |kind| OpenError {
            location: location.to_string(),
            kind,
        };
        let StoreLocation::File(path) = &location else {
            return Self::connect_memory().await.map_err(named);
        };
        let wanted = path.clone();
        let path = tokio::task::spawn_blocking(move || prepare(&wanted))
            .await
            .map_err(|e| named(OpenErrorKind::File(io::Error::other(e))))?
            .map_err(named)?;
        let member = claim
            .map(|claim| claimed(claim, &path))
            .transpose()
            .map_err(named)?;
        let deadline = tokio::time::Instant::now() + OPEN_PATIENCE;
        loop {
            match Self::connect_file(&path).await {
                // Switching to the log cannot wait for a lock by itself.
                Err(OpenErrorKind::Database(StoreError::Busy)) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                outcome => {
                    let database = outcome.map_err(named)?;
                    return Ok(Self {
                        _member: member.map(Arc::new),
                        ..database
                    });
                }
            }
        }
    }

    async fn connect_memory() -> Result<Self, OpenErrorKind> {
        // Every connection would have a database of its own.
        let pool = pool(1, PRAGMAS, "sqlite::memory:").await?;
        migrate(&mut *pool.acquire().await.map_err(StoreError::from)?).await?;
        Ok(Self {
            writer: pool.clone(),
            reader: pool,
            file: None,
            _member: None,
        })
    }

    async fn connect_file(path: &Path) -> Result<Self, OpenErrorKind> {
        let url = url_of(path)?;
        // A pool would try again and again, and say in the end that it took too long.
        let mut connection = options(&url)?.connect().await.map_err(StoreError::from)?;
        // Before anything is written: later it takes a copy of everything.
        connection.execute(SHRINKS).await.map_err(StoreError::from)?;
        connection.execute(PRAGMAS).await.map_err(StoreError::from)?;
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode = WAL")
            .fetch_one(&mut connection)
            .await
            .map_err(StoreError::from)?;
        if mode != "wal" {
            tracing::warn!(target: "aih::store", "the database {} cannot use a write-ahead log here (mode {mode}) and is slower", path.display());
        }
        migrate(&mut connection).await?;
        make_shrinkable(&mut connection, path).await?;
        connection.close().await.map_err(StoreError::from)?;
        let writer = pool(1, PRAGMAS, &url).await?;
        let reader = pool(READERS, "PRAGMA query_only = ON;", &url).await?;
        Ok(Self {
            writer,
            reader,
            file: Some(path.to_owned()),
            _member: None,
        })
    }

    /// Starts a transaction that writes. It is rolled back when dropped. Hold it over no other wait.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(self.writer.begin_with(BEGIN_WRITE).await?)
    }

    /// For one statement that writes.
    pub(super) const fn writer(&self) -> &sqlx::Pool<Any> {
        &self.writer
    }

    /// For statements that read.
    pub(super) const fn reader(&self) -> &sqlx::Pool<Any> {
        &self.reader
    }

    /// One more connection to the file.
    ///
    /// # Errors
    /// The store is closed or in memory; the database refused.
    pub(super) async fn connect(&self) -> Result<AnyConnection, StoreError> {
        let path = self.file.as_deref().filter(|_| !self.writer.is_closed());
        let url = path
            .and_then(|path| url_of(path).ok())
            .ok_or(StoreError::Closed)?;
        Ok(options(&url)?.connect().await?)
    }

    /// The file, unless in memory.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Waits for running statements, empties the log into the file, and closes.
    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn url_of(path: &Path) -> Result<String, OpenErrorKind> {
    let text = path.to_str().ok_or(OpenErrorKind::Url("the path is not UTF-8"))?;
    Ok(format!("sqlite://{}", utf8_percent_encode(text, PATH)))
}

/// Claims the file of the store.
fn claimed(claim: &dyn Claim, file: &Path) -> Result<fs::File, OpenErrorKind> {
    match claim.claim(file) {
        Ok(Ok(member)) => Ok(member),
        Ok(Err(folder)) => Err(OpenErrorKind::InUse(folder)),
        Err(error) => Err(OpenErrorKind::File(error)),
    }
}

/// How many pages are free.
pub(super) async fn free_pages(database: &Database) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("PRAGMA freelist_count")
        .fetch_one(database.reader())
        .await?)
}

/// Rewrites a store that an earlier version made, once, so that free pages can leave it. Where that does not work the
/// store stays as it is and keeps its size.
async fn make_shrinkable(connection: &mut AnyConnection, path: &Path) -> Result<(), OpenErrorKind> {
    let mode: i64 = sqlx::query_scalar("PRAGMA auto_vacuum")
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::from)?;
    if mode == INCREMENTAL {
        return Ok(());
    }
    tracing::info!(target: "aih::store", "the database {} is rewritten once, so that it can shrink from now on", path.display());
    let rewritten = async {
        connection.execute(SHRINKS).await?;
        connection.execute("VACUUM").await?;
        Ok::<_, sqlx::Error>(())
    };
    if let Err(error) = rewritten.await {
        let error = StoreError::from(error);
        tracing::warn!(target: "aih::store", "the database {} cannot be rewritten, and does not shrink until the next start: {error}", path.display());
    }
    Ok(())
}

fn options(url: &str) -> Result<AnyConnectOptions, StoreError> {
    sqlx::any::install_default_drivers();
    Ok(AnyConnectOptions::from_str(url)?.disable_statement_logging())
}

async fn pool(size: u32, setup: &'static str, url: &str) -> Result<sqlx::Pool<Any>, StoreError> {
    AnyPoolOptions::new()
        .max_connections(size)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(PATIENCE)
        // A connection to a file does not break by itself.
        .test_before_acquire(false)
        // SQLite ends a transaction by itself when the disk is full or fails; the connection then counts one that
        // is not there, and would start no other.
        .before_acquire(|connection, _| {
            let usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(usable) })
        })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(setup).await?;
                Ok(())
            })
        })
        .connect_with(options(url)?)
        .await
        .map_err(StoreError::from)
}

/// Brings the schema up to date in one transaction, so that of two processes one waits and finds it done.
async fn migrate(connection: &mut AnyConnection) -> Result<(), OpenErrorKind> {
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            let kind = MigrationType::Simple;
            Migration::new(*version, (*name).into(), kind, (*sql).into_sql_str(), false)
        })
        .collect();
    let migrator = Migrator::with_migrations(migrations);
    let begun = connection.begin_with(BEGIN_WRITE).await;
    let mut transaction = begun.map_err(StoreError::from)?;
    migrator
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|e| OpenErrorKind::of_migration(e, known_schema()))?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// The file that `url` names, relative to `base`; `None` where it is none of SQLite's or not on disk.
pub fn file_of(url: &str, base: &Path) -> Option<PathBuf> {
    match StoreLocation::parse(url, base) {
        Ok(StoreLocation::File(path)) => Some(path),
        Ok(StoreLocation::Memory) | Err(_) => None,
    }
}

/// Where a store is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StoreLocation {
    Memory,
    File(PathBuf),
}

impl std::fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("in memory"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl StoreLocation {
    /// Understands `sqlite://PATH`, `sqlite:PATH` and `sqlite::memory:`. In a path `%` escapes, as in any URL.
    pub(super) fn parse(url: &str, base: &Path) -> Result<Self, OpenError> {
        let scheme = url.split(':').next().unwrap_or_default();
        let bad = |kind| OpenError {
            location: format!("{scheme}:…"),
            kind,
        };
        let Some(rest) = url.strip_prefix("sqlite:") else {
            return Err(bad(if scheme.starts_with("postgres") {
                OpenErrorKind::Unsupported
            } else {
                OpenErrorKind::Url("it is not the URL of a store")
            }));
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        // What other programs write there by habit, and what is done anyway.
        if !matches!(query, "" | "mode=rwc") {
            return Err(bad(OpenErrorKind::Url("parameters after `?` are not used")));
        }
        if path == ":memory:" {
            return Ok(Self::Memory);
        }
        let path = percent_decode_str(path)
            .decode_utf8()
            .map_err(|_| bad(OpenErrorKind::Url("the path is not UTF-8")))?;
        if path.is_empty() || path.ends_with('/') || path.contains('\0') {
            return Err(bad(OpenErrorKind::Url("it names no file")));
        }
        Ok(Self::File(base.join(&*path)))
    }
}

/// Makes the folder (mode 0700) and the file (0600), takes away what others may do with an existing file, and
/// answers the file's real path.
fn prepare(path: &Path) -> Result<PathBuf, OpenErrorKind> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(OpenErrorKind::Url("it names no file"));
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let failed = |source| OpenErrorKind::Folder {
        path: folder.to_owned(),
        source,
    };
    if !folder.is_dir() {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed)?;
    }
    let path = folder.canonicalize().map_err(failed)?.join(name);
    let mut new = fs::OpenOptions::new();
    match new.write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => return Ok(path),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(OpenErrorKind::File(e)),
    }
    let path = path.canonicalize().map_err(OpenErrorKind::File)?;
    if !path.is_file() {
        return Err(OpenErrorKind::NotAFile);
    }
    for file in files(&path) {
        let Ok(metadata) = file.metadata() else { continue };
        if metadata.permissions().mode() & 0o077 == 0 {
            continue;
        }
        match fs::set_permissions(&file, fs::Permissions::from_mode(0o600)) {
            Ok(()) => {
                tracing::warn!(target: "aih::store", "{} was open to others; its mode is 0600 now", file.display());
            }
            Err(e) => {
                tracing::warn!(target: "aih::store", "{} is open to others, and its mode cannot be changed: {e}", file.display());
            }
        }
    }
    Ok(path)
}

/// The file and those that SQLite keeps beside it.
pub(super) fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

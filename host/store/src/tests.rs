use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use super::{
    OpenError, OpenErrorKind, Store, StoreError,
    database::{Database, StoreLocation, files, known_schema},
};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

async fn refused(url: &str, base: &Path) -> OpenError {
    Store::open(url, base).await.map(drop).unwrap_err()
}

#[test]
fn urls_name_files_below_the_configuration() {
    let location = |url| StoreLocation::parse(url, Path::new("/base"));
    let file = |path: &str| StoreLocation::File(path.into());
    assert_eq!(
        location("sqlite://data/aih.db").unwrap(),
        file("/base/data/aih.db")
    );
    assert_eq!(location("sqlite:data/aih.db").unwrap(), file("/base/data/aih.db"));
    assert_eq!(
        location("sqlite:///var/a%20b%3f.db?mode=rwc").unwrap(),
        file("/var/a b?.db")
    );
    assert_eq!(location("sqlite::memory:").unwrap(), StoreLocation::Memory);
    for bad in [
        "sqlite:",
        "sqlite://",
        "sqlite://data/",
        "sqlite://a?cache=shared",
        "sqlite:%ff",
        "mysql://a",
    ] {
        let error = location(bad).unwrap_err();
        assert!(matches!(error.kind, OpenErrorKind::Url(_)), "{bad}: {error}");
    }
    let error = location("postgres://user:hunter2@host/db").unwrap_err();
    assert!(matches!(error.kind, OpenErrorKind::Unsupported));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn files_are_for_the_hub_alone() {
    let dir = tempfile::tempdir().unwrap();
    let odd = "new/a b?#%.db";
    let store = Store::open("sqlite://new/a b%3F%23%25.db", dir.path())
        .await
        .unwrap();
    store.state().set("a", "k", b"v", None, 1_000).await.unwrap();
    let path = dir.path().join(odd);
    assert_eq!(mode(&dir.path().join("new")), 0o700);
    for file in files(&path) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    let health = store.health().await.unwrap();
    assert_eq!(health.schema, known_schema());
    assert!(health.bytes > 4_096, "{health:?}");
    store.close().await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open("sqlite://new/a b%3F%23%25.db", dir.path())
        .await
        .unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(store.state().get("a", "k").await.unwrap().is_some());
}

#[tokio::test]
async fn connections_are_set_up_for_many_readers_and_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open("sqlite://s.db", dir.path(), None).await.unwrap();
    let text = async |pragma: &'static str| -> String {
        sqlx::query_scalar(pragma)
            .fetch_one(database.writer())
            .await
            .unwrap()
    };
    let number = async |pragma: &'static str| -> i64 {
        sqlx::query_scalar(pragma)
            .fetch_one(database.writer())
            .await
            .unwrap()
    };
    assert_eq!(text("PRAGMA journal_mode").await, "wal");
    assert_eq!(number("PRAGMA synchronous").await, 1);
    assert_eq!(number("PRAGMA foreign_keys").await, 1);
    assert!(number("PRAGMA busy_timeout").await >= 1_000);
    let write = sqlx::query("DELETE FROM hook_events")
        .execute(database.reader())
        .await;
    assert!(matches!(
        write.map_err(StoreError::from),
        Err(StoreError::Denied(_))
    ));
}

#[tokio::test]
async fn a_store_that_cannot_open_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    fs::write(base.join("file"), "x").unwrap();
    fs::create_dir(base.join("folder")).unwrap();
    fs::write(
        base.join("text.db"),
        "this is no database, and long enough ".repeat(100),
    )
    .unwrap();

    let error = refused("sqlite://file/s.db", base).await;
    assert!(matches!(error.kind, OpenErrorKind::Folder { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("make it, or let the hub's user write there"),
        "{error}"
    );
    let error = refused("sqlite://folder", base).await;
    assert!(matches!(error.kind, OpenErrorKind::NotAFile), "{error}");
    let error = refused("sqlite://text.db", base).await;
    assert!(
        matches!(error.kind, OpenErrorKind::Database(StoreError::Damaged(_))),
        "{error}"
    );
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open("sqlite://s.db", dir.path(), None).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (999, 'later', TRUE, $1, 0)",
    )
    .bind(vec![0_u8; 4])
    .execute(database.writer())
    .await
    .unwrap();
    database.close().await;
    let error = refused("sqlite://s.db", dir.path()).await;
    assert!(
        matches!(error.kind, OpenErrorKind::NewerSchema { found: 999, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("start the newer version of the hub"),
        "{error}"
    );
}

#[tokio::test]
async fn a_schema_of_another_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open("sqlite://s.db", dir.path(), None).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = $1")
        .bind(vec![0_u8; 4])
        .execute(database.writer())
        .await
        .unwrap();
    database.close().await;
    let error = refused("sqlite://s.db", dir.path()).await;
    assert!(matches!(error.kind, OpenErrorKind::ForeignSchema(1)), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_reported_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite://s.db", dir.path()).await.unwrap();
    // As many pages as there are: what a full disk looks like to the database.
    let limit = async |pragma: &'static str| {
        let _: i64 = sqlx::query_scalar(pragma)
            .fetch_one(store.database.writer())
            .await
            .unwrap();
    };
    let state = store.state();
    for _ in 0..3 {
        limit("PRAGMA max_page_count = 1").await;
        let refused = state
            .set("a", "k", &[7; 100_000], None, 1 << 20)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("disk of the store is full"),
            "{refused}"
        );
        assert_eq!(state.used("a").await.unwrap(), 0);
    }
    limit("PRAGMA max_page_count = 1000000").await;
    state.set("a", "k", &[7; 100_000], None, 1 << 20).await.unwrap();
    assert_eq!(
        state.used("a").await.unwrap(),
        100_000 + 1 + super::state::ENTRY_OVERHEAD
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_can_make_the_same_store_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let opening = (0..8).map(|_| {
        let base = dir.path().to_owned();
        tokio::spawn(async move { Store::open("sqlite://s.db", &base).await.map(drop) })
    });
    for outcome in futures::future::join_all(opening).await {
        outcome.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let store = Store::in_memory().await.unwrap();
    let queue = store.queue().clone();
    store.close().await;
    store.close().await;
    let refused = queue.purge(super::queue::Pick::All).await.unwrap_err();
    assert!(refused.to_string().contains("closed"), "{refused}");
    assert!(matches!(store.health().await, Err(StoreError::Closed)));
}

/// Bytes of a store's own file.
fn length(dir: &Path) -> u64 {
    fs::metadata(dir.join("s.db")).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_leaves_the_file_while_calls_go_on() {
    const VALUE: usize = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite://s.db", dir.path()).await.unwrap();
    let state = store.state();
    for n in 0..50 {
        let value = vec![7; VALUE];
        state
            .set("a", &n.to_string(), &value, None, 1 << 30)
            .await
            .unwrap();
    }
    for n in 0..50 {
        state.delete("a", &n.to_string()).await.unwrap();
    }
    state.set("a", "kept", b"v", None, 1 << 20).await.unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    let (mut writes, mut slowest) = (0, Duration::ZERO);
    // Emptying the log into the file is what cuts the file.
    while length(dir.path()) > 4 << 20 || writes < 100 {
        assert!(
            Instant::now() < until,
            "it has {} bytes still",
            length(dir.path())
        );
        let began = Instant::now();
        state.set("b", "small", &[1; 100], None, 1 << 20).await.unwrap();
        slowest = slowest.max(began.elapsed());
        writes += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(slowest < Duration::from_secs(2), "a call waited {slowest:?}");
    assert!(store.health().await.unwrap().bytes < 24 << 20);
    assert_eq!(state.get("a", "kept").await.unwrap().unwrap().value, b"v");
    store.close().await;
}

#[tokio::test]
async fn a_store_of_an_earlier_version_can_shrink_too() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || Store::open("sqlite://s.db", dir.path()).await.unwrap();
    let mode = async |store: &Store| -> i64 {
        sqlx::query_scalar("PRAGMA auto_vacuum")
            .fetch_one(store.database.reader())
            .await
            .unwrap()
    };
    let store = open().await;
    assert_eq!(mode(&store).await, 2, "a new one");
    store.state().set("a", "k", b"v", None, 1_000).await.unwrap();
    store.close().await;
    let mut connection = database_as_before(&dir.path().join("s.db")).await;
    let before: i64 = sqlx::query_scalar("PRAGMA auto_vacuum")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(before, 0);
    sqlx::Connection::close(connection).await.unwrap();
    let store = open().await;
    assert_eq!(mode(&store).await, 2);
    assert!(store.state().get("a", "k").await.unwrap().is_some());
}

/// Makes a store one that cannot shrink.
async fn database_as_before(path: &Path) -> sqlx::AnyConnection {
    use sqlx::Executor as _;
    let url = format!("sqlite://{}", path.display());
    let mut connection = <sqlx::AnyConnection as sqlx::Connection>::connect(&url)
        .await
        .unwrap();
    connection.execute("PRAGMA auto_vacuum = NONE").await.unwrap();
    connection.execute("VACUUM").await.unwrap();
    connection
}

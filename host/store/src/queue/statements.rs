//! The SQL of the queue. SQLite and PostgreSQL both understand every statement.

use std::{fmt::Write as _, sync::LazyLock};

/// `$1` worker, `$2` end of the lease, `$3` now, `$4` how many, `$5` hook, `$6` of how many bytes; the first one is taken
/// whatever its size. The condition on `ready_ms` stands outside as well, so that of two that claim at once in PostgreSQL
/// the later one leaves out what the first one took.
pub(super) const CLAIM: &str = "UPDATE hook_events SET worker = $1, ready_ms = $2, attempt = attempt + 1 \
    WHERE ready_ms <= $3 AND died_ms IS NULL AND id IN (\
        SELECT id FROM (\
            SELECT id, bytes, SUM(bytes) OVER (ORDER BY ready_ms, id ROWS UNBOUNDED PRECEDING) AS size FROM (\
                SELECT id, bytes, ready_ms FROM hook_events \
                WHERE died_ms IS NULL AND hook = $5 AND ready_ms <= $3 ORDER BY ready_ms, id LIMIT $4) AS due) AS sized \
        WHERE size - bytes < $6) \
    RETURNING id, hook, trigger_name, payload, created_ms, attempt, error";

/// `$1` id, `$2` attempt, `$3` when, `$4` error.
pub(super) const RETRY: &str = "UPDATE hook_events SET worker = NULL, ready_ms = $3, error = $4 \
    WHERE id = $1 AND attempt = $2 AND died_ms IS NULL AND worker IS NOT NULL";

/// `$1` id, `$2` attempt, `$3` now, `$4` error.
pub(super) const DEAD: &str = "UPDATE hook_events SET worker = NULL, died_ms = $3, error = $4 \
    WHERE id = $1 AND attempt = $2 AND died_ms IS NULL AND worker IS NOT NULL";

/// `$1` hook, `$2` now, `$3` the time beyond which they are too far away, `$4` the end of all times, beyond which is never.
pub(super) const HURRY: &str = "UPDATE hook_events SET ready_ms = $2 \
    WHERE died_ms IS NULL AND hook = $1 AND ready_ms > $3 AND ready_ms <= $4 AND worker IS NULL";

/// `$1` worker, `$2` now.
pub(super) const RELEASE: &str =
    "UPDATE hook_events SET worker = NULL, ready_ms = $2 WHERE worker = $1 AND died_ms IS NULL";

/// `$1` and `$2` the place after which to go on, `$3` how many.
pub(super) const LIST_DEAD: &str = "SELECT id, hook, trigger_name, payload, created_ms, attempt, error, died_ms \
    FROM hook_events WHERE died_ms IS NOT NULL AND (died_ms, id) < ($1, $2) \
    ORDER BY died_ms DESC, id DESC LIMIT $3";

/// `$1` id, or empty for any; `$2` a time before which they died; `$3` now; `$4` how many; `$5` of how many bytes.
pub(super) const REPLAY: &str = "UPDATE hook_events \
    SET died_ms = NULL, ready_ms = $3, attempt = 0, worker = NULL WHERE id IN (\
        SELECT id FROM (\
            SELECT id, ROW_NUMBER() OVER earlier AS place, SUM(bytes) OVER earlier AS size \
            FROM hook_events WHERE died_ms IS NOT NULL AND died_ms < $2 AND (id = $1 OR $1 = '') \
            WINDOW earlier AS (ORDER BY died_ms, id ROWS UNBOUNDED PRECEDING)) AS picked \
        WHERE place <= $4 AND size <= $5)";

/// `$1` id, or empty for any; `$2` a time before which they died.
pub(super) const PURGE: &str =
    "DELETE FROM hook_events WHERE died_ms IS NOT NULL AND died_ms < $2 AND (id = $1 OR $1 = '')";

/// `$1` how many dead ones to leave, `$2` of how many bytes.
pub(super) const TRIM: &str = "DELETE FROM hook_events WHERE id IN (\
    SELECT id FROM (\
        SELECT id, ROW_NUMBER() OVER later AS place, SUM(bytes) OVER later AS size \
        FROM hook_events WHERE died_ms IS NOT NULL \
        WINDOW later AS (ORDER BY died_ms DESC, id DESC ROWS UNBOUNDED PRECEDING)) AS dead \
    WHERE place > $1 OR size > $2)";

/// How many are not dead, and their bytes.
pub(super) const QUEUED: &str =
    "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM hook_events WHERE died_ms IS NULL";

/// Each hook that has events, and when its next one is ready. Steps from name to name in the index, however many
/// events there are.
pub(super) const HOOKS: &str = "WITH RECURSIVE hooks (name) AS (\
    SELECT MIN(hook) FROM hook_events WHERE died_ms IS NULL \
    UNION ALL \
    SELECT (SELECT MIN(hook) FROM hook_events WHERE died_ms IS NULL AND hook > name) FROM hooks WHERE name IS NOT NULL) \
    SELECT name, (SELECT MIN(ready_ms) FROM hook_events WHERE died_ms IS NULL AND hook = name) \
    FROM hooks WHERE name IS NOT NULL";

/// `$1` now.
pub(super) const COUNTS: &str = "SELECT \
    COUNT(CASE WHEN ready_ms <= $1 THEN 1 END), \
    COUNT(CASE WHEN ready_ms > $1 AND worker IS NULL THEN 1 END), \
    COUNT(CASE WHEN ready_ms > $1 AND worker IS NOT NULL THEN 1 END), \
    (SELECT COUNT(*) FROM hook_events WHERE died_ms IS NOT NULL) \
    FROM hook_events WHERE died_ms IS NULL";

/// How many rows one statement takes, the most first: few texts, so that all stay prepared.
pub(super) const CHUNKS: [usize; 3] = [64, 8, 1];

/// Columns of [`insert`].
const COLUMNS: usize = 6;

/// Takes in `rows` events, one of [`CHUNKS`]; each binds id, hook, trigger, payload, when it came, and when it is ready.
pub(super) fn insert(rows: usize) -> &'static str {
    static TEXTS: LazyLock<[String; 3]> = LazyLock::new(|| {
        CHUNKS.map(|rows| {
            let mut text = String::from(
                "INSERT INTO hook_events (id, hook, trigger_name, payload, created_ms, ready_ms, attempt) VALUES ",
            );
            for row in 0..rows {
                let first = row * COLUMNS + 1;
                let comma = if row == 0 { "" } else { ", " };
                let [id, hook, trigger, payload, came, ready] = std::array::from_fn(|column| first + column);
                // Writing to a string does not fail.
                let _ = write!(text, "{comma}(${id}, ${hook}, ${trigger}, ${payload}, ${came}, ${ready}, 0)");
            }
            text
        })
    });
    pick(&TEXTS, rows)
}

/// Removes `rows` events, one of [`CHUNKS`], by their ids, and answers the ids that were there.
pub(super) fn delete(rows: usize) -> &'static str {
    static TEXTS: LazyLock<[String; 3]> = LazyLock::new(|| {
        CHUNKS.map(|rows| {
            let ids: Vec<String> = (1..=rows).map(|n| format!("${n}")).collect();
            let ids = ids.join(", ");
            format!("DELETE FROM hook_events WHERE died_ms IS NULL AND id IN ({ids}) RETURNING id")
        })
    });
    pick(&TEXTS, rows)
}

fn pick(texts: &'static [String; 3], rows: usize) -> &'static str {
    let index = CHUNKS.iter().position(|chunk| *chunk == rows);
    index.and_then(|i| texts.get(i)).map_or("", String::as_str)
}

/// Cuts `items` into pieces as long as one of [`CHUNKS`] each.
pub(super) fn pieces<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= items.len())?;
        let (piece, rest) = items.split_at_checked(size)?;
        items = rest;
        Some(piece)
    })
}

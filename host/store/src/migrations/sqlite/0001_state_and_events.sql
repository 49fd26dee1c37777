-- State of plugins and hooks. One row for each owner counts its versions and bytes, so that a version is
-- never used twice and a quota needs no sum; every write takes this row first.
CREATE TABLE state_owners (
    owner        TEXT    NOT NULL PRIMARY KEY,
    last_version INTEGER NOT NULL,
    used_bytes   INTEGER NOT NULL
) STRICT;

-- Names are bytes, so that order and prefixes do not depend on a collation.
CREATE TABLE state_entries (
    owner   TEXT    NOT NULL REFERENCES state_owners (owner),
    name    BLOB    NOT NULL,
    version INTEGER NOT NULL,
    value   BLOB    NOT NULL,
    PRIMARY KEY (owner, name)
) STRICT;

-- Events for background hooks. Times are milliseconds since 1970.
CREATE TABLE hook_events (
    id           TEXT    NOT NULL PRIMARY KEY,
    hook         TEXT    NOT NULL,
    trigger_name TEXT    NOT NULL,
    payload      TEXT    NOT NULL,
    bytes        INTEGER NOT NULL GENERATED ALWAYS AS (LENGTH(CAST(payload AS BLOB))) STORED,
    created_ms   INTEGER NOT NULL,
    -- When it may be claimed: at once, at its next attempt, or when the lease of its worker ends.
    ready_ms     INTEGER NOT NULL,
    -- How often it was claimed.
    attempt      INTEGER NOT NULL,
    worker       TEXT,
    error        TEXT,
    -- When it was given up.
    died_ms      INTEGER
) STRICT;

-- The last columns are there for counts that read the index alone.
CREATE INDEX hook_events_ready ON hook_events (hook, ready_ms, id, worker, bytes) WHERE died_ms IS NULL;
CREATE INDEX hook_events_dead ON hook_events (died_ms, id, bytes) WHERE died_ms IS NOT NULL;

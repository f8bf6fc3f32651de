-- +goose Up
-- One row: the number of the newest published state. Every seal, import, compaction and erasure raises it in its own transaction.
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), snapshot INTEGER NOT NULL);
INSERT INTO state (one, snapshot) VALUES (1, 0);

-- Immutable Parquet files. A segment belongs to snapshot s when added <= s and (removed IS NULL or removed > s).
CREATE TABLE segments (
    id         INTEGER PRIMARY KEY,
    path       TEXT    NOT NULL UNIQUE, -- relative to the data directory
    day        INTEGER NOT NULL,        -- biz_day, days since 1970-01-01
    rows       INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    journal_id TEXT    NOT NULL,
    first_seq  INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL,
    min_id_day INTEGER NOT NULL,
    max_id_day INTEGER NOT NULL,
    checksum   TEXT    NOT NULL,        -- sha256 of the file
    added      INTEGER NOT NULL,
    removed    INTEGER,
    removed_at INTEGER                  -- unix seconds of the machine's clock
);
CREATE INDEX segments_live ON segments (day) WHERE removed IS NULL;
CREATE INDEX segments_removed ON segments (removed) WHERE removed IS NOT NULL;

-- How far each journal is sealed; written in the transaction that publishes its segments.
CREATE TABLE journals (journal_id TEXT PRIMARY KEY, sealed_seq INTEGER NOT NULL, empty INTEGER NOT NULL DEFAULT 0);

-- Readers' claims on files: a removed file waits until no live lease is older than its removal.
CREATE TABLE leases (id INTEGER PRIMARY KEY, snapshot INTEGER NOT NULL, owner TEXT NOT NULL, expires_at INTEGER NOT NULL);

CREATE TABLE runs (
    kind TEXT NOT NULL, as_of INTEGER NOT NULL, version TEXT NOT NULL,
    dir TEXT NOT NULL, meta TEXT NOT NULL, published INTEGER NOT NULL,
    PRIMARY KEY (kind, as_of, version)
);

CREATE TABLE records (kind TEXT NOT NULL, key TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (kind, key));

-- Users whose erasure is under way: rows received up to before_us (unix microseconds) are hidden.
CREATE TABLE tombstones (user_id TEXT PRIMARY KEY, before_us INTEGER NOT NULL, done TEXT);

-- +goose Down
DROP TABLE tombstones;
DROP TABLE records;
DROP TABLE runs;
DROP TABLE leases;
DROP TABLE journals;
DROP TABLE segments;
DROP TABLE state;

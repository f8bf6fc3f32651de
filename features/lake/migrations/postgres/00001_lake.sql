-- +goose Up
-- The tables of lake.db (../*.sql, which say what they mean) for several servers, and what those keep together.
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), snapshot BIGINT NOT NULL);
INSERT INTO state (one, snapshot) VALUES (1, 0);

CREATE TABLE segments (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path       TEXT    NOT NULL UNIQUE,
    day        INTEGER NOT NULL,
    rows       BIGINT  NOT NULL,
    bytes      BIGINT  NOT NULL,
    journal_id TEXT    NOT NULL,
    first_seq  BIGINT  NOT NULL,
    last_seq   BIGINT  NOT NULL,
    min_id_day INTEGER NOT NULL,
    max_id_day INTEGER NOT NULL,
    checksum   TEXT    NOT NULL,
    added      BIGINT  NOT NULL,
    removed    BIGINT,
    removed_at BIGINT
);
CREATE INDEX segments_live ON segments (day) WHERE removed IS NULL;
CREATE INDEX segments_removed ON segments (removed) WHERE removed IS NOT NULL;

CREATE TABLE journals (
    journal_id TEXT PRIMARY KEY, sealed_seq BIGINT NOT NULL, empty INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL DEFAULT '', sealed_us BIGINT NOT NULL DEFAULT 0, wanted_us BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE leases (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, snapshot BIGINT NOT NULL, owner TEXT NOT NULL, expires_at BIGINT NOT NULL);

CREATE TABLE runs (
    kind TEXT NOT NULL, as_of INTEGER NOT NULL, version TEXT NOT NULL,
    dir TEXT NOT NULL, meta TEXT NOT NULL, published BIGINT NOT NULL,
    PRIMARY KEY (kind, as_of, version)
);

CREATE TABLE records (kind TEXT NOT NULL, key TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (kind, key));

CREATE TABLE tombstones (user_id TEXT PRIMARY KEY, before_us BIGINT NOT NULL);

CREATE TABLE erasures (user_hash TEXT PRIMARY KEY, before_us BIGINT NOT NULL, proof TEXT NOT NULL);

CREATE TABLE costs (
    day INTEGER NOT NULL, channel TEXT NOT NULL, campaign TEXT NOT NULL, known_day INTEGER NOT NULL,
    cost_micros BIGINT NOT NULL,
    PRIMARY KEY (day, channel, campaign, known_day)
);

CREATE TABLE attributes (user_id TEXT PRIMARY KEY, doc TEXT NOT NULL);

CREATE TABLE links (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, alias TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL, known_us BIGINT NOT NULL);

CREATE TABLE consents (
    user_id TEXT NOT NULL, purpose TEXT NOT NULL, at_us BIGINT NOT NULL, known_day INTEGER NOT NULL, granted INTEGER NOT NULL,
    PRIMARY KEY (user_id, purpose, at_us)
);

-- +goose Down
DROP TABLE consents;
DROP TABLE links;
DROP TABLE attributes;
DROP TABLE costs;
DROP TABLE erasures;
DROP TABLE tombstones;
DROP TABLE records;
DROP TABLE runs;
DROP TABLE leases;
DROP TABLE journals;
DROP TABLE segments;
DROP TABLE state;

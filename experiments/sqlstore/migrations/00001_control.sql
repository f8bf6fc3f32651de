-- +goose Up
-- One schema for SQLite and PostgreSQL: texts, 64-bit integers and nothing that only one of them has. Times are microseconds since 1970 UTC;
-- documents are JSON texts, so that a payload keeps its spelling; hashes are lower-case hex of SHA-256.
CREATE TABLE meta (
    one     BIGINT PRIMARY KEY CHECK (one = 1),
    version BIGINT NOT NULL, -- of definitions and keys: what servers poll
    writes  BIGINT NOT NULL  -- of anything: also the order of audit entries
);
INSERT INTO meta (one, version, writes) VALUES (1, 1, 0);

CREATE TABLE experiments (
    key        TEXT PRIMARY KEY,
    revision   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    doc        TEXT NOT NULL
);
CREATE TABLE experiment_revisions (
    key      TEXT NOT NULL,
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    doc      TEXT NOT NULL,
    PRIMARY KEY (key, revision)
);
CREATE TABLE objects ( -- layers, holdouts, offers, metrics
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    doc  TEXT NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    role       TEXT NOT NULL,
    name       TEXT NOT NULL,
    hash       TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE TABLE tokens ( -- single-use sign-in tokens and browser sessions
    kind       TEXT NOT NULL,
    hash       TEXT NOT NULL,
    role       TEXT NOT NULL,
    name       TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (kind, hash)
);
CREATE TABLE opt_outs (
    unit TEXT PRIMARY KEY,
    at   BIGINT NOT NULL
);
CREATE TABLE looks (
    experiment TEXT NOT NULL,
    number     BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    matured    BIGINT NOT NULL,
    doc        TEXT NOT NULL,
    PRIMARY KEY (experiment, number)
);
CREATE TABLE audit (
    seq    BIGINT PRIMARY KEY,
    at     BIGINT NOT NULL,
    by_    TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    doc    TEXT NOT NULL
);
CREATE INDEX audit_object ON audit (object, seq);

-- +goose Up
-- A finished erasure keeps no id: only a keyed hash, by which replays are refused, and the proof.
CREATE TABLE erasures (
    user_hash TEXT PRIMARY KEY,        -- HMAC-SHA256 of the id
    before_us INTEGER NOT NULL,        -- rows that happened or were received up to here are refused
    proof     TEXT    NOT NULL
);
ALTER TABLE tombstones DROP COLUMN done;

-- +goose Down
ALTER TABLE tombstones ADD COLUMN done TEXT;
DROP TABLE erasures;

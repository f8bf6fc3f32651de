-- +goose Up
-- What several servers say of their journals: whose it is, up to when everything received there is sealed, and up to when somebody wants it to be. In a
-- lake.db of one server they stay empty.
ALTER TABLE journals ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE journals ADD COLUMN sealed_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE journals ADD COLUMN wanted_us INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE journals DROP COLUMN wanted_us;
ALTER TABLE journals DROP COLUMN sealed_us;
ALTER TABLE journals DROP COLUMN name;

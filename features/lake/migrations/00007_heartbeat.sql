-- +goose Up
-- When a server was last heard, by the database's clock, and when it was retired for good (0: it is not). In a lake.db of one server they stay empty.
ALTER TABLE journals ADD COLUMN seen_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE journals ADD COLUMN retired_us INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE journals DROP COLUMN retired_us;
ALTER TABLE journals DROP COLUMN seen_us;

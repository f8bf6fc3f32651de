-- +goose Up
-- When a server was last heard, by the database's clock, and when it was retired for good (0: it is not).
ALTER TABLE journals ADD COLUMN seen_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE journals ADD COLUMN retired_us BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE journals DROP COLUMN retired_us;
ALTER TABLE journals DROP COLUMN seen_us;

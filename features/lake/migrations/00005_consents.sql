-- +goose Up
-- The bits of consent with their history, written in the transaction that publishes their events.
CREATE TABLE consents (
    user_id TEXT NOT NULL, purpose TEXT NOT NULL, at_us INTEGER NOT NULL, known_day INTEGER NOT NULL, granted INTEGER NOT NULL,
    PRIMARY KEY (user_id, purpose, at_us)
);

-- +goose Down
DROP TABLE consents;

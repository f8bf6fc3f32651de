-- +goose Up
-- What a channel cost on a day, as it was known from a day on: a correction is a new row, so that a past cut keeps what it knew.
CREATE TABLE costs (
    day INTEGER NOT NULL, channel TEXT NOT NULL, campaign TEXT NOT NULL, known_day INTEGER NOT NULL,
    cost_micros INTEGER NOT NULL,
    PRIMARY KEY (day, channel, campaign, known_day)
);

-- What a shop says of its users, for targeting and segments: a JSON object of texts and numbers.
CREATE TABLE attributes (user_id TEXT PRIMARY KEY, doc TEXT NOT NULL);

-- +goose Down
DROP TABLE attributes;
DROP TABLE costs;

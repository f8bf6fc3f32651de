-- +goose Up
-- Which id stands for which user, first link known first: what sealed events say, kept beside them so that nobody reads them for it. A row is
-- never changed: an earlier link that an import brings replaces it under a new number, by which servers follow.
CREATE TABLE links (id INTEGER PRIMARY KEY AUTOINCREMENT, alias TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL, known_us INTEGER NOT NULL);

-- +goose Down
DROP TABLE links;

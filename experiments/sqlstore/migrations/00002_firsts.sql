-- +goose Up
-- What several servers must give once: first answers of sticky experiments, and which id is whose. A value stands until one comes whose floor is above its
-- rank. A writer numbers its rows in the order of its commits and says in the same transaction how far it is, so that others can follow without a gap.
CREATE TABLE firsts (
    kind   TEXT NOT NULL,
    space  TEXT NOT NULL,
    id     TEXT NOT NULL,
    owner  TEXT NOT NULL,
    rank   BIGINT NOT NULL,
    floor  BIGINT NOT NULL,
    doc    TEXT NOT NULL,
    writer TEXT NOT NULL,
    n      BIGINT NOT NULL,
    PRIMARY KEY (kind, space, id)
);
CREATE INDEX firsts_by_writer ON firsts (writer, n);
CREATE INDEX firsts_by_id ON firsts (id);
CREATE INDEX firsts_by_owner ON firsts (owner);
CREATE TABLE writers (
    id TEXT PRIMARY KEY,
    n  BIGINT NOT NULL
);

-- What a state in PostgreSQL has beside the tables of schema.sql: the number of each session's last write, stored in the
-- write's own transaction, so that a lost answer to COMMIT leaves no doubt.
CREATE TABLE writers (
    session text PRIMARY KEY,
    number bigint NOT NULL,
    at timestamptz NOT NULL
);

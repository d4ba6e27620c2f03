-- Version 2: what [[revoke]] entries were about, and the keys no certificate is issued for any more.  Only additions, so
-- that an older state is brought here by running this script on it.  Rows of both tables are never deleted.

CREATE TABLE IF NOT EXISTS blocked (
    spki text PRIMARY KEY,
    at bigint NOT NULL,
    reason text NOT NULL,
    entry text NOT NULL
);

CREATE TABLE IF NOT EXISTS matches (
    entry text NOT NULL,
    issuer_key text NOT NULL,
    serial text NOT NULL,
    reason text NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (entry, issuer_key, serial)
);

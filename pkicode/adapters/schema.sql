-- The state store, in the common subset of SQLite and PostgreSQL: text, bigint, bytea; instants are epoch seconds;
-- JSON is text.  `integer PRIMARY KEY` numbers itself in SQLite; PostgreSQL needs an identity there.
-- Columns stand in the order of the classes in model/row.py and ports.py; a certificate's bytes stand last, so that
-- reading the facts of 100,000 touches no overflow page.

CREATE TABLE meta (
    key text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE templates (
    id integer PRIMARY KEY,
    digest text NOT NULL UNIQUE,
    body text NOT NULL
);

CREATE TABLE resources (
    kind text NOT NULL,
    name text NOT NULL,
    key text NOT NULL,
    generation bigint NOT NULL,
    template bigint NOT NULL REFERENCES templates (id),
    vals text NOT NULL,
    due bigint NOT NULL,
    needs text NOT NULL,
    status text NOT NULL,
    version bigint NOT NULL,
    record text NOT NULL,
    PRIMARY KEY (kind, name, key, generation)
);

CREATE TABLE certificates (
    id integer PRIMARY KEY,
    issuer_key text NOT NULL,
    serial text NOT NULL,
    issuer_dn bytea NOT NULL,
    status text NOT NULL CHECK (status IN ('intent', 'issued', 'aborted', 'unknown', 'revoked')),
    address text NOT NULL,
    generation bigint NOT NULL,
    ca text NOT NULL,
    ca_generation bigint NOT NULL,
    profile text NOT NULL,
    subject text NOT NULL,
    sans text NOT NULL,
    not_before bigint NOT NULL,
    not_after bigint NOT NULL,
    key_alg text NOT NULL,
    key_label text NOT NULL,
    spki text NOT NULL,
    sha256 text NOT NULL,
    plan_id text NOT NULL,
    reason text NOT NULL,
    session text NOT NULL,
    created bigint NOT NULL,
    duty text NOT NULL,
    revoked_at bigint,
    revocation_reason text,
    der bytea NOT NULL
);

-- The serial first: it is random, so one comparison decides, and one serial is found whoever issued it.  That it is
-- taken once per issuer name as well is asked of this index before rows enter (sql.SERIALS_TAKEN): a second index of
-- random keys would cost every issuance a quarter more.
CREATE UNIQUE INDEX certificates_serial ON certificates (serial, issuer_key);
CREATE INDEX certificates_intent ON certificates (id) WHERE status = 'intent';
CREATE INDEX certificates_address ON certificates (address);
CREATE INDEX certificates_ca ON certificates (ca, ca_generation);
CREATE INDEX certificates_not_after ON certificates (not_after);
CREATE INDEX certificates_spki ON certificates (spki);

CREATE TABLE revocations (
    issuer_key text NOT NULL,
    serial text NOT NULL,
    revoked_at bigint NOT NULL,
    reason text NOT NULL,
    not_after bigint NOT NULL,
    entry text NOT NULL,
    invalidity bigint,
    PRIMARY KEY (issuer_key, serial)
);

CREATE TABLE artefacts (
    kind text NOT NULL,
    name text NOT NULL,
    scope text NOT NULL,
    number text NOT NULL,
    this_update bigint NOT NULL,
    next_update bigint NOT NULL,
    sha256 text NOT NULL,
    der bytea NOT NULL,
    PRIMARY KEY (kind, name, scope)
);

CREATE TABLE published (
    target text NOT NULL,
    path text NOT NULL,
    sha256 text NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (target, path)
);

-- A row is never deleted, so that an epoch is never given twice; expires = 0 says that nobody holds the lease.
CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    epoch bigint NOT NULL,
    heartbeat bigint NOT NULL,
    expires bigint NOT NULL
);

CREATE TABLE events (
    sequence bigint PRIMARY KEY,
    at bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL,
    prev text NOT NULL,
    hash text NOT NULL
);

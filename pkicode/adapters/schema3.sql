-- Version 3: what left the inventory for an archive, which counts and ends go on from.  Only an addition, so that an older
-- state is brought here by running this script on it.  One row for each file and CA generation; rows are never deleted.

CREATE TABLE IF NOT EXISTS archives (
    file text NOT NULL,
    issuer_key text NOT NULL,
    ca text NOT NULL,
    ca_generation bigint NOT NULL,
    sha256 text NOT NULL,
    at bigint NOT NULL,
    certificates bigint NOT NULL,
    revoked bigint NOT NULL,
    newest bigint NOT NULL,
    ended bigint NOT NULL,
    PRIMARY KEY (file, issuer_key, ca, ca_generation)
);

-- Three roles for the state in the schema {schema}; run this as its owner, whom `pkicode state migrate` runs as too.
-- Each is a group: GRANT {schema}_applier TO somebody lets a role that may log in do what the group may.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['{schema}_planner', '{schema}_applier', '{schema}_responder'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {schema}_planner, {schema}_applier, {schema}_responder;
GRANT USAGE ON SCHEMA {schema} TO {schema}_planner, {schema}_applier, {schema}_responder;

-- plan, status, inventory, backup, verify: everything is read, nothing is written.
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}_planner;

-- serve ocsp: whose state it is, and signed lists.  No certificate, no revocation, no key's name.
GRANT SELECT ON {schema}.meta, {schema}.artefacts TO {schema}_responder;

-- apply: what was signed, revoked or told to the audit is never deleted, and the audit never rewritten.
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}_applier;
GRANT INSERT ON ALL TABLES IN SCHEMA {schema} TO {schema}_applier;
GRANT UPDATE ON {schema}.meta, {schema}.resources, {schema}.certificates, {schema}.revocations, {schema}.matches,
    {schema}.artefacts, {schema}.published, {schema}.leases, {schema}.writers TO {schema}_applier;
GRANT DELETE ON {schema}.resources, {schema}.writers TO {schema}_applier;

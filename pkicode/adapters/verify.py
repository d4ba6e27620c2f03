"""Is a state what it was when it was written?  Pages, schema, audit chain, certificates, lists, the journal.

Reads only.  Whether a certificate was rightly issued is not asked here, and a forger who rewrites the database *and*
the journal is found by those who kept a signed head of the audit, not by this.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cryptography import x509

from pkicode.adapters import agreement, listed, managed, sql, statefile
from pkicode.adapters.journal import Journal, Journalled, to_be_signed, told
from pkicode.model.counted import counted
from pkicode.model.instants import from_datetime, rfc3339
from pkicode.ports import Audited

_STORED = {"text": "text", "bigint": "integer", "integer": "integer", "bytea": "blob"}
"""Type of a column -> what SQLite says of the values it should hold."""


def verify(path: Path, journal: Path | None, *, whole: bool = True, archives: Path | None = None) -> list[str]:
    """Everything that is wrong with the state at `path`, one sentence each; an empty list for a sound one.

    Args:
        path: the state file.
        journal: the issuance journal beside it; None compares with none, as for a backup.
        whole: whether that journal has everything that was ever signed from this state.
        archives: the folder of those archives that are still at hand; None compares with none.

    Raises:
        FileNotFoundError: there is no state.
        StateError: it cannot be read at all, or the journal is damaged.
    """
    # Read before the state: whatever is in it by now had its intent before.
    before = Journal(journal).read() if journal else None
    with _opened(path) as connection:
        # Beyond a damaged page, or a value of another type, it would only be told again, and less clearly.
        if pages := _pages(connection):
            return pages
        schema, types = list(_schema(connection)), list(_types(connection))
        if types:
            return [*schema, *types]
        return [
            *schema,
            *_templates(connection),
            *_chain(connection),
            *agreement.records(connection),
            *agreement.certificates(connection),
            *_revocations(connection),
            *managed.rows(connection),
            *managed.cas(connection),
            *managed.adopted(connection),
            *listed.lists(connection),
            *(_journal(connection, before, whole=whole) if before is not None else ()),
            *(_archives(connection, archives) if archives else ()),
        ]


def audit(path: Path) -> list[str]:
    """Where the audit chain of the state at `path` breaks; raises as `verify` does."""
    with _opened(path) as connection:
        return list(_chain(connection))


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """One instant of a state, even if somebody writes meanwhile."""
    with closing(statefile.connect(path, read_only=True)) as connection, statefile.told(path):
        facts = dict(connection.execute(sql.META).fetchall())
        sql.expect(path, facts, None)
        statefile.bring_up(connection, int(facts["schema"]), read_only=True)
        connection.execute("BEGIN")
        yield connection


def _pages(connection: sqlite3.Connection) -> list[str]:
    try:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    except sqlite3.DatabaseError as error:  # so broken that the check itself stumbles
        found = [str(error)]
    return [f"page structure: {wrong}" for wrong in found if wrong != "ok"]


def _schema(connection: sqlite3.Connection) -> Iterator[str]:
    """A planted trigger or a dropped unique index would change what a commit does."""
    text = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    schema = int(dict(connection.execute(sql.META).fetchall())["schema"])
    with closing(sqlite3.connect(":memory:")) as fresh:
        for script in sql.migrations()[:schema]:
            fresh.executescript(script)
        made, found = set(fresh.execute(text)), set(connection.execute(text))
    yield from (f"schema: {kind} {name} is missing or altered" for kind, name, *_ in sorted(made - found, key=str))
    yield from (f"schema: {kind} {name} does not belong here" for kind, name, *_ in sorted(found - made, key=str))


def _types(connection: sqlite3.Connection) -> Iterator[str]:
    """SQLite takes any value in any column; over one that was planted every command that reads it would stumble."""
    declared = connection.execute(
        "SELECT m.name, c.name, lower(c.type) FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
        " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' ORDER BY m.name, c.cid"
    ).fetchall()
    tables: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in declared:
        # What is not named as ours are does not belong here, which is told above.
        if kind in _STORED and table.isidentifier() and column.isidentifier():
            tables.setdefault(table, []).append((column, _STORED[kind]))
    for table, columns in tables.items():
        counts = ", ".join(f"total(typeof({one}) NOT IN ('{kind}', 'null'))" for one, kind in columns)
        odd = connection.execute(f"SELECT {counts} FROM {table}").fetchone()  # noqa: S608 - identifiers
        for (column, kind), number in zip(columns, odd, strict=True):
            if number:
                yield f"{table}: {number:.0f} values of {column} are not {kind}"


def _templates(connection: sqlite3.Connection) -> Iterator[str]:
    """Changes are worked out from them, and what removing a certificate is to mean."""
    for number, key, body in connection.execute("SELECT id, digest, body FROM templates"):
        if sql.digest(body) != key:
            yield f"template {number}: it is not the one that was stored"


def _chain(connection: sqlite3.Connection) -> Iterator[str]:
    """Where the chain of audit events breaks; the first place is told, for all after it follows from that."""
    facts = dict(connection.execute(sql.META).fetchall())
    head, sequence = sql.genesis(facts["project"], facts["env"], facts["lineage"]), 0
    for row in connection.execute("SELECT * FROM events ORDER BY sequence"):
        event = Audited(*row)
        sequence += 1
        if event.sequence != sequence:
            yield f"audit: event {sequence} is missing"
            return
        said = (event.at, event.actor, event.action, event.subject, event.detail)
        if event.prev != head or event.hash != sql.link(head, sequence, *said):
            yield f"audit: event {sequence} was altered"
            return
        head = event.hash
    if (facts["sequence"], facts["head"]) != (str(sequence), head):
        yield f"audit: it ends with event {sequence}, but {facts['sequence']} were written"


def _revocations(connection: sqlite3.Connection) -> Iterator[str]:
    lost = (
        "SELECT serial, address FROM certificates AS c WHERE status = 'revoked' AND NOT EXISTS"
        " (SELECT 1 FROM revocations AS r WHERE r.issuer_key = c.issuer_key AND r.serial = c.serial)"
    )
    yield from (f"certificate {row[0]} ({row[1]}): its revocation is gone" for row in connection.execute(lost))
    undone = (
        "SELECT c.serial, address FROM certificates AS c JOIN revocations AS r"
        " ON r.issuer_key = c.issuer_key AND r.serial = c.serial WHERE status IN ('intent', 'issued', 'unknown')"
    )
    yield from (f"certificate {row[0]} ({row[1]}): revoked, but listed as good" for row in connection.execute(undone))

    unheard = (
        "SELECT serial, entry FROM matches AS m WHERE NOT EXISTS"
        " (SELECT 1 FROM revocations AS r WHERE r.issuer_key = m.issuer_key AND r.serial = m.serial)"
    )
    yield from (f"revoke.{row[1]}: its revocation of {row[0]} is gone" for row in connection.execute(unheard))
    anew = (
        "SELECT serial, address FROM certificates AS c JOIN blocked AS b ON b.spki = c.spki"
        " WHERE c.created > b.at AND status IN ('issued', 'unknown')"
    )
    yield from (f"certificate {row[0]} ({row[1]}): its key is block-listed" for row in connection.execute(anew))


def _journal(connection: sqlite3.Connection, before: Journalled, *, whole: bool) -> Iterator[str]:
    """Every certificate we signed stands in both places; imports were signed elsewhere."""
    after = Journal(before.path).read()
    missing = set(before)
    for serial, address, status, sha256, reason, content in connection.execute(
        "SELECT serial, address, status, sha256, reason, der FROM certificates"
    ):
        try:
            tbs = hashlib.sha256(to_be_signed(content) if sha256 else content).hexdigest()
        except ValueError:  # told by agreement.py already
            continue
        missing.discard(tbs)
        if sha256:
            if whole and status in agreement.SIGNED and reason != "imported" and tbs not in after:
                yield f"certificate {serial} ({address}): the journal does not know it"
        elif tbs in before and status == "intent":
            yield f"certificate {serial} ({address}): signed, but still an intent; `pkicode apply` finishes it"
        elif tbs in before:
            yield f"certificate {serial} ({address}): the journal holds it, but it is listed as {status}"
    yield from _unknown(connection, missing, after)


def _unknown(connection: sqlite3.Connection, missing: set[str], journalled: Journalled) -> Iterator[str]:
    """What only the journal knows; as many as were archived have left the inventory in good order."""
    newest, count = connection.execute("SELECT max(newest), sum(certificates) FROM archives").fetchone()
    ours = missing
    if cas := [one.facts for one in agreement.issuers(connection)]:
        # Other states write to the same journal: their CAs' keys are not ours.
        try:
            ours = {*journalled.ours(missing, cas)}
        except ValueError as error:
            yield f"the journal holds what is not to be believed: {error}"
            return
    ended = {one for one in ours if newest is not None and _not_after(journalled[one]) <= newest}
    if len(ended) > (count or 0):
        held = f"the journal holds {counted(len(ended), 'certificate')} ending by {rfc3339(newest)}"
        yield f"{held} and are not in the inventory, but only {count} were archived"
    rest = sorted(ours - ended)
    yield from (
        f"the journal holds a certificate that is not in the inventory: {told(journalled[one])}" for one in rest
    )


def _not_after(certificate: bytes) -> int:
    return from_datetime(x509.load_der_x509_certificate(certificate).not_valid_after_utc)


def _archives(connection: sqlite3.Connection, folder: Path) -> Iterator[str]:
    """Archives may be kept elsewhere; those that are at hand are what was written."""
    for name, sha256 in connection.execute("SELECT DISTINCT file, sha256 FROM archives ORDER BY file"):
        if Path(name).name != name:
            yield f"a receipt names the archive {name}, which is no file of {folder}"
            continue
        path = folder / name
        if path.exists() and not (path.is_file() and _digest(path) == sha256):
            yield f"the archive {path} is not what was written"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

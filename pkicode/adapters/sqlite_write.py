"""What one commit changes in a SQLite state (ports.Write), inside the transaction that sqlite.py opens."""

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from pkicode.adapters import sql
from pkicode.model.problem import StateError
from pkicode.ports import Audited, CertificateStatus, Write

_OWN_FACTS = frozenset({"project", "env", "lineage", "schema", "created", "sequence", "head"})
_RESUME = "`pkicode apply` finishes what was left open"


def commit(connection: sqlite3.Connection, write: Write) -> int:
    """All of it, with its audit event; the new sequence.

    Raises:
        StateError: a row is not what it should be; the caller rolls back.
    """
    _inventory(connection, write)
    _rows(connection, write)
    for name, value in write.meta.items():
        if name in _OWN_FACTS:
            raise StateError(f"`{name}` is the store's own fact; nothing was written", help="report this")
        connection.execute(rewritten(sql.META_PUT), (name, value))
    return append(connection, write)


def among(connection: sqlite3.Connection, statement: str, wanted: Sequence[str], *rest: object) -> list[Any]:
    """The rows of a statement that looks for AT_ONCE values."""
    found: list[Any] = []
    for start in range(0, len(wanted), sql.AT_ONCE):
        some = wanted[start : start + sql.AT_ONCE]
        values = [*some, *[some[0]] * (sql.AT_ONCE - len(some)), *rest]
        found += connection.execute(rewritten(statement), values).fetchall()
    return found


def _inventory(connection: sqlite3.Connection, write: Write) -> None:
    """Certificates and revocations, in the order in which they may refer to one another."""
    entering = [*map(sql.certificate_values, (*write.intents, *write.adopted))]
    if clash := sql.clash(entering, among(connection, sql.SERIALS_TAKEN, [row[sql.SERIAL] for row in entering])):
        raise sql.taken(*clash)
    connection.executemany(rewritten(sql.CERTIFICATE_ADD), entering)
    connection.executemany(rewritten(sql.READDRESS), write.moved)
    _each(connection, sql.SETTLE, map(sql.settlement_values, write.settled), sql.not_an_intent)
    for revocation in write.revocations:
        if (CertificateStatus.INTENT,) in connection.execute(
            rewritten(sql.STATUS), (revocation.issuer_key, revocation.serial)
        ):
            # Settling it afterwards would un-revoke it in the inventory.
            raise StateError(f"serial {revocation.serial} is an open intent; nothing was written", help=_RESUME)
        connection.execute(rewritten(sql.REVOKE), sql.revocation_values(revocation))
    connection.executemany(rewritten(sql.BLOCK), map(sql.blocked_values, write.blocked))
    connection.executemany(rewritten(sql.MATCH), map(sql.match_values, write.matches))
    connection.executemany(
        rewritten(sql.MARK_REVOKED),
        [(row.issuer_key, row.serial) for rows in (write.revocations, write.adopted) for row in rows],
    )


def _rows(connection: sqlite3.Connection, write: Write) -> None:
    """Resource rows, artefacts and publications."""
    new: list[tuple[Any, ...]] = []
    replaced: list[tuple[Any, ...]] = []
    for row, record in write.held:
        values = (*sql.held_values(row)[:-1], row.version + 1, record)
        (replaced if row.version else new).append(values)
    _each(connection, sql.HELD_ADD, new, sql.changed)
    _each(connection, sql.HELD_PUT, replaced, sql.changed)
    gone = ((row.kind, row.name, row.key, row.generation, row.version) for row in write.forgotten)
    _each(connection, sql.HELD_DROP, gone, sql.changed)
    _each(connection, sql.ARTEFACT_PUT, map(sql.artefact_values, write.artefacts), sql.number_fell)
    _each(connection, sql.PUBLISHED_PUT, map(sql.published_values, write.published), sql.changed)


def _each(
    connection: sqlite3.Connection,
    statement: str,
    rows: Iterable[tuple[Any, ...]],
    refused: Callable[..., StateError],
) -> None:
    """Run a change for each row; one that touches nothing undoes the whole commit."""
    text = rewritten(statement)
    cursor = connection.cursor()
    for row in rows:
        if cursor.execute(text, row).rowcount != 1:
            raise refused(*row)


def append(connection: sqlite3.Connection, write: Write) -> int:
    """The audit event, which is part of the transaction it tells of."""
    facts = dict(connection.execute(sql.META))
    sequence, prev = int(facts["sequence"]) + 1, facts["head"]
    said = (write.at, write.actor, write.action, write.subject, write.detail)
    event = Audited(sequence, *said, prev, sql.link(prev, sequence, *said))
    connection.execute(rewritten(sql.EVENT_ADD), sql.audited_values(event))
    connection.execute(rewritten(sql.META_PUT), ("sequence", str(sequence)))
    connection.execute(rewritten(sql.META_PUT), ("head", event.hash))
    return sequence


@cache
def rewritten(statement: str) -> str:
    """`$1` to `?1`: Python's sqlite3 takes a name with a dollar for a key of a mapping."""
    return re.sub(r"\$(\d+)", r"?\1", statement)

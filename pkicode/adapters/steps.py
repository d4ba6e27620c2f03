"""What the methods of ports.Store ask of a database and write to it, as steps that every database of ours can take.

A function here is a generator: it yields one step and is sent the answer, so that SQLite in its thread and PostgreSQL
on the event loop do the very same.  Nothing here talks to a database; the texts of the statements are sql.py's.
"""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import starmap
from typing import Any, TypeVar

from attrs import evolve, frozen

from pkicode.adapters import sql
from pkicode.adapters.holder import here
from pkicode.model.instants import rfc3339
from pkicode.model.problem import LeaseHeld, LeaseLost, PkicodeError, StateError
from pkicode.ports import About, Audited, Lease, Write

_T = TypeVar("_T")
Row = Sequence[Any]
Ids = Sequence[tuple[str, str]]
"""(issuer_key, serial) of certificates."""


@frozen
class Read:
    """Run a query; the answer is what `made` makes of its rows, in one list, however many rows it is given at once."""

    statement: str
    values: Sequence[object]
    made: Callable[[Iterable[Row]], list[Any]]


@frozen
class Change:
    """Run a change once for each row of values.

    With `one_each` each must touch one row: the answer is the first that does not, None if all do.
    """

    statement: str
    rows: Sequence[Row]
    one_each: bool


@frozen
class Claim:
    """Be the one who has this lease, as far as the database can tell such a thing by itself.

    The answer is a function that says of a lease whether its holder is known to be gone.
    """

    name: str
    now: int


@frozen
class Let:
    """Be no longer the one who has this lease."""

    name: str


@frozen
class Tell:
    """Let those who listen hear of this transaction when it is done, where the database can."""


Step = Read | Change | Claim | Let | Tell
Steps = Generator[Step, Any, _T]


def read(statement: str, *values: object, made: Callable[[Iterable[Row]], list[Any]] = list) -> Steps[list[Any]]:
    """The rows of one query."""
    found: list[Any] = yield Read(statement, values, made)
    return found


def _many(statement: str, rows: Iterable[Row]) -> Steps[None]:
    if there := [*rows]:
        yield Change(statement, there, one_each=False)


def _each(statement: str, rows: Iterable[Row], refused: Callable[..., PkicodeError]) -> Steps[None]:
    """A change of each row; one that touches nothing undoes the whole commit."""
    if there := [*rows]:
        untouched: Row | None = yield Change(statement, there, one_each=True)
        if untouched is not None:
            raise refused(*untouched)


def among(statement: str, wanted: Sequence[str], *rest: object) -> Steps[list[Any]]:
    """The rows of a statement that looks for AT_ONCE values."""
    found: list[Any] = []
    for start in range(0, len(wanted), sql.AT_ONCE):
        some = wanted[start : start + sql.AT_ONCE]
        found += yield from read(statement, *some, *[some[0]] * (sql.AT_ONCE - len(some)), *rest)
    return found


def about() -> Steps[About]:
    """What the store says of itself."""
    facts = dict((yield from read(sql.META)))
    newest = yield from read(sql.NEWEST)
    return About(
        project=facts["project"],
        lineage=facts["lineage"],
        env=facts["env"],
        schema=int(facts["schema"]),
        sequence=int(facts["sequence"]),
        head=facts["head"],
        newest=newest[0][0] if newest else 0,
    )


def records(kind: str, name: str, keys: Sequence[str] | None) -> Steps[dict[tuple[str, int], str]]:
    """(key, generation) -> record."""
    if keys is None:
        rows = yield from read(sql.RECORDS, kind, name)
    else:
        rows = yield from among(sql.RECORDS_OF, keys, kind, name)
    return {(key, generation): record for key, generation, record in rows}


def told_of(statement: str, ids: Ids) -> Steps[list[Any]]:
    """What a statement tells of each certificate, None where there is no such one, in the order asked."""
    rows = yield from among(statement, [serial for _, serial in ids])
    found = {(issuer_key, serial): value for issuer_key, serial, value in rows}
    return [found.get(one) for one in ids]


def owners(spkis: Sequence[str], now: int) -> Steps[list[list[str]]]:
    """The addresses each key was certified for, each once."""
    found: dict[str, dict[str, None]] = {one: {} for one in spkis}
    for spki, address in (yield from among(sql.OWNERS, spkis, now)):
        found[spki][address] = None
    return [list(found[one]) for one in spkis]


def blocked(spkis: Sequence[str] | None) -> Steps[list[Any]]:
    """Rows of the block list."""
    if spkis is None:
        return (yield from read(sql.BLOCKED))
    # Most projects have no such list: issuance asks for each key.
    if not (yield from read(sql.ANY_BLOCKED)):
        return []
    return (yield from among(sql.BLOCKED_OF, spkis))


def template(key: str) -> Steps[int | None]:
    """The number of the template with this digest."""
    found = yield from read(sql.TEMPLATE_FIND, key)
    return found[0][0] if found else None


def add_template(key: str, text: str, lease: Lease) -> Steps[int]:
    """The number of a template that is stored now, if nobody was quicker."""
    yield from fence(lease)
    number = yield from template(key)
    if number is None:
        yield from _many(sql.TEMPLATE_ADD, [(key, text)])
        number = yield from template(key)
    return int(number or 0)


def acquire(name: str, holder: str, now: int, ttl: int, place: str) -> Steps[Lease]:
    """Take a lease, with the next epoch."""
    epoch = 1
    is_gone: Callable[[Lease], bool] = yield Claim(name, now)
    for old in starmap(Lease, (yield from read(sql.LEASE, name))):
        if old.expires > now and not is_gone(old):
            raise LeaseHeld(
                f"{old.holder} (process {old.pid} on {old.host}) is writing to {place}, lease `{name}`,"
                f" at most until {rfc3339(old.expires)} unless it goes on",
                help=f"wait for it; if you know that it is dead: `pkicode state lock break {name}`",
            )
        epoch = old.epoch + 1
    lease = Lease(name, holder, here(), os.getpid(), epoch, now, now + ttl)
    yield from _many(sql.LEASE_PUT, [sql.lease_values(lease)])
    return lease


def renew(lease: Lease, now: int, ttl: int) -> Steps[Lease]:
    """Heartbeat."""
    yield from _each(sql.LEASE_RENEW, [(lease.name, lease.epoch, now, now + ttl)], lambda *_: _lost(lease))
    return evolve(lease, heartbeat=now, expires=now + ttl)


def release(lease: Lease) -> Steps[None]:
    """Give a lease back; one that is no longer ours stays as it is."""
    yield from _many(sql.LEASE_DROP, [(lease.name, lease.epoch)])
    yield Let(lease.name)


def break_lease(name: str, now: int, actor: str) -> Steps[Lease | None]:
    """Take a lease away: the next epoch belongs to nobody."""
    found = list(starmap(Lease, (yield from read(sql.LEASE, name))))
    if not found or not found[0].expires:
        return None
    old = found[0]
    broken = evolve(old, epoch=old.epoch + 1, heartbeat=now, expires=0)
    yield from _many(sql.LEASE_PUT, [sql.lease_values(broken)])
    yield from _append(Write(at=now, actor=actor, action="lock.break", subject=name))
    return old


def fence(lease: Lease) -> Steps[None]:
    """Refuse a lease that is not the newest."""
    newest = list(starmap(Lease, (yield from read(sql.LEASE, lease.name))))
    if not newest or newest[0].epoch != lease.epoch or not newest[0].expires:
        raise _lost(lease)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(
        f"the lease `{lease.name}` of {lease.holder} was taken over or given back; nothing was written",
        help="somebody else went on from here: plan again",
    )


def commit(write: Write, lease: Lease) -> Steps[int]:
    """All of a write, with its audit event; the new sequence.

    Raises:
        LeaseLost: somebody else has the lease.
        StateError: a row is not what it should be; the caller rolls back.
    """
    yield from fence(lease)
    yield from _inventory(write)
    yield from _revocations(write)
    yield from _rows(write)
    yield from _archived(write)
    for name in write.meta:
        if name in sql.OWN_FACTS:
            raise StateError(f"`{name}` is the store's own fact; nothing was written", help="report this")
    yield from _many(sql.META_PUT, write.meta.items())
    return (yield from _append(write))


def _inventory(write: Write) -> Steps[None]:
    entering = [*map(sql.certificate_values, (*write.intents, *write.adopted))]
    there = yield from among(sql.SERIALS_TAKEN, [row[sql.SERIAL] for row in entering])
    if clash := sql.clash(entering, there):
        raise sql.taken(*clash)
    yield from _many(sql.CERTIFICATE_ADD, entering)
    yield from _many(sql.READDRESS, write.moved)
    yield from _each(sql.SETTLE, map(sql.settlement_values, write.settled), sql.not_an_intent)


def _revocations(write: Write) -> Steps[None]:
    """After the inventory, whose rows they may refer to."""
    said = {(one.issuer_key, one.serial) for one in write.revocations}
    for issuer_key, serial in (yield from among(sql.OPEN, [one.serial for one in write.revocations])):
        if (issuer_key, serial) in said:
            # Settling it afterwards would un-revoke it in the inventory.
            raise StateError(
                f"serial {serial} is an open intent; nothing was written",
                help="`pkicode apply` finishes what was left open",
            )
    yield from _many(sql.REVOKE, map(sql.revocation_values, write.revocations))
    yield from _many(sql.BLOCK, map(sql.blocked_values, write.blocked))
    yield from _many(sql.MATCH, map(sql.match_values, write.matches))
    marked = [(row.issuer_key, row.serial) for rows in (write.revocations, write.adopted) for row in rows]
    yield from _many(sql.MARK_REVOKED, marked)


def _rows(write: Write) -> Steps[None]:
    """Resource rows, artefacts and publications."""
    new: list[Row] = []
    replaced: list[Row] = []
    for row, record in write.held:
        values = (*sql.held_values(row)[:-1], row.version + 1, record)
        (replaced if row.version else new).append(values)
    yield from _each(sql.HELD_ADD, new, sql.changed)
    yield from _each(sql.HELD_PUT, replaced, sql.changed)
    gone = ((row.kind, row.name, row.key, row.generation, row.version) for row in write.forgotten)
    yield from _each(sql.HELD_DROP, gone, sql.changed)
    yield from _each(sql.ARTEFACT_PUT, map(sql.artefact_values, write.artefacts), sql.number_fell)
    yield from _each(sql.PUBLISHED_PUT, map(sql.published_values, write.published), sql.changed)


def _archived(write: Write) -> Steps[None]:
    """What leaves the inventory, and the receipt for it."""
    yield from _each(sql.ARCHIVE_ADD, map(sql.archive_values, write.archives), sql.stays)
    gone = [(*sql.archived_values(one), write.at) for one in write.archived]
    yield from _each(sql.CERTIFICATE_DROP, gone, sql.stays)
    yield from _many(sql.REVOCATION_DROP, [row[:2] for row in gone])
    yield from _many(sql.MATCH_DROP, [sql.match_values(one)[:3] for one in write.parted])


def _append(write: Write) -> Steps[int]:
    """The audit event, which is part of the transaction it tells of."""
    facts = dict((yield from read(sql.META)))
    sequence, prev = int(facts["sequence"]) + 1, facts["head"]
    said = (write.at, write.actor, write.action, write.subject, write.detail)
    event = Audited(sequence, *said, prev, sql.link(prev, sequence, *said))
    yield from _many(sql.EVENT_ADD, [sql.audited_values(event)])
    yield from _many(sql.META_PUT, [("sequence", str(sequence)), ("head", event.hash)])
    yield Tell()
    return sequence

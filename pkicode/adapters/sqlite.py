"""The state store in SQLite: one file, one thread that owns the connection, one transaction for each commit.

WAL with synchronous=FULL: what a method returned from survives a power cut, and readers never wait for the writer.
What may be written when is the callers' business; the statements are sql.py's, the file is statefile.py's.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any, Literal, TypeVar

from attrs import field, frozen

from pkicode.adapters import sql, sqlite_write, statefile
from pkicode.adapters.holder import here, is_dead
from pkicode.adapters.sql import NewState
from pkicode.model.instants import rfc3339
from pkicode.model.problem import LeaseHeld, LeaseLost, StateError
from pkicode.model.row import Held
from pkicode.ports import (
    About,
    Artefact,
    Audited,
    Blocked,
    Certificate,
    Ends,
    Lease,
    Published,
    Revocation,
    Want,
    Write,
)

_T = TypeVar("_T")


async def open_sqlite(
    path: Path | Literal[":memory:"], *, create: NewState | None, read_only: bool = False
) -> "SqliteStore":
    """Open the state at `path`.

    Args:
        path: the file, or `:memory:` for a state that is gone when closed.
        create: the project and env the state must be of, and what a new one is made with.
        read_only: needs no leave to write; never creates.

    Raises:
        FileNotFoundError: there is no state, and `create` is None or `read_only`.
        StateError: the state is of another project or env, of a newer pkicode, damaged, or may not be trusted.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="state")
    try:
        loop = asyncio.get_running_loop()
        connection, identity = await loop.run_in_executor(thread, _open, path, create, not read_only)
    except BaseException:
        thread.shutdown(wait=False)
        raise
    return SqliteStore(connection, thread, path, identity)


def _open(
    path: Path | Literal[":memory:"], create: NewState | None, writing: object
) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
    if isinstance(path, Path):
        try:
            identity = statefile.identity(path)
            connection = statefile.connect(path, read_only=not writing)
        except FileNotFoundError:
            if create is None or not writing:
                raise
            statefile.make(path, create)
            identity = statefile.identity(path)
            connection = statefile.connect(path, read_only=False)
    else:
        identity = None
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        if create is not None:
            statefile.fill(connection, create)
    try:
        with statefile.told(path):
            facts = dict(connection.execute(sql.META).fetchall())
            statefile.expect(path, facts, create)
            statefile.bring_up(connection, int(facts["schema"]), read_only=not writing)
    except BaseException:
        connection.close()
        raise
    return connection, identity


@frozen(eq=False)
class SqliteStore:
    """ports.Store on one SQLite file; every method runs in the store's own thread, so the loop is never blocked."""

    _connection: sqlite3.Connection = field(repr=False)
    _thread: ThreadPoolExecutor = field(repr=False)
    _path: Path | str
    _identity: tuple[int, int] | None = field(repr=False)

    async def about(self) -> About:
        return await self._run(self._about)

    async def held(self, kind: str = "", name: str = "") -> Sequence[Held]:
        asked = (sql.HELD_OF, (kind, name)) if kind else (sql.HELD, ())
        return await self._run(lambda: sql.held(self._stream(*asked)))

    async def templates(self) -> Mapping[int, str]:
        return await self._run(lambda: dict(self._read(sql.TEMPLATES)))

    async def template(self, text: str, *, lease: Lease) -> int:
        return await self._run(self._template, text, lease)

    async def records(self, kind: str, name: str, keys: Sequence[str] | None = None) -> Mapping[tuple[str, int], str]:
        return await self._run(self._records, kind, name, keys)

    async def authorities(self) -> Mapping[tuple[str, int], str]:
        rows = await self._run(self._read, sql.AUTHORITIES)
        return {(name, generation): record for name, generation, record in rows}

    async def living(self, now: int) -> Mapping[tuple[str, int], int]:
        rows = await self._run(self._read, sql.LIVING, (now,))
        return {(ca, generation): count for ca, generation, count in rows}

    async def ends(self) -> Mapping[tuple[str, int], Ends]:
        rows = await self._run(self._read, sql.ENDS)
        return {(ca, generation): Ends(leaf, anything) for ca, generation, leaf, anything in rows}

    async def signed(self) -> Mapping[tuple[str, int], int]:
        rows = await self._run(self._read, sql.SIGNED)
        return {(ca, generation): count for ca, generation, count in rows}

    async def answerable(self, issuer_key: str, ca: str, generation: int, now: int) -> Sequence[str]:
        rows = await self._run(self._read, sql.ANSWERABLE, (issuer_key, ca, generation, now))
        return [serial for (serial,) in rows]

    async def ders(self, ids: Sequence[tuple[str, str]]) -> Sequence[bytes | None]:
        found = await self._run(lambda: [self._read(sql.DER, one) for one in ids])
        return [rows[0][0] if rows else None for rows in found]

    async def duties(self, ca: str, generation: int, now: int) -> Sequence[str]:
        return [duty for (duty,) in await self._run(self._read, sql.DUTIES, (ca, generation, now))]

    async def duty_of(self, ids: Sequence[tuple[str, str]]) -> Sequence[str | None]:
        found = await self._run(lambda: [self._read(sql.DUTY, one) for one in ids])
        return [rows[0][0] if rows else None for rows in found]

    async def owners(self, spkis: Sequence[str], now: int) -> Sequence[Sequence[str]]:
        found: dict[str, dict[str, None]] = {one: {} for one in spkis}
        for spki, address in await self._run(sqlite_write.among, self._connection, sql.OWNERS, spkis, now):
            found[spki][address] = None
        return [list(found[one]) for one in spkis]

    async def artefacts(self) -> Sequence[Artefact]:
        return await self._run(lambda: list(starmap(Artefact, self._read(sql.ARTEFACTS))))

    async def artefact(self, kind: str, name: str, scope: str = "") -> Artefact | None:
        rows = await self._run(self._read, sql.ARTEFACT, (kind, name, scope))
        return Artefact(*rows[0]) if rows else None

    async def published(self) -> Sequence[Published]:
        return await self._run(lambda: list(starmap(Published, self._read(sql.PUBLISHED))))

    async def certificates(self, want: Want) -> Sequence[Certificate]:
        return await self._run(self._certificates, want)

    async def intents(self) -> Sequence[Certificate]:
        return await self._run(lambda: list(starmap(Certificate, self._read(sql.INTENTS))))

    async def revocations(self, issuer_key: str) -> Sequence[Revocation]:
        return await self._run(lambda: list(starmap(Revocation, self._read(sql.REVOCATIONS, (issuer_key,)))))

    async def revoked(self) -> Mapping[str, int]:
        return await self._run(lambda: dict(self._read(sql.REVOKED)))

    async def blocked(self, spkis: Sequence[str] | None = None) -> Mapping[str, Blocked]:
        found = await self._run(self._blocked, spkis)
        return {one.spki: one for one in starmap(Blocked, found)}

    async def entries(self) -> Mapping[str, int]:
        return await self._run(lambda: dict(self._read(sql.ENTRIES)))

    async def acquire(self, name: str, *, holder: str, now: int, ttl: int) -> Lease:
        return await self._run(self._acquire, name, holder, now, ttl)

    async def renew(self, lease: Lease, *, now: int, ttl: int) -> Lease:
        return await self._run(self._renew, lease, now, ttl)

    async def release(self, lease: Lease) -> None:
        await self._run(self._release, lease)

    async def break_lease(self, name: str, *, now: int, actor: str) -> Lease | None:
        return await self._run(self._break, name, now, actor)

    async def leases(self) -> Sequence[Lease]:
        return await self._run(lambda: list(starmap(Lease, self._read(sql.LEASES))))

    async def commit(self, write: Write, lease: Lease) -> int:
        return await self._run(self._commit, write, lease)

    async def audit(self, *, after: int = 0, limit: int = 1000) -> Sequence[Audited]:
        return await self._run(lambda: list(starmap(Audited, self._read(sql.EVENTS, (after, limit)))))

    async def overwrite(self, draft: Path, lease: Lease) -> None:
        """Become what `draft` is, in one transaction, under the eyes of everybody who has the state open."""
        await self._run(self._overwrite, draft, lease)

    async def close(self) -> None:
        await self._run(self._connection.close)
        self._thread.shutdown(wait=False)

    # Below: in the thread.

    async def _run(self, work: Callable[..., _T], *args: object) -> _T:
        def guarded() -> _T:
            with statefile.told(self._path):
                return work(*args)

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _read(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        return self._stream(statement, values).fetchall()

    def _stream(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """For many rows: each tuple is gone before the next one is read."""
        return self._connection.execute(sqlite_write.rewritten(statement), values)

    def _do(self, statement: str, values: Sequence[object]) -> int:
        """Run one change; how many rows it touched."""
        return self._connection.execute(sqlite_write.rewritten(statement), values).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self._connection
        # IMMEDIATE: what is checked below still holds when it is acted on.
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._identity is not None and not statefile.is_still(Path(self._path), self._identity):
                raise StateError(
                    f"the state {self._path} was removed or replaced while it was open; nothing was written",
                    help="run the command again: it opens the state that is there now",
                )
            yield
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _about(self) -> About:
        facts = dict(self._read(sql.META))
        newest = self._read(sql.NEWEST)
        return About(
            project=facts["project"],
            lineage=facts["lineage"],
            env=facts["env"],
            schema=int(facts["schema"]),
            sequence=int(facts["sequence"]),
            head=facts["head"],
            newest=newest[0][0] if newest else 0,
        )

    def _template(self, text: str, lease: Lease) -> int:
        key = sql.digest(text)
        found = self._read(sql.TEMPLATE_FIND, (key,))
        if not found:
            with self._transaction():
                self._fence(lease)
                self._do(sql.TEMPLATE_ADD, (key, text))
                found = self._read(sql.TEMPLATE_FIND, (key,))
        return int(found[0][0])

    def _records(self, kind: str, name: str, keys: Sequence[str] | None) -> dict[tuple[str, int], str]:
        if keys is None:
            rows = self._read(sql.RECORDS, (kind, name))
        else:
            rows = [row for key in keys for row in self._read(sql.RECORD, (kind, name, key))]
        return {(key, generation): record for key, generation, record in rows}

    def _certificates(self, want: Want) -> list[Certificate]:
        statement, values = sql.certificates(want)
        return [sql.certificate(row, with_der=want.with_der) for row in self._stream(statement, values)]

    def _blocked(self, spkis: Sequence[str] | None) -> list[Any]:
        if spkis is None:
            return self._read(sql.BLOCKED)
        # Most projects have no such list: issuance asks for each key.
        if not self._read(sql.ANY_BLOCKED):
            return []
        return [row for one in spkis for row in self._read(sql.IS_BLOCKED, (one,))]

    def _acquire(self, name: str, holder: str, now: int, ttl: int) -> Lease:
        with self._transaction():
            epoch = 1
            for old in starmap(Lease, self._read(sql.LEASE, (name,))):
                if old.expires > now and not is_dead(old):
                    raise LeaseHeld(
                        f"{old.holder} (process {old.pid} on {old.host}) is writing to {self._path}, lease `{name}`,"
                        f" at most until {rfc3339(old.expires)} unless it goes on",
                        help=f"wait for it; if you know that it is dead: `pkicode state lock break {name}`",
                    )
                epoch = old.epoch + 1
            lease = Lease(name, holder, here(), os.getpid(), epoch, now, now + ttl)
            self._do(sql.LEASE_PUT, sql.lease_values(lease))
        return lease

    def _renew(self, lease: Lease, now: int, ttl: int) -> Lease:
        with self._transaction():
            if not self._do(sql.LEASE_RENEW, (lease.name, lease.epoch, now, now + ttl)):
                raise self._lost(lease)
        return Lease(lease.name, lease.holder, lease.host, lease.pid, lease.epoch, now, now + ttl)

    def _release(self, lease: Lease) -> None:
        with self._transaction():
            self._do(sql.LEASE_DROP, (lease.name, lease.epoch))

    def _break(self, name: str, now: int, actor: str) -> Lease | None:
        with self._transaction():
            found = list(starmap(Lease, self._read(sql.LEASE, (name,))))
            if not found or not found[0].expires:
                return None
            old = found[0]
            broken = Lease(name, old.holder, old.host, old.pid, old.epoch + 1, now, 0)
            self._do(sql.LEASE_PUT, sql.lease_values(broken))
            sqlite_write.append(self._connection, Write(at=now, actor=actor, action="lock.break", subject=name))
        return old

    def _fence(self, lease: Lease) -> None:
        newest = self._read(sql.LEASE, (lease.name,))
        if not newest or Lease(*newest[0]).epoch != lease.epoch or not Lease(*newest[0]).expires:
            raise self._lost(lease)

    def _lost(self, lease: Lease) -> LeaseLost:
        return LeaseLost(
            f"the lease `{lease.name}` of {lease.holder} was taken over or given back; nothing was written",
            help="somebody else went on from here: plan again",
        )

    def _commit(self, write: Write, lease: Lease) -> int:
        with self._transaction():
            self._fence(lease)
            return sqlite_write.commit(self._connection, write)

    def _overwrite(self, draft: Path, lease: Lease) -> None:
        self._fence(lease)
        with closing(sqlite3.connect(draft)) as source:
            source.backup(self._connection)

"""A PostgreSQL state: one connection, one transaction for each write, and no doubt about a write when it breaks.

A connection that is lost is opened again.  What was only read is read again.  A write carries a number that is stored
in its own transaction: if the answer to COMMIT was lost, the number says whether it was done, so that nothing is
written twice and nothing is lost.  What is asked and written is steps.py's; tables and roles are postgres_schema.py's.
"""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from attrs import define, field, frozen

from pkicode.adapters import sql
from pkicode.adapters.holder import is_dead
from pkicode.adapters.postgres_connection import DRIVER, LOST, TWICE, NoState, connect, told
from pkicode.adapters.sql import NewState
from pkicode.adapters.steps import Change, Claim, Let, Read, Row, Step, Steps, Tell
from pkicode.config.state_url import Server
from pkicode.model.problem import PkicodeError, StateError
from pkicode.ports import Lease

_T = TypeVar("_T")

PATIENCE = 30
"""Seconds a server that went away is waited for: a restart takes less."""
_FIRST = 1
"""Seconds a server is waited for that was never reached."""
_SLOWEST = 2.0
"""Seconds between two tries at most."""
_GRACE = 20
"""Seconds a holder whose session ended has to come back; it says that it lives every LEASE_TTL / 4."""
_ROWS = 2000
"""How many rows are in memory twice."""

TABLES = (
    *("meta", "templates", "resources", "certificates", "revocations", "artefacts", "published", "leases", "events"),
    *("matches", "blocked", "archives", "writers"),
)
PLANTED = f"""
SELECT p.what FROM (
    SELECT tgrelid AS of, 'trigger ' || tgname AS what FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT ev_class, 'rule ' || rulename FROM pg_rewrite WHERE rulename <> '_RETURN'
    UNION ALL SELECT polrelid, 'policy ' || polname FROM pg_policy
    UNION ALL SELECT oid, 'view ' || relname FROM pg_class WHERE relkind IN ('v', 'm', 'f')
) AS p JOIN pg_class AS c ON c.oid = p.of
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname IN ({", ".join(f"'{one}'" for one in TABLES)})
"""  # noqa: S608 - names of ours
"""What acts by itself in our tables, or stands in the place of one; a schema may have others beside them."""
_HAS_META = f"SELECT to_regclass($1)::text AS meta, ({PLANTED} LIMIT 1) AS planted"
_WRITE_LOCK = "SELECT pg_advisory_xact_lock($1)"
_IS_FREE = "SELECT pg_try_advisory_xact_lock($1)"
_HOLD = "SELECT pg_try_advisory_lock($1)"
_LET = "SELECT pg_advisory_unlock($1)"
_WROTE = "SELECT number FROM writers WHERE session = $1"
_WRITER_PUT = (
    "INSERT INTO writers (session, number, at) VALUES ($1, $2, now()) ON CONFLICT (session) DO UPDATE"
    " SET number = excluded.number, at = excluded.at"
)
_WRITERS_PAST = "DELETE FROM writers WHERE at < now() - interval '7 days'"
_NOTIFY = "SELECT pg_notify($1, '')"


async def open_postgres(
    server: Server,
    password: Callable[[], Awaitable[str]],
    roots: str,
    *,
    create: NewState | None,
    read_only: bool = False,
) -> "PostgresDatabase":
    """Open a state.

    Args:
        server: where it is.
        password: read when a connection is opened; "" for none.
        roots: absolute path of the PEM file that sslrootcert names, "" for the system's.
        create: the project and env the state must be of.
        read_only: asks for no more than a planner's or responder's role may do, on a replica as well.

    Raises:
        NoState: nothing was ever put there.
        Altered: something is planted in its tables.
        StateError: it cannot be reached, is of another project, env or schema, or would lose what is written.
    """
    database = PostgresDatabase(server, password, roots, read_only)
    try:
        facts = await database.patiently(database.facts)
        sql.expect(server, facts, create)
        if int(facts["schema"]) < sql.SCHEMA:
            raise StateError(
                f"the state {server} has schema {facts['schema']}; this pkicode needs {sql.SCHEMA}",
                help="`pkicode state backup FILE`, then `pkicode state migrate` as the role that owns its tables",
            )
    except BaseException:
        await database.close()
        raise
    return database


class _Differs(Exception):
    """A row of a batch was not touched."""


@frozen
class _Attempt:
    """What a write came to whose COMMIT was sent."""

    value: Any


@define(eq=False)
class PostgresDatabase:
    """One connection, used by one caller at a time."""

    place: Server
    _password: Callable[[], Awaitable[str]] = field(repr=False)
    _roots: str
    _read_only: bool
    skew: int = field(default=0, init=False)
    """Seconds the server's clock is ahead of ours: leases expire by the server's."""
    _connection: Any = field(default=None, init=False, repr=False)
    _alone: asyncio.Lock = field(factory=asyncio.Lock, init=False, repr=False)
    _session: str = field(factory=lambda: os.urandom(16).hex(), init=False, repr=False)
    _number: int = field(default=0, init=False)
    _held: set[str] = field(factory=set, init=False)
    """Names of the leases whose advisory lock is ours."""
    _taking: str = field(default="", init=False)
    _batches: dict[str, str] = field(factory=dict, init=False, repr=False)
    _changed: asyncio.Event | None = field(default=None, init=False, repr=False)

    async def ask(self, make: Callable[[], Steps[_T]]) -> _T:
        """Go through steps that only read."""

        async def once() -> _T:
            return await self.through(make())

        return await self.patiently(once)

    async def write(self, make: Callable[[], Steps[_T]]) -> _T:
        """Go through steps in one transaction: all of it is durable when this returns, or nothing was done."""

        async def within() -> _T:
            return await self.through(make())

        return await self.transact(within)

    async def transact(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run `work` in one transaction, alone among all writers; again from the start if the connection is lost."""
        number = 0
        sent: _Attempt | None = None

        async def once() -> _T:
            nonlocal number, sent
            self._taking = ""
            number = number or self._next()
            connection = await self._connected()
            async with connection.transaction():
                await connection.execute(_WRITE_LOCK, self._key())
                # Whoever sent that COMMIT had the lock: now that we have it, it is settled.
                if sent and await connection.fetchval(_WROTE, self._session) == number:
                    return sent.value  # type: ignore[no-any-return] # of an attempt at this very work
                value = await work()
                if number == 1:
                    await connection.execute(_WRITERS_PAST)
                await connection.execute(_WRITER_PUT, self._session, number)
                sent = _Attempt(value)
            if self._taking:
                # Should the connection end here, it is taken when another one is opened.
                self._held.add(self._taking)
                await self._hold(self._taking)
            return value

        return await self.patiently(once)

    async def look(self, work: Callable[[Any], Awaitable[None]]) -> None:
        """Run `work` on the connection, at one instant of the state; not again if the connection is lost."""
        async with self._alone:
            with told(self.place):
                connection = await self._connected()
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    # It keeps nobody waiting, however long a file of a million rows takes to be checked.
                    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                    await work(connection)

    async def changed(self, seconds: float) -> None:
        """Wait until somebody has written, or so long; a replica tells of nothing."""
        if self._changed is None:
            self._changed = asyncio.Event()

            async def listen() -> None:
                await self._listen(await self._connected())

            await self.patiently(listen)
        elif self._connection is None or self._connection.is_closed():
            await self.patiently(self._connected)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    async def _listen(self, connection: Any) -> None:
        if not await connection.fetchval("SELECT pg_is_in_recovery()"):
            await connection.add_listener(self._channel, self._heard)

    def _heard(self, *_: object) -> None:
        if self._changed:
            self._changed.set()

    async def facts(self) -> dict[str, str]:
        """What meta says; raises NoState where there is none, and Altered where what is written may come to nothing."""
        connection = await self._connected()
        found = await connection.fetchrow(_HAS_META, f"{self.place.schema}.meta")
        if found["meta"] is None:
            raise NoState(f"there is no state in {self.place}")
        if found["planted"]:
            raise sql.altered(self.place, found["planted"])
        return dict(await connection.fetch(sql.META))

    @property
    def connection(self) -> Any:
        """The open connection, for `work` of transact."""
        return self._connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=5)
        except DRIVER:
            connection.terminate()

    def _next(self) -> int:
        self._number += 1
        return self._number

    @property
    def _channel(self) -> str:
        return f"pkicode_{self.place.schema}"[:63]

    def _key(self, lease: str = "") -> int:
        """The number of an advisory lock: of the right to write, or of a lease."""
        name = f"pkicode {self.place.schema} {lease}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)

    async def patiently(self, once: Callable[[], Awaitable[_T]]) -> _T:
        """Do something with the connection, again if that is lost meanwhile."""
        pause = 0.05
        until: float | None = None
        async with self._alone:
            while True:
                try:
                    with told(self.place):
                        return await once()
                except PkicodeError as error:
                    if not self._is_lost(error.__cause__):
                        raise
                    patience = _FIRST if self._connection is None else PATIENCE
                    until = until or time.monotonic() + patience
                    if time.monotonic() >= until:
                        raise
                    if self._connection is not None:
                        self._connection.terminate()
                        self._connection = None
                await asyncio.sleep(pause)
                pause = min(2 * pause, _SLOWEST)

    def _is_lost(self, error: BaseException | None) -> bool:
        gone = self._connection is not None and self._connection.is_closed()
        return isinstance(error, LOST) or (gone and isinstance(error, DRIVER))

    async def _connected(self) -> Any:
        if self._connection is None:
            opened = await connect(self.place, self._password, self._roots, self._read_only)
            self._connection, self.skew = opened
            for name in self._held:
                await self._hold(name)
            if self._changed:
                await self._listen(self._connection)
                # What was said while nobody listened.
                self._changed.set()
        return self._connection

    async def _hold(self, name: str) -> None:
        await self._connection.fetchval(_HOLD, self._key(name))

    async def through(self, going: Steps[_T]) -> _T:
        """Go through steps on the open connection, for `work` of transact."""
        connection = await self._connected()
        answer: Any = None
        while True:
            try:
                step = going.send(answer)
            except StopIteration as ended:
                value: _T = ended.value
                return value
            answer = await self._answer(connection, step)

    async def _answer(self, connection: Any, step: Step) -> Any:
        match step:
            case Read(made=made) if made is list:
                return await connection.fetch(step.statement, *step.values)
            case Read():
                return await _streamed(connection, step)
            case Change(one_each=False):
                await connection.executemany(step.statement, step.rows)
                return None
            case Change():
                return await self._each(connection, step)
            case Claim():
                return await self._claim(connection, step)
            case Let():
                if step.name in self._held:
                    self._held.discard(step.name)
                    await connection.execute(_LET, self._key(step.name))
                return None
            case Tell():
                return await connection.execute(_NOTIFY, self._channel)

    async def _claim(self, connection: Any, step: Claim) -> Callable[[Lease], bool]:
        free = step.name not in self._held and await connection.fetchval(_IS_FREE, self._key(step.name))
        self._taking = step.name

        def is_gone(lease: Lease) -> bool:
            # A session ends with its process, but also with a cable: one that lives elsewhere may come back.
            return bool(free) and (is_dead(lease) or lease.heartbeat + _GRACE <= step.now)

        return is_gone

    async def _each(self, connection: Any, step: Change) -> Row | None:
        """The first row that touches nothing: only looked for when the batch has touched fewer rows than it has."""
        if len(step.rows) > 1:
            try:
                async with connection.transaction():
                    done = await connection.execute(await self._batch(connection, step), *zip(*step.rows, strict=True))
                    if _touched(done) == len(step.rows):
                        return None
                    raise _Differs
            except (_Differs, TWICE):  # the latter: one row twice
                pass
        for row in step.rows:
            if _touched(await connection.execute(step.statement, *row)) != 1:
                return row
        return None

    async def _batch(self, connection: Any, step: Change) -> str:
        """The statement for any number of rows: its values come as one array for each column."""
        text = step.statement
        if text not in self._batches:
            prepared = await connection.prepare(text)
            self._batches[text] = _batched(text, [one.name for one in prepared.get_parameters()])
        return self._batches[text]


def _batched(text: str, types: list[str]) -> str:
    arrays = ", ".join(f"${number}::{name}[]" for number, name in enumerate(types, 1))
    names = ", ".join(f"p{number}" for number in range(1, len(types) + 1))
    rows = f"unnest({arrays}) WITH ORDINALITY AS u ({names}, nth)"
    text = re.sub(r"\$(\d+)", r"u.p\1", text)
    match text.split(maxsplit=1)[0]:
        case "INSERT":
            return re.sub(r"VALUES \((.*?)\)", rf"SELECT \1 FROM {rows} ORDER BY nth", text, count=1)  # noqa: S608 - types and placeholders of ours
        case "DELETE":
            return text.replace(" WHERE ", f" USING {rows} WHERE ", 1)
        case _:
            return text.replace(" WHERE ", f" FROM {rows} WHERE ", 1)


async def _streamed(connection: Any, step: Read) -> list[Any]:
    found: list[Any] = []
    async with connection.transaction():
        cursor = await connection.cursor(step.statement, *step.values)
        while rows := await cursor.fetch(_ROWS):
            found += step.made(rows)
    return found


def _touched(status: str) -> int:
    """How many rows a change touched, from the server's `INSERT 0 5` or `UPDATE 5`."""
    return int(status.rpartition(" ")[2])

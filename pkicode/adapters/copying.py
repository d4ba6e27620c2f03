"""A whole state carried from PostgreSQL into a SQLite file and back, table by table, and the proof that it arrived.

A backup, a check and a comparison of a state in PostgreSQL are those of the file; see backup.py and verify.py.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from pkicode.adapters import statefile, steps
from pkicode.adapters.sqlite import SqliteDatabase
from pkicode.model.problem import StateError
from pkicode.ports import Lease

if TYPE_CHECKING:
    from pkicode.adapters.postgres import PostgresDatabase

_T = TypeVar("_T")
_ROWS = 2000
"""How many rows are carried at once."""


@frozen
class Table:
    """One table: its columns, and those it is ordered by."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def select(self) -> str:
        """Every row, in an order both databases agree in."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name} ORDER BY {', '.join(self.key)}"  # noqa: S608 - names of ours


def tables(connection: sqlite3.Connection) -> tuple[Table, ...]:
    """The tables of a state file, each after those it refers to."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
    found = []
    for (name,) in names:
        facts = connection.execute(f"PRAGMA table_info({name})").fetchall()
        key = sorted((place, column) for _, column, *_, place in facts if place)
        found.append(Table(name, tuple(one[1] for one in facts), tuple(column for _, column in key)))
    return tuple(found)


async def to_file(database: "PostgresDatabase", target: Path) -> None:
    """All of a state in PostgreSQL as it is at one instant, in a new state file (0600).

    Raises:
        StateError: the target is there already or cannot be written, or a certificate arrived altered.
    """
    loop = asyncio.get_running_loop()

    async def work(connection: Any) -> None:
        async def fetched(cursor: Any) -> Sequence[Any]:
            return await cursor.fetch(_ROWS)  # type: ignore[no-any-return] # asyncpg has no types

        async def opened(select: str) -> Any:
            return await connection.cursor(select)

        def wait(work: Callable[..., Awaitable[_T]], of: Any) -> _T:
            return asyncio.run_coroutine_threadsafe(work(of), loop).result()  # type: ignore[arg-type] # both are coroutines

        def pull(select: str) -> Iterator[Sequence[Any]]:
            cursor = wait(opened, select)
            while rows := wait(fetched, cursor):
                yield from map(tuple, rows)

        await asyncio.to_thread(_fill, target, pull)

    await database.look(work)


def _fill(target: Path, pull: Callable[[str], Iterable[Sequence[Any]]]) -> None:
    try:
        with statefile.placed(target) as file:
            statefile.lay_out(file)
            file.execute("BEGIN")
            for table in tables(file):
                marks = ", ".join("?" * len(table.columns))
                read = _Digest()
                rows = read.over(pull(table.select))
                file.executemany(f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", rows)  # noqa: S608 - names of ours
                read.expect(file.execute(table.select), table)
            file.execute("COMMIT")
    except FileExistsError as error:
        raise StateError(f"{target} is there already", help="name a file that does not exist yet") from error


async def from_file(database: "PostgresDatabase", draft: Path, lease: Lease | None) -> None:
    """Make a state in PostgreSQL, whose tables are there, what a state file says, in one transaction.

    Needs the owner's role: rows that are never deleted otherwise are replaced.

    Raises:
        LeaseLost: this is not the newest lease.
        StateError: a row arrived altered, or the role may not.
    """

    async def work() -> None:
        connection = database.connection
        if lease is not None:
            await database.through(steps.fence(lease))
        with closing(sqlite3.connect(draft)) as file:
            known = tables(file)
            for table in reversed(known):
                await connection.execute(f"DELETE FROM {table.name}")  # noqa: S608 - names of ours
            for table in known:
                await _load(connection, file, table)

    await database.transact(work)


async def _load(connection: Any, file: sqlite3.Connection, table: Table) -> None:
    read, arrived = _Digest(), _Digest()
    rows = read.over(file.execute(table.select))
    while some := list(islice(rows, _ROWS)):
        await connection.copy_records_to_table(table.name, records=some, columns=table.columns)
    cursor = await connection.cursor(table.select)
    while some := await cursor.fetch(_ROWS):
        arrived.add(map(tuple, some))
    arrived.same(read, table)
    if table.key == ("id",):
        last = "SELECT setval(pg_get_serial_sequence($1, 'id'), max(id)) FROM "
        await connection.execute(f"{last}{table.name} HAVING max(id) IS NOT NULL", table.name)


async def overwrite(database: "SqliteDatabase | PostgresDatabase", draft: Path, lease: Lease) -> None:
    """Become what a state file says, in one transaction, under the eyes of everybody who has the state open."""
    if isinstance(database, SqliteDatabase):
        await database.overwrite(draft, lease)
    else:
        await from_file(database, draft, lease)


class _Digest:
    """Of the rows of a table, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._count = 0

    def over(self, rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        """The same rows, digested as they pass."""
        for row in rows:
            self._hash.update(repr(row).encode())
            self._count += 1
            yield row

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        for _ in self.over(rows):
            pass

    def expect(self, rows: Iterable[Sequence[Any]], table: Table) -> None:
        """Refuse rows that are not those that were read."""
        arrived = _Digest()
        arrived.add(rows)
        arrived.same(self, table)

    def same(self, read: "_Digest", table: Table) -> None:
        if (self._count, self._hash.digest()) != (read._count, read._hash.digest()):
            raise StateError(
                f"the table {table.name} did not arrive as it was: {self._count} rows of {read._count}, or others;"
                " nothing was changed",
                help="run it again; if it stays so, look at the disks",
            )

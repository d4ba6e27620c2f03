"""A SQLite state: one file, one thread that owns the connection, one transaction for each write.

WAL with synchronous=FULL: what a method returned from survives a power cut, and readers never wait for the writer.
What is asked and written is steps.py's, the file is statefile.py's.
"""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from attrs import field, frozen

from pkicode.adapters import sql, statefile, steps
from pkicode.adapters.holder import is_dead
from pkicode.adapters.sql import NewState
from pkicode.adapters.steps import Change, Claim, Let, Read, Row, Step, Steps, Tell
from pkicode.model.problem import StateError
from pkicode.ports import Lease

_T = TypeVar("_T")


async def open_sqlite(
    path: Path | Literal[":memory:"], *, create: NewState | None, read_only: bool = False
) -> "SqliteDatabase":
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
    return SqliteDatabase(path, connection, thread, identity)


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
            sql.expect(path, facts, create)
            statefile.expect_plain(connection, path)
            statefile.bring_up(connection, int(facts["schema"]), read_only=not writing)
    except BaseException:
        connection.close()
        raise
    return connection, identity


@frozen(eq=False)
class SqliteDatabase:
    """One SQLite file; everything runs in the database's own thread, so the loop is never blocked."""

    place: Path | str
    _connection: sqlite3.Connection = field(repr=False)
    _thread: ThreadPoolExecutor = field(repr=False)
    _identity: tuple[int, int] | None = field(repr=False)

    skew = 0
    """Seconds its clock is ahead of ours: it has none."""

    async def ask(self, make: Callable[[], Steps[_T]]) -> _T:
        """Go through steps that only read."""
        return await self._run(lambda: self._through(make()))

    async def write(self, make: Callable[[], Steps[_T]]) -> _T:
        """Go through steps in one transaction: all of it is durable when this returns, or nothing was done."""

        def within() -> _T:
            with self._transaction():
                return self._through(make())

        return await self._run(within)

    async def overwrite(self, draft: Path, lease: Lease) -> None:
        """Become what the state file `draft` is, in one transaction, under the eyes of everybody who has it open."""

        def copied() -> None:
            self._through(steps.fence(lease))
            with closing(sqlite3.connect(draft)) as source:
                source.backup(self._connection)

        await self._run(copied)

    async def close(self) -> None:
        await self._run(self._connection.close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            with statefile.told(self.place):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    # Below: in the thread.

    def _through(self, going: Steps[_T]) -> _T:
        answer: Any = None
        while True:
            try:
                step = going.send(answer)
            except StopIteration as ended:
                value: _T = ended.value
                return value
            answer = self._answer(step)

    def _answer(self, step: Step) -> Any:
        match step:
            case Read():
                # From the cursor: each row is gone before the next one is read.
                return step.made(self._connection.execute(_rewritten(step.statement), step.values))
            case Change(one_each=False):
                self._connection.executemany(_rewritten(step.statement), step.rows)
                return None
            case Change():
                return self._untouched(_rewritten(step.statement), step.rows)
            case Claim():
                return is_dead
            case Let() | Tell():
                return None

    def _untouched(self, text: str, rows: Sequence[Row]) -> Row | None:
        """The first of these rows that changes nothing; each changes at most one."""
        connection = self._connection
        before = connection.total_changes
        connection.execute("SAVEPOINT each")
        connection.executemany(text, rows)
        if connection.total_changes - before == len(rows):
            connection.execute("RELEASE each")
            return None
        # Which one, is found out a row at a time: what is wrong is rare, and undone by the caller.
        connection.execute("ROLLBACK TO each")
        return next((row for row in rows if connection.execute(text, row).rowcount != 1), None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self._connection
        # IMMEDIATE: what is checked below still holds when it is acted on.
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._identity is not None and not statefile.is_still(Path(self.place), self._identity):
                raise StateError(
                    f"the state {self.place} was removed or replaced while it was open; nothing was written",
                    help="run the command again: it opens the state that is there now",
                )
            yield
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


@cache
def _rewritten(statement: str) -> str:
    """`$1` to `?1`: Python's sqlite3 takes a name with a dollar for a key of a mapping."""
    return re.sub(r"\$(\d+)", r"?\1", statement)

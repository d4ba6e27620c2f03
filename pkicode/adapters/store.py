"""The state store: ports.Store, on SQLite or PostgreSQL.

What may be written when is the callers' business, what is asked and written is steps.py's; how a database is spoken
to, and what makes a write durable there, is sqlite.py's and postgres.py's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from pkicode.adapters import sql, sqlite, steps, wanted
from pkicode.adapters.sql import NewState
from pkicode.adapters.sqlite import SqliteDatabase
from pkicode.config.state_url import Server
from pkicode.model.row import Held
from pkicode.ports import (
    About,
    Archive,
    Artefact,
    Audited,
    Blocked,
    Certificate,
    Ends,
    Lease,
    Match,
    Published,
    Revocation,
    Want,
    Write,
)

if TYPE_CHECKING:
    from pkicode.adapters.postgres import PostgresDatabase


async def open_sqlite(
    path: Path | Literal[":memory:"], *, create: NewState | None, read_only: bool = False
) -> "StateStore":
    """The state in a SQLite file; see sqlite.open_sqlite."""
    return StateStore(await sqlite.open_sqlite(path, create=create, read_only=read_only))


async def open_postgres(
    server: Server,
    password: Callable[[], Awaitable[str]],
    roots: str,
    *,
    create: NewState | None,
    read_only: bool = False,
) -> "StateStore":
    """The state on a PostgreSQL server; see postgres.open_postgres."""
    from pkicode.adapters import postgres  # asyncpg comes with an extra, and takes a while

    return StateStore(await postgres.open_postgres(server, password, roots, create=create, read_only=read_only))


@frozen(eq=False)
class StateStore:
    """ports.Store on a database."""

    database: "SqliteDatabase | PostgresDatabase"

    async def about(self) -> About:
        return await self.database.ask(steps.about)

    async def meta(self) -> Mapping[str, str]:
        return dict(await self._read(sql.META))

    async def held(self, kind: str = "", name: str = "") -> Sequence[Held]:
        if name:
            return await self.database.ask(partial(steps.read, sql.HELD_OF, kind, name, made=sql.held))
        if kind:
            return await self.database.ask(partial(steps.read, sql.HELD_OF_KIND, kind, made=sql.held))
        return await self.database.ask(partial(steps.read, sql.HELD, made=sql.held))

    async def templates(self) -> Mapping[int, str]:
        return dict(await self._read(sql.TEMPLATES))

    async def template(self, text: str, *, lease: Lease) -> int:
        key = sql.digest(text)
        found = await self.database.ask(partial(steps.template, key))
        return await self.database.write(partial(steps.add_template, key, text, lease)) if found is None else found

    async def records(self, kind: str, name: str, keys: Sequence[str] | None = None) -> Mapping[tuple[str, int], str]:
        return await self.database.ask(partial(steps.records, kind, name, keys))

    async def authorities(self) -> Mapping[tuple[str, int], str]:
        return _by_two(await self._read(sql.AUTHORITIES))

    async def living(self, now: int) -> Mapping[tuple[str, int], int]:
        return _by_two(await self._read(sql.LIVING, now))

    async def ends(self) -> Mapping[tuple[str, int], Ends]:
        rows = await self._read(sql.ENDS)
        return {(ca, generation): Ends(leaf, anything) for ca, generation, leaf, anything in rows}

    async def signed(self) -> Mapping[tuple[str, int], int]:
        return _by_two(await self._read(sql.SIGNED))

    async def answerable(self, issuer_key: str, ca: str, generation: int, now: int) -> Sequence[str]:
        return [serial for (serial,) in await self._read(sql.ANSWERABLE, issuer_key, ca, generation, now)]

    async def ders(self, ids: Sequence[tuple[str, str]]) -> Sequence[bytes | None]:
        return await self.database.ask(partial(steps.told_of, sql.DER, ids))

    async def duties(self, ca: str, generation: int, now: int) -> Sequence[str]:
        return [duty for (duty,) in await self._read(sql.DUTIES, ca, generation, now)]

    async def duty_of(self, ids: Sequence[tuple[str, str]]) -> Sequence[str | None]:
        return await self.database.ask(partial(steps.told_of, sql.DUTY, ids))

    async def owners(self, spkis: Sequence[str], now: int) -> Sequence[Sequence[str]]:
        return await self.database.ask(partial(steps.owners, spkis, now))

    async def artefacts(self) -> Sequence[Artefact]:
        return list(starmap(Artefact, await self._read(sql.ARTEFACTS)))

    async def artefact(self, kind: str, name: str, scope: str = "") -> Artefact | None:
        rows = await self._read(sql.ARTEFACT, kind, name, scope)
        return Artefact(*rows[0]) if rows else None

    async def published(self) -> Sequence[Published]:
        return list(starmap(Published, await self._read(sql.PUBLISHED)))

    async def certificates(self, want: Want) -> Sequence[Certificate]:
        statement, values = wanted.certificates(want)
        made = partial(wanted.certificate_rows, with_der=want.with_der)
        return await self.database.ask(partial(steps.read, statement, *values, made=made))

    async def facts(
        self, want: Want, names: Sequence[str], made: Callable[[Iterable[Sequence[Any]]], list[Any]]
    ) -> list[Any]:
        statement, values = wanted.certificates(want, names)
        return await self.database.ask(partial(steps.read, statement, *values, made=made))

    async def intents(self) -> Sequence[Certificate]:
        return list(starmap(Certificate, await self._read(sql.INTENTS)))

    async def revocations(self, issuer_key: str, serials: Sequence[str] | None = None) -> Sequence[Revocation]:
        if serials is None:
            return list(starmap(Revocation, await self._read(sql.REVOCATIONS, issuer_key)))
        found = await self.database.ask(partial(steps.among, sql.REVOCATIONS_OF, serials, issuer_key))
        return list(starmap(Revocation, found))

    async def revoked(self) -> Mapping[str, int]:
        return dict(await self._read(sql.REVOKED))

    async def blocked(self, spkis: Sequence[str] | None = None) -> Mapping[str, Blocked]:
        found = await self.database.ask(partial(steps.blocked, spkis))
        return {one.spki: one for one in starmap(Blocked, found)}

    async def entries(self) -> Mapping[str, int]:
        return dict(await self._read(sql.ENTRIES))

    async def matches(self) -> Sequence[Match]:
        return list(starmap(Match, await self._read(sql.MATCHES)))

    async def archives(self) -> Sequence[Archive]:
        return list(starmap(Archive, await self._read(sql.ARCHIVES)))

    async def acquire(self, name: str, *, holder: str, now: int, ttl: int) -> Lease:
        at, place = now + self.database.skew, str(self.database.place)
        return await self.database.write(partial(steps.acquire, name, holder, at, ttl, place))

    async def renew(self, lease: Lease, *, now: int, ttl: int) -> Lease:
        return await self.database.write(partial(steps.renew, lease, now + self.database.skew, ttl))

    async def release(self, lease: Lease) -> None:
        await self.database.write(partial(steps.release, lease))

    async def break_lease(self, name: str, *, now: int, actor: str) -> Lease | None:
        return await self.database.write(partial(steps.break_lease, name, now, actor))

    async def leases(self) -> Sequence[Lease]:
        return list(starmap(Lease, await self._read(sql.LEASES)))

    async def commit(self, write: Write, lease: Lease) -> int:
        return await self.database.write(partial(steps.commit, write, lease))

    async def audit(self, *, after: int = 0, limit: int = 1000) -> Sequence[Audited]:
        return list(starmap(Audited, await self._read(sql.EVENTS, after, limit)))

    async def changed(self, seconds: float) -> None:
        """Return when somebody has committed, at the latest after so many seconds; a file tells of nothing.

        Raises:
            StateError: the connection was lost, and the server does not come back.
        """
        if isinstance(self.database, SqliteDatabase):
            await asyncio.sleep(seconds)
        else:
            await self.database.changed(seconds)

    async def close(self) -> None:
        await self.database.close()

    async def _read(self, statement: str, *values: object) -> list[Any]:
        return await self.database.ask(partial(steps.read, statement, *values))


def _by_two(rows: Sequence[Any]) -> dict[tuple[str, int], Any]:
    """Rows of (name, generation, value)."""
    return {(name, generation): value for name, generation, value in rows}

"""A state that is made, brought up to date, or carried to another database; what PostgreSQL needs for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pkicode.adapters import copying
from pkicode.adapters.backup import Place, as_file, backup, place_of_file
from pkicode.adapters.store import StateStore
from pkicode.adapters.verify import verify
from pkicode.config.state_url import Server
from pkicode.model.instants import HOUR
from pkicode.model.problem import StateError
from pkicode.ports import Lease, Write
from pkicode.project.state import State

if TYPE_CHECKING:
    from pkicode.adapters.postgres import PostgresDatabase


async def migrate(state: State) -> tuple[int, int]:
    """Make the state, or bring it up; its schema before and after."""
    if isinstance(state.place, Server):
        from pkicode.adapters import postgres_schema

        async with _bare(state, state.place) as database:
            return await postgres_schema.migrate(database, state.wanted())
    async with state.reading() as store:
        before = (await store.about()).schema if store else 0
    store = await state.open()
    try:
        return before, (await store.about()).schema
    finally:
        await store.close()


async def altered(state: State) -> list[str]:
    """What the tables on a server have that no commit asked for; a file is looked at by verify.py."""
    if isinstance(state.place, Path):
        return []
    from pkicode.adapters import postgres_schema

    async with _bare(state, state.place, read_only=True) as database:
        return await postgres_schema.altered(database)


def place(state: State) -> Place:
    """Where a backup is restored to."""
    where = state.place
    if isinstance(where, Path):
        return place_of_file(where, state.clock())

    async def put(draft: Path) -> None:
        await migrate(state)
        async with _bare(state, where) as database:
            await copying.from_file(database, draft, None)

    return Place(state.folder, partial(state.connect, where, None), put)


async def copy(source: State, target: State, *, actor: str) -> None:
    """Carry a state to where none is, with an audit event there; nobody writes meanwhile.

    Raises:
        LeaseHeld: somebody is writing.
        StateError: there is a state already, or what arrived is not sound.
    """
    if source.place == target.place:
        raise StateError("both are the same state", help="`pkicode state backup FILE` makes a copy")
    async with source.writing(source.clock()) as (store, lease):
        await store.renew(lease, now=source.clock(), ttl=HOUR)  # nobody keeps it alive meanwhile
        others = [one for one in await store.leases() if one.name != lease.name]
        held = [await store.acquire(one.name, holder=actor, now=source.clock(), ttl=HOUR) for one in others]
        try:
            async with as_file(store, source.folder) as path:
                await _put(path, target)
            await _taken_over(target, [lease, *held], actor)
        finally:
            for one in held:
                await store.release(one)


async def _put(path: Path, target: State) -> None:
    where = target.place
    if isinstance(where, Path):
        if where.exists():
            raise StateError(f"there is a state in {where} already; nothing was changed", help="move it away first")
        await asyncio.to_thread(backup, path, where)
        return
    try:
        store = await target.connect(where, None, read_only=True)
    except FileNotFoundError:
        await migrate(target)
        store = await target.connect(where, None, read_only=True)
    try:
        if (await store.about()).sequence:
            raise StateError(f"there is a state in {where} already; nothing was changed", help="choose another schema")
    finally:
        await store.close()
    async with _bare(target, where) as database:
        await copying.from_file(database, path, None)


async def _taken_over(target: State, leases: list[Lease], actor: str) -> None:
    """The copy holds the leases that were held over its source: used once, and given back."""
    store: StateStore = await target.open()
    try:
        await store.commit(Write(at=target.clock(), actor=actor, action="copy", subject="state"), leases[0])
        for one in leases:
            await store.release(one)
        async with as_file(store, target.folder) as path:
            wrong = await asyncio.to_thread(verify, path, None)
    finally:
        await store.close()
    if wrong:
        raise StateError(f"the copy is not sound: {wrong[0]}", help="remove it; `pkicode state verify` on the source")


@asynccontextmanager
async def _bare(state: State, server: Server, *, read_only: bool = False) -> "AsyncIterator[PostgresDatabase]":
    """The database, whatever is or is not in it."""
    from pkicode.adapters.postgres import PostgresDatabase

    database = PostgresDatabase(server, state.password, state.roots(server), read_only)
    try:
        yield database
    finally:
        await database.close()

"""Copies of a state, and the way back from one that forgets nothing the world has seen.

Keys are not in the state and not in its copies: the keystore is backed up beside it.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from pkicode.adapters import copying, statefile
from pkicode.adapters.durable import draft_of, put_new, sweep, sync
from pkicode.adapters.sql import NewState
from pkicode.adapters.sqlite import SqliteDatabase
from pkicode.adapters.statefile import Damaged
from pkicode.adapters.store import StateStore, open_sqlite
from pkicode.adapters.verify import verify
from pkicode.model.counted import counted
from pkicode.model.instants import HOUR
from pkicode.model.problem import StateError
from pkicode.ports import Write

_NAMED = 3
"""How many of each loss are named."""

_AWAY = "keep the state; if you are sure that it must go, move it away yourself and restore again"

# What the world has seen and the copy does not know: main is the state, copy the backup.
_CERTIFICATES = """
    SELECT serial || ' (' || address || ')' FROM main.certificates AS m WHERE status <> 'aborted' AND NOT EXISTS (
        SELECT 1 FROM copy.certificates AS c WHERE c.serial = m.serial AND c.issuer_key = m.issuer_key
        AND (m.sha256 = '' OR c.sha256 = m.sha256))"""
_REVOCATIONS = """
    SELECT serial FROM main.revocations AS m WHERE NOT EXISTS (
        SELECT 1 FROM copy.revocations AS c WHERE c.serial = m.serial AND c.issuer_key = m.issuer_key
        AND (m.reason <> 'keyCompromise' OR c.reason = 'keyCompromise'))"""
_BLOCKED = """
    SELECT spki FROM main.blocked AS m WHERE NOT EXISTS (SELECT 1 FROM copy.blocked AS c WHERE c.spki = m.spki)"""
_MATCHES = """
    SELECT entry || ' ' || serial FROM main.matches AS m WHERE NOT EXISTS (
        SELECT 1 FROM copy.matches AS c WHERE c.entry = m.entry AND c.serial = m.serial
        AND c.issuer_key = m.issuer_key)"""
_NUMBERS = """
    SELECT kind || ' ' || name || ' number ' || number FROM main.artefacts AS m WHERE NOT EXISTS (
        SELECT 1 FROM copy.artefacts AS c WHERE c.kind = m.kind AND c.name = m.name AND c.scope = m.scope
        AND (length(c.number), c.number) >= (length(m.number), m.number))"""

_LOSSES = {
    "certificate": _CERTIFICATES,
    "revocation": _REVOCATIONS,
    "blocked key": _BLOCKED,
    "[[revoke]] target": _MATCHES,
    "list": _NUMBERS,
}


def backup(path: Path, target: Path) -> None:
    """Copy the state as it is at one instant, while others may write to it, into a new file (0600).

    Raises:
        FileNotFoundError: there is no state.
        StateError: the target is there already or cannot be written, or the state is damaged.
    """
    try:
        with closing(statefile.connect(path, read_only=True)) as source, statefile.placed(target) as copy:
            source.backup(copy)
            # One file that can be carried away; a state goes back to WAL when it is restored.
            copy.execute("PRAGMA journal_mode = DELETE")
    except FileExistsError as error:
        raise StateError(f"{target} is there already", help="name a file that does not exist yet") from error


@frozen
class Place:
    """Where a state is restored to."""

    folder: Path
    """Where drafts are made, for their owner only."""
    open: Callable[[], Awaitable[StateStore]]
    """Raises FileNotFoundError where nothing is, Damaged where nothing can be read."""
    put: Callable[[Path], Awaitable[None]]
    """Set a state file down where nothing is, or nothing that can be read."""


def place_of_file(path: Path, now: int) -> Place:
    """A SQLite state; a damaged one is kept beside it under another name."""

    async def put(draft: Path) -> None:
        await asyncio.to_thread(_set_down, draft, path, now)

    return Place(path.parent, partial(open_sqlite, path, create=None), put)


async def restore(source: Path, place: Place, *, whose: NewState, now: int, actor: str) -> None:
    """Make the state at `place` what the backup `source` says, with an audit event.

    One that can be read is replaced in one transaction, and only if the world loses nothing by it; leases given before
    are worth nothing afterwards.

    Raises:
        FileNotFoundError: there is no such backup.
        LeaseHeld: somebody is writing.
        StateError: the backup is not sound or not of this project, env and lineage, or it does not know certificates,
            revocations or list numbers that the state knows; nothing was changed.
    """
    wrong = await asyncio.to_thread(verify, source, None)
    if wrong:
        raise StateError(
            f"the backup {source} is not sound: {_listed(wrong)}; nothing was changed", help="try another copy"
        )
    statefile.make_folder(place.folder)
    for name in ("restore", ".restore"):  # the draft, and the draft of that
        sweep(place.folder / name)
    draft = draft_of(place.folder / "restore")
    draft.unlink(missing_ok=True)
    try:
        await asyncio.to_thread(backup, source, draft)
        await asyncio.to_thread(_bring_up, draft)
        if not await _replace(draft, place, whose=whose, now=now, actor=actor):
            await _prepare(draft, [], whose=whose, now=now, actor=actor)
            await place.put(draft)
    finally:
        draft.unlink(missing_ok=True)


@asynccontextmanager
async def as_file(store: StateStore, folder: Path) -> AsyncIterator[Path]:
    """A state file with all that a state holds: its own, or a copy that is gone afterwards."""
    if isinstance(store.database, SqliteDatabase):
        yield Path(store.database.place)
        return
    statefile.make_folder(folder)
    sweep(folder / "copy")
    with TemporaryDirectory(prefix=f"{draft_of(folder / 'copy').name}.", dir=folder) as temporary:
        copy = Path(temporary) / "state.db"
        await copying.to_file(store.database, copy)
        yield copy


def _bring_up(draft: Path) -> None:
    """A copy that an older pkicode made gets the tables it is compared by."""
    with closing(statefile.connect(draft, read_only=False)) as connection, statefile.told(draft):
        facts = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        statefile.bring_up(connection, int(facts["schema"]), read_only=False)
        connection.execute("PRAGMA journal_mode = DELETE")


async def _replace(draft: Path, place: Place, *, whose: NewState, now: int, actor: str) -> bool:
    """Replace a state that can be read; False if there is none."""
    try:
        store = await place.open()
    except (Damaged, FileNotFoundError):
        return False
    leases = []
    try:
        for name in {"project", *(lease.name for lease in await store.leases())}:
            leases.append(await store.acquire(name, holder=f"{actor} (restore)", now=now, ttl=HOUR))
        async with as_file(store, place.folder) as path:
            epochs = await asyncio.to_thread(_compare, path, draft)
        await _prepare(draft, epochs, whose=whose, now=now, actor=actor)
        await copying.overwrite(store.database, draft, leases[0])
    except Damaged:
        return False
    else:
        return True
    finally:
        with suppress(Damaged):
            for lease in leases:
                await store.release(lease)
        await store.close()


def _compare(path: Path, draft: Path) -> list[tuple[str, int]]:
    """Refuse to lose what the world has seen; the epochs that were given, by lease."""
    with closing(statefile.connect(path, read_only=True)) as connection, statefile.told(path):
        connection.execute("ATTACH ? AS copy", (f"{draft.absolute().as_uri()}?mode=ro",))
        lineages = [
            connection.execute(f"SELECT value FROM {one}.meta WHERE key = 'lineage'").fetchone()  # noqa: S608 - two names of ours
            for one in ("main", "copy")
        ]
        if lineages[0] != lineages[1]:
            raise StateError("the backup is of another lineage than the state; nothing was changed", help=_AWAY)
        lost = [
            f"{counted(len(names), what)} ({_listed(names)})"
            for what, query in _LOSSES.items()
            if (names := [row[0] for row in connection.execute(query)])
        ]
        if lost:
            raise StateError(f"the backup does not know {'; '.join(lost)}; nothing was changed", help=_AWAY)
        return connection.execute("SELECT name, epoch FROM leases").fetchall()


async def _prepare(draft: Path, epochs: Sequence[tuple[str, int]], *, whose: NewState, now: int, actor: str) -> None:
    """No epoch is given twice, nobody holds a lease, and the audit says what happened."""
    with closing(sqlite3.connect(draft)) as connection, statefile.told(draft):
        connection.executemany(
            "INSERT INTO leases (name, holder, host, pid, epoch, heartbeat, expires) VALUES (?, '', '', 0, ?, 0, 0)"
            " ON CONFLICT (name) DO UPDATE SET epoch = max(epoch, excluded.epoch)",
            epochs,
        )
        connection.execute("UPDATE leases SET expires = 0")
        connection.commit()
    store = await open_sqlite(draft, create=whose)
    try:
        lease = await store.acquire("project", holder=actor, now=now, ttl=HOUR)
        await store.commit(Write(at=now, actor=actor, action="restore", subject="state"), lease)
        await store.release(lease)
    finally:
        await store.close()


def _set_down(draft: Path, path: Path, now: int) -> None:
    """Put the copy where no state is, or a damaged one, which is kept: its log first, which must not meet the copy."""
    for suffix in ("-wal", "-shm", ""):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{path}.damaged-{now}{suffix}")
    put_new(draft, path)
    sync(path.parent)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")

"""The state of a project: opening it for reading or under the lease, and what a plan needs to know of it."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import evolve, frozen

from pkicode.adapters.journal import Journal
from pkicode.adapters.sql import NewState
from pkicode.adapters.store import StateStore, open_sqlite
from pkicode.config.reader import Config
from pkicode.kinds.authority import several
from pkicode.kinds.selecting import select
from pkicode.model.instants import rfc3339
from pkicode.model.problem import LeaseHeld, StateError
from pkicode.plan.kind import Snapshot
from pkicode.ports import About, CertificateStatus, Lease, Want

LEASE = "project"
LEASE_TTL = 60
"""Seconds a lease outlives its last heartbeat."""
CLOCK_TOLERANCE = 300
"""Apply refuses a clock that is further behind the newest event."""
_POLL = 0.2


@frozen
class State:
    """Where the state is and how it is opened."""

    config: Config
    clock: Callable[[], int]

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.config.root / self.config.settings.state.url.removeprefix("sqlite:///")

    @property
    def journal(self) -> Journal:
        """The issuance journal, beside the database and outside it."""
        return Journal(self.path.parent / "journal.log")

    def wanted(self) -> NewState:
        """Whose state it must be, and what a new one is made with."""
        name = self.config.settings.project.name
        return NewState(project=name, env=self.config.env, lineage=os.urandom(16).hex(), at=self.clock())

    async def open(self) -> StateStore:
        """The store for writing, made if it is not there; closed by the caller."""
        self._refuse_lost()
        return await open_sqlite(self.path, create=self.wanted())

    def _refuse_lost(self) -> None:
        """A journal without its state: a new one would issue everything again, under the same names and keys."""
        if self.journal.path.exists() and not self.path.exists():
            raise StateError(
                f"the state {self.path} is gone: {self.journal.path} lists certificates that were issued from it",
                help="`pkicode state restore BACKUP`; to begin anew for good, move the whole folder away",
            )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[StateStore | None]:
        """The store for reading, None while there is no state yet."""
        self._refuse_lost()
        try:
            store = await open_sqlite(self.path, create=self.wanted(), read_only=True)
        except FileNotFoundError:
            yield None
            return
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def writing(self, now: int) -> AsyncIterator[tuple[StateStore, Lease]]:
        """The store and the lease on it, waited for as long as [state] lock_timeout says.

        Raises:
            LeaseHeld: somebody else is applying.
            StateError: it cannot be opened, or this clock is behind what it holds.
        """
        store = await self.open()
        try:
            lease = await self._lease(store)
            try:
                about = await store.about()
                if now < about.newest - CLOCK_TOLERANCE:
                    raise StateError(
                        f"this clock says {rfc3339(now)}, but the state was written at {rfc3339(about.newest)}",
                        help="set the clock; certificates dated by a wrong one cannot be taken back",
                    )
                yield store, lease
            finally:
                await store.release(lease)
        finally:
            await store.close()

    async def _lease(self, store: StateStore) -> Lease:
        until = time.monotonic() + self.config.settings.state.lock_timeout
        while True:
            try:
                return await store.acquire(LEASE, holder=holder(), now=self.clock(), ttl=LEASE_TTL)
            except LeaseHeld:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(_POLL)

    def empty(self) -> Snapshot:
        """What a plan knows while there is no state."""
        about = About(self.config.settings.project.name, "", self.config.env, 0, 0, "", 0)
        return Snapshot(about, (), {}, {}, (), {})

    async def snapshot(self, store: StateStore | None, at: int | None = None) -> Snapshot:
        """What a plan at this instant needs to know: a handful of queries, whatever the number of certificates."""
        if store is None:
            return self.empty()
        unknown = await store.certificates(Want(statuses=(CertificateStatus.UNKNOWN,), with_der=False))
        lost: dict[str, int] = {}
        for one in unknown:
            lost[one.address] = max(one.generation, lost.get(one.address, 0))
        snapshot = Snapshot(
            about=await store.about(),
            held=await store.held(),
            templates=await store.templates(),
            authorities=await store.authorities(),
            artefacts=await store.artefacts(),
            revoked=await store.revoked(),
            lost=lost,
            selected=await select(self.config, store, self.clock() if at is None else at),
            entries=await store.entries(),
            blocked=await store.blocked(),
        )
        if any(block.kind == "ca" and block.spec.ocsp for block in self.config.blocks):
            snapshot = evolve(snapshot, signed=await store.signed())
        declared = {block.name for block in self.config.blocks if block.kind == "ca"}
        if any(name not in declared for name, _ in snapshot.authorities):
            snapshot = evolve(snapshot, living=await store.living(self.clock()))
        if several(snapshot.authorities, snapshot.held, self.config):
            snapshot = evolve(snapshot, ends=await store.ends())
        return snapshot


def holder() -> str:
    """Who takes a lease or breaks one: a name, not an authentication."""
    return told(f"{os.environ.get('USER', f'uid {os.getuid()}')}@{socket.gethostname()}")


def told(name: str) -> str:
    """A name from the environment as the state can store it: bytes that are no UTF-8 are written out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")

"""The state of a project: opening it for reading or under the lease, and what a plan needs to know of it."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from attrs import evolve, field, frozen

from pkicode.adapters.journal import DamagedJournal, Journal
from pkicode.adapters.secret import read_secret
from pkicode.adapters.sql import NewState
from pkicode.adapters.statefile import identity, make_folder
from pkicode.adapters.store import StateStore, open_postgres, open_sqlite
from pkicode.config import state_url
from pkicode.config.reader import Config
from pkicode.config.state_url import Server
from pkicode.config.wrong import WrongForm
from pkicode.kinds.authority import several
from pkicode.kinds.crl_lists import CLOCK_TOLERANCE
from pkicode.kinds.doomed import current, marked
from pkicode.kinds.rows import believed
from pkicode.kinds.selecting import select
from pkicode.model.change import ReasonCode
from pkicode.model.instants import rfc3339
from pkicode.model.problem import LeaseHeld, PkicodeError, Problem, StateError
from pkicode.plan.kind import Snapshot
from pkicode.ports import NO_LEASE, About, Certificate, CertificateStatus, Lease, Store, Want
from pkicode.project import behind
from pkicode.project.leases import PROJECT, TTL, Leave

_POLL = 0.2


@frozen
class State:
    """Where the state is and how it is opened."""

    config: Config
    clock: Callable[[], int]
    environ: Mapping[str, str] = field(repr=False)

    @property
    def place(self) -> Path | Server:
        """The SQLite file, or the schema on a server."""
        url = self.config.settings.state.url
        path = state_url.sqlite_path(url)
        return self.config.root / path if path else state_url.server(url)

    def at(self, url: str) -> "State":
        """The same project's state, elsewhere.

        Raises:
            PkicodeError: that is no state URL.
        """
        settings = self.config.settings
        try:
            state = evolve(settings.state, url=state_url.checked(url))
        except WrongForm as error:
            raise PkicodeError(str(error), help=error.mend) from error
        return evolve(self, config=evolve(self.config, settings=evolve(settings, state=state)))

    @property
    def folder(self) -> Path:
        """What lies beside the state: the file's own folder, or the one of the keystores."""
        place = self.place
        return place.parent if isinstance(place, Path) else self.config.root / ".pkicode"

    @property
    def journal(self) -> Journal:
        """The issuance journal, outside the database: of all that was signed, or of what this machine has signed."""
        return Journal(self.folder / "journal.log")

    def wanted(self) -> NewState:
        """Whose state it must be, and what a new one is made with."""
        name = self.config.settings.project.name
        return NewState(project=name, env=self.config.env, lineage=os.urandom(16).hex(), at=self.clock())

    async def open(self) -> StateStore:
        """The store for writing, a file made if it is not there; closed by the caller."""
        place = self.place
        if isinstance(place, Path):
            self._refuse_lost(there=place.exists())
            return await open_sqlite(place, create=self.wanted())
        await asyncio.to_thread(make_folder, self.folder)
        try:
            return await self.connect(place, self.wanted())
        except FileNotFoundError:
            self._refuse_lost(there=False)
            raise StateError(
                f"there is no state in {place} yet", help="`pkicode state migrate` makes it, as a role that may"
            ) from None

    async def connect(
        self, server: Server, create: NewState | None, *, read_only: bool = False, commands: bool = True
    ) -> StateStore:
        """The store on a server; see adapters.store.open_postgres."""
        return await open_postgres(
            server, partial(self.password, commands=commands), self.roots(server), create=create, read_only=read_only
        )

    def roots(self, server: Server) -> str:
        """The file that sslrootcert names."""
        return str(self.config.root / server.sslrootcert) if server.sslrootcert else ""

    async def password(self, *, commands: bool = True) -> str:
        """Of the PostgreSQL role, read when a connection is opened; "" where [state] has none."""
        secret = self.config.settings.state.password
        if secret is None:
            return ""
        if secret.command and not commands:
            raise PkicodeError(
                "the password of the state comes from a command, and a plan runs none",
                help="give plan a role that only reads, and its password by env or file",
            )
        found = await read_secret(
            evolve(secret, create=False), root=self.config.root, environ=self.environ, warn=lambda _: None
        )
        return found.decode("utf-8", "surrogateescape")

    def _refuse_lost(self, *, there: bool) -> None:
        """A journal without its state: a new one would issue everything again, under the same names and keys."""
        if self.journal.path.exists() and not there:
            raise StateError(
                f"the state {self.place} is gone: {self.journal.path} lists certificates that were issued from it",
                help="`pkicode state restore BACKUP`; if [state] url is new, `pkicode state copy OLD-URL NEW-URL`; "
                "to begin anew for good, move the whole folder away",
            )

    async def refuse_keys_of_another(self) -> None:
        """CA keys without the state that made them: what was issued with them could not be revoked by a new one.

        Only sealed files are looked at, and only beside a state in a file: its other half says that it was lost.

        Raises:
            StateError: there is no state, and a keystore has keys of the declared CAs; or it cannot be looked for.
        """
        place = self.place
        if not isinstance(place, Path) or _stands(place):
            return
        from pkicode.project.keystores import keystore

        self._refuse_lost(there=False)
        names = {block.name for block in self.config.blocks if block.kind == "ca"}
        for spec in self.config.settings.keystores:
            path = self.config.root / spec.path
            if spec.type != "file" or spec.offline or not path.exists():
                continue
            keys = keystore(self.config, spec.name, self.environ, lambda _: None)
            labels = await keys.labels()
            await keys.close()
            found = [label for label in labels if label.startswith("ca.") and label[3:].partition("@")[0] in names]
            if found:
                raise StateError(
                    f"there is no state {place}, and the keystore {path} has the key of {found[0]}: "
                    "a new state knows nothing of what it signed, and its CRLs would lack what was revoked",
                    help="`pkicode state restore BACKUP`; an overlay or another project needs a [keystore.X] path of "
                    "its own; to begin anew with these keys, knowing that, `pkicode state migrate` makes a state",
                )

    @asynccontextmanager
    async def reading(self, *, commands: bool = True) -> AsyncIterator[StateStore | None]:
        """The store for reading, None while there is no state yet.

        Args:
            commands: whether the password may come from a command.
        """
        place = self.place
        try:
            if isinstance(place, Path):
                store = await open_sqlite(place, create=self.wanted(), read_only=True)
            else:
                store = await self.connect(place, self.wanted(), read_only=True, commands=commands)
        except FileNotFoundError:
            self._refuse_lost(there=False)
            yield None
            return
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def existing(self) -> AsyncIterator[StateStore]:
        """The store for reading.

        Raises:
            PkicodeError: there is no state yet.
        """
        async with self.reading() as store:
            if store is None:
                raise PkicodeError("there is no state yet", help="`pkicode apply` makes it")
            yield store

    async def listening(self) -> StateStore | None:
        """A store that hears of commits, closed by the caller; None where the state is a file or cannot be read now."""
        place = self.place
        if isinstance(place, Path):
            return None
        try:
            return await self.connect(place, self.wanted(), read_only=True)
        except (FileNotFoundError, PkicodeError):
            return None

    @asynccontextmanager
    async def writing(self, now: int, leave: Leave = Leave.ALL) -> AsyncIterator[tuple[StateStore, Lease]]:
        """The store and the project's lease, waited for as long as [state] lock_timeout says; NO_LEASE for lists.

        Raises:
            LeaseHeld: somebody else is applying.
            StateError: it cannot be opened, or this clock is behind what it holds.
        """
        await self.refuse_keys_of_another()
        store = await self.open()
        try:
            lease = await self._leave(store, leave)
            try:
                about = await store.about()
                if now < about.newest - CLOCK_TOLERANCE:
                    raise StateError(
                        f"this clock says {rfc3339(now)}, but the state was written at {rfc3339(about.newest)}",
                        help="set the clock; certificates dated by a wrong one cannot be taken back",
                    )
                yield store, lease
            finally:
                if lease != NO_LEASE:
                    await store.release(lease)
        finally:
            await store.close()

    @asynccontextmanager
    async def applying(self, now: int, leave: Leave = Leave.ALL) -> AsyncIterator[tuple[StateStore, Lease]]:
        """As `writing`, for those who sign, or destroy keys.

        Raises:
            StateError: an older copy of the state was put back: the journal knows certificates that it does not know.
        """
        async with self.writing(now, leave) as (store, lease):
            try:
                await behind.refuse(self.journal, store)
            except DamagedJournal:
                # A revocation waits for nobody who mends a file.
                if leave is not Leave.EITHER:
                    raise
            yield store, lease

    async def behind(self, store: Store | None) -> tuple[Problem, ...]:
        """What a plan says of a state that is behind its journal."""
        return await behind.warnings(self.journal, store) if store else ()

    async def _leave(self, store: Store, leave: Leave) -> Lease:
        if leave is Leave.LISTS:
            return NO_LEASE
        try:
            return await self.lease(store, PROJECT, waits=leave is Leave.ALL)
        except LeaseHeld:
            if leave is Leave.EITHER:
                return NO_LEASE
            raise

    async def lease(self, store: Store, name: str, *, waits: bool = True) -> Lease:
        """A lease, waited for as long as [state] lock_timeout says.

        Raises:
            LeaseHeld: somebody else has it.
        """
        until = time.monotonic() + (self.config.settings.state.lock_timeout if waits else 0)
        while True:
            try:
                return await store.acquire(name, holder=holder(), now=self.clock(), ttl=TTL)
            except LeaseHeld:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(_POLL)

    def empty(self) -> Snapshot:
        """What a plan knows while there is no state."""
        about = About(self.config.settings.project.name, "", self.config.env, 0, 0, "", 0)
        return Snapshot(about, (), {}, {}, (), {})

    async def snapshot(self, store: StateStore | None, at: int | None = None, *, published: bool = False) -> Snapshot:
        """What a plan at this instant needs to know: a handful of queries, whatever the number of certificates.

        Args:
            published: also read what is published, and compare it.
        """
        if store is None:
            return self.empty()
        # One walk over the inventory for both.
        wrong = (CertificateStatus.UNKNOWN, CertificateStatus.REVOKED)
        found = await store.certificates(Want(statuses=wrong, or_reason=ReasonCode.ADOPTED, with_der=False))
        lost = [one for one in found if one.status in wrong]
        blocked = await store.blocked()
        about, templates = await store.about(), await store.templates()
        now = self.clock() if at is None else at
        held = believed(await store.held(), templates, max(now, about.newest) + CLOCK_TOLERANCE)
        snapshot = Snapshot(
            about=about,
            held=marked(held, lost, blocked),
            templates=templates,
            authorities=await store.authorities(),
            artefacts=await store.artefacts(),
            revoked=await store.revoked(),
            lost=_highest(lost, self.config),
            adopted=_highest([one for one in found if one.reason == ReasonCode.ADOPTED], self.config),
            selected=await select(self.config, store, now),
            entries=await store.entries(),
            blocked=blocked,
        )
        if any(one.spec.offline for one in self.config.cas):
            reserved = {(one.address, one.generation): one for one in await store.intents()}
            snapshot = evolve(snapshot, reserved=reserved)
        if any(one.spec.ocsp for one in self.config.cas):
            snapshot = evolve(snapshot, signed=await store.signed())
        if {name for name, _ in snapshot.authorities} - self.config.ca_names:
            snapshot = evolve(snapshot, living=await store.living(self.clock()))
        if several(snapshot.authorities, snapshot.held, self.config):
            snapshot = evolve(snapshot, ends=await store.ends())
        if published:
            # Targets come with fsspec's schemes, and few plans look at them.
            from pkicode.project.lookout import looking

            snapshot = await looking(self.config, snapshot, await store.published())
        return snapshot


def _stands(path: Path) -> bool:
    try:
        identity(path)
    except FileNotFoundError:
        return False
    return True


def _highest(certificates: Iterable[Certificate], config: Config) -> dict[str, int]:
    """Address -> highest generation; also of the address that [[moved]] gives it in this plan."""
    found: dict[str, int] = {}
    for one in certificates:
        found[one.address] = max(one.generation, found.get(one.address, 0))
    if config.settings.moved:
        for text, number in [*found.items()]:
            address = str(current(text, config)) if text.startswith("cert.") else text
            found[address] = max(number, found.get(address, 0))
    return found


def holder() -> str:
    """Who takes a lease or breaks one: a name, not an authentication."""
    return storable(f"{os.environ.get('USER', f'uid {os.getuid()}')}@{socket.gethostname()}")


def storable(name: str) -> str:
    """A name from the environment as the state can store it: bytes that are no UTF-8 are written out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")

"""Looking after a state and the keystores: what is in them, whether they are sound, copies, and the way back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import field, frozen

from pkicode.adapters import loop
from pkicode.adapters.backup import as_file, backup, restore
from pkicode.adapters.offline import OfflineKeyStore
from pkicode.adapters.sealed import SealedKeyStore
from pkicode.adapters.sql import Altered
from pkicode.adapters.verify import audit as verify_audit
from pkicode.adapters.verify import verify as verify_state
from pkicode.model.event import Event
from pkicode.model.faults import Reach
from pkicode.model.keyuse import Attested, KeyUse
from pkicode.model.problem import KeyStoreError, PkicodeError
from pkicode.ports import About, Audited, KeyStore, Lease, Write
from pkicode.project import adopting, keylife, moving, retention
from pkicode.project.adopting import Adoption
from pkicode.project.leases import TTL, kept_alive
from pkicode.project.retention import Removable
from pkicode.project.state import State, holder

T = TypeVar("T")


@frozen
class StateFacts:
    """What `state info` tells."""

    about: About
    place: str
    counts: Mapping[str, int]
    """How many rows of each kind."""
    writing: tuple[str, ...]
    """Names of the leases that are held."""


@frozen
class Upkeep:
    """Looking after the state and the keystores of a project.  Every method blocks."""

    _state: State
    _keystore: Callable[[str], KeyStore] = field(repr=False)
    _reach: Reach = field(repr=False)

    def info(self) -> StateFacts:
        """Whose state it is, and how much is in it.

        Raises:
            PkicodeError: there is none yet.
        """
        return loop.run(self._info())

    async def _info(self) -> StateFacts:
        async with self._state.existing() as store:
            rows = Counter(one.kind for one in await store.held() if not one.is_forgotten)
            leases = tuple(one.name for one in await store.leases())
            return StateFacts(await store.about(), str(self._state.place), dict(sorted(rows.items())), leases)

    def verify(self) -> list[str]:
        """Everything that is wrong with the state, one sentence each."""
        return loop.run(self._verify())

    async def _verify(self) -> list[str]:
        # Where many machines write to one database, each has the journal of what it signed itself.
        whole = isinstance(self._state.place, Path)
        found: list[str] = []
        # A server's state is not read any further; all that is planted in it is told below.
        with suppress(Altered):
            async with self._file() as path:
                archives = retention.folder(self._state)
                found = await asyncio.to_thread(
                    verify_state, path, self._state.journal.path, whole=whole, archives=archives
                )
        return [*await moving.altered(self._state), *found]

    def verify_audit(self) -> list[str]:
        """Where the chain of audit events breaks."""
        return loop.run(self._verify_audit())

    async def _verify_audit(self) -> list[str]:
        async with self._file() as path:
            return await asyncio.to_thread(verify_audit, path)

    @asynccontextmanager
    async def _file(self) -> AsyncIterator[Path]:
        """A file with all that the state holds: its own, which may be damaged, or a copy."""
        place = self._state.place
        if isinstance(place, Path) and place.exists():
            yield place
            return
        async with self._state.existing() as store, as_file(store, self._state.folder) as path:
            yield path

    def audit(self, after: int, limit: int) -> Sequence[Audited]:
        """Audit events after a sequence number, oldest first."""
        return loop.run(self._audit(after, limit))

    async def _audit(self, after: int, limit: int) -> Sequence[Audited]:
        async with self._state.reading() as store:
            return await store.audit(after=after, limit=limit) if store else ()

    def backup(self, target: Path) -> None:
        """A consistent copy of the state in a SQLite file, 0600; keys are not in it."""
        loop.run(self._backup(target))

    async def _backup(self, target: Path) -> None:
        async with self._file() as path:
            await asyncio.to_thread(backup, path, target)

    def restore(self, source: Path) -> None:
        """Put a backup in place, refused where that would lose a certificate, a revocation or a CRL number."""
        state = self._state
        if not source.exists():
            raise PkicodeError(f"there is no backup {source}", help="`pkicode state backup FILE` makes one")
        place = moving.place(state)
        loop.run(restore(source, place, whose=state.wanted(), now=state.clock(), actor=holder()))

    def adoptable(self) -> Adoption:
        """What `adopt` would record now."""
        return loop.run(self._adoptable())

    async def _adoptable(self) -> Adoption:
        async with self._state.existing() as store:
            return await adopting.found(self._state, store, self._keystore)

    def adopt(self) -> Adoption:
        """Record what only the journal knows, and what only published lists say is revoked; see adopting.py."""
        return loop.run(self._adopt())

    async def _adopt(self) -> Adoption:
        async with self._state.writing(self._state.clock()) as (store, lease):

            async def keep() -> None:
                await store.renew(lease, now=self._state.clock(), ttl=TTL)

            # A hundred thousand take longer than a lease lives.
            adoption = await kept_alive(keep, adopting.found(self._state, store, self._keystore))
            if not adoption.is_empty:
                await adopting.record(adoption, self._state, store, lease, holder())
            return adoption

    def migrate(self) -> tuple[int, int]:
        """Make the state, or bring it up to what this pkicode needs; its schema before and after."""
        return loop.run(moving.migrate(self._state))

    def roles(self) -> str:
        """SQL that makes the roles of planner, applier and responder.

        Raises:
            PkicodeError: the state is a file, whose owner may do everything.
        """
        place = self._state.place
        if isinstance(place, Path):
            raise PkicodeError("a state in a file has one role, its owner", help="[state] url names no PostgreSQL")
        from pkicode.adapters.postgres_schema import roles

        return roles(place.schema)

    def copy(self, source: str, target: str) -> None:
        """Carry the state from one [state] url to another where none is; every row is compared on arrival."""
        loop.run(moving.copy(self._state.at(source), self._state.at(target), actor=holder()))

    def removable(self) -> Removable:
        """What `prune` would take now."""
        return loop.run(self._removable())

    async def _removable(self) -> Removable:
        async with self._state.existing() as store:
            return await retention.removable(self._state, store)

    def prune(
        self, emit: Callable[[Event], None], *, at_once: int = retention.AT_ONCE
    ) -> tuple[Removable, tuple[Path, ...]]:
        """Move certificates that ended longer ago than [state] keep says into archives; see retention.Mover."""
        return loop.run(self._prune(emit, at_once))

    async def _prune(self, emit: Callable[[Event], None], at_once: int) -> tuple[Removable, tuple[Path, ...]]:
        async with self._state.writing(self._state.clock()) as (store, lease):
            mover = retention.Mover(self._state, store, holder(), self._reach, emit, at_once)
            return await mover.prune(lease)

    async def aarchives(self) -> list[Path]:
        """The files that the state has receipts for, oldest first.

        Raises:
            PkicodeError: one is not in the folder of archives.
        """
        async with self._state.reading() as store:
            names = sorted({one.file for one in await store.archives()}) if store else []
        folder = retention.folder(self._state)
        if gone := [name for name in names if Path(name).name != name or not (folder / name).exists()]:
            raise PkicodeError(f"the archive {folder / gone[0]} is not there", help="bring it back from your backups")
        return [folder / name for name in names]

    def leases(self) -> Sequence[Lease]:
        """The leases that are held."""
        return loop.run(self._leases())

    async def _leases(self) -> Sequence[Lease]:
        async with self._state.reading() as store:
            return await store.leases() if store else ()

    def break_lease(self, name: str) -> Lease | None:
        """Take a lease away; its holder can commit nothing any more."""
        return loop.run(self._break_lease(name))

    async def _break_lease(self, name: str) -> Lease | None:
        store = await self._state.open()
        try:
            return await store.break_lease(name, now=self._state.clock(), actor=holder())
        finally:
            await store.close()

    def keys(self, name: str) -> Sequence[KeyUse]:
        """The keys of [keystore.NAME] and what needs them; needs neither passphrase nor PIN."""
        return loop.run(self._with(name, self._keys))

    async def _keys(self, keystore: KeyStore) -> Sequence[KeyUse]:
        async with self._state.reading() as store:
            return await keylife.uses(keystore, store, self._state.clock())

    def destroy_keys(self, name: str, labels: Sequence[str]) -> None:
        """Destroy keys of [keystore.NAME] that are removable.

        Raises:
            KeyStoreError: one is not, and nothing was destroyed.
            LeaseHeld: somebody is applying.
        """
        loop.run(self._with(name, partial(self._destroy_keys, labels)))

    async def _destroy_keys(self, labels: Sequence[str], keystore: KeyStore) -> None:
        # Nobody who applies may need, between looking and destroying, what is looked at here.
        now = self._state.clock()
        async with self._state.applying(now) as (store, lease):
            await keylife.destroy(labels, keystore, store, lease, now=now, actor=holder(), reach=self._reach)

    def key_facts(self, name: str) -> Mapping[str, str]:
        """What [keystore.NAME] is, where, and how many keys are there; needs neither passphrase nor PIN."""

        async def facts(store: KeyStore) -> Mapping[str, str]:
            return {**await store.about(), "keys": str(len(await store.labels()))}

        return loop.run(self._with(name, facts))

    def verify_keys(self, name: str) -> Sequence[str]:
        """Every key opened, or used, and compared with its public half; what is wrong, one sentence each."""
        return loop.run(self._with(name, lambda store: store.verify()))

    def attest_keys(self, name: str) -> Sequence[Attested]:
        """What the token of [keystore.NAME] says of each key; needs the PIN.

        Raises:
            KeyStoreError: it is no token, or a key is not whole.
        """

        async def attested(store: KeyStore) -> Sequence[Attested]:
            types = {one.name: one.type for one in self._state.config.settings.keystores}
            if types[name] != "pkcs11":
                raise KeyStoreError(f"[keystore.{name}] is no token, and says nothing of its keys")
            from pkicode.adapters.pkcs11 import Pkcs11KeyStore

            return await store.attest() if isinstance(store, Pkcs11KeyStore) else ()

        return loop.run(self._with(name, attested))

    def rewrap(self, name: str, passphrase: bytes) -> int:
        """Seal [keystore.NAME] under a new passphrase; returns how many keys it holds."""

        async def sealed_again(store: KeyStore) -> int:
            return await _sealed(store, name).rewrap(passphrase)

        return loop.run(self._with(name, sealed_again))

    def backup_keys(self, name: str, target: Path) -> int:
        """Copy [keystore.NAME], consistent while others write, into a new file, 0600; how many keys it holds.

        Raises:
            KeyStoreError: it is no sealed file, or a key of it does not open.
        """

        async def copied(store: KeyStore) -> int:
            return await _sealed(store, name).backup(target)

        return loop.run(self._with(name, copied))

    def restore_keys(self, name: str, source: Path) -> tuple[int, Path | None]:
        """Put a backup in place of [keystore.NAME]; how many keys it holds, and where the file before it is kept.

        Raises:
            KeyStoreError: a key of the backup does not open, or it lacks one that is there; nothing was changed.
            LeaseHeld: somebody is applying.
        """
        if not source.exists():
            raise PkicodeError(f"there is no backup {source}", help="`pkicode keystore backup FILE` makes one")
        return loop.run(self._with(name, partial(self._restore_keys, name, source)))

    async def _restore_keys(self, name: str, source: Path, keystore: KeyStore) -> tuple[int, Path | None]:
        now, sealed = self._state.clock(), _sealed(keystore, name)
        async with self._state.reading() as store:
            is_there = store is not None
        if not is_there:
            return await sealed.restore(source, now)
        # Who applies has the file open, and would go on making keys in the one that is taken away.
        async with self._state.writing(now) as (store, lease):
            done = await sealed.restore(source, now)
            event = Write(at=now, actor=holder(), action="keystore.restore", subject=name)
            await store.commit(event, lease)
            return done

    async def _with(self, name: str, work: Callable[[KeyStore], Awaitable[T]]) -> T:
        store = self._keystore(name)
        try:
            return await work(store)
        finally:
            await store.close()


def _sealed(store: KeyStore, name: str) -> SealedKeyStore:
    if isinstance(store, OfflineKeyStore):
        raise KeyStoreError(
            f"[keystore.{name}] is offline: here are the cards of its keys, and no key",
            help="copy the folder of the cards as you copy pki.toml; the keys are copied where they are",
        )
    if not isinstance(store, SealedKeyStore):
        raise KeyStoreError(
            f"[keystore.{name}] is no sealed file",
            help="a token has its own tools, for its PIN and for copies",
        )
    return store

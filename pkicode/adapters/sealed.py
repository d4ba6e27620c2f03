"""The file keystore (ports.KeyStore): private keys at rest in one sealed file, opened with one passphrase.

Whoever reads the file learns labels, algorithms and public keys.  Whoever writes it can remove keys, which the state
then misses, but cannot exchange one: a key opens only under its own label, algorithm and public key.
A new passphrase seals every key again: with a kept data key, an old copy of the file and the old passphrase would
open all keys that are made later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from pkicode.adapters import keycopy
from pkicode.adapters.durable import make_folder
from pkicode.adapters.envelope import Envelope, Header, Minter, NotOpened, new_header, open_header
from pkicode.adapters.keyfile import KeyFile, find_key_file, make_key_file, read_copy
from pkicode.adapters.keyrules import refuse_other_algorithms
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts, Mint, MintedKey, NewKey, Signer
from pkicode.x509 import keys as x509_keys

T = TypeVar("T")


@frozen
class _Opened:
    header: Header
    envelope: Envelope


class SealedKeyStore:
    """[keystore.X] of type "file".  The passphrase is asked for once, when a private key is first needed.

    Any number of processes may use one file; each call is one transaction.
    """

    def __init__(self, path: Path, passphrase: Callable[[], Awaitable[bytes]]) -> None:
        self._path = path
        self._passphrase = passphrase
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keystore")
        self._lock = asyncio.Lock()
        self._file: KeyFile | None = None
        self._opened: _Opened | None = None
        self._signers: dict[str, Signer] = {}

    async def create(self, keys: Sequence[NewKey]) -> Sequence[KeyFacts]:
        """ports.KeyStore.create; the keys are made one after another in this process."""
        opened = await self._open()
        return await self._call(self._create, opened, keys)

    async def mint(self) -> Mint | None:
        """ports.KeyStore.mint; never None."""
        return Minter((await self._open()).envelope)

    async def keep(self, minted: Sequence[MintedKey]) -> Sequence[KeyFacts]:
        """ports.KeyStore.keep."""
        opened = await self._open()
        return await self._call(self._keep, opened, minted)

    async def find(self, labels: Sequence[str]) -> Mapping[str, KeyFacts]:
        """ports.KeyStore.find.  Nobody vouches for these facts before the key is opened; they are good for planning."""
        rows = await self._call(self._rows, labels)
        return {label: row.facts for label, row in rows.items()}

    async def labels(self) -> Sequence[str]:
        """ports.KeyStore.labels, sorted."""
        return await self._call(self._labels)

    async def about(self) -> Mapping[str, str]:
        """ports.KeyStore.about."""
        return {"file": str(self._path), "is there": "yes" if await self._call(self._exists) else "no"}

    async def signer(self, label: str) -> Signer:
        """ports.KeyStore.signer."""
        if label not in self._signers:
            [pkcs8] = await self.export([label])
            self._signers[label] = x509_keys.soft_signer(label, x509_keys.load_signing(pkcs8))
        return self._signers[label]

    async def export(self, labels: Sequence[str]) -> Sequence[bytes]:
        """ports.KeyStore.export."""
        rows = await self._call(self._rows, labels)
        for label in labels:
            if label not in rows:
                raise KeyStoreError(
                    f"the keystore {self._path} holds no key {label}",
                    help="restore the keystore from a backup; a key cannot be made again",
                )
        opened = await self._open()
        return await self._call(lambda: [self._reveal(opened, rows[label]) for label in labels])

    async def rewrap(self, passphrase: bytes) -> int:
        """Seal every key again under a new passphrase, all or nothing; how many there are.

        A process killed at any instant leaves a keystore that opens with the old passphrase or with the new one,
        and which one it is, is the instant of one commit.  The passphrase's source is the caller's to change.
        """
        _refuse_empty(passphrase)
        await self._require_there()
        opened = await self._open()
        count, self._opened = await self._call(self._rewrap, opened, passphrase)
        return count

    async def backup(self, target: Path) -> int:
        """Copy the file as it is at one instant, and open every key of the copy; how many there are.

        The copy opens with the passphrase of now, also after a later `rewrap`.

        Raises:
            KeyStoreError: there is no keystore, a key does not open, or something is at `target`; nothing is there.
        """
        await self._require_there()
        opened = await self._open()
        return await self._call(self._backup, opened, target)

    async def restore(self, source: Path, now: int) -> tuple[int, Path | None]:
        """Put a backup in place, once every key in it was opened with the passphrase.

        Whoever has the file open goes on with what was there: the caller sees that nobody does.

        Returns:
            How many keys there are, and where the keystore before it is kept, if there was one.

        Raises:
            KeyStoreError: a key of it does not open, or it lacks one that is there; nothing was changed.
        """
        passphrase = await self._passphrase()
        _refuse_empty(passphrase)
        return await self._call(self._restore, source, passphrase, now)

    async def destroy(self, keys: Sequence[KeyFacts]) -> None:
        """ports.KeyStore.destroy, in one transaction; copies of the file are not reached."""
        opened = await self._open()
        await self._call(lambda: self._here().remove(keys, opened.header))

    async def verify(self) -> Sequence[str]:
        """ports.KeyStore.verify: damage, altered rows, keys that are not what they say."""
        if not await self._call(self._exists):
            return []
        opened = await self._open()
        return await self._call(self._verify, opened)

    async def close(self) -> None:
        """ports.KeyStore.close."""
        await self._call(self._close)
        self._opened = None
        self._signers.clear()
        self._thread.shutdown()

    async def _require_there(self) -> None:
        if not await self._call(self._exists):
            raise KeyStoreError(
                f"there is no keystore {self._path} yet", help="the first apply that needs a key makes it"
            )

    # What follows `_call` runs in the keystore's one thread, which owns the connection.

    async def _call(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def _open(self) -> _Opened:
        async with self._lock:
            if self._opened is None:
                passphrase = await self._passphrase()
                _refuse_empty(passphrase)
                self._opened = await self._call(self._unlock, passphrase)
            return self._opened

    def _reveal(self, opened: _Opened, row: MintedKey) -> bytes:
        try:
            return opened.envelope.open_key(row)
        except NotOpened:
            self._here().require(opened.header)
            raise KeyStoreError(
                f"the key {row.facts.label} in the keystore {self._path} was altered",
                help="restore the keystore from a backup, and find out who wrote to it",
            ) from None

    def _unlock(self, passphrase: bytes) -> _Opened:
        file = self._here()
        header = file.header()
        if header is None:
            ours, envelope = new_header(passphrase)
            header = file.settle_header(ours)
            if header == ours:
                return _Opened(header, envelope)
        try:
            return _Opened(header, open_header(header, passphrase))
        except NotOpened:
            raise KeyStoreError(
                f"the passphrase does not open the keystore {self._path}",
                help="check where [keystore.X] passphrase is read from; a lost passphrase cannot be recovered",
            ) from None

    def _create(self, opened: _Opened, keys: Sequence[NewKey]) -> Sequence[KeyFacts]:
        wanted = {key.label: key for key in keys}
        held = self._rows(list(wanted))
        refuse_other_algorithms(keys, {label: row.facts for label, row in held.items()})
        for row in held.values():
            self._reveal(opened, row)
        minted = Minter(opened.envelope)([key for label, key in wanted.items() if label not in held])
        kept = self._keep(opened, minted) if minted else ()
        facts = {label: row.facts for label, row in held.items()} | {fact.label: fact for fact in kept}
        # Again, for a label that another process made in between.
        refuse_other_algorithms(keys, facts)
        return [facts[key.label] for key in keys]

    def _keep(self, opened: _Opened, minted: Sequence[MintedKey]) -> Sequence[KeyFacts]:
        # A key sealed wrongly would be a key lost, found out only when it is needed.
        for key in minted:
            self._reveal(opened, key)
        if self._here().insert(minted, opened.header) == len(minted):
            return [key.facts for key in minted]
        rows = self._rows([key.facts.label for key in minted])
        for row in rows.values():
            self._reveal(opened, row)
        return [rows[key.facts.label].facts for key in minted]

    def _rewrap(self, opened: _Opened, passphrase: bytes) -> tuple[int, _Opened]:
        header, envelope = new_header(passphrase)

        def reseal(row: MintedKey) -> bytes:
            return envelope.seal_key(row.facts, self._reveal(opened, row)).sealed

        return self._here().rewrap(opened.header, header, reseal), _Opened(header, envelope)

    def _backup(self, opened: _Opened, target: Path) -> int:
        with keycopy.draft(target) as made:
            self._here().copy(made, target)
            count = len(_checked(made, opened))
            keycopy.put_new(made, target)
        return count

    def _restore(self, source: Path, passphrase: bytes, now: int) -> tuple[int, Path | None]:
        make_folder(self._path.parent, 0o700)
        with keycopy.draft(self._path) as made:
            with closing(read_copy(source)) as copy:
                copy.copy(made, self._path)
            with closing(read_copy(made)) as copy:
                header = copy.header()
            try:
                opened = _Opened(header, open_header(header, passphrase)) if header else None
            except NotOpened:
                opened = None
            if opened is None:
                raise KeyStoreError(
                    f"the passphrase does not open the backup {source}; nothing was changed",
                    help="it is sealed with that of its day: have [keystore.X] passphrase read from there for this",
                )
            keys = _checked(made, opened)
            keycopy.refuse_losing(self._path, keys)
            self._close()
            return len(keys), keycopy.put_over(made, self._path, now)

    def _verify(self, opened: _Opened) -> Sequence[str]:
        return _findings(self._here(), opened)

    def _rows(self, labels: Sequence[str]) -> Mapping[str, MintedKey]:
        file = self._look()
        return file.select(labels) if file else {}

    def _labels(self) -> Sequence[str]:
        file = self._look()
        return file.labels() if file else []

    def _exists(self) -> bool:
        file = self._look()
        return file is not None and file.header() is not None

    def _look(self) -> KeyFile | None:
        """The file if it is there: reading makes none."""
        self._file = self._file or find_key_file(self._path)
        return self._file

    def _here(self) -> KeyFile:
        self._file = self._file or make_key_file(self._path)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _refuse_empty(passphrase: bytes) -> None:
    if not passphrase:
        raise KeyStoreError("the passphrase of the keystore is empty", help="give it at least 20 random characters")


def _checked(path: Path, opened: _Opened) -> Mapping[str, MintedKey]:
    """Every key of a copy, each opened.

    Raises:
        KeyStoreError: one does not open.
    """
    with closing(read_copy(path)) as file:
        file.require(opened.header)
        if wrong := _findings(file, opened):
            raise KeyStoreError(
                f"the copy would be of no use: {'; '.join(wrong[:3])}", help="`pkicode keystore verify` says all of it"
            )
        return {row.facts.label: row for batch in file.batches() for _, row in batch}


def _findings(file: KeyFile, opened: _Opened) -> Sequence[str]:
    """Damage, altered rows, keys that are not what they say."""
    found = [f"the file is damaged: {text}" for text in file.damage()]
    for batch in file.batches():
        for _, row in batch:
            try:
                pkcs8 = opened.envelope.open_key(row)
            except NotOpened:
                found.append(f"the key {row.facts.label} was altered")
                continue
            if x509_keys.spki(x509_keys.load_pkcs8(pkcs8, trusted=True)) != row.facts.spki:
                found.append(f"the key {row.facts.label} is not the private half of its public key")
    return found

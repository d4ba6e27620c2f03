"""A keystore that opens in a millisecond: the real file and the real seals, at a scrypt cost that only tests may have.

With the cost people get (0.4 s a guess) a hundred applies would take minutes and say nothing more.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from pkicode.adapters.envelope import Envelope, Header
from pkicode.adapters.keyfile import make_key_file
from pkicode.ports import KeyStore

PASSPHRASE = b"planted-Passphrase-9f2c17"
_Store = TypeVar("_Store", bound=KeyStore)
_COST, _BLOCK, _LANES = 16, 8, 1


_numbers = count(1)


def another(folder: Path, name: str) -> Path:
    """A folder that nobody has used: with several processes a ground may be made twice."""
    return folder / f"{name}-{next(_numbers)}"


def using(store: _Store, use: Callable[[_Store], Awaitable[Any]]) -> Any:
    """What `use(store)` returns; the store is closed afterwards, as a command does."""

    async def main() -> Any:
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(main())


def quick_keystore(root: Path) -> None:
    """`.pkicode/passphrase` and an empty `.pkicode/keys.db` that it opens."""
    folder = root / ".pkicode"
    folder.mkdir(mode=0o700)
    secret = folder / "passphrase"
    secret.touch(mode=0o600)
    secret.write_bytes(PASSPHRASE + b"\n")
    quick_key_file(folder / "keys.db")


def quick_key_file(path: Path) -> None:
    """An empty keystore that PASSPHRASE opens."""
    salt = os.urandom(32)
    envelope = Envelope(hashlib.scrypt(PASSPHRASE, salt=salt, n=_COST, r=_BLOCK, p=_LANES, dklen=32))
    proof = envelope.seal(b"", b"pkicode keystore 1", f"{_COST} {_BLOCK} {_LANES}".encode(), salt)
    with closing(make_key_file(path)) as file:
        file.settle_header(Header(_COST, _BLOCK, _LANES, salt, proof))

"""Where copies of a keystore file are put: complete, durable, private from creation, and over nothing that they lack.

What is in them is sealed; who opens and checks them is sealed.py.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pkicode.adapters import durable
from pkicode.adapters.durable import sync
from pkicode.adapters.keyfile import find_key_file
from pkicode.model.problem import KeyStoreError
from pkicode.ports import MintedKey

_NAMED = 3
"""How many keys that would be lost are named."""


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, for its owner only, which is gone afterwards.

    Raises:
        KeyStoreError: there is no room, or no leave.
    """
    if not path.name:
        raise KeyStoreError(f"{path} is a folder", help="name a file in it")
    made = durable.draft_of(path)
    try:
        # In a container every process may have the same number.
        made.unlink(missing_ok=True)
        durable.sweep(path)
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        yield made
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}", help="make room, or name another file") from error
    finally:
        made.unlink(missing_ok=True)


def put_new(made: Path, path: Path) -> None:
    """A draft under its name, where nothing is.

    Raises:
        KeyStoreError: something is there.
    """
    sync(made)
    try:
        durable.put_new(made, path)
    except FileExistsError as error:
        raise KeyStoreError(f"{path} is there already", help="name a file that does not exist yet") from error
    sync(path.parent)


def put_over(made: Path, path: Path, now: int) -> Path | None:
    """A draft in place of the keystore, in one step; where the one before is kept, None where there was none."""
    sync(made)
    aside = None
    if os.path.lexists(path):
        aside = _aside(path, now)
        # Of a damaged file: what would be rolled back into the new one.
        journal = path.with_name(f"{path.name}-journal")
        if journal.exists():
            journal.rename(aside.with_name(f"{aside.name}-journal"))
    made.replace(path)
    sync(path.parent)
    return aside


def _aside(path: Path, now: int) -> Path:
    """A second name of the file that is there, one that nothing has."""
    while True:
        aside = path.with_name(f"{path.name}.before-{now}")
        with suppress(FileExistsError):
            durable.keep_aside(path, aside)
            return aside
        now += 1


def refuse_losing(path: Path, copy: Mapping[str, MintedKey]) -> None:
    """Nothing is put over a keystore with a key that the copy does not have; a damaged one has none that can be had.

    Raises:
        KeyStoreError: it has one.
    """
    held = _held(path)
    lost = sorted(one for one, key in held.items() if one not in copy or copy[one].facts != key.facts)
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        raise KeyStoreError(
            f"the backup does not know {', '.join(lost[:_NAMED])}{more}; nothing was changed",
            help=f"keep {path}; if you are sure that it must go, move it away yourself and restore again",
        )


def _held(path: Path) -> Mapping[str, MintedKey]:
    try:
        there = find_key_file(path)
        if there is None:
            return {}
        with closing(there):
            return there.select(there.labels())
    except KeyStoreError as error:
        # The low byte is the code (sqlite.org/rescode.html).  Whatever else is wrong with it, its keys are there.
        if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return {}
        raise

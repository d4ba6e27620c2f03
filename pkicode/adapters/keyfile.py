"""The keystore's file: one SQLite database, 0600 from its creation, in a folder that nobody else may enter.

Rows are sealed before they come here and opened elsewhere; this file never sees a key or a passphrase.
The journal is truncated, not a WAL: between commits the one file is everything.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from json import dumps
from pathlib import Path
from urllib.parse import quote

from attrs import astuple

from pkicode.adapters.durable import make_folder, sync
from pkicode.adapters.envelope import Header
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts, MintedKey

_APPLICATION = 0x706B6B73
"""`pkks` at offset 68 of the file."""
_FORMAT = 1
_BATCH = 1000
_SCHEMA = (
    """CREATE TABLE header (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL, r INTEGER NOT NULL,
           p INTEGER NOT NULL, salt BLOB NOT NULL, proof BLOB NOT NULL) STRICT""",
    """CREATE TABLE keys (id INTEGER PRIMARY KEY, label TEXT NOT NULL UNIQUE, alg TEXT NOT NULL, spki BLOB NOT NULL,
           sealed BLOB NOT NULL) STRICT""",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_FORMAT}",
)
_SELECT = "SELECT label, alg, spki, sealed FROM keys WHERE label IN (SELECT value FROM json_each(?))"


class KeyFile:
    """One connection, for the thread that opened it.  Every method raises KeyStoreError when the file fails."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def header(self) -> Header | None:
        """None as long as no passphrase was chosen."""
        with self._telling():
            row = self._connection.execute("SELECT n, r, p, salt, proof FROM header").fetchone()
        return Header(*row) if row else None

    def settle_header(self, header: Header) -> Header:
        """Store the header unless another process was first; the one that counts."""
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO header VALUES (1, ?, ?, ?, ?, ?)", astuple(header))
            row = self._connection.execute("SELECT n, r, p, salt, proof FROM header").fetchone()
        return Header(*row)

    def insert(self, keys: Sequence[MintedKey], header: Header) -> int:
        """Store those whose label is not there yet, all in one durable commit; how many they were."""
        rows = ((key.facts.label, key.facts.alg, key.facts.spki, key.sealed) for key in keys)
        with self._transaction():
            self._require(header)
            return self._connection.executemany(
                "INSERT INTO keys (label, alg, spki, sealed) VALUES (?, ?, ?, ?) ON CONFLICT (label) DO NOTHING", rows
            ).rowcount

    def select(self, labels: Sequence[str]) -> Mapping[str, MintedKey]:
        """Those that are there, in one query however many are asked for."""
        with self._telling():
            rows = self._connection.execute(_SELECT, (dumps(list(labels)),)).fetchall()
        return {row[0]: MintedKey(KeyFacts(*row[:3]), row[3]) for row in rows}

    def labels(self) -> Sequence[str]:
        """Sorted."""
        with self._telling():
            return [label for (label,) in self._connection.execute("SELECT label FROM keys ORDER BY label")]

    def batches(self) -> Iterator[Sequence[tuple[int, MintedKey]]]:
        """Every key with its row number, a thousand at a time: memory does not grow with the keystore."""
        last = 0
        query = "SELECT id, label, alg, spki, sealed FROM keys WHERE id > ? ORDER BY id LIMIT ?"
        while True:
            with self._telling():
                rows = self._connection.execute(query, (last, _BATCH)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [(row[0], MintedKey(KeyFacts(*row[1:4]), row[4])) for row in rows]

    def rewrap(self, old: Header, new: Header, reseal: Callable[[MintedKey], bytes]) -> int:
        """Replace every seal and the header, all or nothing; how many keys there are.

        What `reseal` raises undoes it.
        """
        count = 0
        with self._transaction():
            self._require(old)
            # Overwrite the old seals: whoever knows the old passphrase may find them in free pages otherwise.
            self._connection.execute("PRAGMA secure_delete = ON")
            for batch in self.batches():
                changes = [(reseal(key), number) for number, key in batch]
                self._connection.executemany("UPDATE keys SET sealed = ? WHERE id = ?", changes)
                count += len(batch)
            self._connection.execute("UPDATE header SET n = ?, r = ?, p = ?, salt = ?, proof = ?", astuple(new))
        return count

    def remove(self, keys: Sequence[KeyFacts], header: Header) -> None:
        """Delete and overwrite these, all in one durable commit, or none where a label is another key."""
        with self._transaction():
            self._require(header)
            self._connection.execute("PRAGMA secure_delete = ON")
            for key in keys:
                row = self._connection.execute("SELECT spki FROM keys WHERE label = ?", (key.label,)).fetchone()
                if row is not None and row != (key.spki,):
                    raise KeyStoreError(
                        f"the key {key.label} is another one than it was; nothing was destroyed",
                        help="look at it again: `pkicode keystore list`",
                    )
            self._connection.executemany("DELETE FROM keys WHERE label = ?", [(key.label,) for key in keys])

    def copy(self, draft: Path, target: Path) -> None:
        """All of it as it is at one instant, while others may write to it, into an empty file: `target`, one day."""
        try:
            with closing(sqlite3.connect(draft)) as file:
                self._connection.backup(file)
        except sqlite3.Error as error:
            with _telling(target if _code(error) in _OF_THE_COPY else self._path):
                raise

    def damage(self) -> Sequence[str]:
        """What SQLite finds wrong with the file."""
        with self._telling():
            found = [text for (text,) in self._connection.execute("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def require(self, header: Header) -> None:
        """Raises KeyStoreError: another process has changed the passphrase since `header` was read."""
        with self._telling():
            self._require(header)

    def close(self) -> None:
        self._connection.close()

    def _require(self, header: Header) -> None:
        row = self._connection.execute("SELECT salt FROM header").fetchone()
        if row != (header.salt,):
            raise KeyStoreError(
                f"the passphrase of the keystore {self._path} was changed by another process; nothing was stored",
                help="run the command again, with the new passphrase",
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._telling():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _telling(self) -> AbstractContextManager[None]:
        return _telling(self._path)


def find_key_file(path: Path) -> KeyFile | None:
    """The keystore at `path`, None where there is none.

    Raises:
        KeyStoreError: others may read it, it is not a keystore, or it is damaged.
    """
    return _open(path) if os.path.lexists(path) else None


def make_key_file(path: Path) -> KeyFile:
    """The keystore at `path`; where there is none, a new empty one.

    Raises:
        KeyStoreError: as find_key_file, or it cannot be made.
    """
    with _telling(path):
        make_folder(path.parent, 0o700)
        # Never readable by others, not even for an instant, and never somebody else's file.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            sync(path.parent)
    return _open(path)


def read_copy(path: Path) -> KeyFile:
    """A keystore file that lies where backups are kept, to be read only; who else may read it is not asked.

    Raises:
        KeyStoreError: it is not there, not a keystore, or damaged.
    """
    with _telling(path):
        # SQLite would wait at a pipe for whoever writes into it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise KeyStoreError(f"{path} is not a regular file", help="name a file that `pkicode keystore backup` made")
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30, isolation_level=None)
        try:
            if not _is_ours(path, connection):
                raise KeyStoreError(f"{path} is not a keystore", help="name a file that `pkicode keystore backup` made")
        except BaseException:
            connection.close()
            raise
    return KeyFile(path, connection)


def _open(path: Path) -> KeyFile:
    with _telling(path):
        _refuse_open_doors(path)
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            _prepare(path, connection)
            connection.execute("PRAGMA journal_mode = TRUNCATE")
        except BaseException:
            connection.close()
            raise
    return KeyFile(path, connection)


def _refuse_open_doors(path: Path) -> None:
    facts = path.lstat()
    if not stat.S_ISREG(facts.st_mode):
        raise KeyStoreError(f"the keystore {path} is not a regular file", help="name the file itself, not a link to it")
    for place, mode, right in ((path.parent, path.parent.stat().st_mode, "700"), (path, facts.st_mode, "600")):
        if stat.S_IMODE(mode) & 0o077:
            raise KeyStoreError(
                f"{place} may be read or written by others (mode {stat.S_IMODE(mode):04o}), and it holds private keys",
                help=f"run `chmod {right} {place}`",
            )


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    if _is_ours(path, connection):
        return
    # Two processes may both find an empty file: look again once nobody else can write.
    connection.execute("BEGIN IMMEDIATE")
    if not _is_ours(path, connection):
        for statement in _SCHEMA:
            connection.execute(statement)
    connection.execute("COMMIT")


def _is_ours(path: Path, connection: sqlite3.Connection) -> bool:
    """False for an empty file."""
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == _APPLICATION and version > _FORMAT:
        raise KeyStoreError(f"the keystore {path} was made by a newer pkicode", help="use that version, or a newer one")
    if tables and application != _APPLICATION:
        raise KeyStoreError(f"{path} is a database, but not a keystore", help="give [keystore.X] path another file")
    if tables and not _has_our_tables_alone(connection):
        raise KeyStoreError(
            f"the keystore {path} was altered: it has tables or triggers that no pkicode makes",
            help="move it away, restore a backup, and find out who wrote to it",
        )
    return bool(tables)


def _has_our_tables_alone(connection: sqlite3.Connection) -> bool:
    """A trigger would remove each key that is stored, or keep what a new passphrase is to overwrite."""
    made = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    ours = (one for one in _SCHEMA if one.startswith("CREATE"))
    return sorted(" ".join(text.split()) for (text,) in made) == sorted(" ".join(text.split()) for text in ours)


_MENDS = {
    sqlite3.SQLITE_FULL: ("the disk is full; nothing was stored", "make room, then run the command again"),
    sqlite3.SQLITE_BUSY: ("another process keeps it locked", "wait for the other pkicode, then run the command again"),
    sqlite3.SQLITE_READONLY: ("it may not be written", "run as the user who owns it"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "run as the user who owns it"),
    sqlite3.SQLITE_NOTADB: ("it is not a keystore, or damaged", "restore it from a backup; a key cannot be made again"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "restore it from a backup; a key cannot be made again"),
}


_OF_THE_COPY = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""What goes wrong where something is written."""


def _code(error: sqlite3.Error) -> int:
    """The low byte is the code, the rest its variety (sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as KeyStoreError with the mend."""
    try:
        yield
    except sqlite3.Error as error:
        what, mend = _MENDS.get(
            _code(error), (str(error), "run `pkicode keystore verify`, or restore it from a backup")
        )
        raise KeyStoreError(f"keystore {path}: {what}", help=mend) from error
    except OSError as error:
        raise KeyStoreError(
            f"keystore {path}: {error.strerror}", help="see that the folder is there and ours"
        ) from error

"""The file of a SQLite state: made whole or not at all, for its owner only, and refused where SQLite would lose data.

What stands in it is sqlite.py's; schema and statements are sql.py's.
"""

import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from pkicode.adapters import durable, sql
from pkicode.adapters.sql import NewState
from pkicode.model.problem import StateError

BUSY_SECONDS = 10
"""How long a writer waits for another one's transaction, which takes milliseconds."""

_MAGIC = b"SQLite format 3\0"
_OTHERS = 0o077
_OTHERS_WRITE = 0o022
# Locks on these are advisory at best, and WAL needs memory shared by all who have the file open.
NETWORK = re.compile(
    r"nfs4?|cifs|smb\d?|smbfs|afs|ceph|lustre|ncpfs|gfs2|ocfs2|beegfs"
    r"|fuse\.(sshfs|glusterfs|ceph.*|juicefs|s3fs|goofys|gcsfuse|rclone|davfs.*|blobfuse.*|mount-s3|mountpoint-s3)"
)
_RESTORE = "`pkicode state verify` says what is wrong; `pkicode state restore BACKUP` brings back a good copy"


class Damaged(StateError):
    """The file is no state any more: what stands in it cannot be compared with anything."""


def make(path: Path, new: NewState) -> None:
    """Create an empty state at `path`; if somebody else is quicker, theirs stands."""
    make_folder(path.parent)
    with suppress(FileExistsError), placed(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        fill(connection, new)


def make_folder(folder: Path) -> None:
    """A folder that only its owner may enter, if there is none; durably, as what will stand in it is."""
    try:
        durable.make_folder(folder, 0o700)
    except OSError as error:
        raise StateError(
            f"the folder {folder} cannot be made: {error.strerror}", help="give this user leave to, or make it for them"
        ) from error


@contextmanager
def placed(path: Path) -> Iterator[sqlite3.Connection]:
    """A new database, 0600, that appears at `path` complete, durable, or not at all.

    Raises:
        FileExistsError: something is there already.
        StateError: there is no room, or no leave.
    """
    if not path.name or path.is_dir():
        raise StateError(f"{path} is a folder", help="name a file in it that does not exist yet")
    draft = durable.draft_of(path)
    draft = draft.with_name(f"{draft.name}.{threading.get_ident()}")
    draft.unlink(missing_ok=True)
    try:
        durable.sweep(path)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with told(path), closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            # Larger pages than usual: what costs is how many a batch of random serials touches.
            connection.execute("PRAGMA page_size = 8192")
            yield connection
        durable.put_new(draft, path)
        durable.sync(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StateError(
            f"{path} cannot be made: {error.strerror}", help="make room, or choose another folder"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def fill(connection: sqlite3.Connection, new: NewState) -> None:
    """Schema and first facts of a new state."""
    lay_out(connection)
    connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", sql.first_facts(new).items())


def lay_out(connection: sqlite3.Connection) -> None:
    """The tables, with nothing in them."""
    for script in sql.migrations():
        connection.executescript(script)


def bring_up(connection: sqlite3.Connection, schema: int, *, read_only: bool) -> None:
    """Lead an older state to SCHEMA: for good, or in memory where it is only read."""
    if schema == sql.SCHEMA:
        return
    for version, script in enumerate(sql.migrations()[schema:], schema + 1):
        if read_only:
            # Its new tables are empty, in the reader's own memory; nothing of the file is touched.
            connection.executescript(script.replace("CREATE TABLE IF NOT EXISTS", "CREATE TEMP TABLE"))
        else:
            try:
                connection.executescript(
                    f"BEGIN IMMEDIATE;{script};UPDATE meta SET value = '{version}' WHERE key = 'schema';COMMIT;"  # noqa: S608 - a number of ours
                )
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a state that exists; nothing is read from it yet.

    Raises:
        FileNotFoundError: there is none.
        StateError: the file may not be trusted, or lies where SQLite would lose data.
    """
    check_file(path)
    mode = "mode=ro" if read_only else "mode=rw"
    if read_only and not os.access(path.parent, os.W_OK) and not _has_log(path):
        # Without leave to make the shared memory file SQLite reads only what it may believe to stand still; a folder
        # we cannot write to has no writer of ours, and one of another user would have left its log.
        mode += "&immutable=1"
    with told(path), ExitStack() as stack:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=BUSY_SECONDS
        )
        stack.callback(connection.close)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")  # a copy that was put here by hand is not in it yet
            connection.execute("PRAGMA synchronous = FULL")
            # 32 MB: the unique indexes of a million random serials are written all over.
            connection.execute("PRAGMA cache_size = -32768")
            connection.execute("PRAGMA wal_autocheckpoint = 8192")
        stack.pop_all()
        return connection


def expect_plain(connection: sqlite3.Connection, path: Path | str) -> None:
    """Refuse a state in which somebody planted a trigger, or a view in the place of a table.

    Raises:
        Altered: there is one.
    """
    # Whoever may write the schema may write `Trigger`, which acts all the same.
    planted = "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index') LIMIT 1"
    for kind, name in connection.execute(planted):
        raise sql.altered(path, f"{kind} {name}")


def identity(path: Path) -> tuple[int, int]:
    """Which file stands at `path`; asked for before it is opened, so that one that is swapped in between is noticed."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    return facts.st_dev, facts.st_ino


def is_still(path: Path, known: tuple[int, int]) -> bool:
    """Whether that file still stands there: SQLite would go on writing into one that was removed."""
    try:
        return identity(path) == known
    except FileNotFoundError:
        return False


def check_file(path: Path) -> None:
    """Refuse a file that is not ours alone, not a database, or on a network file system."""
    try:
        facts, folder = path.stat(), path.parent.stat()
        # A pipe without a writer would keep us waiting for ever.
        if not stat.S_ISREG(facts.st_mode):
            raise Damaged(f"{path} is not a regular file", help="name the file of a state")
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    if facts.st_mode & _OTHERS:
        raise StateError(f"others may open the state {path}", help=f"chmod 600 {path}")
    # In a sticky folder such as /tmp others may add files, but not replace ours.
    if folder.st_mode & _OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX:
        raise StateError(f"others may replace the state in {path.parent}", help=f"chmod 700 {path.parent}")
    kind = filesystem(facts.st_dev, _mounts())
    if NETWORK.fullmatch(kind):
        raise StateError(
            f"the state {path} lies on a network file system ({kind}), where two writers may both believe to be alone",
            help="put it on a local disk and point [state] url there",
        )
    if magic != _MAGIC:
        raise Damaged(f"{path} is not a pkicode state: it is empty or something else", help=_RESTORE)


def _unreadable(path: Path, error: OSError) -> StateError:
    return StateError(f"the state {path} cannot be read: {error.strerror}", help="run as its owner")


def filesystem(device: int, mounts: str) -> str:
    """The type of the file system with this device number, from the text of /proc/self/mountinfo; empty if unknown."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2:3] == [wanted] and right:
            return right.split()[0]
    return ""


def _mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text("utf-8", errors="replace")
    except OSError:  # not Linux: nothing to compare with
        return ""


def _has_log(path: Path) -> bool:
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


@contextmanager
def told(path: Path | str) -> Iterator[None]:
    """Turn SQLite's errors into ours, which say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _told(error, path) from error


def _told(error: sqlite3.Error, path: Path | str) -> StateError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_FULL:
            return StateError(f"the disk of the state {path} is full; nothing was written", help="make room, try again")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StateError(
                f"another process kept the state {path} locked for {BUSY_SECONDS} s; nothing was written",
                help="try again; `pkicode state lock show` says who is writing",
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Damaged(f"the state {path} is damaged: {error}", help=_RESTORE)
        case sqlite3.SQLITE_READONLY:
            return StateError(f"the state {path} was opened for reading only", help="give this user leave to write it")
        case sqlite3.SQLITE_CONSTRAINT:
            return StateError(f"the state {path} refused a row: {error}; nothing was written", help="report this")
        case sqlite3.SQLITE_ERROR:
            return Damaged(f"the state {path} does not hold what it should: {error}", help=_RESTORE)
        case _:
            return StateError(f"the state {path} failed: {error}", help="look at the disk, then read and try again")

"""Certificates that leave the inventory, as Parquet: whole, durable and read back before anything is deleted.

One row has all that the state knew of one certificate.  Which of them may leave is retention.py's question.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from attrs import fields, frozen

from pkicode.adapters import lock
from pkicode.adapters.durable import make_folder, sync, write_new
from pkicode.model.faults import FaultPoint, Reach
from pkicode.model.problem import StateError
from pkicode.ports import Certificate, Match, Revocation

_INSTANT = pa.timestamp("ms", tz="UTC")
"""Parquet has no whole seconds."""
_INSTANTS = ("not_before", "not_after", "created", "revoked_at", "invalidity")
_TYPES: Mapping[str, pa.DataType] = {
    "generation": pa.int64(),
    "ca_generation": pa.int64(),
    "issuer_dn": pa.binary(),
    "der": pa.binary(),
    **dict.fromkeys(_INSTANTS, _INSTANT),
}
_NAMES = pa.list_(pa.field("element", pa.string()))
_OF_REVOCATION = {"revoked_by": "entry", "invalidity": "invalidity"}
_OF_CERTIFICATE = tuple(one.name for one in fields(Certificate))
SCHEMA = pa.schema(
    [(name, _TYPES.get(name, pa.string())) for name in _OF_CERTIFICATE]
    + [
        ("revoked_by", pa.string()),
        ("invalidity", _INSTANT),
        ("matched_by", _NAMES),
    ]
)
"""Fields of ports.Certificate; what asked for the revocation, and since when the key may have been another's; the
[[revoke]] entries that were about it."""


@frozen
class Leaving:
    """One certificate with all that is known of it."""

    certificate: Certificate
    revocation: Revocation | None
    matches: tuple[Match, ...] = ()


@asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[None]:
    """Make the folder of archives (0700), and be the only process that puts any there.

    Raises:
        StateError: it cannot be made.
        PkicodeError: another process is at it, and does not end.
    """
    try:
        make_folder(folder, 0o700)
    except OSError as error:
        raise _unwritable(folder, error) from error
    async with lock.alone(folder, os.O_RDONLY | os.O_DIRECTORY, doing=f"archiving to {folder}"):
        yield


def write(path: Path, leaving: Sequence[Leaving], reach: Reach) -> str:
    """Put an archive at `path` (0600), instead of one that a crash left there; its sha256, hex.

    Raises:
        StateError: it cannot be written, or does not hold what was written; nothing was removed from anywhere.
    """
    rows = pa.table([pa.array(_column(name, leaving), SCHEMA.field(name).type) for name in SCHEMA.names], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    # One process at a time is here (`alone`): a draft that is there was left by a crash.
    draft = path.with_name(f".{path.name}")
    try:
        draft.unlink(missing_ok=True)
        write_new(draft, data, 0o600)
        reach(FaultPoint.ARCHIVE_STAGED)
        draft.replace(path)
        sync(path.parent)
        there = path.read_bytes()
    except OSError as error:
        raise _unwritable(path, error) from error
    if not _holds(there, rows):
        raise StateError(
            f"the archive {path} does not hold what was written; nothing left the inventory", help="look at the disk"
        )
    reach(FaultPoint.ARCHIVED)
    return hashlib.sha256(there).hexdigest()


def _unwritable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"the archive {path} cannot be written: {error.strerror}; nothing left the inventory",
        help="make room, or give the folder to this user, and run it again",
    )


def ids(path: Path) -> list[tuple[str, str]]:
    """(issuer_key, serial) of all that is in an archive; nothing where none is.

    Raises:
        StateError: something else is there.
    """
    if not path.exists():
        return []
    try:
        found = pq.read_table(path, columns=["issuer_key", "serial"]).to_pylist()
        return [(str(one["issuer_key"]), str(one["serial"])) for one in found]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise StateError(
            f"{path} is no archive, and its name is needed; nothing left the inventory", help="move the file away"
        ) from error


def _holds(data: bytes, rows: pa.Table) -> bool:
    try:
        return bool(pq.read_table(pa.BufferReader(data)).equals(rows))
    except (OSError, pa.ArrowException):
        return False


def _column(name: str, leaving: Sequence[Leaving]) -> list[object]:
    if name == "matched_by":
        return [[match.entry for match in one.matches] for one in leaving]
    if name in _OF_REVOCATION:
        found = [getattr(one.revocation, _OF_REVOCATION[name], None) for one in leaving]
    else:
        found = [getattr(one.certificate, name) for one in leaving]
    return [None if one is None else one * 1000 for one in found] if name in _INSTANTS else found

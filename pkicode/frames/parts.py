"""A scan on disk: Parquet in parts that are there whole or not at all, so that a killed scan goes on where it was.

    FOLDER/scan.json               which scan this is; another one is not mixed into it
    FOLDER/endpoints/0000007.parquet, and so on for each table
    FOLDER/done/0000007            written last: without it the part does not count, and is made again

Parts are runs of the shuffled order (scanner/pace.py) and not networks: each meets many networks, so that no network is
hurried, and every target belongs to exactly one part.
"""

import errno
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from attrs import asdict, frozen

from pkicode.adapters.durable import draft_of, make_folder, sync, write_new
from pkicode.frames.scan import TABLES, Scan, Tables, scan_frames, scan_tables, schema
from pkicode.model.problem import PkicodeError
from pkicode.scanner.finding import Endpoint
from pkicode.scanner.pace import Shuffle
from pkicode.scanner.target import MOST_TARGETS

_FORMAT = 2
_MODE = 0o644
_KEY_MOST = 64
_MANIFEST_MOST = 4096
"""Octets; one of ours has 300.  Of a longer one the beginning is no JSON."""
_TABLE_MOST = 1 << 30
"""Octets in memory of one table of a part; 4,096 hosts whose chains are large take a tenth."""
_ROWS_AT_ONCE = 64
"""A text that is written once and named in every row takes its room when the rows are read."""
MANIFEST, _DONE = "scan.json", "done"


class OtherScan(PkicodeError):
    """The folder holds another scan, or none."""


@frozen
class Manifest:
    """What makes two runs the same scan."""

    scan_id: str
    """A digest of targets (Targets.digest), checks and policy."""
    key: str
    """Of the shuffle, hex; a resumed scan goes on with the first run's."""
    targets: int
    part_size: int
    begun: int
    """Epoch seconds."""

    @property
    def parts(self) -> int:
        """How many there are; the last may be smaller."""
        return -(-self.targets // self.part_size)

    def numbers(self, part: int) -> Iterator[int]:
        """The targets of one part, as numbers of scan.target.Targets."""
        shuffle = Shuffle(self.targets, bytes.fromhex(self.key))
        return shuffle.part(part * self.part_size, self.part_size)

    @property
    def same_as(self) -> tuple[str, int, int]:
        """What has to agree for a run to go on where another stopped."""
        return self.scan_id, self.targets, self.part_size


@frozen
class Parts:
    """The parts of one scan in a folder."""

    folder: Path
    manifest: Manifest

    def missing(self) -> list[int]:
        """Numbers of the parts that are not done."""
        done = {int(path.name) for path in (self.folder / _DONE).iterdir() if path.name.isdecimal()}
        return [number for number in range(self.manifest.parts) if number not in done]

    def write(self, number: int, endpoints: Iterable[Endpoint]) -> None:
        """Store one part, durably; when this returns it is done, and when it is killed it is not."""
        self.store(number, scan_tables(endpoints))

    def store(self, number: int, tables: Tables) -> None:
        """As `write`, of its tables."""
        for name, table in tables.items():
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, compression="zstd")
            _put(self._path(name, number), sink.getvalue().to_pybytes())
        _put(self.folder / _DONE / f"{number:07}", b"")

    def read(self) -> Scan:
        """The frames of all parts that are done, in their order.

        Raises:
            OtherScan: a part is marked done, and its files are not there or damaged.
        """
        return scan_frames(self.tables())

    def tables(self) -> dict[str, pa.Table]:
        """The Arrow tables of the same.

        Raises:
            OtherScan: as `read`.
        """
        missing = set(self.missing())
        done = [number for number in range(self.manifest.parts) if number not in missing]
        return {name: self._table(name, done) for name in TABLES}

    def _table(self, name: str, done: Iterable[int]) -> pa.Table:
        wanted = schema(TABLES[name])
        read = [wanted.empty_table()]
        for number in done:
            path = self._path(name, number)
            try:
                read.append(_read(path, wanted))
            except (OSError, KeyError, pa.ArrowException) as error:
                mend = f"remove {_DONE}/{number:07} to have the part scanned again"
                raise OtherScan(f"{path} is damaged or not there", help=mend) from error
        return pa.concat_tables(read)

    def _path(self, name: str, number: int) -> Path:
        return self.folder / name / f"{number:07}.parquet"


def _read(path: Path, wanted: pa.Schema) -> pa.Table:
    """A table that somebody may have made to fill the memory: a few octets can stand for a terabyte."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    found, octets = [wanted.empty_table()], 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=wanted.names, use_threads=False):
            found.append(pa.table(batch).select(wanted.names).cast(wanted))
            octets += found[-1].nbytes
            if octets > _TABLE_MOST:
                raise OtherScan(f"{path} holds more than {_TABLE_MOST:,} octets", help="no scan of ours makes that")
    return pa.concat_tables(found).combine_chunks()


def begin(folder: Path, manifest: Manifest) -> Parts:
    """The parts of this scan: new in an empty or missing folder, resumed where the same scan stands there.

    Raises:
        OtherScan: another scan stands there, or files that are none.
    """
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        parts = load(folder)
        if parts.manifest.same_as != manifest.same_as:
            raise OtherScan(f"{folder} holds another scan", help="give an empty folder, or the same targets and checks")
    else:
        make_folder(folder, 0o755)
        body = {"format": "pkicode.scan.parts", "version": _FORMAT, **asdict(manifest)}
        _put(folder / MANIFEST, json.dumps(body, indent=1).encode() + b"\n")
        parts = Parts(folder, manifest)
    for name in (*TABLES, _DONE):
        make_folder(folder / name, 0o755)
    return parts


def load(folder: Path) -> Parts:
    """The scan that stands in a folder.

    Raises:
        OtherScan: none does, or one of a newer pkicode.
    """
    try:
        with (folder / MANIFEST).open("rb") as file:
            body = json.loads(file.read(_MANIFEST_MOST))
        if (body.pop("format"), body.pop("version")) != ("pkicode.scan.parts", _FORMAT):
            raise OtherScan(f"{folder} holds a scan of another version of pkicode", help="read it with that version")
        return Parts(folder, _sound(Manifest(**body)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OtherScan(
            f"{folder} holds no scan", help="give an empty folder, or one that a scan has written"
        ) from error


def load_all(folder: Path) -> tuple[Parts, ...]:
    """The scan that stands in a folder, or the scans that stand in folders in it.

    Raises:
        OtherScan: as `load`.
    """
    below = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    return tuple(map(load, below)) if below else (load(folder),)


def joined(parts: Iterable[Parts]) -> dict[str, pa.Table]:
    """The Arrow tables of several scans, one behind the other.

    Raises:
        OtherScan: as `Parts.tables`.
    """
    tables = [one.tables() for one in parts]
    return {name: pa.concat_tables(one[name] for one in tables) for name in TABLES}


def _sound(manifest: Manifest) -> Manifest:
    """What can be counted through.

    Raises:
        ValueError: somebody wrote it by hand.
    """
    numbers = (manifest.targets, manifest.part_size, manifest.begun)
    if not all(type(one) is int and one >= 0 for one in numbers) or not isinstance(manifest.scan_id, str):
        raise ValueError("no counts")
    if manifest.targets > MOST_TARGETS or not manifest.part_size > 0 or len(bytes.fromhex(manifest.key)) > _KEY_MOST:
        raise ValueError("no scan has that many")
    return manifest


def _put(path: Path, data: bytes) -> None:
    """Whole or not at all.  The draft has the process in its name: two may be making the same part."""
    draft = draft_of(path)
    try:
        draft.unlink(missing_ok=True)
        write_new(draft, data, _MODE)
        draft.replace(path)
        sync(path.parent)
    except OSError as error:
        # A full disk gets back what the half of a file took.
        draft.unlink(missing_ok=True)
        raise PkicodeError(
            f"{path} cannot be written: {error.strerror}",
            help="see to permissions and free space; the same command goes on from there",
        ) from error

"""A scan as tidy DataFrames: seven tables with fixed dtypes, from records, by way of Arrow tables that Parquet stores.

Texts are what strangers sent; they are kept as they are, and shown by printable().
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from attrs import field, fields, frozen

from pkicode.frames import (
    accessor,  # noqa: F401 - gives every frame its `.pki`
    columns,
)
from pkicode.model.instants import from_datetime
from pkicode.model.tls import VERSIONS
from pkicode.scanner.chain import Role
from pkicode.scanner.finding import Endpoint, Grade
from pkicode.scanner.grade import LETTERS
from pkicode.scanner.tables import Row, rows
from pkicode.tls.suites import STRENGTHS

STATES = ("tls", "not-tls", "reset", "failed", "filtered", "closed", "unresolved")
"""The most that could be learned first."""
FAMILIES = (
    "Connectivity", "PKI", "TLSHandshake", "TLSSession", "Vulnerabilities", "HTTP", "MutualTLS", "Fingerprint", "Broad",
)  # fmt: skip


@frozen
class Kind:
    """How a column is stored, and how it becomes a column of a frame."""

    arrow: pa.DataType
    series: Callable[[pa.ChunkedArray], "pd.Series[Any]"] = field(repr=False)
    store: Callable[[Any], Any] = field(default=lambda value: value, repr=False)
    load: Callable[[Any], Any] = field(default=lambda value: value, repr=False)
    """What was stored, as it was."""


_TEXT = Kind(pa.string(), columns.arrow_text, lambda text: str(text).encode("utf-8", "backslashreplace").decode())
_WHOLE = Kind(pa.int64(), columns.arrow_whole)
_REAL = Kind(pa.float64(), columns.arrow_real)
_TRUTH = Kind(pa.bool_(), columns.arrow_truth)
# Parquet knows milliseconds and no seconds.
_INSTANT = Kind(
    pa.timestamp("ms", "UTC"),
    columns.arrow_instants,
    lambda seconds: None if seconds is None else seconds * 1000,
    lambda moment: None if moment is None else from_datetime(moment),
)
_TUPLE = Kind(pa.list_(pa.string()), columns.arrow_tuples, lambda texts: [_TEXT.store(text) for text in texts], tuple)


def _named(text: Any) -> str | None:
    return str(text) or None


def _unnamed(text: str | None) -> str:
    return text or ""


def _category(order: Iterable[str]) -> Kind:
    names = tuple(map(str, order))
    return Kind(pa.string(), lambda column: columns.arrow_category(column, names), _named, _unnamed)


_VERSION = _category(VERSIONS)

TABLES: Mapping[str, Mapping[str, Kind]] = {
    "endpoints": {
        "target": _TEXT, "host": _TEXT, "address": _TEXT, "port": _WHOLE, "starttls": _TEXT, "server_name": _TEXT,
        "at": _INSTANT, "state": _category(STATES), "versions": _TUPLE, "letter": _category(LETTERS), "alpn": _TEXT,
        "seconds": _REAL, "connections": _WHOLE, "octets": _WHOLE, "scan": _TEXT,
    },
    "findings": {
        "target": _TEXT, "family": _category(FAMILIES), "check": _TEXT, "grade": _category(Grade), "value": _TEXT,
        "detail": _TEXT, "scan": _TEXT,
    },
    "ciphers": {
        "target": _TEXT, "version": _VERSION, "rank": _WHOLE, "id": _WHOLE, "name": _TEXT, "kx": _TEXT, "bits": _WHOLE,
        "fs": _TRUTH, "aead": _TRUTH, "strength": _category(STRENGTHS),
    },
    "groups": {"target": _TEXT, "version": _VERSION, "rank": _WHOLE, "id": _WHOLE, "name": _TEXT},
    "certs": {
        "sha256": _TEXT, "subject": _TEXT, "issuer": _TEXT, "serial_number": _TEXT, "not_before": _INSTANT,
        "not_after": _INSTANT, "key_alg": _TEXT, "key_bits": _WHOLE, "signature_hash": _TEXT, "spki": _TEXT,
        "sans": _TUPLE, "is_ca": _TRUTH, "self_signed": _TRUTH, "must_staple": _TRUTH, "ocsp_urls": _TUPLE,
        "crl_urls": _TUPLE, "trouble": _TUPLE,
    },
    "chains": {"target": _TEXT, "slot": _WHOLE, "position": _WHOLE, "sha256": _TEXT, "role": _category(Role)},
    "verdicts": {"target": _TEXT, "slot": _WHOLE, "store": _TEXT, "ok": _TRUTH, "reason": _TEXT},
}  # fmt: skip
"""Table -> its columns, in their order.  What each means stands in `Scan` and docs/reference/frames.md."""

Tables = Mapping[str, pa.Table]


@frozen
class Scan:
    """The frames of one scan; each has its columns also when it is empty."""

    endpoints: pd.DataFrame
    """One row per target: what it is (target, host, address, port, starttls, server_name), `at` (datetime64[s, UTC]),
    `state` (ordered category), `versions` (tuple), `letter` (ordered category, missing without TLS), `alpn`,
    `seconds` (float64), `connections` and `octets` (Int64), `scan` (which [scan.X] it is of)."""
    findings: pd.DataFrame
    """One row per target and check: `family` and `grade` (ordered categories), `check`, `value`, `detail`, `scan`."""
    ciphers: pd.DataFrame
    """One row per target, version and suite: `rank` (1 is preferred), `id`, `name` (IANA's), `kx`, `bits`, `fs`,
    `aead`, `strength` (ordered category)."""
    groups: pd.DataFrame
    """One row per target, version and key exchange group: `rank`, `id`, `name` (IANA's)."""
    certs: pd.DataFrame
    """One row per certificate, wherever it is served: `sha256` and `spki` (lower-case hex) and what it says."""
    chains: pd.DataFrame
    """One row per certificate sent: `slot` (which chain), `position` (0 is the leaf), `sha256`, `role`."""
    verdicts: pd.DataFrame
    """One row per chain and trust store: `ok`, and `reason` where it is not."""


def scan_tables(endpoints: Iterable[Endpoint]) -> dict[str, pa.Table]:
    """The Arrow tables of endpoints; certificates are unique within them."""
    return {name: _table(TABLES[name], made) for name, made in rows(endpoints).items()}


def table_rows(tables: Tables) -> dict[str, list[Row]]:
    """Arrow tables as the rows that they were made of; of a certificate that several parts met there is one."""
    found = {name: [_row(kinds, one) for one in tables[name].to_pylist()] for name, kinds in TABLES.items()}
    return {**found, "certs": list({row[0]: row for row in found["certs"]}.values())}


def _row(kinds: Mapping[str, Kind], stored: Mapping[str, Any]) -> Row:
    return tuple(kind.load(stored[name]) for name, kind in kinds.items())


def _table(kinds: Mapping[str, Kind], made: Sequence[Row]) -> pa.Table:
    stored = [pa.array([kind.store(row[at]) for row in made], kind.arrow) for at, kind in enumerate(kinds.values())]
    return pa.Table.from_arrays(stored, schema=schema(kinds))


def schema(kinds: Mapping[str, Kind]) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema([(name, kind.arrow) for name, kind in kinds.items()])


def scan_frames(tables: Tables) -> Scan:
    """The frames of Arrow tables, of one scan or of its parts put together.

    Raises:
        KeyError: a table or a column is missing.
    """
    return Scan(*(_frame(tables[one.name], TABLES[one.name]) for one in fields(Scan)))


def _frame(table: pa.Table, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    made = pd.DataFrame({name: kind.series(table[name]) for name, kind in kinds.items()})
    # Parts of one scan have each met the same intermediates.
    return made.drop_duplicates("sha256", ignore_index=True) if next(iter(kinds)) == "sha256" else made


def scan(endpoints: Iterable[Endpoint]) -> Scan:
    """The frames of what was scanned, in its order."""
    return scan_frames(scan_tables(endpoints))

"""The inventory as a DataFrame: one row is one certificate ever signed, or that may have been."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pkicode.frames import accessor  # noqa: F401 - gives every frame its `.pki`
from pkicode.frames.columns import arrow_category, arrow_instants, arrow_text, arrow_whole, tuples
from pkicode.model.reason import CRL_REASONS
from pkicode.ports import SEEN_AS, CertificateStatus

FIELDS = (
    "address", "generation", "ca", "ca_generation", "profile", "serial", "subject", "sans", "not_before", "not_after",
    "status", "revoked_at", "revocation_reason", "key_alg", "spki", "sha256", "created",
)  # fmt: skip
"""Of ports.Certificate, in the order in which batches have them."""
_WHOLE = frozenset({"generation", "ca_generation", "not_before", "not_after", "revoked_at", "created"})
_SCHEMA = pa.schema([(name, pa.int64() if name in _WHOLE else pa.string()) for name in FIELDS])
_AT_ONCE = 2000
"""Rows of a batch: what fits into a processor's cache takes two thirds of the time."""


def batches(facts: Iterable[Sequence[Any]]) -> list[pa.RecordBatch]:
    """FIELDS of certificates as columns, while they are read: a million rows as tuples would be 2 GB."""
    there = iter(facts)
    found = []
    while some := [*islice(there, _AT_ONCE)]:
        columns = zip(_SCHEMA, zip(*some, strict=True), strict=True)
        found.append(pa.record_batch([pa.array(values, one.type) for one, values in columns], schema=_SCHEMA))
    return found


def archived(paths: Sequence[Path]) -> list[pa.RecordBatch]:
    """The same columns of archives (Parquet), as `batches` makes them."""
    found = []
    for path in paths:
        columns = pq.read_table(path, columns=list(FIELDS))
        seconds = {
            name: pc.divide(columns[name].cast(pa.int64()), 1000) for name in _WHOLE if _is_instant(columns[name])
        }
        table = pa.table([seconds.get(name, columns[name]) for name in FIELDS], schema=_SCHEMA)
        found += table.to_batches()
    return found


def _is_instant(column: pa.ChunkedArray) -> bool:
    return pa.types.is_timestamp(column.type)  # type: ignore[no-any-return] # pyarrow has no types


def inventory_frame(found: Sequence[pa.RecordBatch], *, now: int) -> pd.DataFrame:
    """One row per certificate that was signed or may have been, in the order they were created.

    Args:
        found: what `batches` made of them.
        now: epoch seconds; decides what is expired.

    Columns:
        address, ca, profile, subject, key_alg: string; `ca` is empty for a foreign issuer.
        generation, ca_generation: Int64.
        serial_number, sha256, spki: string, lower-case hex.
        sans: tuple of `type:value`.
        not_before, not_after, created, revoked_at: datetime64[s, UTC]; revoked_at is NaT unless revoked.
        status, reason: ordered category; reason is the RFC 5280 name, missing unless revoked with one.
    """
    there = pa.Table.from_batches(found, schema=_SCHEMA)
    there = there.filter(pc.not_equal(there["status"], CertificateStatus.ABORTED))
    columns = {
        "address": arrow_text(there["address"]),
        "generation": arrow_whole(there["generation"]),
        "ca": arrow_text(there["ca"]),
        "ca_generation": arrow_whole(there["ca_generation"]),
        "profile": arrow_text(there["profile"]),
        "serial_number": arrow_text(there["serial"]),
        "subject": arrow_text(there["subject"]),
        "sans": tuples([*map(tuple, _lists(there["sans"]))]),
        "not_before": arrow_instants(there["not_before"]),
        "not_after": arrow_instants(there["not_after"]),
        "status": arrow_category(_status(there, now), SEEN_AS),
        "revoked_at": arrow_instants(there["revoked_at"]),
        "reason": arrow_category(there["revocation_reason"], CRL_REASONS),
        "key_alg": arrow_text(there["key_alg"]),
        "spki": arrow_text(there["spki"]),
        "sha256": arrow_text(there["sha256"]),
        "created": arrow_instants(there["created"]),
    }
    return pd.DataFrame(columns)


def _lists(column: pa.ChunkedArray) -> Iterator[list[str]]:
    """The lists that these texts are, a batch of JSON at a time."""
    for chunk in column.chunks:
        texts = chunk.to_pylist()
        found = json.loads(f"[{','.join(texts)}]")
        # A text that is not one list would shift those behind it: read alone it is an error.
        yield from found if len(found) == len(texts) else map(json.loads, texts)


def _status(there: pa.Table, now: int) -> pa.ChunkedArray:
    """As ports.seen_as, of a million rows at once."""
    is_revoked = pc.equal(there["status"], CertificateStatus.REVOKED)
    is_good = pc.equal(there["status"], CertificateStatus.ISSUED)
    expired = pc.less(there["not_after"], now)
    return pc.if_else(is_revoked, "revoked", pc.if_else(expired, "expired", pc.if_else(is_good, "good", "unknown")))

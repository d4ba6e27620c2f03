"""The inventory for people and scripts: one record per certificate ever signed."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from pkicode.model.instants import rfc3339
from pkicode.ports import seen_as

COLUMNS = (
    "address", "generation", "ca", "profile", "serial_number", "subject", "sans", "not_before", "not_after", "status",
    "revoked_at", "reason", "key_alg", "sha256",
)  # fmt: skip
SHOWN = ("address", "generation", "ca", "serial_number", "not_after", "status", "revoked_at", "reason")
"""The columns a terminal has room for."""

FIELDS = (
    "address", "generation", "ca", "ca_generation", "profile", "serial", "subject", "sans", "not_before", "not_after",
    "status", "revoked_at", "revocation_reason", "key_alg", "sha256",
)  # fmt: skip
"""What records are made of: fields of ports.Certificate."""
facts_of = attrgetter(*FIELDS)

Facts = Sequence[Any]
"""One certificate's FIELDS."""
Record = Mapping[str, object]


def records(facts: Iterable[Facts], *, now: int) -> Iterator[Record]:
    """The fields of COLUMNS, in that order, of everything that was or may have been signed."""
    for one in facts:
        address, generation, ca, ca_generation, profile, serial, subject, sans, begins, ends, stored, *rest = one
        revoked_at, reason, key_alg, sha256 = rest
        if is_now := seen_as(stored, ends, now):
            yield {
                "address": address,
                "generation": generation,
                "ca": f"{ca}@{ca_generation}" if ca else "",
                "profile": profile,
                "serial_number": serial,
                "subject": subject,
                "sans": json.loads(sans),
                "not_before": rfc3339(begins),
                "not_after": rfc3339(ends),
                "status": is_now,
                "revoked_at": None if revoked_at is None else rfc3339(revoked_at),
                "reason": reason,
                "key_alg": key_alg,
                "sha256": sha256,
            }


def cells(found: Iterable[Record], columns: Iterable[str] = COLUMNS) -> list[list[str]]:
    """Records as text cells, SANs joined by a space."""
    names = tuple(columns)
    return [[_cell(record[name]) for name in names] for record in found]


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)

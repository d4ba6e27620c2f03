"""The inventory for people and scripts: one record per certificate ever signed."""

import json
from collections.abc import Iterable, Mapping

from pkicode.model.instants import rfc3339
from pkicode.ports import Certificate, CertificateStatus

COLUMNS = (
    "address", "generation", "ca", "profile", "serial_number", "subject", "sans", "not_before", "not_after", "status",
    "revoked_at", "reason", "key_alg", "sha256",
)  # fmt: skip
STATUSES = ("good", "revoked", "expired", "unknown")

SHOWN = ("address", "generation", "ca", "serial_number", "not_after", "status", "revoked_at", "reason")
"""The columns a terminal has room for."""

Record = Mapping[str, object]


def status(certificate: Certificate, now: int) -> str | None:
    """`good`, `revoked`, `expired` or `unknown` (may have been signed); None where nothing ever was."""
    if certificate.status == CertificateStatus.ABORTED:
        return None
    if certificate.status == CertificateStatus.REVOKED:
        return "revoked"
    if certificate.not_after < now:
        return "expired"
    return "good" if certificate.status == CertificateStatus.ISSUED else "unknown"


def records(certificates: Iterable[Certificate], *, now: int, statuses: Iterable[str] = ()) -> list[Record]:
    """The fields of COLUMNS, in that order; `statuses` keeps only those."""
    wanted = frozenset(statuses)
    found = []
    for certificate in certificates:
        is_now = status(certificate, now)
        if is_now is not None and (not wanted or is_now in wanted):
            found.append(_record(certificate, is_now))
    return found


def cells(found: Iterable[Record], columns: Iterable[str] = COLUMNS) -> list[list[str]]:
    """Records as text cells, SANs joined by a space."""
    names = tuple(columns)
    return [[_cell(record[name]) for name in names] for record in found]


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _record(certificate: Certificate, is_now: str) -> Record:
    return {
        "address": certificate.address,
        "generation": certificate.generation,
        "ca": f"{certificate.ca}@{certificate.ca_generation}" if certificate.ca else "",
        "profile": certificate.profile,
        "serial_number": certificate.serial,
        "subject": certificate.subject,
        "sans": json.loads(certificate.sans),
        "not_before": rfc3339(certificate.not_before),
        "not_after": rfc3339(certificate.not_after),
        "status": is_now,
        "revoked_at": None if certificate.revoked_at is None else rfc3339(certificate.revoked_at),
        "reason": certificate.revocation_reason,
        "key_alg": certificate.key_alg,
        "sha256": certificate.sha256,
    }

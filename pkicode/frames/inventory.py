"""The inventory as a DataFrame: one row is one certificate ever signed, or that may have been."""

import json
from collections.abc import Iterable

import numpy as np
import pandas as pd

from pkicode.frames.columns import category, instants, text, tuples, whole
from pkicode.ports import Certificate, CertificateStatus

STATUSES = ("good", "revoked", "expired", "unknown")
"""What relying parties see, best first; `unknown` counts as issued until it is settled."""

REASONS = (
    "unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation",
    "certificateHold", "removeFromCRL", "privilegeWithdrawn", "aACompromise",
)  # fmt: skip
"""RFC 5280 section 5.3.1, in the order of their numbers."""


def inventory_frame(certificates: Iterable[Certificate], *, now: int) -> pd.DataFrame:
    """One row per certificate, in the order they were created.

    Args:
        now: epoch seconds; decides what is expired.

    Columns:
        address, ca, profile, subject, key_alg: string; `ca` is empty for a foreign issuer.
        generation, ca_generation: Int64.
        serial_number, sha256, spki: string, lower-case hex.
        sans: tuple of `type:value`.
        not_before, not_after, created, revoked_at: datetime64[s, UTC]; revoked_at is NaT unless revoked.
        status, reason: ordered category; reason is the RFC 5280 name, missing unless revoked with one.
    """
    rows = [one for one in certificates if one.status != CertificateStatus.ABORTED]
    not_after = np.fromiter((one.not_after for one in rows), "int64", len(rows))
    return pd.DataFrame(
        {
            "address": text(one.address for one in rows),
            "generation": whole(one.generation for one in rows),
            "ca": text(one.ca for one in rows),
            "ca_generation": whole(one.ca_generation for one in rows),
            "profile": text(one.profile for one in rows),
            "serial_number": text(one.serial for one in rows),
            "subject": text(one.subject for one in rows),
            "sans": tuples([tuple(json.loads(one.sans)) for one in rows]),
            "not_before": instants([one.not_before for one in rows]),
            "not_after": instants([one.not_after for one in rows]),
            "status": _status(np.array([one.status for one in rows], dtype="object"), expired=not_after < now),
            "revoked_at": instants([one.revoked_at for one in rows]),
            "reason": category([one.revocation_reason for one in rows], REASONS),
            "key_alg": text(one.key_alg for one in rows),
            "spki": text(one.spki for one in rows),
            "sha256": text(one.sha256 for one in rows),
            "created": instants([one.created for one in rows]),
        }
    )


def _status(
    stored: "np.ndarray[tuple[int], np.dtype[np.object_]]", *, expired: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> "pd.Series[str]":
    words = np.select(
        [stored == CertificateStatus.REVOKED, expired, stored == CertificateStatus.ISSUED],
        ["revoked", "expired", "good"],
        "unknown",
    )
    return category(words.tolist(), STATUSES)

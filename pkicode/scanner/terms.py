"""What a scan is: which targets, and the terms on which they are asked and judged.  Other processes get it whole."""

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from pkicode.scanner.choice import Choice
from pkicode.scanner.target import Targets

if TYPE_CHECKING:
    from pkicode.config.scans import ScanPolicy

RATE = 500
"""Connections that are begun each second where nobody says how many."""


@frozen
class Terms:
    """What every target is asked and held to."""

    choice: Choice
    policy: "ScanPolicy | None" = None
    stores: tuple[tuple[str, bytes], ...] = ()
    """Trust stores: a name and roots in PEM."""
    rate: float = RATE
    """Connections begun each second, all targets together."""
    now: int | None = None
    """A frozen clock, epoch seconds."""
    patience: float = 5.0
    """Seconds that a connection may take to come about, and then to answer."""
    revocation: bool = False
    """Whether those whom certificates name are asked if they are revoked: third parties."""
    allow_private: bool = False
    """Whether they may be at private addresses."""
    scan: str = ""
    """Name of the [scan.X] whose terms these are."""


@frozen
class Job:
    """One scan."""

    targets: Targets
    terms: Terms
    expect: tuple[str, ...] = ()
    """Addresses or blocks of certificates that should be served there."""

    @property
    def scan_id(self) -> str:
        """The same for the same targets, checks, policy and trust: such a scan can be resumed."""
        terms = self.terms
        policy = json.dumps(asdict(terms.policy)) if terms.policy else ""
        stores = [f"{name} {hashlib.sha256(roots).hexdigest()}" for name, roots in terms.stores]
        asked = [f"revocation {terms.allow_private}"] if terms.revocation else []
        whole = "\n".join((self.targets.digest(), str(terms.choice), policy, *stores, *asked))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def scan_id(ids: Iterable[str]) -> str:
    """Of several scans that were made in one run; of one its own."""
    each = sorted(ids)
    return each[0] if len(each) == 1 else hashlib.sha256("\n".join(each).encode()).hexdigest()[:16]

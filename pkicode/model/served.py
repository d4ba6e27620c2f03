"""What was seen at the endpoints that certificates declare.  Texts of a `Leaf` are a stranger's."""

from attrs import frozen

DRIFTS = ("unknown", "revoked", "superseded", "not-served")
"""Worst first: served and none of ours; served and revoked; an older generation than the newest good one is served;
the newest good one is not."""


@frozen
class Leaf:
    """A certificate that somebody serves, as far as it could be read."""

    sha256: str
    serial_number: str
    """Lower-case hex."""
    issuer: str
    subject: str
    not_after: int | None
    """Epoch seconds."""


@frozen
class Seen:
    """One address of one endpoint of one certificate."""

    address: str
    """`cert.portal`, or a row of it."""
    generation: int | None
    """Of its newest good certificate, which should be served there; None: there is none."""
    endpoint: str
    """As pki.toml says it."""
    target: str
    """What was connected to."""
    state: str
    """tls, closed, filtered, unresolved, not-tls, reset, failed."""
    drift: str
    """unknown, revoked, superseded, not-served; "" where all is well, or not known."""
    served: tuple[Leaf, ...]

    @property
    def is_reached(self) -> bool:
        """Whether a certificate was seen there, so that something is known."""
        return bool(self.served)

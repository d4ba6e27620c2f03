"""What a look at a PKI finds: checks and figures, and how bad it is that something is late.

A list or a certificate is due long before it ends: a quarter of the time in between gone is a warning, half of it is
critical.
"""

from enum import IntEnum

from attrs import frozen


class Level(IntEnum):
    """How bad it is; the numbers are the exit codes of monitoring plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@frozen
class Check:
    """One thing that was looked at."""

    name: str
    """state, lease, plan, waiting, ceremony, renewal, ca, list, published, keystore,
    output, revocation."""
    subject: str
    level: Level
    message: str


@frozen
class Figure:
    """One number that was read, for graphs; instants are epoch seconds."""

    name: str
    value: int
    labels: tuple[tuple[str, str], ...] = ()


@frozen
class Status:
    """Everything that was looked at."""

    at: int
    project: str
    checks: tuple[Check, ...]
    figures: tuple[Figure, ...]

    @property
    def level(self) -> Level:
        """The worst; what could not be looked at is worse than a warning, and not as bad as what is critical."""
        order = (Level.CRITICAL, Level.UNKNOWN, Level.WARNING)
        return next((level for level in order if any(one.level is level for one in self.checks)), Level.OK)


def lateness(due: int, end: int, now: int) -> Level:
    """Of what was due then, and ends then."""
    gone, whole = now - due, max(1, end - due)
    if now > end or 2 * gone >= whole:
        return Level.CRITICAL
    return Level.WARNING if 4 * gone >= whole else Level.OK

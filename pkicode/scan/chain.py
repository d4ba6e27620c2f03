"""What a server sent as its chain: which certificates lead upward from its own, and which have no place there.

RFC 8446 section 4.4.2 wants each to certify the one before it.  Whom a client trusts is not asked here (trust.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import lru_cache

from attrs import field, frozen
from cryptography import x509

from pkicode.scan import certificate
from pkicode.scan.certificate import Facts
from pkicode.scan.finding import Presented

MOST = 16
"""Certificates of one chain that are looked at."""


class Role(StrEnum):
    LEAF = "leaf"
    INTERMEDIATE = "intermediate"
    ROOT = "root"
    """Signs itself, and something below it."""
    EXTRA = "extra"
    """Leads nowhere from the leaf, or stands there twice."""


@frozen
class Chain:
    """One chain as it was sent."""

    slot: int
    certificates: tuple[Facts, ...] = field(repr=False)
    """In the order in which they were sent; MOST at most."""
    path: tuple[int, ...]
    """Positions from the leaf upward, each signed by the next."""
    unread: int
    """How many were sent beyond MOST."""

    @property
    def leaf(self) -> Facts:
        return self.certificates[0]

    @property
    def top(self) -> Facts:
        """The last certificate that could be reached."""
        return self.certificates[self.path[-1]]

    @property
    def is_in_order(self) -> bool:
        """Whether each certificate is certified by the one after it, as far as they lead anywhere."""
        return self.path == tuple(range(len(self.path)))

    def role(self, position: int) -> Role:
        """Of one certificate; those beyond MOST are extra."""
        if position == 0:
            return Role.LEAF
        if position not in self.path:
            return Role.EXTRA
        return Role.ROOT if self.certificates[position].self_signed else Role.INTERMEDIATE


def chains(presented: Iterable[Presented]) -> Iterator[Chain]:
    """Each chain that was sent, by its slot."""
    slots: dict[int, list[Presented]] = {}
    for one in presented:
        slots.setdefault(one.slot, []).append(one)
    for slot, sent in sorted(slots.items()):
        ordered = sorted(sent, key=lambda one: one.position)
        found, path = _read(tuple(one.der for one in ordered[:MOST]))
        yield Chain(slot, found, path, max(0, len(ordered) - MOST))


@lru_cache(maxsize=2048)
def _read(sent: tuple[bytes, ...]) -> tuple[tuple[Facts, ...], tuple[int, ...]]:
    """A chain is looked at when it is judged, when it is rated and when it becomes rows."""
    found = tuple(map(certificate.facts, sent))
    return found, _path(found)


def _path(sent: Sequence[Facts]) -> tuple[int, ...]:
    path = [0]
    while (issuer := _issuer(sent, path)) is not None:
        path.append(issuer)
    return tuple(path)


def _issuer(sent: Sequence[Facts], path: Sequence[int]) -> int | None:
    """The position of who signed the last one of the path: the next if it did, else any that is not yet on it."""
    below = sent[path[-1]].loaded
    if below is None or sent[path[-1]].self_signed:
        return None
    last = path[-1]
    tried = [*range(last + 1, len(sent)), *range(last)]
    seen = {sent[position].sha256 for position in path}
    return next((at for at in tried if sent[at].sha256 not in seen and _signed(below, sent[at].loaded)), None)


def _signed(below: x509.Certificate, above: x509.Certificate | None) -> bool:
    return above is not None and certificate.is_signed_by(below, above)

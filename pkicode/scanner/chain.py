"""What a server sent as its chain: which certificates lead upward from its own, and which have no place there.

RFC 8446 section 4.4.2 wants each to certify the one before it.  Whom a client trusts is not asked here (trust.py).
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache

from attrs import field, frozen

from pkicode.scanner import certificate
from pkicode.scanner.certificate import Facts
from pkicode.scanner.finding import Presented

MOST = 16
"""Certificates of one chain that are looked at."""


class Role(StrEnum):
    LEAF = "leaf"
    INTERMEDIATE = "intermediate"
    ROOT = "root"
    """Signs itself, and something below it."""
    EXTRA = "extra"
    """No way from the leaf leads there, or it stands there twice."""


@frozen
class Chain:
    """One chain as it was sent."""

    slot: int
    certificates: tuple[Facts, ...] = field(repr=False)
    """In the order in which they were sent; MOST at most."""
    path: tuple[int, ...]
    """Positions from the leaf upward, each signed by the next; of two that did, the one that lives longer."""
    reached: frozenset[int]
    """Positions that any way from the leaf upward leads to: a cross-certificate is no stranger."""
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
        """Whether who signed stands behind what was signed, all the way up."""
        return self.path == tuple(sorted(self.path))

    def role(self, position: int) -> Role:
        """Of one certificate; those beyond MOST are extra."""
        if position == 0:
            return Role.LEAF
        if position not in self.reached:
            return Role.EXTRA
        return Role.ROOT if self.certificates[position].self_signed else Role.INTERMEDIATE


def chains(presented: Iterable[Presented]) -> Iterator[Chain]:
    """Each chain that was sent, by its slot."""
    slots: dict[int, list[Presented]] = {}
    for one in presented:
        slots.setdefault(one.slot, []).append(one)
    for slot, sent in sorted(slots.items()):
        ordered = sorted(sent, key=lambda one: one.position)
        found, path, reached = _read(tuple(one.der for one in ordered[:MOST]))
        yield Chain(slot, found, path, reached, max(0, len(ordered) - MOST))


@lru_cache(maxsize=2048)
def _read(sent: tuple[bytes, ...]) -> tuple[tuple[Facts, ...], tuple[int, ...], frozenset[int]]:
    """A chain is looked at when it is judged, when it is rated and when it becomes rows."""
    found = tuple(map(certificate.facts, sent))
    above: dict[int, list[int]] = {}
    waiting = [0]
    while waiting:
        position = waiting.pop()
        above[position] = _issuers(found, position)
        waiting += [one for one in above[position] if one not in above and one not in waiting]
    return found, _path(found, above), frozenset(above)


def _path(found: tuple[Facts, ...], above: dict[int, list[int]]) -> tuple[int, ...]:
    path = [0]
    while further := [one for one in above[path[-1]] if one not in path]:
        path.append(max(further, key=lambda one: found[one].not_after or 0))
    return tuple(path)


def _issuers(found: tuple[Facts, ...], position: int) -> list[int]:
    """Who signed a certificate, each once, those behind it first."""
    below = found[position]
    if below.loaded is None or below.self_signed:
        return []
    first = {one.sha256: at for at, one in reversed(list(enumerate(found)))}
    tried = [*range(position + 1, len(found)), *range(position)]
    return [
        at
        for at in tried
        if (above := found[at].loaded) is not None
        and first[found[at].sha256] == at
        and certificate.is_signed_by(below.loaded, above)
    ]

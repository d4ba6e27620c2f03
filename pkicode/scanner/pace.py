"""How fast, and in which order: token buckets, and a shuffle that needs no list.  Time and the key are parameters."""

import hashlib
import ipaddress
from collections.abc import Iterator
from functools import lru_cache

from attrs import define, field, frozen

_ROUNDS = 4
_FORGET_AT = 65_536
"""Buckets kept before full ones are forgotten: a scan of a /8 meets 65,536 networks."""


@frozen
class Rate:
    """Starts per second, and how many may follow each other at once after a pause."""

    per_second: float
    burst: float = 1.0


@define
class _Bucket:
    tokens: float
    at: float

    def fill(self, rate: Rate, now: float) -> float:
        """The tokens there are at `now`; a clock that goes back takes none away."""
        self.tokens = min(rate.burst, self.tokens + max(0.0, now - self.at) * rate.per_second)
        self.at = max(self.at, now)
        return self.tokens


@define
class Pace:
    """Three buckets before each connection: one for everything, one for its network, one for its host."""

    everything: Rate
    network: Rate
    """Of each IPv4 /24 and IPv6 /48."""
    host: Rate
    _all: _Bucket | None = field(default=None, init=False, repr=False)
    _networks: dict[str, _Bucket] = field(factory=dict, init=False, repr=False)
    _hosts: dict[str, _Bucket] = field(factory=dict, init=False, repr=False)

    def take(self, address: str, now: float) -> float:
        """0.0: a connection to this address may start now, and is counted.  Else nothing is taken: seconds to wait.

        Args:
            address: IPv4 or IPv6.
            now: seconds of any clock that does not jump, the same one each time.
        """
        if self._all is None:
            self._all = _Bucket(self.everything.burst, now)
        asked = [
            (self._all, self.everything),
            (_bucket(self._networks, network_of(address), self.network, now), self.network),
            (_bucket(self._hosts, address, self.host, now), self.host),
        ]
        wait = max(max(0.0, 1.0 - one.fill(rate, now)) / rate.per_second for one, rate in asked)
        # Less than a nanosecond is what adding floats leaves over.
        if wait > 1e-9:
            return wait
        for one, _ in asked:
            one.tokens -= 1.0
        return 0.0


def _bucket(there: dict[str, _Bucket], key: str, rate: Rate, now: float) -> _Bucket:
    if len(there) >= _FORGET_AT and key not in there:
        for full in [name for name, one in there.items() if one.fill(rate, now) >= rate.burst]:
            del there[full]
    return there.setdefault(key, _Bucket(rate.burst, now))


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The /24 of an IPv4 address, the /48 of an IPv6 one: what usually has one owner."""
    found = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False))


@frozen
class Shuffle:
    """The numbers 0 to size - 1 in an order that the key decides: again the same with the same key, and no list.

    A Feistel network over the next even power of two, walked until it lands inside.
    """

    size: int
    key: bytes = field(repr=False)
    """At most 64 octets; random for a new scan, kept to resume it."""

    def __getitem__(self, place: int) -> int:
        """The number at a place of the order."""
        if not 0 <= place < self.size:
            raise IndexError(place)
        number = self._once(place)
        # At most three in four numbers are outside, so that this ends after four steps on average.
        while number >= self.size:
            number = self._once(number)
        return number

    def __len__(self) -> int:
        return self.size

    def part(self, first: int, count: int) -> Iterator[int]:
        """The numbers of `count` places from `first` on."""
        return (self[place] for place in range(first, min(first + count, self.size)))

    def _once(self, number: int) -> int:
        half = max(1, ((self.size - 1).bit_length() + 1) // 2)
        mask = (1 << half) - 1
        left, right = number >> half, number & mask
        for turn in range(_ROUNDS):
            mixed = hashlib.blake2b(b"%d %d" % (turn, right), digest_size=8, key=self.key).digest()
            left, right = right, left ^ int.from_bytes(mixed, "big") & mask
        return left << half | right

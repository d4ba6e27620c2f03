"""From texts to targets: networks counted and not listed, files read, certificates looked up.  Opens no connection."""

import csv
import hashlib
import io
import ipaddress
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from attrs import evolve, field, frozen

from pkicode.model import target as texts
from pkicode.model.address import Address
from pkicode.model.problem import Place, Problem
from pkicode.model.target import FileOf, Spot
from pkicode.scanner.finding import Target

MOST_TARGETS = 2**26
"""Of one scan: at 3,000 a second that is six hours."""
MOST_OCTETS = 64 * 1024 * 1024
"""Of one file of targets."""
MOST_PROBLEMS = 100

Read = Callable[[str], bytes]
"""The bytes of a file named after `@`.  Raises OSError."""
Lookup = Callable[[Address], Sequence[str]]
"""The declared endpoints of a certificate, as texts.  Raises LookupError."""

_COLUMNS = {"host", "port", "starttls", "server_name"}


@frozen
class Targets:
    """Every target of a scan by its number; a network takes no more room than a host.

    A target of a name has no `address` yet: whoever scans resolves it, and may find several.
    """

    spots: tuple[Spot, ...] = field(repr=False)
    _ends: tuple[int, ...] = field(repr=False, init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_ends", tuple(accumulate(one.size for one in self.spots)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def digest(self) -> str:
        """SHA-256, hex: the same for the same targets in the same order, however they were written."""
        whole = hashlib.sha256()
        for one in self.spots:
            whole.update(f"{one.network or one.host} {one.port} {one.starttls} {one.server_name}\n".encode())
        return whole.hexdigest()

    def is_of_network(self, index: int) -> bool:
        """Whether nobody named this target, but the network it is in."""
        return self.spots[bisect_right(self._ends, index)].network is not None

    def some(self, indices: Iterable[int]) -> "Targets":
        """These alone, in this order; who is of a network stays of one."""
        return Targets(tuple(map(self._spot, indices)))

    def _spot(self, index: int) -> Spot:
        at = bisect_right(self._ends, index)
        spot = self.spots[at]
        if spot.network is None:
            return spot
        return evolve(spot, network=ipaddress.ip_network(spot.address(index - (self._ends[at] - spot.size))))

    def __getitem__(self, index: int) -> Target:
        if not 0 <= index < len(self):
            raise IndexError(index)
        at = bisect_right(self._ends, index)
        spot = self.spots[at]
        host = spot.address(index - (self._ends[at] - spot.size))
        address = host if is_address(host) else ""
        name = spot.server_name or ("" if address else host)
        return Target(host, address, spot.port, spot.starttls, name)


def is_address(host: str) -> bool:
    """Whether a host is written as an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def targets(
    given: Iterable[tuple[str, Place]], *, read: Read, endpoints: Lookup
) -> tuple[Targets, tuple[Problem, ...]]:
    """The targets that texts mean, each once, and what is wrong with the others.

    Args:
        given: texts with where each was written.
        read: gives the bytes of a file named after `@`; a path is relative to whatever the caller decides.
        endpoints: gives the declared endpoints of `cert.NAME`.

    Returns:
        Targets without doubles, and problems: E0350 for a text, E0351 for a file, E0352 for a certificate, E0353 for
        too many of them.
    """
    reading = _Reading(read, endpoints, [])
    spots = tuple(_once(reading.spots(given)))
    found = Targets(spots)
    if len(found) > MOST_TARGETS:
        message = f"{len(found):,} targets are more than the {MOST_TARGETS:,} of one scan"
        reading.problems.append(Problem("E0353", message, help="scan smaller networks one after the other"))
        return Targets(()), tuple(reading.problems)
    return found, tuple(reading.problems)


@frozen
class _Reading:
    read: Read
    endpoints: Lookup
    problems: list[Problem]

    def spots(self, given: Iterable[tuple[str, Place]]) -> Iterator[Spot]:
        for text, place in given:
            try:
                what = texts.read(text)
            except ValueError as error:
                self._tell("E0350", str(error), place)
                continue
            if isinstance(what, Spot):
                yield what
            elif isinstance(what, FileOf):
                yield from self._file(what.path, place)
            else:
                yield from self._declared(what, place)

    def _tell(self, code: str, message: str, place: Place, mend: str = "") -> None:
        # A wrong file is wrong in every line.
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(code, message, help=mend, place=place))

    def _declared(self, address: Address, place: Place) -> Iterator[Spot]:
        try:
            declared = self.endpoints(address)
        except LookupError as error:
            self._tell("E0352", str(error.args[0]), place, "name a [cert.X] that is declared")
            return
        if not declared:
            self._tell("E0352", f"`{address}` has no endpoints", place, 'add endpoints = ["host:443"] to it')
        for text in declared:
            try:
                yield texts.spot(text)
            except ValueError as error:
                self._tell("E0350", f"an endpoint of `{address}`: {error}", place)

    def _file(self, path: str, place: Place) -> Iterator[Spot]:
        try:
            data = self.read(path)
            if len(data) > MOST_OCTETS:
                raise ValueError(f"it has more than {MOST_OCTETS:,} octets")
            text = data.decode("utf-8-sig")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._tell("E0351", f"`{path}` cannot be read: {why}", place)
            return
        yield from self._rows(path, text) if path.lower().endswith(".csv") else self._lines(path, text)

    def _lines(self, path: str, text: str) -> Iterator[Spot]:
        for number, line in enumerate(text.splitlines(), 1):
            bare = line.partition("#")[0].strip()
            if not bare:
                continue
            if bare.startswith("@"):
                mend = "name both files where this one is named"
                self._tell("E0351", "a file of targets names no other file", Place(path, line=number), mend)
                continue
            yield from self.spots([(bare, Place(path, line=number))])

    def _rows(self, path: str, text: str) -> Iterator[Spot]:
        # With the ends of its lines: a quoted field may hold some, and is then no host.
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            if "host" not in header or not set(header) <= _COLUMNS or len(set(header)) != len(header):
                message = f"its columns must be host and any of {', '.join(sorted(_COLUMNS - {'host'}))}, each once"
                self._tell("E0351", message, Place(path, line=1))
                return
            for row in reader:
                place = Place(path, line=reader.line_num)
                if len(row) != len(header):
                    message = f"this line has {len(row)} fields, the header {len(header)}"
                    self._tell("E0351", message, place)
                elif any(row):
                    yield from self._row(dict(zip(header, (one.strip() for one in row), strict=True)), place)
        except csv.Error as error:
            self._tell("E0351", f"it is no CSV: {error}", Place(path, line=reader.line_num))

    def _row(self, row: dict[str, str], place: Place) -> Iterator[Spot]:
        host, port, starttls = row["host"], row.get("port", ""), row.get("starttls", "")
        bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
        try:
            one = texts.spot(f"{bracketed}{f':{port}' if port else ''}{f'/{starttls}' if starttls else ''}")
            name = texts.spot(row["server_name"]).host if row.get("server_name") else ""
        except ValueError as error:
            self._tell("E0350", str(error), place)
            return
        yield evolve(one, server_name=name)


def _once(spots: Iterable[Spot]) -> Iterator[Spot]:
    """Each spot once; an address that a network of the same scan has already is left out."""
    seen = list(dict.fromkeys(spots))
    networks: dict[tuple[int, str, int], set[texts.Network]] = {}
    for one in seen:
        if one.network is not None:
            networks.setdefault((one.port, one.starttls, one.network.version), set()).add(one.network)
    lengths = {which: {one.prefixlen for one in there} for which, there in networks.items()}
    for one in seen:
        own = one.network
        if own is None and is_address(one.host) and not one.server_name:
            own = ipaddress.ip_network(one.host)
        if own is not None:
            which = (one.port, one.starttls, own.version)
            # A network is asked for by each length that there is, and not compared with thousands of others.
            wider = [length for length in lengths.get(which, ()) if length < own.prefixlen]
            around = (own.supernet(new_prefix=length) for length in wider)
            if any(other in networks[which] and not _is_at_the_end(own, other) for other in around):
                continue
        yield one


def _is_at_the_end(own: texts.Network, around: texts.Network) -> bool:
    """Whether it is, or holds, an address that counts for nobody's in the network around it."""
    ends = (own.network_address == around.network_address, own.broadcast_address == around.broadcast_address)
    return own.version == 4 and own.num_addresses <= 2 < around.num_addresses and any(ends)


_TRANSLATED, _UNICAST = ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2000::/3")
"""NAT64's (RFC 6052), and all that IANA gives to anybody."""


def is_private(address: str) -> bool:
    """Whether an address is not one of the public Internet: private, link-local, loopback, multicast, reserved.

    A server that scans for strangers connects to none of them (server-side request forgery).  IPv4 addresses that
    hide in IPv6 ones count as themselves: mapped, 6to4, Teredo, NAT64 (RFC 6890, RFC 6052).

    Raises:
        ValueError: not an address; resolve names first, and judge what is connected to.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inside = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if found in _TRANSLATED:
            inside.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
        hidden = [one for one in inside if one is not None]
        if hidden:
            return any(is_private(str(one)) for one in hidden)
        if found not in _UNICAST:
            return True
    return not found.is_global or found.is_multicast or found.is_reserved

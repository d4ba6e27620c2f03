"""Texts that say what to scan: one host, one network, a file of them, or a declared certificate.  Resolves nothing.

`host`, `host:port`, `[2001:db8::1]:443`, `10.20.0.0/24:443`, `mail.example.org:25/smtp`, `@hosts.txt`, `cert.portal`.
"""

import ipaddress
import re

from attrs import frozen

from pkicode.model.address import Address, parse

PORTS = {
    "smtp": 25,
    "imap": 143,
    "pop3": 110,
    "ftp": 21,
    "ldap": 389,
    "xmpp": 5222,
    "postgres": 5432,
    "mysql": 3306,
}
"""Protocols that start plain and change to TLS, with the port each has where none is given."""

MOST_ADDRESSES = 2**24
"""Of one network: an IPv4 /8, an IPv6 /104.  A larger one is a mistake, or takes years."""

_STARTS_PLAIN = {port: name for name, port in PORTS.items()} | {587: "smtp", 5269: "xmpp"}
_TLS = "tls"
"""The word that says: TLS from the first octet, whatever is usual at this port."""
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?\Z")
_LONGEST_HOST, _LONGEST_TEXT, _SHOWN = 253, 1024, 80

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@frozen
class Spot:
    """One host, or each address of a network, at one port."""

    host: str
    """A name in lower case or an address; "" with `network`."""
    network: Network | None
    port: int
    starttls: str
    """"" for TLS from the first octet, else a name of PORTS."""
    server_name: str = ""
    """Asked for instead of `host`."""

    @property
    def size(self) -> int:
        """How many addresses are meant; a name counts as one."""
        return 1 if self.network is None else len(_hosts(self.network))

    def address(self, index: int) -> str:
        """One of them, in ascending order.  Of a name or one address: that."""
        return self.host if self.network is None else str(self.network[_hosts(self.network)[index]])


@frozen
class FileOf:
    """`@hosts.txt`: targets a line each, or a CSV with a header line."""

    path: str


def _hosts(network: Network) -> range:
    """Without the two addresses of an IPv4 network that are nobody's (RFC 3021 has none to spare)."""
    size = network.num_addresses
    return range(1, size - 1) if network.version == 4 and size > 2 else range(size)


def read(text: str) -> Spot | FileOf | Address:
    """What a text means.  An Address is that of a certificate, whose declared endpoints are meant.

    >>> read("10.20.0.0/24:8443").size
    254

    Raises:
        ValueError: what is wrong with it, in a sentence that says how to write it.
    """
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"a target has at most {_LONGEST_TEXT} characters, this one {len(text):,}")
    bare = text.strip()
    if bare.startswith("@"):
        if not bare[1:].strip():
            raise ValueError("`@` is followed by the path of a file, as in @hosts.txt")
        return FileOf(bare[1:])
    if bare.startswith("cert.") and ":" not in bare.partition("[")[0] and bare.partition("[")[0].count(".") == 1:
        address, generation = parse(bare)
        if generation is not None:
            raise ValueError(f"`{_short(bare)}` has a generation; whichever is served is what the scan finds out")
        return address
    return spot(bare)


def spot(text: str) -> Spot:
    """One host or network with its port.

    Raises:
        ValueError: as `read`.
    """
    rest, starttls = _protocol(text)
    host, port_text = _split(rest)
    port = _port(port_text) if port_text is not None else PORTS.get(starttls or "", 443)
    if starttls is None:
        starttls = _STARTS_PLAIN.get(port, "")
    if "/" in host:
        return Spot("", _network(host), port, starttls)
    return Spot(_host(host), None, port, starttls)


def _protocol(text: str) -> tuple[str, str | None]:
    """What stands before a `/smtp`, and that word; None without one, "" for `/tls`."""
    if "://" in text:
        raise ValueError(f"`{_short(text)}` is a URL; write the host and port, as in www.example.org:443")
    rest, slash, word = text.rpartition("/")
    if not slash or word[:1].isdigit():
        return text, None
    if word == _TLS:
        return rest, ""
    if word not in PORTS:
        raise ValueError(f"`/{_short(word)}` is no protocol that starts TLS later; write one of {' '.join(PORTS)}")
    return rest, word


def _split(text: str) -> tuple[str, str | None]:
    """Host or network, and the port's text where one is given."""
    if text.startswith("["):
        inside, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ValueError(f"`{_short(text)}` is no address in brackets; write [2001:db8::1]:443")
        return inside, after[1:] if after else None
    # More than one colon is an IPv6 address, whose port could only be guessed at.
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ValueError(f"`{_short(text)}` is no port; write a number from 1 to 65535")
    return int(text)


def _network(text: str) -> Network:
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"`{_short(text)}` is no network; write one as in 10.20.0.0/24") from None
    if str(found.network_address) != str(ipaddress.ip_address(text.partition("/")[0])):
        raise ValueError(f"`{_short(text)}` is an address inside a network; write {found}, or the address alone")
    if found.num_addresses > MOST_ADDRESSES:
        most = found.max_prefixlen - MOST_ADDRESSES.bit_length() + 1
        raise ValueError(f"`{_short(text)}` has more than {MOST_ADDRESSES:,} addresses; write a /{most} or smaller")
    return found


def _host(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _name(text)
    if "%" in text:
        raise ValueError("a zone index means something on one host only; remove it")
    return str(address)


def _name(text: str) -> str:
    if not text:
        raise ValueError("there is no host; write one as in www.example.org:443")
    if not text.isascii():
        raise ValueError(f"`{_short(text)}` is not ASCII; write the name's A-label form, xn--...")
    name = text.removesuffix(".").lower()
    if not _HOST.match(text) or len(name) > _LONGEST_HOST:
        raise ValueError(f"`{_short(text)}` is neither a host name nor an address")
    if name.rpartition(".")[2].isdigit():
        raise ValueError(f"`{_short(text)}` ends in a number, and is no address")
    return name


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."

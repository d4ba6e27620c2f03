"""Whether a certificate is for a host (RFC 9525): alternative names only, one wildcard, its left label alone."""

import ipaddress
import re

from pkicode.scanner.certificate import Facts
from pkicode.scanner.target import is_address

_LABELS = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)+\Z")


def names(certificate: Facts, host: str) -> bool:
    """Whether the certificate names this host, which is a name or an address as the client knows it.

    Common names do not count (section 2), `*.example` stands for no `a.b.example` (section 6.3), and an address is
    only ever an iPAddress (section 6.4): `dns:192.0.2.1` names nobody.
    """
    if is_address(host):
        wanted = ipaddress.ip_address(host)
        return any(_is_address(one, wanted) for one in certificate.sans)
    name = host.lower().removesuffix(".")
    return any(_is_host(one.removeprefix("dns:"), name) for one in certificate.sans if one.startswith("dns:"))


def _is_address(san: str, wanted: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    text = san.removeprefix("ip:")
    # A network is what name constraints have; cryptography reads one in a SAN as well.
    return san.startswith("ip:") and is_address(text) and ipaddress.ip_address(text) == wanted


def _is_host(presented: str, name: str) -> bool:
    pattern = presented.lower()
    if not pattern.startswith("*."):
        # What holds a NUL, a blank or a mark that turns text around is equal to no host anybody asks for.
        return pattern == name
    below = pattern[2:]
    left, dot, rest = name.partition(".")
    return bool(_LABELS.match(below) and left and dot and rest == below)

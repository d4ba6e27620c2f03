"""Rules of our own: what no RFC forbids and yet goes wrong."""

import ipaddress
from collections.abc import Iterator

from pkicode.x509 import der, names
from pkicode.x509.lint.reading import Own, Shared
from pkicode.x509.lint.rule import rule
from pkicode.x509.tbs import IssuerFacts

_COMMON_NAME = der.oid("2.5.4.3")


@rule("pkicode: names")
def common_name_that_looks_like_a_host_is_an_alternative_name(
    own: Own, shared: Shared, _issuer: IssuerFacts
) -> Iterator[str]:
    """Old clients connect to it, and allow-lists look at alternative names only."""
    if shared.is_ca:
        return
    for _, rdn in der.children(der.only(own.subject, der.SEQUENCE)):
        for _, attribute in der.children(rdn):
            if attribute.startswith(_COMMON_NAME):
                yield from _among(der.children(attribute)[1][1].decode("utf-8"), own)


def _among(name: str, own: Own) -> Iterator[str]:
    if not names.looks_like_host(name) or _holds(own, 0x82, name.lower().encode("utf-8")):
        return
    if not names.is_address(name) or not _holds(own, 0x87, ipaddress.ip_address(name).packed):
        yield f"the common name `{name}` looks like a host and is not among the alternative names"


def _holds(own: Own, tag: int, content: bytes) -> bool:
    return any(der.tlv(tag, content) in san.value for san in own.sans)


OWN = (common_name_that_looks_like_a_host_is_an_alternative_name,)

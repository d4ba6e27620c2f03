"""OCSP requests (RFC 6960 section 4.1, nonces by RFC 9654): what strangers ask, read from DER, and how we ask.

Which answer a request gets is the responder's to say (pkicode/server).  A request's signature is not looked at: the
answers are the same for everybody.
"""

import hashlib
from functools import lru_cache
from typing import Final, NamedTuple

from attrs import frozen

from pkicode.x509.der import (
    BOOLEAN,
    INTEGER,
    NULL,
    OCTET_STRING,
    OID,
    SEQUENCE,
    children,
    integer,
    oid,
    only,
    tlv,
)
from pkicode.x509.keys import key_bits
from pkicode.x509.tbs import IssuerFacts

LIMIT: Final = 8192
"""Octets of a request; one with a signature and its certificates has a few thousand."""

NONCE_MOST: Final = 128
"""RFC 9654 section 2.1: a nonce has 1 to 128 octets."""

HASHES: Final = {"sha1": oid("1.3.14.3.2.26"), "sha256": oid("2.16.840.1.101.3.4.2.1")}
"""The hashes of a CertID that are answered."""

_NAMES: Final = {content: name for name, content in HASHES.items()}
_NONCE = oid("1.3.6.1.5.5.7.48.1.2")
_CONTEXT_0, _CONTEXT_1, _CONTEXT_2 = 0xA0, 0xA1, 0xA2


class CertId(NamedTuple):
    """Which certificate is meant (section 4.1.1)."""

    hash: str
    """A name of HASHES, "" for any other: nobody here answers those."""
    issuer_name: bytes
    issuer_key: bytes
    serial: int


@frozen
class Request:
    """What was asked."""

    ids: tuple[CertId, ...]
    extended: bool
    """It has extensions, which are different each time if one is a nonce."""


def parse(der: bytes) -> Request:
    """Read a stranger's request.

    Raises:
        ValueError: it is no OCSPRequest, longer than LIMIT, has a nonce of a length that RFC 9654 forbids, or a
            critical extension nobody knows.
    """
    if len(der) > LIMIT:
        raise ValueError(f"the request has {len(der)} octets, more than {LIMIT}")
    parts = children(only(der, SEQUENCE))
    if not parts or len(parts) > 2 or [tag for tag, _ in parts] not in ([SEQUENCE], [SEQUENCE, _CONTEXT_0]):
        raise ValueError("an OCSPRequest is a tbsRequest and perhaps a signature")
    fields = children(parts[0][1])
    tags = [tag for tag, _ in fields]
    if SEQUENCE not in tags or tags != sorted(tags, key=(_CONTEXT_0, _CONTEXT_1, SEQUENCE, _CONTEXT_2).index):
        raise ValueError("a TBSRequest is version, requestor, request list and extensions")
    found = dict(fields)
    if len(found) != len(fields):
        raise ValueError("a field of the TBSRequest stands there twice")
    if _CONTEXT_0 in found and found[_CONTEXT_0] != integer(0):
        raise ValueError("the request is not of version 1")
    ids = tuple(_asked(tag, one) for tag, one in children(found[SEQUENCE]))
    if not ids:
        raise ValueError("the request list is empty")
    if _CONTEXT_2 in found:
        _extensions(found[_CONTEXT_2])
    return Request(ids, extended=_CONTEXT_2 in found)


def _asked(tag: int, content: bytes) -> CertId:
    """One Request of the list; its single extensions (a service locator) change nothing here."""
    parts = children(content)
    if tag != SEQUENCE or [tag for tag, _ in parts] not in ([SEQUENCE], [SEQUENCE, _CONTEXT_0]):
        raise ValueError("a Request is a CertID and perhaps extensions")
    fields = children(parts[0][1])
    if [tag for tag, _ in fields] != [SEQUENCE, OCTET_STRING, OCTET_STRING, INTEGER]:
        raise ValueError("a CertID is algorithm, two hashes and a serial number")
    (_, algorithm), (_, name), (_, key), (_, serial) = fields
    if not serial or (len(serial) > 1 and (serial[0], serial[1] >> 7) in ((0, 0), (0xFF, 1))):
        raise ValueError("the serial number is not in shortest form")
    return CertId(_hash(algorithm), name, key, int.from_bytes(serial, signed=True))


@lru_cache(maxsize=16)
def _hash(algorithm: bytes) -> str:
    """The parameters are absent or NULL (RFC 5754 section 2); clients send both."""
    parts = children(algorithm)
    if not parts or parts[0][0] != OID or len(parts) > 2:
        raise ValueError("a hash algorithm is an identifier and perhaps parameters")
    known = _NAMES.get(tlv(OID, parts[0][1]), "")
    return known if parts[1:] in ([], [(NULL, b"")]) else ""


def _extensions(content: bytes) -> None:
    seen = set()
    for tag, extension in children(only(content, SEQUENCE)):
        parts = children(extension)
        tags = [tag for tag, _ in parts]
        if tag != SEQUENCE or tags not in ([OID, OCTET_STRING], [OID, BOOLEAN, OCTET_STRING]):
            raise ValueError("an extension is an identifier, its criticality and a value")
        known, critical = tlv(OID, parts[0][1]), tags[1] == BOOLEAN and parts[1][1] != b"\0"
        if known in seen:
            raise ValueError("an extension stands there twice")
        seen.add(known)
        if known == _NONCE:
            _nonce(parts[-1][1])
        elif critical:
            raise ValueError("a critical extension is not known")


def _nonce(value: bytes) -> None:
    if not 1 <= len(only(value, OCTET_STRING)) <= NONCE_MOST:
        raise ValueError(f"a nonce has 1 to {NONCE_MOST} octets (RFC 9654 section 2.1)")


@lru_cache(maxsize=256)
def hashes_of(issuer: IssuerFacts, algorithm: str) -> tuple[bytes, bytes]:
    """issuerNameHash and issuerKeyHash: of the DER Name, and of the key without tag and length (section 4.1.1)."""
    return hashlib.new(algorithm, issuer.dn).digest(), hashlib.new(algorithm, key_bits(issuer.spki)).digest()


def cert_id(issuer: IssuerFacts, serial: int, algorithm: str) -> CertId:
    """The CertID of a certificate of this issuer; `algorithm` is a name of HASHES."""
    return CertId(algorithm, *hashes_of(issuer, algorithm), serial)


def encode(asked: CertId) -> bytes:
    """The OCSPRequest for one certificate: no version, no nonce, no signature (RFC 9919 section 3.1.1)."""
    return tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, encode_id(asked)))))


def encode_id(asked: CertId) -> bytes:
    """The CertID; its hash is a name of HASHES."""
    return tlv(
        SEQUENCE,
        tlv(SEQUENCE, HASHES[asked.hash], tlv(NULL)),
        tlv(OCTET_STRING, asked.issuer_name),
        tlv(OCTET_STRING, asked.issuer_key),
        integer(asked.serial),
    )

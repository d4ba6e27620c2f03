"""What follows a ServerHello (RFC 5246 section 7.4, RFC 8446 section 4.3): certificates, key exchange, alerts.

Certificates stay DER and nobody is believed here: who checks them is pkicode/scanner's business.
"""

from typing import Final

from attrs import frozen

from pkicode.tls.groups import ffdhe_group
from pkicode.tls.hello import AUTHORITIES, SCT, STATUS_REQUEST, TLS12, extensions
from pkicode.tls.records import Cut, Garbled
from pkicode.tls.suites import Suite

NEW_SESSION_TICKET, ENCRYPTED_EXTENSIONS, CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST = 4, 8, 11, 12, 13
SERVER_HELLO_DONE, CERTIFICATE_VERIFY, FINISHED, CERTIFICATE_STATUS = 14, 15, 20, 22

CERTIFICATES_MOST: Final = 64
_AUTHORITIES_MOST = 2000
_CURVES = {1: 0xFF01, 2: 0xFF02}


@frozen
class Alert:
    """Why somebody ends a connection, or nearly."""

    fatal: bool
    description: int

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    DECRYPTION_FAILED = 21
    HANDSHAKE_FAILURE = 40
    PROTOCOL_VERSION = 70
    INAPPROPRIATE_FALLBACK = 86


def alert(body: bytes) -> Alert:
    """Read one.

    Raises:
        Garbled: it is none.
    """
    if len(body) != 2 or body[0] not in (1, 2):
        raise Garbled("an alert that is none")
    return Alert(fatal=body[0] == 2, description=body[1])


@frozen
class KeyExchange:
    """A server's half of a key exchange before TLS 1.3."""

    group: int = 0
    """IANA's number; of a finite field if it is one of RFC 7919's, 0 for any other."""
    bits: int = 0
    """Of the prime of a finite field, of the modulus of an export RSA key; 0 for a curve."""
    signature: int = 0
    """The SignatureScheme of TLS 1.2; 0 before it, and for whoever is anonymous."""


def key_exchange(body: bytes, suite: Suite, version: int) -> KeyExchange:
    """Read a ServerKeyExchange as this suite has it (RFC 5246 section 7.4.3, RFC 8422 section 5.4, RFC 4279, 5489).

    Raises:
        Garbled: it is none.
    """
    cut = Cut(body)
    if "PSK" in suite.kx:
        cut.vector(2)
    group = bits = 0
    if suite.kx.startswith("ECDH"):
        kind = cut.number(1)
        group = cut.number(2) if kind == 3 else _CURVES.get(kind, 0)
        if kind != 3:
            return KeyExchange(group)
        cut.vector(1)
    elif suite.kx.startswith("DH"):
        prime, _generator, _public = (int.from_bytes(cut.vector(2), "big") for _ in range(3))
        bits, group = prime.bit_length(), ffdhe_group(prime)
    elif suite.export:
        bits = int.from_bytes(cut.vector(2), "big").bit_length()
        cut.vector(2)
    else:
        return KeyExchange()
    signed = version == TLS12 and not suite.anonymous and "PSK" not in suite.kx
    return KeyExchange(group, bits, cut.number(2) if signed else 0)


@frozen
class Certificates:
    """A chain as it was sent, and what was sent with its leaf."""

    chain: tuple[bytes, ...]
    staple: bytes = b""
    scts: tuple[bytes, ...] = ()


def certificates(body: bytes) -> Certificates:
    """Read a Certificate message of a version before 1.3.

    Raises:
        Garbled: it is none, or has more than CERTIFICATES_MOST.
    """
    cut = Cut(body)
    chain = Cut(cut.vector(3)).each(lambda one: one.vector(3), most=CERTIFICATES_MOST)
    cut.end()
    return Certificates(chain)


def certificates13(body: bytes) -> Certificates:
    """As `certificates`, of TLS 1.3 (RFC 8446 section 4.4.2)."""
    cut = Cut(body)
    cut.vector(1)
    entries = Cut(cut.vector(3)).each(lambda one: (one.vector(3), one.vector(2)), most=CERTIFICATES_MOST)
    cut.end()
    of_leaf = extensions(entries[0][1]) if entries else {}
    return Certificates(
        chain=tuple(der for der, _ in entries),
        staple=staple(of_leaf[STATUS_REQUEST]) if STATUS_REQUEST in of_leaf else b"",
        scts=scts(of_leaf.get(SCT, b"")),
    )


def staple(body: bytes) -> bytes:
    """The OCSP response of a CertificateStatus (RFC 6066 section 8), b"" if it is of another type.

    Raises:
        Garbled: it is none.
    """
    cut = Cut(body)
    return cut.vector(3) if cut.number(1) == 1 else b""


def scts(data: bytes) -> tuple[bytes, ...]:
    """The SCTs of an extension (RFC 6962 section 3.3), each as it was sent.

    Raises:
        Garbled: they are none.
    """
    return Cut(Cut(data).vector(2)).each(lambda one: one.vector(2), most=64) if data else ()


def authorities(body: bytes, version: int) -> tuple[bytes, ...]:
    """The CA names, DER, of a CertificateRequest before TLS 1.3 (RFC 5246 section 7.4.4).

    Raises:
        Garbled: it is none.
    """
    cut = Cut(body)
    cut.vector(1)
    if version == TLS12:
        cut.vector(2)
    return _names(cut.vector(2))


def authorities13(body: bytes) -> tuple[bytes, ...]:
    """As `authorities`, of TLS 1.3 (RFC 8446 sections 4.3.2 and 4.2.4)."""
    cut = Cut(body)
    cut.vector(1)
    named = extensions(cut.vector(2)).get(AUTHORITIES, b"")
    return _names(Cut(named).vector(2)) if named else ()


def _names(data: bytes) -> tuple[bytes, ...]:
    return Cut(data).each(lambda one: one.vector(2), most=_AUTHORITIES_MOST)

"""Signed certificate timestamps (RFC 6962 section 3.2): read, and verify against the keys of logs that are given."""

import hashlib
from collections.abc import Iterator

from attrs import field, frozen

_V1 = 0
_CERTIFICATE_TIMESTAMP = 0
_X509_ENTRY, _PRECERT_ENTRY = 0, 1
_HASHES = {2: "sha1", 4: "sha256", 5: "sha384", 6: "sha512"}
_SIGNATURES = {1: "rsa", 2: "dsa", 3: "ecdsa"}
_ALGORITHMS = {"ecdsa-sha256": "ec-p256", "rsa-sha256": "rsa-2048"}
"""Section 2.1.4, and a kind of key that signs so, whatever the size of the log's own."""
_MOST = 64
"""SCTs of one list that are read; a certificate has two or three."""


@frozen
class Sct:
    """One promise of a log to publish a certificate."""

    log_id: str
    """SHA-256 of the log's SubjectPublicKeyInfo, hex."""
    timestamp: int
    """Milliseconds since 1970."""
    extensions: bytes = field(repr=False)
    signature_alg: str
    """`ecdsa-sha256`, `rsa-sha256`; numbers where the registry has no name."""
    signature: bytes = field(repr=False)


@frozen
class Logged:
    """What was logged, as it is signed: a certificate, or a precertificate (section 3.2)."""

    entry: bytes = field(repr=False)


def certificate_entry(der: bytes) -> Logged:
    """What SCTs of the TLS extension and of OCSP responses are about: the certificate itself."""
    return Logged(_X509_ENTRY.to_bytes(2, "big") + _vector(der, 3))


def precertificate_entry(tbs: bytes, issuer_spki: bytes) -> Logged:
    """What embedded SCTs are about.

    Args:
        tbs: DER TBSCertificate without the extension that holds the SCTs.
        issuer_spki: DER SubjectPublicKeyInfo of who signs the certificate.
    """
    return Logged(_PRECERT_ENTRY.to_bytes(2, "big") + hashlib.sha256(issuer_spki).digest() + _vector(tbs, 3))


def split(data: bytes) -> tuple[bytes, ...]:
    """The SCTs of a SignedCertificateTimestampList (section 3.3), each as it is encoded.

    Raises:
        ValueError: cut short, something behind it, or more than a few dozen.
    """
    return tuple(_items(data))


def _items(data: bytes) -> Iterator[bytes]:
    body, rest = _take(data, 2)
    if rest:
        raise ValueError("something stands behind the list of SCTs")
    for _ in range(_MOST):
        if not body:
            return
        one, body = _take(body, 2)
        yield one
    if body:
        raise ValueError(f"more than {_MOST} SCTs")


def read(data: bytes) -> Sct:
    """One SCT.

    Raises:
        ValueError: of another version, cut short, or something behind it.
    """
    if len(data) < 41:
        raise ValueError("the SCT is cut short")
    if data[0] != _V1:
        raise ValueError(f"the SCT is of version {data[0] + 1}; only version 1 is known")
    extensions, rest = _take(data[41:], 2)
    if len(rest) < 2:
        raise ValueError("the SCT is cut short")
    signature, behind = _take(rest[2:], 2)
    if behind:
        raise ValueError("something stands behind the SCT")
    alg = f"{_SIGNATURES.get(rest[1], rest[1])}-{_HASHES.get(rest[0], rest[0])}"
    return Sct(data[1:33].hex(), int.from_bytes(data[33:41], "big"), extensions, alg, signature)


def verify(sct: Sct, logged: Logged, log_spki: bytes) -> None:
    """Whether the log with this key signed this SCT for this entry.  Whether its time makes sense is not asked.

    Raises:
        SignatureError: it did not, or with an algorithm that RFC 6962 section 2.1.4 does not let through.
    """
    # Whoever reads SCTs without a log's key verifies none, and what verifies comes with half of the house.
    from pkicode.x509 import keys

    if sct.signature_alg not in _ALGORITHMS:
        raise keys.SignatureError(f"no log signs by {sct.signature_alg}, only by {' or '.join(_ALGORITHMS)}")
    head = bytes((_V1, _CERTIFICATE_TIMESTAMP)) + sct.timestamp.to_bytes(8, "big")
    signed = head + logged.entry + _vector(sct.extensions, 2)
    keys.verify(log_spki, keys.signature_algorithm(_ALGORITHMS[sct.signature_alg]), signed, sct.signature)


def log_id(log_spki: bytes) -> str:
    """The name of a log in its SCTs: SHA-256 of its DER SubjectPublicKeyInfo, hex."""
    return hashlib.sha256(log_spki).hexdigest()


def _vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _take(data: bytes, width: int) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[:width], "big")
    if len(data) < width + size:
        raise ValueError("a list of SCTs, or one of them, is cut short")
    return data[width : width + size], data[width + size :]

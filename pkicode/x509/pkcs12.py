"""PKCS#12: a leaf's key, its certificate and its chain in one file under a password (RFC 7292)."""

import hashlib
import hmac

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.hazmat.primitives.serialization import pkcs12 as pkcs12_format

from pkicode.x509 import der
from pkicode.x509.keys import load_pkcs8

ROUNDS = 600_000
"""The most that Windows opens; about a second a file."""


def pkcs12(key_pkcs8: bytes, leaf: bytes, chain: tuple[bytes, ...], password: bytes, name: str) -> bytes:
    """A PKCS#12 file: AES-256-CBC under PBKDF2 with SHA-256 (RFC 8018), HMAC-SHA-256, ROUNDS rounds of each.

    Args:
        key_pkcs8: the leaf's private key.
        leaf: its certificate, DER.
        chain: the issuers' certificates, DER, nearest first.
        password: not empty.
        name: friendlyName.

    Raises:
        ValueError: an empty password, or a key that is not the leaf's.
    """
    if not password:
        raise ValueError("a PKCS#12 file without a password protects nothing; name one in p12_password")
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(ROUNDS)
        .key_cert_algorithm(pkcs12_format.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password)
    )
    certificate = x509.load_der_x509_certificate(leaf)
    key = load_pkcs8(key_pkcs8, trusted=True)
    if certificate.public_key() != key.public_key():
        raise ValueError("the private key is not the certificate's")
    issuers = [x509.load_der_x509_certificate(issuer) for issuer in chain]
    made = pkcs12_format.serialize_key_and_certificates(name.encode(), key, certificate, issuers, encryption)
    return _with_strong_mac(made, password.decode("utf-8"))


def _with_strong_mac(pfx: bytes, password: str) -> bytes:
    """The same file with ROUNDS rounds under its MAC.

    The library's MAC has 2,048 rounds: whoever guesses passwords would guess against that one.
    """
    version, (_, content), mac = der.children(der.only(pfx, der.SEQUENCE))
    digest_info, (_, salt), _ = der.children(mac[1])
    algorithm, _ = der.children(digest_info[1])
    safe = der.only(der.only(content[len(der.tlv(*der.children(content)[0])) :], 0xA0), der.OCTET_STRING)
    digest = hmac.digest(_pkcs12_mac_key(password, salt), safe, "sha256")
    return der.tlv(
        der.SEQUENCE,
        der.tlv(*version),
        der.tlv(der.SEQUENCE, content),
        der.tlv(
            der.SEQUENCE,
            der.tlv(der.SEQUENCE, der.tlv(*algorithm), der.tlv(der.OCTET_STRING, digest)),
            der.tlv(der.OCTET_STRING, salt),
            der.integer(ROUNDS),
        ),
    )


def _pkcs12_mac_key(password: str, salt: bytes) -> bytes:
    """RFC 7292 appendix B.2 with SHA-256 and ID 3; one block is enough for a key of 32 octets."""
    block = 64
    key = bytes([3]) * block
    for part in (salt, password.encode("utf-16-be") + b"\0\0"):
        size = block * -(-len(part) // block)
        key += (part * size)[:size]
    for _ in range(ROUNDS):
        key = hashlib.sha256(key).digest()
    return key

"""PKCS#12: a leaf's key, its certificate and its chain in one file under a password (RFC 7292)."""

import hashlib
import hmac

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import pkcs12 as pkcs12_format

from pkicode.x509 import der
from pkicode.x509.keys import LatticeKey, load_pkcs8, pkcs8

ROUNDS = 600_000
"""The most that Windows opens; about a second a file."""

_DATA = der.oid("1.2.840.113549.1.7.1")
_SHROUDED_KEY_BAG = der.oid("1.2.840.113549.1.12.10.1.2")
_FRIENDLY_NAME, _BMP = der.oid("1.2.840.113549.1.9.20"), 0x1E


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
    # The library puts no lattice's key into such a file, only certificates beside it.
    known, bag = (None, _key_bag(key, password, name)) if isinstance(key, LatticeKey) else (key, b"")
    made = pkcs12_format.serialize_key_and_certificates(name.encode(), known, certificate, issuers, encryption)
    return _with_strong_mac(made, password.decode("utf-8"), bag)


def _key_bag(key: LatticeKey, password: bytes, name: str) -> bytes:
    """A ContentInfo with one pkcs8ShroudedKeyBag (RFC 7292 section 4.2.2).

    Salt and initialization vector are the library's; ours are the rounds, for it makes 2,048.
    """
    weak = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    (_, algorithm), _ = der.children(der.only(weak, der.SEQUENCE))
    pbes2, (_, parameters) = der.children(algorithm)
    (_, derivation), cipher = der.children(parameters)
    pbkdf2, (_, parameters) = der.children(derivation)
    (_, salt), _, prf = der.children(parameters)
    _, (_, vector) = der.children(cipher[1])
    derived = hashlib.pbkdf2_hmac("sha256", password, salt, ROUNDS, 32)
    padder, encryptor = padding.PKCS7(128).padder(), Cipher(algorithms.AES(derived), modes.CBC(vector)).encryptor()
    encrypted = encryptor.update(padder.update(pkcs8(key)) + padder.finalize()) + encryptor.finalize()
    strong = der.tlv(der.SEQUENCE, der.tlv(der.OCTET_STRING, salt), der.integer(ROUNDS), der.tlv(*prf))
    scheme = der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, der.tlv(*pbkdf2), strong), der.tlv(*cipher))
    shrouded = der.tlv(
        der.SEQUENCE, der.tlv(der.SEQUENCE, der.tlv(*pbes2), scheme), der.tlv(der.OCTET_STRING, encrypted)
    )
    friendly = der.tlv(der.SEQUENCE, _FRIENDLY_NAME, der.tlv(der.SET, der.tlv(_BMP, name.encode("utf-16-be"))))
    bag = der.tlv(der.SEQUENCE, _SHROUDED_KEY_BAG, der.tlv(0xA0, shrouded), der.tlv(der.SET, friendly))
    return _data(der.tlv(der.SEQUENCE, bag))


def _data(content: bytes) -> bytes:
    """A ContentInfo of plain data (RFC 5652 section 4)."""
    return der.tlv(der.SEQUENCE, _DATA, der.tlv(0xA0, der.tlv(der.OCTET_STRING, content)))


def _with_strong_mac(pfx: bytes, password: str, bag: bytes) -> bytes:
    """The same file with ROUNDS rounds under its MAC, and with one more ContentInfo.

    The library's MAC has 2,048 rounds: whoever guesses passwords would guess against that one.
    """
    version, (_, content), mac = der.children(der.only(pfx, der.SEQUENCE))
    digest_info, (_, salt), _ = der.children(mac[1])
    algorithm, _ = der.children(digest_info[1])
    kept = der.only(der.only(content[len(_DATA) :], 0xA0), der.OCTET_STRING)
    safe = der.tlv(der.SEQUENCE, der.only(kept, der.SEQUENCE), bag)
    digest = hmac.digest(_pkcs12_mac_key(password, salt), safe, "sha256")
    return der.tlv(
        der.SEQUENCE,
        der.tlv(*version),
        _data(safe),
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

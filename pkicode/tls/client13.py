"""A client's half of TLS 1.3 (RFC 8446) as far as the server's certificate, which is the first thing not in the clear.

It never authenticates anybody and never finishes a handshake: what it reads is evidence, not a channel.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from attrs import frozen
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkicode.tls.groups import X25519
from pkicode.tls.hello import COOKIE, KEY_SHARE, ClientHello, ServerHello, vector
from pkicode.tls.records import APPLICATION_DATA, Garbled, Message, Record

Entropy = Callable[[int], bytes]
"""That many random octets."""

_FINISHED, _MESSAGE_HASH = 20, 254
_X25519MLKEM768: Final = 0x11EC
_CIPHERTEXT: Final = 1088
"""Octets of an ML-KEM-768 ciphertext (FIPS 203 table 3)."""


@frozen
class Share:
    """One half of a key exchange, and what makes a secret of it with the other half."""

    group: int
    public: bytes
    combine: Callable[[bytes], bytes]

    def extension(self) -> tuple[int, bytes]:
        return KEY_SHARE, vector(2, self.group.to_bytes(2, "big") + vector(2, self.public))


def share(group: int, entropy: Entropy) -> Share:
    """One of a group of GROUPS.

    Raises:
        UnsupportedAlgorithm: this build of OpenSSL has not this group.
    """
    return _SHARES[group](entropy)


def _x25519(entropy: Entropy) -> Share:
    key = X25519PrivateKey.from_private_bytes(entropy(32))
    public = key.public_key().public_bytes_raw()
    return Share(X25519, public, lambda peer: key.exchange(X25519PublicKey.from_public_bytes(peer)))


def _x448(entropy: Entropy) -> Share:
    key = X448PrivateKey.from_private_bytes(entropy(56))
    public = key.public_key().public_bytes_raw()
    return Share(30, public, lambda peer: key.exchange(X448PublicKey.from_public_bytes(peer)))


def _weierstrass(group: int, curve: EllipticCurve) -> Callable[[Entropy], Share]:
    def share(entropy: Entropy) -> Share:
        # Half as many bits as the order has would do: nothing is kept secret with it.
        key = derive_private_key(1 + int.from_bytes(entropy(curve.key_size // 8 - 1), "big"), curve)
        public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return Share(
            group,
            public,
            lambda peer: key.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(curve, peer)),
        )

    return share


def _hybrid(entropy: Entropy) -> Share:
    """The ML-KEM part first, in the share as in the secret (draft-ietf-tls-ecdhe-mlkem)."""
    key, curve = MLKEM768PrivateKey.from_seed_bytes(entropy(64)), _x25519(entropy)
    return Share(
        _X25519MLKEM768,
        key.public_key().public_bytes_raw() + curve.public,
        lambda peer: key.decapsulate(peer[:_CIPHERTEXT]) + curve.combine(peer[_CIPHERTEXT:]),
    )


_SHARES: Final = {
    X25519: _x25519,
    23: _weierstrass(23, SECP256R1()),
    24: _weierstrass(24, SECP384R1()),
    25: _weierstrass(25, SECP521R1()),
    30: _x448,
    _X25519MLKEM768: _hybrid,
}
GROUPS: Final = tuple(_SHARES)
"""What this client can calculate with."""


@frozen
class _Cipher:
    hash: str
    key: int
    aead: Callable[[bytes], AESGCM | AESCCM | ChaCha20Poly1305]


_CIPHERS: Final = {
    0x1301: _Cipher("sha256", 16, AESGCM),
    0x1302: _Cipher("sha384", 32, AESGCM),
    0x1303: _Cipher("sha256", 32, ChaCha20Poly1305),
    0x1304: _Cipher("sha256", 16, AESCCM),
    0x1305: _Cipher("sha256", 16, lambda key: AESCCM(key, tag_length=8)),
}
_TAGS: Final = {0x1305: 8}
"""Octets of a tag, where they are not 16."""
SUITES: Final = tuple(_CIPHERS)
"""What this client can decrypt."""


SERVER_HANDSHAKE, CLIENT_HANDSHAKE = b"s hs traffic", b"c hs traffic"
SERVER_APPLICATION, CLIENT_APPLICATION = b"s ap traffic", b"c ap traffic"
"""Labels of section 7.1: whose records, and of which part of a connection."""


class Opener:
    """Opens the records of one side, in order, or makes them (RFC 8446 sections 5.2, 5.3)."""

    def __init__(self, suite: int, shared: bytes, transcript: bytes, label: bytes = SERVER_HANDSHAKE) -> None:
        """`shared` is the secret of the key exchange, `transcript` every message up to the ServerHello; for application
        data up to the server's Finished."""
        cipher = _CIPHERS[suite]
        secret = traffic_secret(cipher.hash, shared, hashlib.new(cipher.hash, transcript).digest(), label)
        self._aead = cipher.aead(_expand(cipher.hash, secret, b"key", b"", cipher.key))
        self._iv = int.from_bytes(_expand(cipher.hash, secret, b"iv", b"", 12), "big")
        self._sequence = 0
        self._suite = suite

    def open(self, record: Record) -> Record:
        """The record inside.

        Raises:
            Garbled: it was not made with these keys, or holds nothing.
        """
        header = bytes((record.type, 3, 3)) + len(record.body).to_bytes(2, "big")
        try:
            inner = self._aead.decrypt(self._nonce(), record.body, header).rstrip(b"\0")
        except (InvalidTag, ValueError) as error:
            raise Garbled("an encrypted record that does not open") from error
        if not inner:
            raise Garbled("an encrypted record that holds nothing")
        return Record(inner[-1], record.version, inner[:-1])

    def seal(self, kind: int, body: bytes) -> bytes:
        """A record of this type."""
        header = bytes((APPLICATION_DATA, 3, 3)) + (len(body) + 1 + _TAGS.get(self._suite, 16)).to_bytes(2, "big")
        return header + self._aead.encrypt(self._nonce(), body + bytes((kind,)), header)

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return nonce


def finished(suite: int, shared: bytes, before: bytes, transcript: bytes) -> Message:
    """The client's Finished (section 4.4.4): `before` is every message up to the ServerHello, `transcript` all."""
    name = _CIPHERS[suite].hash
    secret = traffic_secret(name, shared, hashlib.new(name, before).digest(), CLIENT_HANDSHAKE)
    key = _expand(name, secret, b"finished", b"", hashlib.new(name).digest_size)
    return Message(_FINISHED, hmac.digest(key, hashlib.new(name, transcript).digest(), name))


def traffic_secret(name: str, shared: bytes, transcript: bytes, label: bytes = SERVER_HANDSHAKE) -> bytes:
    """A traffic secret (section 7.1), of the hash of the transcript; without a pre-shared key."""
    empty = hashlib.new(name)
    zeros = bytes(empty.digest_size)
    early = hmac.digest(zeros, zeros, name)
    derived = _expand(name, early, b"derived", empty.digest(), empty.digest_size)
    secret = hmac.digest(derived, shared, name)
    if label in (SERVER_APPLICATION, CLIENT_APPLICATION):
        derived = _expand(name, secret, b"derived", empty.digest(), empty.digest_size)
        secret = hmac.digest(derived, zeros, name)
    return _expand(name, secret, label, transcript, empty.digest_size)


def _expand(name: str, secret: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """HKDF-Expand-Label; one block is enough for all that is asked for here."""
    info = size.to_bytes(2, "big") + vector(1, b"tls13 " + label) + vector(1, context)
    return hmac.digest(secret, info + b"\1", name)[:size]


class Client:
    """One handshake: the hello with a share, the second one if the server asks for it, then the keys."""

    def __init__(self, hello: ClientHello, entropy: Entropy) -> None:
        self._entropy = entropy
        self._share = _x25519(entropy)
        self._hello = hello.with_extensions(self._share.extension())
        self._transcript = self._hello.message()
        self._retried = False
        self._opener: Opener | None = None
        self.suite = 0
        self.shared = self.transcript = b""
        """Once agreed: the secret of the key exchange, and every message up to the ServerHello."""

    def opening(self) -> bytes:
        """What is sent first."""
        return self._hello.record()

    def again(self, retry: ServerHello, message: Message) -> bytes:
        """What is sent to a HelloRetryRequest (section 4.1.2); b"" if this client cannot do what is asked for.

        Raises:
            Garbled: it is the second.
        """
        if self._retried:
            raise Garbled("a second HelloRetryRequest")
        self._retried = True
        make = _SHARES.get(retry.group or self._share.group)
        if make is None or retry.suite not in _CIPHERS:
            return b""
        try:
            self._share = make(self._entropy)
        except UnsupportedAlgorithm:
            # Some builds of OpenSSL leave curves and ML-KEM out.
            return b""
        cookie = ((COOKIE, retry.extensions[COOKIE]),) if COOKIE in retry.extensions else ()
        self._hello = self._hello.with_extensions(*cookie, self._share.extension())
        digest = hashlib.new(_CIPHERS[retry.suite].hash, self._transcript).digest()
        self._transcript = Message(_MESSAGE_HASH, digest).encode() + message.encode() + self._hello.message()
        return self._hello.record()

    def agree(self, hello: ServerHello, message: Message) -> bool:
        """Make the keys of the server's handshake records; False if this client has not this suite.

        Raises:
            Garbled: a share of another group, or none.
        """
        if hello.suite not in _CIPHERS:
            return False
        if hello.group != self._share.group:
            raise Garbled(f"a key share of group {hello.group}; one of {self._share.group} was offered")
        try:
            shared = self._share.combine(hello.share)
        except ValueError as error:
            raise Garbled("a key share that is no element of its group") from error
        self.suite, self.shared, self.transcript = hello.suite, shared, self._transcript + message.encode()
        self._opener = Opener(self.suite, self.shared, self.transcript)
        return True

    def open(self, record: Record) -> Record:
        """The record, decrypted if it is not in the clear.

        Raises:
            Garbled: it cannot be.
        """
        return self._opener.open(record) if self._opener and record.type == APPLICATION_DATA else record

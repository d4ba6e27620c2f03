"""A client's half of TLS 1.2 (RFC 5246) with ECDHE and an AEAD suite, to its end and one hello beyond: a renegotiation.

Nobody is authenticated: what a server does is what is asked.  Other suites than SUITES are not spoken here.
"""

import hashlib
import hmac
from typing import Final

from attrs import evolve, frozen
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from pkicode.tls import flight
from pkicode.tls.client13 import GROUPS, Entropy, share
from pkicode.tls.conversation import Talk
from pkicode.tls.hello import (
    EXTENDED_MASTER_SECRET,
    RENEGOTIATION_INFO,
    SERVER_HELLO,
    TLS12,
    ClientHello,
    ServerHello,
    server_hello,
    vector,
)
from pkicode.tls.records import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Cut,
    Garbled,
    Message,
    Messages,
    Record,
    Records,
    record,
)

_CLIENT_KEY_EXCHANGE: Final = 16
_NAMED_CURVE: Final = 3
_VERIFY_DATA: Final = 12
_EXPLICIT, _TAG = 8, 16
_GOODBYE = b"\1\0"


@frozen
class _Cipher:
    hash: str
    key: int
    is_gcm: bool = True


_CIPHERS: Final = {
    0xC02B: _Cipher("sha256", 16),
    0xC02C: _Cipher("sha384", 32),
    0xC02F: _Cipher("sha256", 16),
    0xC030: _Cipher("sha384", 32),
    0xCCA8: _Cipher("sha256", 32, is_gcm=False),
    0xCCA9: _Cipher("sha256", 32, is_gcm=False),
}
SUITES: Final = tuple(_CIPHERS)
"""Suites that this client can finish a handshake with."""


def prf(name: str, secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    """The pseudorandom function (section 5)."""
    whole, made, seed = b"", label + seed, label + seed
    while len(whole) < size:
        made = hmac.digest(secret, made, name)
        whole += hmac.digest(secret, made + seed, name)
    return whole[:size]


class _Side:
    """The records of one side, in order (RFC 5288 section 3, RFC 7905 section 2)."""

    def __init__(self, cipher: _Cipher, key: bytes, iv: bytes) -> None:
        self._aead = AESGCM(key) if cipher.is_gcm else ChaCha20Poly1305(key)
        self._is_gcm = cipher.is_gcm
        self._iv = iv
        self._sequence = 0

    def seal(self, kind: int, body: bytes) -> bytes:
        explicit = self._sequence.to_bytes(8, "big") if self._is_gcm else b""
        sealed = self._aead.encrypt(*self._bound(kind, explicit, body, len(body)))
        return record(kind, TLS12, explicit + sealed)

    def open(self, one: Record) -> Record:
        """The record inside.

        Raises:
            Garbled: it was not made with these keys.
        """
        explicit = one.body[:_EXPLICIT] if self._is_gcm else b""
        sealed = one.body[len(explicit) :]
        try:
            return Record(
                one.type, one.version, self._aead.decrypt(*self._bound(one.type, explicit, sealed, len(sealed) - _TAG))
            )
        except (InvalidTag, ValueError, OverflowError) as error:
            raise Garbled("an encrypted record that does not open") from error

    def _bound(self, kind: int, explicit: bytes, data: bytes, size: int) -> tuple[bytes, bytes, bytes]:
        """nonce, data, additional data."""
        number = self._sequence.to_bytes(8, "big")
        nonce = self._iv + explicit if self._is_gcm else _xor(self._iv, bytes(4) + number)
        self._sequence += 1
        return nonce, data, number + bytes((kind,)) + TLS12.to_bytes(2, "big") + size.to_bytes(2, "big")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(one, other, strict=True))


def renegotiate(hello: ClientHello, again: ClientHello, entropy: Entropy) -> Talk[str]:
    """A whole handshake, then another hello inside it: `accepted` or `refused`.

    The goodbye goes with the second hello, so that who ignores it hangs up instead of waiting for more.

    Args:
        hello: of TLS 1.2, with suites of SUITES and groups of GROUPS.
        again: the second one; what binds it to the first (RFC 5746 section 3.5) is added.
        entropy: for a key share.

    Raises:
        Garbled: there is no handshake to be had.
    """
    # Whoever compresses would have to be answered so.
    client = _Client(evolve(hello, compressions=b"\0"), evolve(again, compressions=b"\0"), entropy)
    try:
        data = yield client.opening()
        while not client.feed(data):
            data = yield client.to_send
    except (EOFError, ConnectionError):
        if not client.stands:
            raise
    return "accepted" if client.accepted else "refused"


class _Client:
    """One handshake as it comes in."""

    def __init__(self, hello: ClientHello, again: ClientHello, entropy: Entropy) -> None:
        self.to_send = b""
        self.stands = self.accepted = False
        self._hello, self._again, self._entropy = hello, again, entropy
        self._records, self._messages = Records(), Messages()
        self._transcript = hello.message()
        self._server: ServerHello | None = None
        self._exchange = b""
        self._is_asked = self._is_encrypted = False
        self._verify_data = b""
        self._sides: tuple[_Side, _Side] | None = None
        """The client's and the server's."""

    def opening(self) -> bytes:
        return self._hello.record()

    def feed(self, data: bytes) -> bool:
        """Read on; True when it is known what becomes of the second hello.

        Raises:
            Garbled: it is not TLS, or wrong, or too much.
        """
        self.to_send = b""
        return any(self._record(one) for one in self._records.feed(data))

    def _record(self, one: Record) -> bool:
        if one.type == CHANGE_CIPHER_SPEC:
            self._is_encrypted = True
            return False
        if self._is_encrypted:
            if self._sides is None:
                raise Garbled("a ChangeCipherSpec before there is a cipher")
            one = self._sides[1].open(one)
        if one.type == ALERT:
            alert = flight.alert(one.body)
            if self.stands:
                return True
            if alert.fatal:
                raise Garbled(f"an alert ({alert.description}) instead of a handshake")
        return one.type == HANDSHAKE and any(self._message(message) for message in self._messages.feed(one.body))

    def _message(self, message: Message) -> bool:
        if self.stands:
            # A HelloRequest is what a server sends that would like to renegotiate itself.
            self.accepted = message.type == SERVER_HELLO
            return self.accepted
        self._transcript += message.encode()
        if message.type == SERVER_HELLO:
            self._server = server_hello(message.body)
            if self._server.version != TLS12 or self._server.suite not in _CIPHERS:
                raise Garbled("a version or suite that this client has not")
        elif message.type == flight.SERVER_KEY_EXCHANGE:
            self._exchange = message.body
        elif message.type == flight.CERTIFICATE_REQUEST:
            self._is_asked = True
        elif message.type == flight.SERVER_HELLO_DONE:
            self._finish()
        elif message.type == flight.FINISHED and self._is_encrypted:
            self._go_on()
        return False

    def _finish(self) -> None:
        """ClientKeyExchange and Finished; a client without a certificate says so."""
        if self._server is None or self._sides:
            raise Garbled("a ServerHelloDone without a ServerHello, or twice")
        cut = Cut(self._exchange)
        kind, group = cut.number(1), cut.number(2)
        if kind != _NAMED_CURVE or group not in GROUPS:
            raise Garbled("a group that this client has not")
        try:
            own = share(group, self._entropy)
            secret = own.combine(cut.vector(1))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Garbled("a key share that is no element of a group that this client has") from error
        nobody = Message(flight.CERTIFICATE, vector(3)).encode() if self._is_asked else b""
        clear = nobody + Message(_CLIENT_KEY_EXCHANGE, vector(1, own.public)).encode()
        self._transcript += clear
        cipher = _CIPHERS[self._server.suite]
        master = self._master(cipher.hash, secret, self._server)
        self._sides = self._keys(cipher, master, self._server)
        digest = hashlib.new(cipher.hash, self._transcript).digest()
        self._verify_data = prf(cipher.hash, master, b"client finished", digest, _VERIFY_DATA)
        done = Message(flight.FINISHED, self._verify_data).encode()
        self._transcript += done
        self.to_send = (
            record(HANDSHAKE, TLS12, clear)
            + record(CHANGE_CIPHER_SPEC, TLS12, b"\1")
            + self._sides[0].seal(HANDSHAKE, done)
        )

    def _master(self, name: str, secret: bytes, server: ServerHello) -> bytes:
        if EXTENDED_MASTER_SECRET in server.extensions:
            session = hashlib.new(name, self._transcript).digest()
            return prf(name, secret, b"extended master secret", session, 48)
        return prf(name, secret, b"master secret", self._hello.random + server.random, 48)

    def _keys(self, cipher: _Cipher, master: bytes, server: ServerHello) -> tuple[_Side, _Side]:
        iv = 4 if cipher.is_gcm else 12
        seed = server.random + self._hello.random
        cut = Cut(prf(cipher.hash, master, b"key expansion", seed, 2 * (cipher.key + iv)))
        keys = cut.take(cipher.key), cut.take(cipher.key)
        return _Side(cipher, keys[0], cut.take(iv)), _Side(cipher, keys[1], cut.take(iv))

    def _go_on(self) -> None:
        if self._sides is None:
            raise Garbled("a Finished before there are keys")
        bound = self._again.with_extensions((RENEGOTIATION_INFO, vector(1, self._verify_data)))
        self.stands = True
        self.to_send = self._sides[0].seal(HANDSHAKE, bound.message()) + self._sides[0].seal(ALERT, _GOODBYE)

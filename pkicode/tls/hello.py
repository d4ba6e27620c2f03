"""Hellos (RFC 8446 section 4.1, RFC 5246 section 7.4.1): the client's, of any version and shape, and the server's.

A hello is sent as it is said here, sense or none: what a server makes of it is what is asked.
"""

import struct
from collections.abc import Sequence
from typing import Final

from attrs import evolve, frozen

from pkicode.model.tls import VERSIONS
from pkicode.tls.records import HANDSHAKE, Cut, Garbled, Message, record
from pkicode.tls.signatures import SCHEMES
from pkicode.tls.suites import RENEGOTIATION_SCSV

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
SSL2: Final = 0x0002
NAMES: Final = dict(zip((SSL2, SSL3, TLS10, TLS11, TLS12, TLS13), VERSIONS, strict=True))
"""Versions on the wire, oldest first, and how they are called everywhere."""

CLIENT_HELLO, SERVER_HELLO = 1, 2
SERVER_NAME, STATUS_REQUEST, SUPPORTED_GROUPS, POINT_FORMATS, SIGNATURE_ALGORITHMS = 0, 5, 10, 11, 13
HEARTBEAT, ALPN, SCT, PADDING, ENCRYPT_THEN_MAC, EXTENDED_MASTER_SECRET = 15, 16, 18, 21, 22, 23
SESSION_TICKET, SUPPORTED_VERSIONS, COOKIE, PSK_MODES, AUTHORITIES, KEY_SHARE = 35, 43, 44, 45, 47, 51
RENEGOTIATION_INFO: Final = 0xFF01

_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_DOWNGRADES = {b"DOWNGRD\1": TLS12, b"DOWNGRD\0": TLS11}

Extension = tuple[int, bytes]


def vector(size: int, *parts: bytes) -> bytes:
    """The parts after their length in `size` octets."""
    body = b"".join(parts)
    return len(body).to_bytes(size, "big") + body


def numbers(size: int, of: Sequence[int]) -> bytes:
    """A vector of numbers of two octets, its length in `size`."""
    return vector(size, struct.pack(f">{len(of)}H", *of))


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">HH", kind, len(data)) + data


@frozen
class ClientHello:
    """What a client says first; `record` is what it sends."""

    version: int
    """legacy_version, which is that of the message; TLS 1.3 says TLS12 here and means it by an extension."""
    random: bytes
    suites: tuple[int, ...]
    extensions: tuple[Extension, ...] = ()
    session_id: bytes = b""
    compressions: bytes = b"\0"
    is_padded: bool = True

    def message(self) -> bytes:
        """The handshake message.

        Between 256 and 511 octets it is padded to 512: in front of some servers stands a box that takes a shorter one
        for something else and says nothing at all (RFC 7685).
        """
        start = b"".join(
            (
                self.version.to_bytes(2, "big"),
                self.random,
                vector(1, self.session_id),
                numbers(2, self.suites),
                vector(1, self.compressions),
            )
        )
        if not self.extensions:
            # SSLv3 knows no extensions, and no empty list of them either.
            return Message(CLIENT_HELLO, start).encode()
        block = b"".join(_extension(kind, data) for kind, data in self.extensions)
        size = 4 + len(start) + 2 + len(block)
        if self.is_padded and 256 <= size < 512:
            block += _extension(PADDING, bytes(max(512 - size - 4, 0)))
        return Message(CLIENT_HELLO, start + vector(2, block)).encode()

    def record(self) -> bytes:
        """In one record, of a version that nobody refuses (RFC 8446 section 5.1)."""
        return record(HANDSHAKE, min(self.version, TLS10), self.message())

    def with_extensions(self, *others: Extension) -> "ClientHello":
        """With these in place of those of the same type, the new ones behind (a second hello may change no order)."""
        return evolve(self, extensions=tuple((dict(self.extensions) | dict(others)).items()))

    def without(self, *kinds: int) -> "ClientHello":
        """Without the extensions of these types."""
        return evolve(self, extensions=tuple(one for one in self.extensions if one[0] not in kinds))


def client_hello(
    versions: Sequence[int],
    suites: Sequence[int],
    groups: Sequence[int],
    random: bytes,
    *,
    server_name: str = "",
    signatures: Sequence[int] = SCHEMES,
    alpn: Sequence[str] = (),
) -> ClientHello:
    """A hello for one of these versions (0x0300 to 0x0304), with every extension whose echo tells something.

    For TLS 1.3 its key_share is empty, to which a server says which suite and which group it wants before anybody
    calculates (HelloRetryRequest).  `random` has 64 octets: half of it is the session id, without which some
    boxes between here and there do not let TLS 1.3 pass (RFC 8446 section D.4).
    """
    newest = max(versions)
    if newest == SSL3:
        return ClientHello(SSL3, random[:32], (*suites, RENEGOTIATION_SCSV))
    extensions = [(SERVER_NAME, vector(2, b"\0" + vector(2, _host(server_name))))] if server_name else []
    extensions += [(EXTENDED_MASTER_SECRET, b""), (SCT, b""), (STATUS_REQUEST, b"\1\0\0\0\0")]
    if groups:
        extensions += [(SUPPORTED_GROUPS, numbers(2, groups)), (POINT_FORMATS, b"\1\0")]
    if newest >= TLS12:
        extensions.append((SIGNATURE_ALGORITHMS, numbers(2, signatures)))
    if alpn:
        extensions.append((ALPN, vector(2, *(vector(1, name.encode()) for name in alpn))))
    if min(versions) < TLS13:
        extensions += [(RENEGOTIATION_INFO, b"\0"), (SESSION_TICKET, b""), (ENCRYPT_THEN_MAC, b""), (HEARTBEAT, b"\1")]
    if newest == TLS13:
        extensions += [(SUPPORTED_VERSIONS, numbers(1, sorted(versions, reverse=True)))]
        extensions += [(PSK_MODES, b"\1\1"), (KEY_SHARE, b"\0\0")]
    return ClientHello(
        version=min(newest, TLS12),
        random=random[:32],
        suites=tuple(suites),
        extensions=tuple(extensions),
        session_id=random[32:64] if newest == TLS13 else b"",
        # DEFLATE tells of CRIME; TLS 1.3 forbids to name it.
        compressions=b"\0" if newest == TLS13 else b"\1\0",
    )


def _host(name: str) -> bytes:
    """Its A-label; what has none is asked for as it stands, and the server may think of it what it likes."""
    try:
        return name.encode("ascii" if name.isascii() else "idna")[:255]
    except UnicodeError:
        return name.encode("utf-8", "replace")[:255]


@frozen
class ServerHello:
    """What a server takes of what it was offered; or, with `is_retry`, what it would take (HelloRetryRequest)."""

    legacy_version: int
    random: bytes
    session_id: bytes
    suite: int
    compression: int
    extensions: dict[int, bytes]

    @property
    def version(self) -> int:
        named = self.extensions.get(SUPPORTED_VERSIONS, b"")
        return int.from_bytes(named, "big") if len(named) == 2 else self.legacy_version

    @property
    def is_retry(self) -> bool:
        return self.random == _RETRY

    @property
    def group(self) -> int:
        """Of TLS 1.3: the group of the key share, 0 without one."""
        return int.from_bytes(self.extensions.get(KEY_SHARE, b"")[:2], "big")

    @property
    def share(self) -> bytes:
        """Of TLS 1.3: the server's half of the key exchange."""
        cut = Cut(self.extensions.get(KEY_SHARE, b""))
        cut.take(2)
        return cut.vector(2)

    @property
    def downgraded_from(self) -> int:
        """TLS 1.3 or 1.2 hides here that it was not asked for (RFC 8446 section 4.1.3): the version it says instead,
        TLS12 or one before it; 0 without the sign."""
        return _DOWNGRADES.get(self.random[24:], 0)


def server_hello(body: bytes) -> ServerHello:
    """Read a ServerHello or a HelloRetryRequest.

    Raises:
        Garbled: it is none.
    """
    cut = Cut(body)
    version, random, session_id, suite, compression = (
        cut.number(2),
        cut.take(32),
        cut.vector(1),
        cut.number(2),
        cut.number(1),
    )
    found = extensions(cut.vector(2)) if cut else {}
    cut.end()
    if not SSL3 <= version <= TLS13 or len(session_id) > 32:
        raise Garbled(f"a ServerHello of version {version:#06x} with a session id of {len(session_id)} octets")
    return ServerHello(version, random, session_id, suite, compression, found)


def extensions(data: bytes) -> dict[int, bytes]:
    """Extensions by their type.

    Raises:
        Garbled: they are none, more than 64, or one is there twice.
    """
    found = Cut(data).each(lambda cut: (cut.number(2), cut.vector(2)), most=64)
    if len(dict(found)) != len(found):
        raise Garbled("an extension stands there twice")
    return dict(found)


def alpn_of(extensions: dict[int, bytes]) -> str:
    """The protocol that a server chose, "" for none.

    Raises:
        Garbled: not one name.
    """
    if ALPN not in extensions:
        return ""
    names = Cut(Cut(extensions[ALPN]).vector(2)).each(lambda cut: cut.vector(1), most=1)
    return names[0].decode("latin-1") if names else ""

"""SSLv2's two hellos (RFC 6176 forbids everything else of it): whether a server still speaks it, and with what."""

from collections.abc import Generator, Sequence

from attrs import frozen

from pkicode.tls.hello import SSL2
from pkicode.tls.records import Cut, Garbled, NotTls

_MOST = 0x7FFF


@frozen
class Ssl2Hello:
    """A server's."""

    certificate: bytes
    """DER, b"" if it has none."""
    suites: tuple[int, ...]
    """In its order, three octets each."""


def client_hello(suites: Sequence[int], challenge: bytes) -> bytes:
    """The record; `challenge` has 16 to 32 octets."""
    kinds = b"".join(one.to_bytes(3, "big") for one in suites)
    sizes = (len(kinds), 0, len(challenge))
    body = b"\1" + SSL2.to_bytes(2, "big") + b"".join(size.to_bytes(2, "big") for size in sizes) + kinds + challenge
    return (0x8000 | len(body)).to_bytes(2, "big") + body


def server_hello(body: bytes) -> Ssl2Hello:
    """Read the message after the header of its record.

    Raises:
        Garbled: it is none.
    """
    cut = Cut(body)
    kind, _hit, _type, version = (cut.number(size) for size in (1, 1, 1, 2))
    if (kind, version) != (4, SSL2):
        raise Garbled("no SERVER-HELLO of SSLv2")
    certificate, kinds, connection = (cut.number(2) for _ in range(3))
    der, suites = cut.take(certificate), Cut(cut.take(kinds))
    cut.take(connection)
    cut.end()
    return Ssl2Hello(der, suites.each(lambda one: one.number(3), most=64))


def converse(suites: Sequence[int], challenge: bytes) -> Generator[bytes, bytes, Ssl2Hello | None]:
    """Ask; None if the server says anything else, an alert of TLS for instance."""
    data = yield client_hello(suites, challenge)
    while len(data) < 2 or (data[0] & 0x80 and len(data) < 2 + (int.from_bytes(data[:2], "big") & _MOST)):
        data += yield b""
    if not data[0] & 0x80:
        if data[0] not in range(20, 25):
            raise NotTls("an answer that is of no version of SSL or TLS")
        return None
    size = int.from_bytes(data[:2], "big") & _MOST
    return server_hello(data[2 : 2 + size])

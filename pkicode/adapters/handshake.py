"""Whole handshakes by the standard library's ssl, as talks: sessions that come back, and a question over TLS.

Nobody is authenticated and everything is allowed: what is learnt is what the server does, not who it is.
"""

import ssl
from collections.abc import Callable, Generator
from functools import cache
from typing import Final, TypeVar

from pkicode.scanner.session import Shaken, Wish
from pkicode.tls.conversation import Talk
from pkicode.tls.hello import TLS12, TLS13
from pkicode.tls.records import Garbled

T = TypeVar("T")

SAID_MOST: Final = 16384
"""Octets read of an answer to a question."""
_VERSIONS: Final = {TLS12: ssl.TLSVersion.TLSv1_2, TLS13: ssl.TLSVersion.TLSv1_3}
_LEGACY_SERVER_CONNECT: Final = 0x4
"""OpenSSL's option; ssl has no name for it before Python 3.12."""


@cache
def _context(version: int, *, tickets: bool) -> ssl.SSLContext:
    """One for each kind: a session comes back only in the context that it was made in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options |= _LEGACY_SERVER_CONNECT
    context.minimum_version = context.maximum_version = _VERSIONS[version]
    context.set_alpn_protocols(["http/1.1"])
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    return context


def shake(server_name: str, wish: Wish) -> Talk[Shaken]:
    """One handshake, then the question or the goodbye; the Shake of a scan.

    Raises:
        Garbled: there is no handshake to be had.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    resumed = wish.resume if isinstance(wish.resume, ssl.SSLSession) else None
    try:
        line = _context(wish.version, tickets=wish.tickets).wrap_bio(
            incoming, outgoing, server_hostname=server_name or None, session=resumed
        )
        yield from _step(line.do_handshake, incoming, outgoing)
    except (ssl.SSLError, ValueError) as error:
        raise Garbled(f"no handshake: {error}") from error
    said = b""
    # Each look at a session copies it, which costs as much as to resume it.
    seen: list[ssl.SSLSession | None] = []

    def has_ticket() -> bool:
        seen[:] = [line.session]
        return seen[0] is not None and seen[0].has_ticket

    try:
        if wish.request:
            line.write(wish.request)
            said = yield from _answer(line, incoming, outgoing)
        elif resumed is None:
            # A server forgets sessions that ended without a goodbye; and TLS 1.3's ticket, if one comes, comes before
            # the answer to it.
            waiting = wish.version == TLS13
            yield from _step(line.unwrap, incoming, outgoing, enough=lambda: waiting and has_ticket())
    except (ssl.SSLError, ConnectionError):
        # The handshake stands; how somebody hangs up after it is no news.
        pass
    # Nobody comes back a third time.
    session = None if resumed else seen[0] if seen and seen[0] and seen[0].has_ticket else line.session
    return Shaken(bool(line.session_reused), session, session is not None and session.has_ticket, said)


def _step(
    act: Callable[[], T],
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    *,
    enough: Callable[[], bool] = lambda: False,
) -> Generator[bytes, bytes, T | None]:
    """Act again and again, with what comes in between, until it is done or there is enough."""
    while True:
        try:
            return act()
        except ssl.SSLWantReadError:
            if enough():
                return None
        try:
            incoming.write((yield outgoing.read()))
        except EOFError:
            incoming.write_eof()


def _answer(line: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> Generator[bytes, bytes, bytes]:
    """To the end of HTTP's headers; the beginning of anything else."""
    said = b""
    while b"\r\n\r\n" not in said and len(said) < SAID_MOST and said[:5] == b"HTTP/"[: len(said)]:
        more = yield from _step(lambda: line.read(SAID_MOST), incoming, outgoing)
        if not more:
            break
        said += more
    return said

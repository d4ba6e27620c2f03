"""STARTTLS: what is said in the clear before TLS begins, for eight protocols, as talks without a connection.

Each ends when the server says that TLS may begin.  A server that has sent more by then is refused: what comes in the
clear and is taken for what comes encrypted is an attack (CVE-2011-0411).
"""

import re
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Final, TypeVar

from pkicode.tls.conversation import Talk
from pkicode.tls.records import NotTls

T = TypeVar("T")
Dialogue = Generator[bytes, bytes, bytes]
"""Returns what goes out before the hello without an answer; nearly always nothing."""

OCTETS_MOST: Final = 16384
"""Octets of one answer before TLS begins."""


def after(dialogue: Dialogue, talk: Talk[T]) -> Talk[T]:
    """The talk once the dialogue is over."""
    to_send = (yield from dialogue) + next(talk)
    while True:
        try:
            data = yield to_send
        except (EOFError, OSError) as end:
            step = partial(talk.throw, end)
        else:
            step = partial(talk.send, data)
        try:
            to_send = step()
        except StopIteration as done:
            value: T = done.value
            return value


def _ask(said: bytes, whole: Callable[[bytes], bool], expected: bytes, server: str) -> Dialogue:
    """Say it, read until the answer is whole; it has to be all that was expected."""
    data = yield said
    while not whole(data):
        if len(data) > OCTETS_MOST:
            raise NotTls(f"the {server} server sends more than {OCTETS_MOST} octets and no end of its answer")
        data += yield b""
    if not re.fullmatch(expected, data, re.DOTALL):
        raise NotTls(f"the {server} server answers {data[:60]!r}")
    return data


def _line(opening: bytes) -> Callable[[bytes], bool]:
    """Whole lines, of which the last opens so."""
    last = re.compile(opening)
    return lambda data: data.endswith(b"\n") and last.match(data, data.rfind(b"\n", 0, -1) + 1) is not None


_REPLY = _line(rb"[0-9]{3}[ \r\n]")


def _smtp(_name: str) -> Dialogue:
    """RFC 3207."""
    yield from _ask(b"", _REPLY, rb"220.*", "SMTP")
    yield from _ask(b"EHLO pkicode.invalid\r\n", _REPLY, rb"250.*", "SMTP")
    yield from _ask(b"STARTTLS\r\n", _REPLY, rb"220[^\n]*\n", "SMTP")
    return b""


def _imap(_name: str) -> Dialogue:
    """RFC 9051 section 6.2.1."""
    yield from _ask(b"", _line(rb"\* "), rb"\* OK.*", "IMAP")
    yield from _ask(b"a STARTTLS\r\n", _line(rb"a "), rb"(?:\* [^\n]*\n)*a OK[^\n]*\n", "IMAP")
    return b""


def _pop3(_name: str) -> Dialogue:
    """RFC 2595 section 4."""
    yield from _ask(b"", _line(rb"[+-]"), rb"\+OK.*", "POP3")
    yield from _ask(b"STLS\r\n", _line(rb"[+-]"), rb"\+OK[^\n]*\n", "POP3")
    return b""


def _ftp(_name: str) -> Dialogue:
    """RFC 4217 section 4."""
    yield from _ask(b"", _REPLY, rb"220.*", "FTP")
    yield from _ask(b"AUTH TLS\r\n", _REPLY, rb"234[^\n]*\n", "FTP")
    return b""


_LDAP_REQUEST: Final = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + b"1.3.6.1.4.1.1466.20037"
"""An ExtendedRequest with message id 1."""


def _ldap(_name: str) -> Dialogue:
    """RFC 4511 section 4.14: an ExtendedResponse with resultCode success, whatever form its lengths have."""
    yield from _ask(_LDAP_REQUEST, _ber_is_whole, rb"\x30.{1,5}\x02\x01\x01\x78.{1,5}\x0a\x01\x00.*", "LDAP")
    return b""


def _ber_is_whole(data: bytes) -> bool:
    if len(data) < 2 or data[0] != 0x30:
        return len(data) >= 2
    octets = data[1] & 0x7F if data[1] & 0x80 else 0
    size = int.from_bytes(data[2 : 2 + octets], "big") if octets else data[1]
    return len(data) >= 2 + octets + size


def _xmpp(name: str) -> Dialogue:
    """RFC 6120 section 5; `name` is the domain that is asked for."""
    domain = re.sub(r"[^A-Za-z0-9.:-]", "", name)
    opening = (
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        f" version='1.0' to='{domain}'>"
    )
    features = re.compile(rb"</stream:features>|<stream:features\s*/>|</stream:error>|</stream:stream>")
    yield from _ask(
        opening.encode(),
        lambda data: features.search(data) is not None,
        rb".*urn:ietf:params:xml:ns:xmpp-tls.*",
        "XMPP",
    )
    said = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    yield from _ask(said, lambda data: b">" in data, rb"\s*<(?:\w+:)?proceed[^>]*>(?:</(?:\w+:)?proceed>)?\s*", "XMPP")
    return b""


def _postgres(_name: str) -> Dialogue:
    """The SSLRequest of PostgreSQL's protocol, version 3."""
    yield from _ask((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"), bool, rb"S", "PostgreSQL")
    return b""


_MYSQL_SSL: Final = 0x0800
_MYSQL_CLIENT: Final = 0x0200 | 0x8000 | _MYSQL_SSL
"""Protocol 4.1, secure connection, TLS."""


def _mysql(_name: str) -> Dialogue:
    """The SSLRequest of MySQL's and MariaDB's protocol, version 10, which nobody answers."""
    greeting = yield from _ask(b"", _packet_is_whole, rb".{4}\x0a[^\0]{0,100}\0.{15,}", "MySQL")
    after_name = greeting.index(b"\0", 5) + 1
    if not int.from_bytes(greeting[after_name + 13 : after_name + 15], "little") & _MYSQL_SSL:
        raise NotTls("the MySQL server offers no TLS")
    request = _MYSQL_CLIENT.to_bytes(4, "little") + (1 << 24).to_bytes(4, "little") + b"\x21" + bytes(23)
    return len(request).to_bytes(3, "little") + b"\1" + request


def _packet_is_whole(data: bytes) -> bool:
    return len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[:3], "little")


DIALOGUES: Final[Mapping[str, Callable[[str], Dialogue]]] = {
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ftp": _ftp,
    "ldap": _ldap,
    "xmpp": _xmpp,
    "postgres": _postgres,
    "mysql": _mysql,
}
"""By the names that targets have; each is given the name of the server that is asked for."""

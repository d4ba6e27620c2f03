"""OCSP over HTTP (RFC 6960 appendix A, RFC 9919 section 6, RFC 9110, 9112): the protocol of one connection.

Written on asyncio's transport: what a request costs is mostly what a framework would add.  Strangers' octets are
limited in size, number and time; nothing they send is an exception or a 5xx.
"""

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from attrs import define, field, frozen

from pkicode.revocation.ocsp_request import LIMIT
from pkicode.server.responder import Reply, Responder

HEAD_MOST = 8192
"""Octets of request line and headers."""
REQUEST_SECONDS = 10
"""For a whole request to come in, and for an answer to be taken."""
IDLE_SECONDS = 60
"""For the next request of a connection to begin."""
CONNECTIONS = 1000
"""More of them, and the one that would time out first has to go."""
_TYPE = b"application/ocsp-request"
_WORDS = {
    400: b"Bad Request",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    411: b"Length Required",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    431: b"Request Header Fields Too Large",
}


@frozen
class _Head:
    """What counts of a request line and its headers."""

    method: bytes
    target: bytes
    length: int
    keep: bool
    matches: bytes
    """If-None-Match."""
    expects: bool
    """Expect: 100-continue."""
    status: int
    """An HTTP status that refuses the request, 0 for none."""


def _head(data: bytes) -> _Head:
    first, _, rest = data.partition(b"\r\n")
    words, fields = first.split(b" "), _fields(rest)
    if fields is None or len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0") or not words[0].isalpha():
        return _refused(400)
    method, connection = words[0], fields.get(b"connection", b"").lower()
    return _Head(
        method=method,
        target=words[1],
        length=int(fields.get(b"content-length", b"0")),
        keep=b"close" not in connection and (words[2] == b"HTTP/1.1" or b"keep-alive" in connection),
        matches=fields.get(b"if-none-match", b""),
        expects=fields.get(b"expect", b"").lower() == b"100-continue",
        status=_status(method, fields),
    )


@lru_cache(maxsize=256)
def _fields(data: bytes) -> Mapping[bytes, bytes] | None:
    """Header fields, None where they cannot be read; a client sends the same ones again and again."""
    fields: dict[bytes, bytes] = {}
    for line in data.split(b"\r\n") if data else ():
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b"\0" in line or b"\n" in line or b"\r" in line:
            return None
        key = name.lower()
        if key in fields and key in (b"content-length", b"content-type", b"host"):
            return None
        fields[key] = value.strip()
    length = fields.get(b"content-length", b"0")
    return fields if length.isdigit() and len(length) <= 10 else None


def _status(method: bytes, fields: Mapping[bytes, bytes]) -> int:
    if b"transfer-encoding" in fields:
        return 411
    if int(fields.get(b"content-length", b"0")) > LIMIT:
        return 413
    if method != b"POST":
        return 0 if method in (b"GET", b"HEAD") else 405
    if b"content-length" not in fields:
        return 411
    return 0 if fields.get(b"content-type", b"").split(b";")[0].strip().lower() == _TYPE else 415


def _refused(status: int) -> _Head:
    # Where one request ends and the next begins is not known any more: the connection is closed.
    return _Head(b"", b"", 0, keep=False, matches=b"", expects=False, status=status)


def asked_by_get(target: bytes) -> bytes:
    """The request in the path of a GET, b"" where there is none.

    Base64 as clients write it: `/` and `+` as they are or percent-encoded, `//` in the middle, without its padding; a
    space where somebody took `+` for one.  What stands before it is the path of the responder's URL.
    """
    path = target.partition(b"://")[2].partition(b"/")[2] if b"://" in target[:8] else target[1:]
    text = unquote_to_bytes(path.partition(b"?")[0]).replace(b" ", b"+").rstrip(b"=")
    # The DER of a request begins with 0x30, its base64 with M.
    for _ in range(8):
        if text[:1] == b"M" and (der := _decoded(text)):
            return der
        _, slash, text = text.partition(b"/")
        if not slash:
            break
    return b""


def _decoded(text: bytes) -> bytes:
    try:
        der = b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return b""
    # A SEQUENCE of just this length: else a part of the responder's own path looked like base64.
    short = len(der) > 2 and (der[1] == len(der) - 2 or der[1] & 0xF0 == 0x80)
    return der if short else b""


@define(eq=False)
class Service:
    """What all connections of a process share."""

    responder: Responder
    clock: Callable[[], int]
    closing: bool = False
    open: "set[Connection]" = field(factory=set)
    ended: asyncio.Event = field(factory=asyncio.Event)
    """Set once it is closing and no connection is open."""

    def sweep(self) -> None:
        """Close what has taken too long; called every second."""
        now = asyncio.get_running_loop().time()
        for one in [one for one in self.open if one.deadline <= now]:
            one.expire()

    def admit(self, connection: "Connection") -> None:
        """A new connection, and room for it."""
        if len(self.open) >= CONNECTIONS:
            min(self.open, key=lambda one: one.deadline).drop()
        self.open.add(connection)

    def close(self) -> None:
        """No further request is begun; those that are under way are answered."""
        self.closing = True
        for one in list(self.open):
            one.finish()
        self.left()

    def left(self) -> None:
        """A connection is gone."""
        if self.closing and not self.open:
            self.ended.set()


class Connection(asyncio.Protocol):
    """One connection: requests are answered in the order in which they come, as fast as answers are taken."""

    __slots__ = ("_buffer", "_paused", "_service", "_transport", "deadline")

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = bytearray()
        self._paused = False
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment] # loop.create_server gives no other
        self._wait(IDLE_SECONDS)
        self._service.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature of asyncio
        self._service.open.discard(self)
        self._service.left()

    def pause_writing(self) -> None:
        """The client takes its answers too slowly: no more is read, and it has not for ever."""
        self._paused = True
        self._transport.pause_reading()
        self._wait(REQUEST_SECONDS)

    def resume_writing(self) -> None:
        self._paused = False
        self._transport.resume_reading()
        self._answer(began=False)

    def data_received(self, data: bytes) -> None:
        began = not self._buffer
        self._buffer += data
        self._answer(began=began)

    def expire(self) -> None:
        """Time is up."""
        if self._buffer and not self._paused:
            self._refuse(408)
        else:
            self.drop()

    def drop(self) -> None:
        self._service.open.discard(self)
        self._transport.abort()

    def finish(self) -> None:
        """Close as soon as what has begun is answered."""
        if not self._buffer:
            self._transport.close()

    def _wait(self, seconds: float) -> None:
        self.deadline = asyncio.get_running_loop().time() + seconds

    def _answer(self, *, began: bool) -> None:
        """Answer every request that is there as a whole."""
        answered = False
        while self._buffer and not self._paused and not self._transport.is_closing():
            end = self._buffer.find(b"\r\n\r\n", 0, HEAD_MOST)
            if end < 0:
                if len(self._buffer) >= HEAD_MOST:
                    self._refuse(431)
                break
            head = _head(bytes(self._buffer[:end]))
            if head.status and head.status != 405:
                self._refuse(head.status)
                break
            whole = end + 4 + head.length
            if len(self._buffer) < whole:
                if head.expects and len(self._buffer) == end + 4:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                break
            body = bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            answered = True
            self._reply(head, body)
        if not self._buffer:
            self._wait(IDLE_SECONDS)
        elif began or answered:
            # From its first octet on: a client that sends one a second has no longer than the others.
            self._wait(REQUEST_SECONDS)

    def _reply(self, head: _Head, body: bytes) -> None:
        keep = head.keep and not self._service.closing
        if head.status:
            self._transport.write(_error(head.status, keep=keep))
        else:
            now = self._service.clock()
            reply = self._service.responder.answer(body if head.method == b"POST" else asked_by_get(head.target), now)
            self._transport.write(_response(reply, head, now, keep=keep))
        if not keep:
            self._transport.close()

    def _refuse(self, status: int) -> None:
        self._buffer.clear()
        self._transport.write(_error(status, keep=False))
        self._transport.close()


def _response(reply: Reply, head: _Head, now: int, *, keep: bool) -> bytes:
    """The answer with what caches need to know (RFC 9919 section 6.2); errors are kept by nobody."""
    connection = b"" if keep else b"Connection: close\r\n"
    if not reply.next_update:
        caching = b"Cache-Control: no-store\r\n"
    else:
        age = reply.next_update - now
        caching = b"Cache-Control: max-age=%d, public, no-transform, must-revalidate\r\n" % age
        if head.matches and head.method != b"POST" and _matches(head.matches, reply.etag):
            return b"HTTP/1.1 304 Not Modified\r\n%bETag: %b\r\n%b%b\r\n" % (
                _date(now),
                reply.etag,
                caching,
                connection,
            )
    return b"".join(
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n",
            _date(now),
            reply.headers,
            caching,
            connection,
            b"\r\n",
            b"" if head.method == b"HEAD" else reply.der,
        )
    )


def _matches(wanted: bytes, etag: bytes) -> bool:
    return wanted == b"*" or etag in (one.strip().removeprefix(b"W/") for one in wanted.split(b","))


@lru_cache(maxsize=2)
def _date(now: int) -> bytes:
    return b"Date: %b\r\n" % formatdate(now, usegmt=True).encode()


def _error(status: int, *, keep: bool) -> bytes:
    allow = b"Allow: GET, HEAD, POST\r\n" if status == 405 else b""
    connection = b"" if keep else b"Connection: close\r\n"
    return b"HTTP/1.1 %d %b\r\n%bContent-Length: 0\r\n%b\r\n" % (status, _WORDS[status], allow, connection)

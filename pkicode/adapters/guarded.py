"""HTTP (RFC 9112) to whom a stranger's certificate names: every octet and second is counted, and nobody private is met.

The name is resolved once, and the address that was judged is the one that is connected to; a redirect begins anew.
Nothing is decompressed, no cookie kept, no proxy asked.
"""

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final
from urllib.parse import urljoin, urlsplit

from attrs import define, field, frozen

from pkicode.adapters.network import addresses
from pkicode.model.version import VERSION
from pkicode.scanner.target import is_private

SECONDS: Final = 10.0
"""From the connection to the last octet."""
REDIRECTS_MOST: Final = 3
FETCHES_MOST: Final = 10_000
"""Of one scan; of each part where many machines ask."""
OCTETS_MOST: Final = 1 << 30
"""Likewise."""
_HEAD_MOST: Final = 32768
_URL: Final = re.compile(r"[!-~]{1,2048}\Z")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n]*)?\r\n\Z")
_AT_ONCE, _OF_HOST, _ADDRESSES = 32, 2, 2
_FAILURES = 3
"""Of one host, after which it is left alone."""
_PIECE = 1 << 16
_MOVED = (301, 302, 303, 307, 308)


Count = Callable[[int], None]


class NotFetchedError(Exception):
    """What was asked for did not come; `word` is the kind of reason: unreachable, private, refused, large."""

    def __init__(self, word: str, why: str) -> None:
        super().__init__(why)
        self.word = word


@frozen
class _Where:
    host: str
    port: int
    path: str
    is_tls: bool
    authority: str


def _where(url: str) -> _Where:
    if not _URL.match(url):
        raise NotFetchedError("refused", "it is no URL: longer than 2,048 characters, or with one that no URL has")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NotFetchedError("refused", f"it is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or "%" in parts.netloc:
        raise NotFetchedError("refused", "it is no http or https URL of a host alone")
    is_tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Where(host, port or (443 if is_tls else 80), path, is_tls, parts.netloc)


@frozen
class _Answer:
    status: int
    location: str
    data: bytes


@define
class Guarded:
    """All fetches of one scan."""

    allow_private: bool
    turn: Callable[[str], Awaitable[None]] = field(repr=False)
    """Waits until a connection to an address may begin."""
    seconds: float = SECONDS
    resolve: Callable[[str], Awaitable[tuple[str, ...] | None]] = field(default=addresses, repr=False)
    fetches: int = 0
    octets: int = 0
    _failed: Counter[str] = field(factory=Counter, repr=False)
    _room: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(_AT_ONCE), repr=False)
    _hosts: dict[str, asyncio.Semaphore] = field(factory=dict, repr=False)

    async def get(self, url: str, *, limit: int) -> bytes:
        """The octets at a URL, `limit` at most; three redirects are followed.

        Raises:
            NotFetchedError: they did not come.
        """
        return await self._fetch(url, limit, b"", "")

    async def post(self, url: str, body: bytes, *, kind: str, limit: int) -> bytes:
        """The answer to `body`, which is of this media type; no redirect is followed.  Raises as `get`."""
        return await self._fetch(url, limit, body, kind)

    async def _fetch(self, url: str, limit: int, body: bytes, kind: str) -> bytes:
        for _ in range(REDIRECTS_MOST + 1):
            answer = await self._placed(_where(url), limit, body, kind)
            if answer.status == 200:
                return answer.data
            if answer.status not in _MOVED or not answer.location or body:
                raise NotFetchedError("refused", f"it answers with HTTP status {answer.status}")
            try:
                url = urljoin(url, answer.location)
            except ValueError as error:
                raise NotFetchedError("refused", "it redirects to what is no URL") from error
        raise NotFetchedError("refused", f"it redirects more than {REDIRECTS_MOST} times")

    async def _placed(self, where: _Where, limit: int, body: bytes, kind: str) -> _Answer:
        """In one of the places of this scan and of the host; a host that failed again and again gets no more."""
        self._refuse_more()
        self.fetches += 1
        async with self._hosts.setdefault(where.host, asyncio.Semaphore(_OF_HOST)), self._room:
            if self._failed[where.host] >= _FAILURES:
                raise NotFetchedError("unreachable", f"its host did not answer {_FAILURES} times, and is left alone")
            try:
                answer = await self._once(where, limit, body, kind)
            except ValueError as error:
                raise NotFetchedError("refused", f"its host is called as none is: {error}") from error
            except (OSError, EOFError) as error:
                self._failed[where.host] += 1
                raise NotFetchedError("unreachable", _why(error, self.seconds)) from error
            self._failed[where.host] = 0
            return answer

    def _refuse_more(self) -> None:
        if self.fetches >= FETCHES_MOST or self.octets >= OCTETS_MOST:
            most = f"{FETCHES_MOST:,} fetches or {OCTETS_MOST:,} octets"
            raise NotFetchedError("unreachable", f"this scan has made the {most} that one scan makes")

    def _count(self, octets: int) -> None:
        """As they come: of an answer that never ends, or ends in nothing, too."""
        self.octets += octets
        if self.octets >= OCTETS_MOST:
            self._refuse_more()

    async def _once(self, where: _Where, limit: int, body: bytes, kind: str) -> _Answer:
        failed: OSError = TimeoutError()
        for address in await self._allowed(where):
            await self.turn(address)
            try:
                async with asyncio.timeout(self.seconds):
                    reader, writer = await asyncio.open_connection(
                        address,
                        where.port,
                        limit=_HEAD_MOST,
                        ssl=_tls() if where.is_tls else None,
                        server_hostname=where.host if where.is_tls else None,
                    )
                    try:
                        writer.write(_request(where, body, kind))
                        return await _read(reader, limit, self._count)
                    finally:
                        writer.transport.abort()
            except (ConnectionRefusedError, TimeoutError) as error:
                failed = error
        raise failed

    async def _allowed(self, where: _Where) -> tuple[str, ...]:
        """Where to connect to: what was judged, and not what the name may mean a moment later."""
        found = await self.resolve(where.host)
        if not found:
            raise NotFetchedError("unreachable", f"`{where.host}` has no address")
        allowed = [one for one in found if self.allow_private or not is_private(one)]
        if not allowed:
            mend = "allow it with --allow-private, or allow_private = true in the [scan.X]"
            raise NotFetchedError("private", f"`{where.host}` is at the private address {found[0]}; {mend}")
        return tuple(allowed[:_ADDRESSES])


def _why(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"it gave no answer within {seconds:g} s"
    if isinstance(error, EOFError):
        return "it hangs up before its answer ends"
    return f"it cannot be reached: {getattr(error, 'strerror', None) or error}"


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(where: _Where, body: bytes, kind: str) -> bytes:
    lines = [
        f"{'POST' if body else 'GET'} {where.path} HTTP/1.1",
        f"Host: {where.authority}",
        f"User-Agent: pkicode/{VERSION}",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def _read(reader: asyncio.StreamReader, limit: int, count: Count) -> _Answer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise NotFetchedError("large", f"its headers have more than {_HEAD_MOST:,} octets") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    match = re.match(r"HTTP/1\.[01] ([2-5][0-9][0-9])( |\Z)", first)
    if not match:
        raise NotFetchedError("refused", "it does not speak HTTP")
    pairs = [line.partition(":") for line in lines if line]
    headers = {name.strip().lower(): value.strip() for name, _, value in reversed(pairs)}
    status = int(match[1])
    if status != 200:
        return _Answer(status, headers.get("location", ""), b"")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise NotFetchedError("refused", "it sends something compressed, which nobody asked for")
    return _Answer(status, "", await _body(reader, headers, limit, count))


async def _body(reader: asyncio.StreamReader, headers: dict[str, str], limit: int, count: Count) -> bytes:
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise NotFetchedError("refused", "it sends in a way that nobody asked for")
        return await _chunks(reader, limit, count)
    told = headers.get("content-length")
    if told is None:
        data = bytearray()
        while len(data) <= limit and (more := await reader.read(_PIECE)):
            count(len(more))
            data += more
        if len(data) > limit:
            raise _large(limit)
        return bytes(data)
    if not re.match(r"[0-9]{1,18}\Z", told):
        raise NotFetchedError("refused", "it says no length that is one")
    if int(told) > limit:
        raise _large(limit)
    return await _exactly(reader, int(told), count)


async def _exactly(reader: asyncio.StreamReader, size: int, count: Count) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = await reader.read(min(_PIECE, size - len(data)))
        if not more:
            raise EOFError
        count(len(more))
        data += more
    return bytes(data)


async def _chunks(reader: asyncio.StreamReader, limit: int, count: Count) -> bytes:
    data = bytearray()
    while True:
        try:
            match = _CHUNK.match(await reader.readuntil(b"\r\n"))
        except asyncio.LimitOverrunError as error:
            raise NotFetchedError("refused", "it sends chunks that are none") from error
        if not match:
            raise NotFetchedError("refused", "it sends chunks that are none")
        size = int(match[1], 16)
        if not size:
            return bytes(data)
        if len(data) + size > limit:
            raise _large(limit)
        data += await _exactly(reader, size, count)
        if await reader.readexactly(2) != b"\r\n":
            raise NotFetchedError("refused", "it sends chunks that are none")


def _large(limit: int) -> NotFetchedError:
    return NotFetchedError("large", f"it has more than the {limit:,} octets that are read")

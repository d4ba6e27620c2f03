"""Connections to strangers: one talk on each, with limits on time, octets and how many one host gets at once.

What is said is handed in (pkicode/tls); names are resolved once, before.
"""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Final

from pkicode.scanner.finding import Target
from pkicode.scanner.session import Ended
from pkicode.tls.conversation import Talk

AT_ONCE: Final = 5
"""Connections that one host has to bear at a time."""
ADDRESSES_MOST: Final = 16
"""Of one name."""
OCTETS_MOST: Final = 1 << 19
"""Read on one connection."""
_AT_ONCE_READ = 1 << 16
_OURS: Final = (
    errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EACCES, errno.EPERM,
    errno.ENETUNREACH,
)  # fmt: skip
"""What goes wrong on this side."""


async def addresses(name: str, *, seconds: float = 5.0) -> tuple[str, ...]:
    """The IPv4 and IPv6 addresses of a name, ADDRESSES_MOST at most; none where it does not resolve in time."""
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    # An address with a zone means something on this host alone.
    there = dict.fromkeys(str(one[4][0]) for one in found if "%" not in str(one[4][0]))
    return tuple(there)[:ADDRESSES_MOST]


class Network:
    """The Reach of a scan over TCP, IPv4 and IPv6.

    Args:
        connect_seconds: how long a connection may take to come about.
        answer_seconds: how long a talk may take once it stands, however slowly the server drips.
    """

    def __init__(self, *, connect_seconds: float = 5.0, answer_seconds: float = 5.0) -> None:
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._open: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    async def __call__(self, target: Target, talk: Talk[None]) -> Ended:
        """Connect, and hold the talk.  Whatever the network does is in what is returned."""
        async with self._place(target.address):
            try:
                line = socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET)
            except OSError:
                return Ended("unasked", 0)
            with line:
                line.settimeout(0)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                how = await self._connect(line, target)
                return Ended(how, 0) if how else await self._hold(line, talk)

    @asynccontextmanager
    async def _place(self, address: str) -> AsyncIterator[None]:
        """One of the places of this host; a host that nobody talks to is forgotten."""
        self._users[address] += 1
        try:
            async with self._open.setdefault(address, asyncio.Semaphore(AT_ONCE)):
                yield
        finally:
            self._users[address] -= 1
            if not self._users[address]:
                del self._users[address], self._open[address]

    async def _connect(self, line: socket.socket, target: Target) -> str:
        """How it failed, "" if it did not."""
        if not target.address:
            return "unresolved"
        try:
            async with asyncio.timeout(self._connect_seconds):
                await asyncio.get_running_loop().sock_connect(line, (target.address, target.port))
        except ConnectionRefusedError:
            return "closed"
        except socket.gaierror:
            return "unresolved"
        except OSError as error:
            # "No route to host" is what somebody on the way says in the host's stead.
            return "unasked" if error.errno in _OURS else "filtered"
        return ""

    async def _hold(self, line: socket.socket, talk: Talk[None]) -> Ended:
        loop, octets = asyncio.get_running_loop(), 0
        with closing(talk):
            try:
                # One limit for all of it, however slowly it drips.
                async with asyncio.timeout(self._answer_seconds):
                    to_send = next(talk)
                    while True:
                        data = await _exchange(loop, line, to_send)
                        octets += len(data)
                        if octets > OCTETS_MOST:
                            raise EOFError
                        to_send = talk.send(data)
            except StopIteration:
                return Ended("", octets)
            except (EOFError, OSError) as end:
                return Ended(_end(talk, end), octets)


async def _exchange(loop: asyncio.AbstractEventLoop, line: socket.socket, to_send: bytes) -> bytes:
    """Send and read.

    Raises:
        EOFError: nothing more comes.
        OSError: the connection broke.
    """
    if to_send:
        await loop.sock_sendall(line, to_send)
    data = await loop.sock_recv(line, _AT_ONCE_READ)
    if not data:
        raise EOFError
    return data


def _end(talk: Talk[None], end: EOFError | OSError) -> str:
    """Tell the talk, which may make something of it; else what it was."""
    try:
        talk.throw(end)
    except StopIteration:
        return ""
    except TimeoutError:
        return "timeout"
    except EOFError:
        return "eof"
    except OSError:
        return "reset"
    return "eof"

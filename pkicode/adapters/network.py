"""Connections to strangers: one talk on each, with limits on time, octets and how many one host gets at once.

What is said is handed in (pkicode/tls); names are resolved once, before.
"""

import asyncio
import errno
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
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


def _resolve(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # An address with a zone means something on this host alone.
    return [str(one[4][0]) for one in found if "%" not in str(one[4][0])]


async def addresses(
    name: str, *, seconds: float = 5.0, resolve: Callable[[str], Sequence[str]] = _resolve
) -> tuple[str, ...] | None:
    """The IPv4 and IPv6 addresses of a name, ADDRESSES_MOST at most; () where it has none, None where time was up.

    Args:
        resolve: what asks; it may block, and raise OSError or UnicodeError.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Sequence[str]] = loop.create_future()

    def tell(found: Sequence[str]) -> None:
        if not told.done():
            told.set_result(found)

    def ask() -> None:
        try:
            found = resolve(name)
        except (OSError, UnicodeError):
            found = ()
        # Nobody listens any more where the scan is over.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, found)

    # A thread for each: nobody can end a lookup, and a pool that is full of slow names starves the others and holds
    # up the end of the process.
    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            found = await told
    except TimeoutError:
        return None
    return tuple(dict.fromkeys(found))[:ADDRESSES_MOST]


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
        address = target.address
        if not self._users[address]:
            self._open[address] = asyncio.Semaphore(AT_ONCE)
        self._users[address] += 1
        try:
            async with self._open[address]:
                return await self._held(target, talk)
        finally:
            # A host that nobody talks to is forgotten.
            self._users[address] -= 1
            if not self._users[address]:
                del self._users[address], self._open[address]

    async def _held(self, target: Target, talk: Talk[None]) -> Ended:
        if not target.address:
            return Ended("unresolved", 0)
        try:
            line = socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET)
        except OSError:
            return Ended("unasked", 0)
        with line, closing(talk), closing(_Line(line, talk, self._answer_seconds)) as held:
            line.settimeout(0)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            held.connect((target.address, target.port), self._connect_seconds)
            return await held.ended


class _Line:
    """One connection and its talk: a callback for each thing that comes, and no task that is woken in between.

    A scan makes forty connections to a target, on each of which next to nothing is said: what it costs to wait for a
    server is what it costs to scan it.
    """

    def __init__(self, line: socket.socket, talk: Talk[None], answer_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ended] = self._loop.create_future()
        self._line = line
        # A loop asked by number has no need to print a socket, which takes two system calls.
        self._number = line.fileno()
        self._talk = talk
        self._answer_seconds = answer_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._reads = self._writes = False
        self._unsent = b""
        self._octets = 0

    def connect(self, address: tuple[str, int], seconds: float) -> None:
        """Begin; `ended` says how it went."""
        try:
            self._line.connect(address)
        except BlockingIOError:
            self._timer = self._loop.call_later(seconds, self._unconnected, TimeoutError())
            self._wait_for_room(self._connected)
        except OSError as error:
            self._unconnected(error)
        else:
            self._begin()

    def close(self) -> None:
        """Nothing more is waited for."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._writes:
            self._has_room()
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._number)

    def _wait_for_room(self, then: Callable[[], None]) -> None:
        self._writes = True
        self._loop.add_writer(self._number, then)

    def _has_room(self) -> None:
        self._writes = False
        self._loop.remove_writer(self._number)

    def _connected(self) -> None:
        self._has_room()
        if number := self._line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._unconnected(OSError(number, ""))
        else:
            self._begin()

    def _unconnected(self, error: OSError) -> None:
        if isinstance(error, ConnectionRefusedError):
            how = "closed"
        elif isinstance(error, socket.gaierror):
            how = "unresolved"
        else:
            # "No route to host" is what somebody on the way says in the host's stead.
            how = "unasked" if error.errno in _OURS else "filtered"
        self._end(Ended(how, 0))

    def _begin(self) -> None:
        if self._timer:
            self._timer.cancel()
        # One limit for all of it, however slowly it drips.
        self._timer = self._loop.call_later(self._answer_seconds, self._turn, self._late)
        self._reads = True
        self._loop.add_reader(self._number, self._turn, self._read)
        self._turn(lambda: next(self._talk))

    def _turn(self, step: Callable[[], bytes]) -> None:
        """What comes goes to the talk, and what that says goes out."""
        try:
            self._send(step())
        except StopIteration:
            self._end(Ended("", self._octets))
        except (EOFError, OSError) as end:
            self._end(Ended(self._how(end), self._octets))
        except Exception as error:  # noqa: BLE001 - a mistake of ours: it is told to who awaits the connection
            if not self.ended.done():
                self.ended.set_exception(error)

    def _read(self) -> bytes:
        try:
            data = self._line.recv(_AT_ONCE_READ)
        except BlockingIOError:
            return b""
        self._octets += len(data)
        if not data or self._octets > OCTETS_MOST:
            raise EOFError
        return self._talk.send(data)

    @staticmethod
    def _late() -> bytes:
        raise TimeoutError

    def _send(self, data: bytes) -> None:
        self._unsent += data
        if not self._unsent:
            return
        with suppress(BlockingIOError):
            self._unsent = self._unsent[self._line.send(self._unsent) :]
        if self._unsent:
            self._wait_for_room(self._more)

    def _more(self) -> None:
        self._has_room()
        self._turn(bytes)

    def _how(self, end: EOFError | OSError) -> str:
        """Tell the talk, which may make something of it; else what it was."""
        try:
            self._talk.throw(end)
        except StopIteration:
            return ""
        except TimeoutError:
            return "timeout"
        except EOFError:
            return "eof"
        except OSError:
            return "reset"
        return "eof"

    def _end(self, how: Ended) -> None:
        self.close()
        if not self.ended.done():
            self.ended.set_result(how)

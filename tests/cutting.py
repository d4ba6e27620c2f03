"""A TCP proxy before PostgreSQL that cuts a connection at a chosen statement, before the server saw it or after it
answered and nobody heard.

It reads the protocol (PostgreSQL's "Frontend/Backend Protocol", version 3) as far as where a message ends, and takes
each Sync and each simple Query for a statement.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import define, field, frozen

_ASKS = (b"S", b"Q")
_READY = b"Z"


@frozen
class Cut:
    """The connection ends at the nth statement of all connections; `heard` says whether the server got it."""

    nth: int
    heard: bool


@define
class Cutting:
    """Counts statements, and cuts once."""

    port: int
    """Where to connect to."""
    server_port: int
    cut: Cut | None = None
    counted: int = 0
    texts: dict[int, bytes] = field(factory=dict)
    """What simple queries said, by number: BEGIN, COMMIT."""
    done: bool = False
    _lock: threading.Lock = field(factory=threading.Lock)

    def is_time(self, kind: bytes, body: bytes) -> bool:
        """Whether to cut at this message."""
        if kind not in _ASKS:
            return False
        with self._lock:
            self.counted += 1
            if kind == b"Q":
                self.texts[self.counted] = body.rstrip(b"\0")
            if self.done or self.cut is None or self.counted != self.cut.nth:
                return False
            self.done = True
            return True

    def over(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self.server_port))
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        mute = threading.Event()
        back = threading.Thread(target=self._back, args=(server, client, mute), daemon=True)
        back.start()
        with suppress(OSError, EOFError):
            self._forth(client, server, mute)
        if mute.is_set():
            back.join()
        _end(client, server)

    def _forth(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        length = _exactly(client, 4)
        server.sendall(length + _exactly(client, int.from_bytes(length, "big") - 4))
        while True:
            kind, body, whole = _message(client)
            if self.is_time(kind, body):
                assert self.cut is not None
                if not self.cut.heard:
                    return
                mute.set()
                server.sendall(whole)
                return
            server.sendall(whole)

    @staticmethod
    def _back(server: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with suppress(OSError, EOFError):
            while True:
                kind, _, whole = _message(server)
                if not mute.is_set():
                    client.sendall(whole)
                elif kind == _READY:
                    return
        _end(client, server)


def _message(of: socket.socket) -> tuple[bytes, bytes, bytes]:
    """(kind, body, all of it)."""
    head = _exactly(of, 5)
    body = _exactly(of, int.from_bytes(head[1:], "big") - 4)
    return head[:1], body, head + body


def _exactly(of: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        some = of.recv(count - len(found))
        if not some:
            raise EOFError
        found += some
    return found


def _end(*ends: socket.socket) -> None:
    for one in ends:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@contextmanager
def cutting(server_port: int, cut: Cut | None = None) -> Iterator[Cutting]:
    """The proxy, listening on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Cutting(listening.getsockname()[1], server_port, cut)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threading.Thread(target=proxy.over, args=(client,), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield proxy
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()

"""TCP proxies before PostgreSQL: one that cuts a connection at a chosen statement, before the server saw it or after it
answered and nobody heard, and one that speaks TLS.

They read the protocol (PostgreSQL's "Frontend/Backend Protocol", version 3) as far as where a message ends, and the
first takes each Sync and each simple Query for a statement.
"""

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field, frozen

_ASKS = (b"S", b"Q")
_READY = b"Z"


@frozen
class Cut:
    """The connection ends at the nth statement of all connections, 0 for the next COMMIT; `heard` says whether the
    server got it."""

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
            if self.done or self.cut is None:
                return False
            self.done = self.counted == self.cut.nth or (not self.cut.nth and body.startswith(b"COMMIT"))
            return self.done

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


class _Tls(socketserver.BaseRequestHandler):
    """Answers an SSLRequest as PostgreSQL does, and passes on what comes inside."""

    server: "_TlsServer"

    def handle(self) -> None:
        if _exactly(self.request, 8) != b"\0\0\0\x08\x04\xd2\x16/":
            return
        self.request.sendall(b"S")
        with (
            suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self.server.behind)) as behind,
        ):
            back = threading.Thread(target=_pass, args=(behind, client), daemon=True)
            back.start()
            _pass(client, behind)
            back.join()


class _TlsServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    context: ssl.SSLContext
    behind: int


def _pass(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while some := one.recv(65536):
            other.sendall(some)
    with suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


@contextmanager
def speaking_tls(server_port: int, certificate: Path, key: Path) -> Iterator[int]:
    """A port where TLS is spoken before a PostgreSQL whose build knows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with _TlsServer(("127.0.0.1", 0), _Tls) as listening:
        listening.context, listening.behind = context, server_port
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield int(listening.server_address[1])
        finally:
            listening.shutdown()

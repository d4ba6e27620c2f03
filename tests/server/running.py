"""`pkicode serve ocsp` as a process of its own, and the raw octets of HTTP."""

import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen

from tests.cli.running import COMMAND, environment
from tests.revocation.asked import NOW

SECONDS = 20


@frozen
class Answer:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes


@define
class Server:
    """A responder that listens."""

    process: subprocess.Popen[str]
    port: int
    said: list[str] = field(factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hears(self, word: str) -> str:
        """Read what it says until a line with this word."""
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if word in line:
                return line
        raise AssertionError(f"it never said {word}: {self.said}")

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as one:
            yield one

    def ask(self, *requests: bytes) -> list[Answer]:
        """Send whole requests on one connection at once, and read as many answers."""
        with self.connected() as one:
            one.sendall(b"".join(requests))
            return [read(one, head=each.startswith(b"HEAD")) for each in requests]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextmanager
def serving(folder: Path, *arguments: str | Path, now: str = "2026-11-23T09:00:00Z") -> Iterator[Server]:
    """The command, until the end of the test; `now` is its clock, "" for the machine's."""
    command = [*COMMAND, "-C", str(folder), "serve", "ocsp", "--bind", "127.0.0.1:0", *map(str, arguments)]
    environ = environment(PKICODE_NOW=now)
    with subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            server = Server(process, 0)
            server.port = int(server.hears("listening on").rpartition(":")[2])
            yield server
        finally:
            process.kill()


def read(one: socket.socket, *, head: bool = False) -> Answer:
    """The next response of a connection, octet by octet: what follows belongs to the one after it."""
    top = b""
    while not top.endswith(b"\r\n\r\n"):
        octet = one.recv(1)
        assert octet, f"the connection ended inside {top!r}"
        top += octet
    first, *lines = top.decode("ascii").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status, body = int(first.split()[1]), b""
    wanted = 0 if head or status in (304, 100) else int(headers["content-length"])
    while len(body) < wanted:
        part = one.recv(wanted - len(body))
        assert part
        body += part
    return Answer(status, headers, body)


def is_closed(one: socket.socket) -> bool:
    """Whether the server has closed; waits until it has said something or has."""
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True


def post(der: bytes, *more: str, content_type: str = "application/ocsp-request") -> bytes:
    lines = ["POST / HTTP/1.1", "Host: ocsp", f"Content-Type: {content_type}", f"Content-Length: {len(der)}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + der


def get(path: str, *more: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: ocsp", *more]).encode() + b"\r\n\r\n"


def clients_clock(arguments: Sequence[str]) -> list[str]:
    """`openssl ocsp` with its chain checked at NOW, and dates of answers not held against the machine's clock."""
    return ["openssl", "ocsp", *arguments, "-attime", str(NOW), "-validity_period", "999999999"]

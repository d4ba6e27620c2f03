"""The peers of a scan: sslscan and `cfssl scan` where they are installed, sslyze in an environment of its own, and a
server at many addresses that counts its connections.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

from _measure import run
from attrs import frozen

_SSLYZE = [
    "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "certinfo", "elliptic_curves", "robot", "heartbleed",
    "openssl_ccs", "fallback", "reneg", "resum", "compression", "ems", "early_data",
]  # fmt: skip
"""What is nearest to a deep scan of ours."""


@frozen
class Many:
    """A server at many addresses."""

    targets: Sequence[str]
    status: str
    """URL of its counters."""
    master: int
    """The process whose children serve."""

    def cpu(self) -> float:
        """Seconds that its workers have calculated; in hundredths."""
        workers = Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()
        fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in workers]
        return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")

    def accepted(self) -> int:
        """Connections since it began, this question among them."""
        with urllib.request.urlopen(self.status, timeout=10) as answer:
            return int(answer.read().decode().splitlines()[2].split()[0])


@contextmanager
def many(folder: Path, count: int, port: int, suites: Sequence[str]) -> Iterator[Many]:
    """nginx with two workers, RSA 2048 and these suites at `count` addresses of loopback."""
    mine = [str(folder / "many.pem"), str(folder / "many.key")]
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=scanned.example", "-days", "30"]
    run("openssl", "req", *made, "-out", mine[0], "-keyout", mine[1])
    run("openssl", "dhparam", "-dsaparam", "-out", str(folder / "dh.pem"), "2048")
    addresses = [f"127.91.{number // 250}.{number % 250 + 1}" for number in range(count)]
    listens = " ".join(f"listen {address}:{port} ssl;" for address in addresses)
    paths = "".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log /dev/null crit;"
        f"events {{ worker_connections 4096; }} http {{ access_log off; {paths}"
        f"ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers {':'.join(suites)}; ssl_prefer_server_ciphers on;"
        f"ssl_ecdh_curve X25519:P-256:P-384; ssl_dhparam {folder}/dh.pem;"
        f"server {{ {listens} ssl_certificate {mine[0]}; ssl_certificate_key {mine[1]}; return 200 ok; }}"
        f"server {{ listen 127.91.255.1:{port}; location / {{ stub_status; }} }} }}"
    )
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    with subprocess.Popen([nginx, "-p", folder, "-c", conf, "-e", "/dev/null"]) as server:
        there = Many([f"{address}:{port}" for address in addresses], f"http://127.91.255.1:{port}/", server.pid)
        try:
            _await(there, server)
            yield there
        finally:
            server.terminate()


def _await(there: Many, server: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            there.accepted()
        except OSError:
            if server.poll() is not None:
                sys.exit("nginx ended")
            threading.Event().wait(0.05)
        else:
            return


@contextmanager
def far_away(target: str, seconds: float) -> Iterator[str]:
    """A server for scanners on another continent: what is said takes `seconds` in each direction."""
    began, ended = Future[int](), asyncio.Event()
    host, _, port = target.rpartition(":")

    async def carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        later = asyncio.get_running_loop().call_later
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                later(seconds, writer.write, data)
        later(seconds, writer.close)

    async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carried(reader, there[1]), carried(there[0], writer))

    async def serve() -> None:
        async with await asyncio.start_server(both, "127.91.254.1", 0) as server:
            loops.append(asyncio.get_running_loop())
            began.set_result(server.sockets[0].getsockname()[1])
            await ended.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"127.91.254.1:{began.result(10)}"
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()


def peers(folder: Path, cores: int) -> Mapping[str, Sequence[str] | None]:
    """Name -> the command before its targets; None where it is not installed.  Each uses as many cores as it can."""
    sslscan = shutil.which("sslscan")
    cfssl = shutil.which("cfssl")
    return {
        # It asks one target at a time: one process for each core.
        "sslscan": ["xargs", "-P", str(cores), "-n", "1", sslscan, "--no-colour"] if sslscan else None,
        "cfssl": [cfssl, "scan", "-loglevel=5"] if cfssl else None,
        "sslyze": _sslyze(folder / "sslyze"),
    }


def _sslyze(folder: Path) -> Sequence[str] | None:
    """AGPL: measured, and never a dependency."""
    python = folder / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made = subprocess.run([python, "-m", "pip", "install", "--quiet", "sslyze"], capture_output=True)
    asked = [f"--{one}" for one in _SSLYZE]
    return [str(python), "-m", "sslyze", "--mozilla_config=disable", *asked] if made.returncode == 0 else None

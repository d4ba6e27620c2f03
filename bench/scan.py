"""One target asked in-process, deep and quickly, and many discovered; then one and many by the installed command, in
turns with sslscan, `cfssl scan` and sslyze, the connections of each counted by the server.

The server is `openssl s_server`, and nginx where there are many, with the suites and groups that Mozilla calls
intermediate; what is found is compared with what it was told to take.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from _measure import PKICODE, run, tell
from _scan_peers import Many, many, peers
from attrs import frozen

from pkicode.adapters.handshake import shake
from pkicode.adapters.network import Network
from pkicode.scanner.asking import discover, scan_one
from pkicode.scanner.finding import Endpoint, Target
from pkicode.scanner.registry import DEEP, QUICK, Probe

HOST = "127.0.0.1"
SUITES = [
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-CHACHA20-POLY1305",
]  # fmt: skip
GROUPS = ["x25519", "secp256r1", "secp384r1"]
PAIRS = len(SUITES) + 3
"""TLS 1.3 has three more."""


@contextmanager
def intermediate(folder: Path) -> Iterator[int]:
    """The server; gives its port."""
    mine = ["-cert", str(folder / "cert.pem"), "-key", str(folder / "key.pem")]
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=scanned.example", "-days", "30"]
    run("openssl", "req", *made, "-out", mine[1], "-keyout", mine[3])
    told = ["-min_protocol", "TLSv1.2", "-serverpref", "-cipher", ":".join(SUITES), "-groups", "X25519:P-256:P-384"]
    command = ["openssl", "s_server", "-accept", f"{HOST}:0", "-www", *mine, *told]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout
        port = next(line.split()[1] for line in server.stdout if line.startswith("ACCEPT ")).rpartition(":")[2]
        threading.Thread(target=deque, args=(server.stdout, 0), daemon=True).start()
        try:
            yield int(port)
        finally:
            server.terminate()


async def scans(port: int, probes: Sequence[Probe], rounds: int) -> list[Endpoint]:
    """One after the other, each on new connections."""
    target, network = Target(HOST, HOST, port), Network()
    return [
        await scan_one(target, probes, reach=network, shake=shake, entropy=os.urandom, now=0) for _ in range(rounds)
    ]


async def discoveries(port: int, many: int) -> float:
    """Seconds of processor time for each, of many addresses of this host."""
    network, at_once = Network(), asyncio.Semaphore(100)

    async def one(address: str) -> str:
        async with at_once:
            target = Target(address, address, port)
            return (await discover(target, reach=network, shake=shake, entropy=os.urandom, now=0)).state

    addresses = [HOST] * many
    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(address)) for address in addresses]
    assert {task.result() for task in tasks} == {"tls"}
    return (time.process_time() - began) / many


def is_true(endpoint: Endpoint) -> bool:
    """Whether nothing is missing and nothing is made up."""
    groups = {version: [one.name for one in endpoint.groups if one.version == version] for version in endpoint.versions}
    return (
        endpoint.versions == ("TLSv1.2", "TLSv1.3")
        and len(endpoint.ciphers) == PAIRS
        and all(sorted(found) == sorted(GROUPS) for found in groups.values())
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=21)
    options.add_argument("--discovered", type=int, default=2000)
    options.add_argument("--targets", type=int, default=100)
    options.add_argument("--turns", type=int, default=5, help="of each command with one target")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name, intermediate(Path(name)) as port:
        for figure, probes, most in (("deep", DEEP, 45), ("quick", QUICK, 4)):
            ran = asyncio.run(scans(port, probes, given.rounds))
            seconds = sorted(endpoint.seconds for endpoint in ran)
            median = statistics.median(seconds)
            bar = 0.06 if figure == "deep" else None
            tell(
                f"scan.{figure}", median, f"<= {bar} s" if bar else "", holds=median <= bar if bar else None,
                least=round(seconds[0], 4), octets=ran[0].octets,
            )  # fmt: skip
            connections = max(endpoint.connections for endpoint in ran)
            tell(f"scan.{figure}.connections", connections, f"<= {most}", holds=connections <= most)
            if figure == "deep":
                true = sum(map(is_true, ran)) / len(ran)
                tell("scan.deep.true", true, "1", holds=true == 1, pairs=PAIRS)
        each = asyncio.run(discoveries(port, given.discovered))
        tell("scan.discovery", 1 / each, ">= 3000/s of a core", holds=1 / each >= 3000)
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        beside_peers(Path(name), given.targets, given.turns)


FASTER = {
    1: {"sslscan": 2.5, "cfssl": None, "sslyze": None},
    100: {"sslscan": 3.5, "cfssl": 1.8, "sslyze": 12.0},
}
"""Targets -> peer -> how many times as fast the bars want us."""


def beside_peers(folder: Path, targets: int, turns: int) -> None:
    """One target and many, by commands that take turns."""
    cores = os.cpu_count() or 1
    own = [PKICODE, "-q", "-C", str(folder), "scan", "--rate", "1000000", "--format", "csv"]
    commands: dict[str, Sequence[str] | None] = {"pkicode": own, **peers(folder, cores)}
    with many(folder, targets, free_port(), SUITES) as there:
        for asked, bars in ((1, FASTER[1]), (targets, FASTER[100])):
            took: dict[str, list[Took]] = {name: [] for name in commands}
            for turn in range(turns if asked == 1 else 1 + turns // 3):
                for name, command in commands.items():
                    # sslyze takes most of a minute, and says the same each time.
                    if command and not (name == "sslyze" and turn and asked > 1):
                        took[name].append(_ran(command, there.targets[:asked], there))
            _compare(asked, took, bars)


@frozen
class Took:
    """One command, from its start to its end."""

    wall: float
    cpu: float
    """Of it and the processes it waited for."""
    connections: float
    """Of a target, as the server counted them."""


def _ran(command: Sequence[str], targets: Sequence[str], there: Many) -> Took:
    """xargs reads targets, the others are given them."""
    given = [] if command[0] == "xargs" else targets
    accepted, before, began = there.accepted(), os.times(), time.perf_counter()
    text = "\n".join(targets) if not given else None
    done = subprocess.run([*command, *given], input=text, text=True, capture_output=True)
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(wall, cpu, (there.accepted() - accepted - 1) / len(targets))


def _compare(asked: int, took: dict[str, list[Took]], bars: dict[str, float | None]) -> None:
    wall, cpu = _medians(took["pkicode"])
    name, load = f"scan.command.{asked}", round(os.getloadavg()[0], 1)
    tell(name, wall, cpu=cpu, connections=took["pkicode"][0].connections, load=load)
    for peer, bar in bars.items():
        if not took[peer]:
            tell(f"{name}.{peer}", 0, note="is not installed here")
            continue
        theirs, burnt = _medians(took[peer])
        tell(
            f"{name}.{peer}", theirs / wall, f">= {bar}x" if bar else "", holds=theirs / wall >= bar if bar else None,
            seconds=theirs, cpu=burnt, cpu_ratio=round(burnt / cpu, 2), connections=took[peer][0].connections,
        )  # fmt: skip


def _medians(took: Sequence[Took]) -> tuple[float, float]:
    return round(statistics.median(one.wall for one in took), 3), round(statistics.median(one.cpu for one in took), 3)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("0.0.0.0", 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())

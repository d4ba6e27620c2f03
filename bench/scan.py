"""One target asked in-process, deep and quickly, and many discovered; then one and many by the installed command, in
turns with sslscan, `cfssl scan` and sslyze, the connections of each counted by the server; at last one that is 20 ms
away, as most are.

The server is nginx with the suites and groups that Mozilla calls intermediate; what is found is compared with what it
was told to take.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from _measure import PKICODE, environ, tell
from _scan_peers import Many, far_away, many, peers
from attrs import frozen

from pkicode.adapters.handshake import shake
from pkicode.adapters.network import Network
from pkicode.scanner.asking import discover, scan_one
from pkicode.scanner.finding import Endpoint, Target
from pkicode.scanner.registry import DEEP, QUICK, Probe

SUITES = [
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-CHACHA20-POLY1305",
]  # fmt: skip
GROUPS = ["x25519", "secp256r1", "secp384r1"]
PAIRS = len(SUITES) + 3
"""TLS 1.3 has three more."""


async def scans(address: str, port: int, probes: Sequence[Probe], rounds: int) -> list[Endpoint]:
    """One after the other, each on new connections."""
    target, network = Target(address, address, port), Network()
    return [
        await scan_one(target, probes, reach=network, shake=shake, entropy=os.urandom, now=0) for _ in range(rounds)
    ]


async def discoveries(address: str, port: int, times: int) -> float:
    """Seconds of processor time for each, of this address so many times."""
    network, at_once = Network(), asyncio.Semaphore(100)

    async def one() -> str:
        async with at_once:
            target = Target(address, address, port)
            return (await discover(target, reach=network, shake=shake, entropy=os.urandom, now=0)).state

    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(times)]
    assert {task.result() for task in tasks} == {"tls"}
    return (time.process_time() - began) / times


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
    with (
        tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name,
        many(Path(name), 1, free_port(), SUITES) as there,
    ):
        address, _, port = there.targets[0].rpartition(":")
        for figure, probes, most in (("deep", DEEP, 45), ("quick", QUICK, 4)):
            ran = asyncio.run(scans(address, int(port), probes, given.rounds))
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
        each = asyncio.run(discoveries(address, int(port), given.discovered))
        tell("scan.discovery", 1 / each, ">= 3000/s of a core", holds=1 / each >= 3000)
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        beside_peers(Path(name), given.targets, given.turns)


FASTER = {
    1: {"sslscan": 2.5, "cfssl": None, "sslyze": None},
    100: {"sslscan": 3.5, "cfssl": 1.8, "sslyze": 12.0},
}
"""Targets -> peer -> how many times as fast the bars want us."""


AWAY_SECONDS = 0.01
"""Each way."""


def beside_peers(folder: Path, targets: int, turns: int) -> None:
    """One target and many, by commands that take turns."""
    cores = os.cpu_count() or 1
    # The peers keep no rate; ours is a limit of 500 connections a second if nobody says another.
    own = [PKICODE, "-q", "-C", str(folder), "scan", "--rate", "1000000", "--format", "csv"]
    commands: dict[str, Sequence[str] | None] = {"pkicode": own, **peers(folder, cores)}
    with many(folder, targets, free_port(), SUITES) as there:
        for name, command in commands.items():
            if command:
                # Once unmeasured: the first to be run is read from disk, and Python's files are compiled.
                _ran(command, there.targets[:1], there)
                tell(f"scan.command.{name}", cores, asks=" ".join([Path(command[0]).name, *command[1:]]))
        for asked, bars in ((1, FASTER[1]), (targets, FASTER[100])):
            took: dict[str, list[Took]] = {name: [] for name in commands}
            for turn in range(turns if asked == 1 else 1 + turns // 2):
                for name, command in commands.items():
                    # sslyze takes most of a minute, and says the same each time.
                    if command and not (name == "sslyze" and turn and asked > 1):
                        took[name].append(_ran(command, there.targets[:asked], there))
            _compare(f"scan.command.{asked}", took, bars)
        with far_away(there.targets[0], AWAY_SECONDS) as target:
            ran = {
                name: [_ran(command, [target], there) for _ in range(1 + turns // 2)] if command else []
                for name, command in commands.items()
            }
        _compare("scan.command.far", ran, dict.fromkeys(FASTER[1]))


@frozen
class Took:
    """One command, from its start to its end."""

    wall: float
    cpu: float
    """Of it and the processes it waited for."""
    served: float
    """The server's CPU for it."""
    connections: float
    """Of a target, as the server counted them."""


def _ran(command: Sequence[str], targets: Sequence[str], there: Many) -> Took:
    """xargs reads targets, the others are given them."""
    given = [] if command[0] == "xargs" else targets
    accepted, served, before, began = there.accepted(), there.cpu(), os.times(), time.perf_counter()
    text = "\n".join(targets) if not given else None
    done = subprocess.run([*command, *given], input=text, text=True, capture_output=True, env=environ())
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(wall, cpu, there.cpu() - served, (there.accepted() - accepted - 1) / len(targets))


def _compare(name: str, took: dict[str, list[Took]], bars: dict[str, float | None]) -> None:
    wall, cpu, served = _medians(took["pkicode"])
    load = round(os.getloadavg()[0], 1)
    tell(name, wall, cpu=cpu, served=served, connections=took["pkicode"][0].connections, load=load)
    for peer, bar in bars.items():
        if not took[peer]:
            tell(f"{name}.{peer}", 0, note="is not installed here")
            continue
        theirs, burnt, answered = _medians(took[peer])
        tell(
            f"{name}.{peer}", theirs / wall, f">= {bar}x" if bar else "", holds=theirs / wall >= bar if bar else None,
            seconds=theirs, cpu=burnt, served=answered, cpu_ratio=round(burnt / cpu, 2),
            # What the machine has to do for it, whoever else is at work: both sides are on it.
            work_ratio=round((burnt + answered) / (cpu + served), 2), connections=took[peer][0].connections,
        )  # fmt: skip


def _medians(took: Sequence[Took]) -> tuple[float, float, float]:
    """Wall, CPU, the server's CPU."""
    wall, cpu, served = zip(*((one.wall, one.cpu, one.served) for one in took), strict=True)
    return round(statistics.median(wall), 3), round(statistics.median(cpu), 3), round(statistics.median(served), 3)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("0.0.0.0", 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())

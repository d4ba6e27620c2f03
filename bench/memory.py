"""Memory and time of an apply of 10,000 and of 100,000, with the state in a file and in PostgreSQL.

Memory is the highest resident size of the parent and of its largest worker.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _fleet
from _measure import PKICODE, tell
from _postgres import Postgres, running
from attrs import frozen

EVERY_SECONDS = 0.1


@frozen
class Highest:
    """What one apply came to."""

    seconds: float
    parent: float
    """MB."""
    worker: float
    issuing: float
    """MB of the parent in the second half: its highest is reached while scrypt opens the keystore."""
    processes: int


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--n", type=int, default=100_000)
    options.add_argument("--jobs", type=int, default=max(2, os.cpu_count() or 1))
    given = options.parse_args()
    with running(on_disk=True, shared_buffers="256MB", max_wal_size="4GB") as server:
        for where, postgres in (("", None), ("postgres-", server)):
            few, many = (_apply(count, given.jobs, postgres) for count in (given.n // 10, given.n))
            for count, one in ((given.n // 10, few), (given.n, many)):
                told = {"while_issuing_mb": round(one.issuing), "seconds": round(one.seconds, 1)}
                tell(f"memory.{where}parent-{count}", one.parent, "<= 200 MB", holds=one.parent <= 200, **told)
                tell(
                    f"memory.{where}worker-{count}",
                    one.worker,
                    "<= 100 MB",
                    holds=one.worker <= 100,
                    processes=one.processes,
                )
            growth = many.seconds / few.seconds
            tell(f"apply.{where}ten-times-as-many", growth, "<= 12 times as long", holds=growth <= 12)


def _apply(count: int, jobs: int, postgres: Postgres | None) -> Highest:
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        folder = _fleet.make(Path(name) / "fleet", count)
        schema = f"m{count}"
        if postgres:
            _fleet.into(folder, postgres, schema)
        _fleet.apply_authorities(folder)
        command = [PKICODE, "-q", "apply", "-y", "--jobs", str(jobs)]
        began = time.perf_counter()
        with (Path(name) / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log) as apply:
            highest: dict[int, int] = {}
            samples = []
            while apply.poll() is None:
                for pid in (apply.pid, *_children(apply.pid)):
                    # The newest, not the highest: before its exec a child is a copy of the parent.
                    highest[pid] = _octets(pid, "VmHWM:") or highest.get(pid, 0)
                samples.append(_octets(apply.pid, "VmRSS:"))
                time.sleep(EVERY_SECONDS)
        seconds = time.perf_counter() - began
        if apply.returncode or _fleet.issued(folder, postgres, schema) != count:
            sys.exit(f"the apply ended with {apply.returncode}")
    parent = highest.pop(apply.pid)
    issuing = max(samples[len(samples) // 2 :])
    return Highest(seconds, parent / 1e6, max(highest.values()) / 1e6, issuing / 1e6, len(highest))


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
            int(one)
            for task in Path(f"/proc/{pid}/task").iterdir()
            if task.name != str(pid)
            for one in (task / "children").read_text().split()
        ]
    except OSError:  # it ended
        return []


def _octets(pid: int, line: str) -> int:
    """VmHWM is kept by the kernel itself, so that looking rarely misses nothing."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it ended
        return 0
    return next((int(one.split()[1]) * 1024 for one in status.splitlines() if one.startswith(line)), 0)


if __name__ == "__main__":
    main()

"""Memory of an apply of 100,000: the highest resident size of the parent and of its largest worker."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _fleet
from _measure import PKICODE, tell

EVERY_SECONDS = 0.1


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--n", type=int, default=100_000)
    options.add_argument("--jobs", type=int, default=max(2, os.cpu_count() or 1))
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        folder = _fleet.make(Path(name) / "fleet", given.n)
        _fleet.apply_authorities(folder)
        command = [PKICODE, "-q", "apply", "-y", "--jobs", str(given.jobs)]
        with (Path(name) / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log) as apply:
            highest: dict[int, int] = {}
            samples = []
            while apply.poll() is None:
                for pid in (apply.pid, *_children(apply.pid)):
                    # The newest, not the highest: before its exec a child is a copy of the parent.
                    highest[pid] = _octets(pid, "VmHWM:") or highest.get(pid, 0)
                samples.append(_octets(apply.pid, "VmRSS:"))
                time.sleep(EVERY_SECONDS)
        if apply.returncode or _fleet.issued(folder) != given.n:
            sys.exit(f"the apply ended with {apply.returncode}")
    parent, worker = highest.pop(apply.pid) / 1e6, max(highest.values()) / 1e6
    issuing = max(samples[len(samples) // 2 :]) / 1e6
    # The highest is reached while the keystore is opened: scrypt takes 67 MB for half a second.
    tell(f"memory.parent-{given.n}", parent, "<= 200 MB", holds=parent <= 200, while_issuing_mb=round(issuing))
    tell(f"memory.worker-{given.n}", worker, "<= 100 MB", holds=worker <= 100, processes=len(highest))


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

"""Commands in a process of their own, with its own PKCS #11 module, that die at a fault point."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pkicode.model.faults import FaultPoint
from pkicode.project import open_project
from tests.faults.run import KILLED, Fault, apply_until
from tests.guards.tree import ROOT
from tests.softhsm import SoftHsm


def die(root: Path, now: int, fault: Fault, hsm: SoftHsm) -> None:
    """Apply, and die at the fault; it is an error to end in any other way."""
    command = [sys.executable, "-m", __name__, str(root), str(now), str(fault.point), str(fault.nth)]
    environ = {**os.environ, **hsm.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    if done.returncode != KILLED:
        raise AssertionError(f"the process ended with {done.returncode}: {fault} was not reached\n{done.stderr}")


def die_destroying(root: Path, now: int, labels: Sequence[str], hsm: SoftHsm) -> None:
    """Destroy keys, and die when their end is in the audit; it is an error to end in any other way."""
    command = [sys.executable, "-m", __name__, str(root), str(now), *labels]
    environ = {**os.environ, **hsm.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    if done.returncode != KILLED:
        raise AssertionError(f"the process ended with {done.returncode}\n{done.stderr}")


def _destroy(root: Path, now: int, labels: Sequence[str]) -> None:
    def reach(point: FaultPoint) -> None:
        if point is FaultPoint.KEYS_CONDEMNED:
            os.kill(os.getpid(), signal.SIGKILL)

    open_project(root / "pki.toml", environ={}, now=now, reach=reach).upkeep.destroy_keys("hsm", labels)


if __name__ == "__main__" and "@" in sys.argv[3]:
    _destroy(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
elif __name__ == "__main__":
    folder, instant, point, times = sys.argv[1:]
    apply_until(Path(folder), int(instant), Fault(FaultPoint(point), int(times)))

"""An apply in a process of its own, with its own PKCS #11 module, that dies at a fault point."""

import os
import subprocess
import sys
from pathlib import Path

from pkicode.model.faults import FaultPoint
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


if __name__ == "__main__":
    folder, instant, point, times = sys.argv[1:]
    apply_until(Path(folder), int(instant), Fault(FaultPoint(point), int(times)))

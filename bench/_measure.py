"""How a figure is measured and told: CPU and memory of whole process trees, medians of interleaved rounds, JSON lines.

Absolute times of a shared machine mean little: every bench puts its peer into the same run and tells the ratio.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen

PKICODE = str(Path(sys.executable).with_name("pkicode"))
"""The installed command."""


@frozen
class Ran:
    """One command, from its start to its end."""

    wall: float
    cpu: float
    """Seconds of user and system time, of it and of every process it started and waited for."""
    rss: int
    """Octets: the largest process of them."""
    output: str


def run(*command: str, cwd: Path | None = None) -> Ran:
    """Run a command to its end; an exit code other than 0 ends the bench."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read().decode(errors="replace")  # type: ignore[union-attr]
    # wait4 tells what this process and its own children used, and of nobody else.
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()  # type: ignore[union-attr]
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
    return Ran(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, output)


def environ() -> dict[str, str]:
    """As users run commands: Python is compiled once, not at every start."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def sign_seconds() -> float:
    """What one P-256 signature costs on a core here and now, by OpenSSL's own measure."""
    # The last line ends in signatures and verifications per second; the column of seconds has one digit that counts.
    return 1 / float(run("openssl", "speed", "-seconds", "1", "ecdsap256").output.split()[-2])


def tell(figure: str, value: float, bar: str = "", *, holds: bool | None = None, **more: object) -> None:
    """One figure as a JSON line: its value, the bar it is held to, and what it was made of."""
    line = {"figure": figure, "value": round(value, 4), "bar": bar, "holds": holds, **more}
    print(json.dumps({key: one for key, one in line.items() if one not in ("", None)}), flush=True)

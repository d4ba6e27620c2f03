"""A dask cluster on this machine: a scheduler and workers, each a process of its own as on many machines."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guards.tree import ROOT

STARTED = """
import sys
from distributed import LocalCluster
HOW = {{"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}}
if __name__ == "__main__":
    with LocalCluster(n_workers={workers}, processes={apart}, **HOW) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


Running = tuple[subprocess.Popen[str], str]


@contextmanager
def started(folder: Path, workers: int = 2, *, apart: bool = True, code: Path = ROOT) -> Iterator[Running]:
    """The process, and the address of its scheduler.

    Args:
        apart: whether workers are processes of their own.
        code: where they import pkicode from.
    """
    script = folder / "cluster.py"
    script.write_text(STARTED.format(workers=workers, apart=apart))
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
        env={"PYTHONPATH": str(code), "PATH": "/usr/bin:/bin"},
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(60)


@contextmanager
def cluster(folder: Path, workers: int = 2, *, apart: bool = True, code: Path = ROOT) -> Iterator[str]:
    """The address of its scheduler; see `started`."""
    with started(folder, workers, apart=apart, code=code) as (_, address):
        yield address

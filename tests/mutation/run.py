"""Mutation run: are the tests of a module able to fail?  `python -m tests.mutation.run planner 40` shows survivors.

Each mutant stands in a copy of the repository and meets the tests that are the module's own; it is killed when one of
them fails, or none ends.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from compileall import compile_dir
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import SimpleQueue

from attrs import frozen

from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
TESTS = {
    "plan/planner": (
        "tests/plan",
        "tests/kinds/test_life.py",
        "tests/kinds/test_revocation.py",
        "tests/security/test_approvals.py",
    ),
    "plan/template": ("tests/plan/test_template.py",),
    "issuing/__init__": ("tests/issuing", "tests/ceremony"),
    "issuing/batch": ("tests/issuing",),
    "issuing/resumption": ("tests/issuing/test_resume.py", "tests/issuing"),
    "issuing/steps": ("tests/issuing", "tests/hsm"),
    "x509/tbs": ("tests/x509/test_tbs.py",),
    "revocation/crl": ("tests/revocation",),
    "kinds/crl": ("tests/kinds", "tests/ceremony"),
    "kinds/cert": ("tests/kinds",),
}
"""Module -> its own tests, the likeliest to fail first."""

_PATIENCE = 300
"""Seconds after which a mutant is said to loop."""


@frozen
class Trial:
    """A mutant and what became of it."""

    module: str
    mutant: Mutant
    killed: bool


def sample(module: str, count: int | None = None) -> list[Mutant]:
    """Mutants of a module, without those that do the same as the original; always the same ones for a count."""
    source = (ROOT / "pkicode" / f"{module}.py").read_text(encoding="utf-8")
    found = [one for one in mutants(source) if one.name not in EQUIVALENT.get(module, {})]
    if count is None or count >= len(found):
        return found
    return random.Random(f"{module} {len(found)}").sample(found, count)


def run(wanted: Sequence[tuple[str, Mutant]], *, workers: int = 2) -> Iterator[Trial]:
    """Try each mutant, in as many copies of the repository as there are workers."""
    with _copies(workers) as copies, ThreadPoolExecutor(workers) as pool:

        def trial(module: str, mutant: Mutant) -> Trial:
            folder = copies.get()
            try:
                return Trial(module, mutant, _is_killed(folder, module, mutant))
            finally:
                copies.put(folder)

        yield from pool.map(trial, *zip(*wanted, strict=True))


@contextmanager
def _copies(count: int) -> Iterator[SimpleQueue[Path]]:
    with tempfile.TemporaryDirectory(prefix="pkicode-mutants-") as folder:
        queue: SimpleQueue[Path] = SimpleQueue()
        for number in range(count):
            there = Path(folder, str(number))
            for part in ("pkicode", "tests"):
                shutil.copytree(ROOT / part, there / part, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "pyproject.toml", there)
            # By hash: a file that changes twice a second has the same time and size in both versions.
            compile_dir(there / "pkicode", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
            queue.put(there)
        yield queue


def _is_killed(folder: Path, module: str, mutant: Mutant) -> bool:
    path = folder / "pkicode" / f"{module}.py"
    original = path.read_bytes()
    path.write_text(mutant.source, encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not heavy", *TESTS[module]],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_bytes(original)
    # 0: all passed, 1: one failed, 2: it could not even be imported, or 4, by a conftest.  All else is no verdict.
    unimportable = b"ImportError while loading conftest" in done.stdout + done.stderr
    if done.returncode not in (0, 1, 2) and not (done.returncode == 4 and unimportable):
        raise RuntimeError(done.stdout.decode() + done.stderr.decode())
    return done.returncode != 0


def main(part: str = "", count: str = "") -> None:
    """Try `count` mutants of each module whose name has `part` in it, and print those that live."""
    most = int(count) if count else None
    wanted = [(module, mutant) for module in TESTS if part in module for mutant in sample(module, most)]
    lived = 0
    for number, trial in enumerate(run(wanted), 1):
        if not trial.killed:
            lived += 1
            print(f"{number}/{len(wanted)} {trial.module} {trial.mutant.name}", flush=True)
    print(f"{len(wanted) - lived} of {len(wanted)} killed")


if __name__ == "__main__":
    main(*sys.argv[1:])

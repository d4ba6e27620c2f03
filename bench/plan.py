"""Plans in a cold process: nothing to do for 1,000 and 100,000 rows (these in PostgreSQL as well), and the first plan
of 100,000 with its plan file.

No peer of this kind can be installed here; the figures of Terraform are told in the design, not measured.
"""

import argparse
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import _fleet
from _measure import PKICODE, Ran, run, tell
from _postgres import running


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--n", type=int, default=100_000, help="rows of the large fleet")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--csr", action="store_true", help="also with a folder of as many CSRs: takes minutes to make")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        work = Path(name)
        small, large = _fleet.make(work / "small", 1_000), _fleet.make(work / "large", given.n)
        for folder in (small, large):
            _fleet.apply_authorities(folder)
        _first(large, work / "plan.json", given.n, given.rounds)
        for folder in (small, large):
            run(PKICODE, "-q", "apply", "-y", cwd=folder)
        few, many = _in_turn([small, large], given.rounds)
        _tell("plan.noop-1000", few, 0.3)
        _tell(f"plan.noop-{given.n}", many, 1.2, megabytes=150)
        rows = given.n - 1_000
        slope = statistics.median((one.wall - other.wall) / rows for one, other in zip(many, few, strict=True))
        tell("plan.noop-us-per-row", slope * 1e6, "<= 10 us", holds=slope <= 10e-6)
        shutil.rmtree(small)
        _postgres(large, given.n, given.rounds)
        if given.csr:
            shutil.rmtree(large)
            hosts = _fleet.make(work / "csr", given.n, csr=True)
            _fleet.apply_authorities(hosts)
            run(PKICODE, "-q", "apply", "-y", cwd=hosts)
            (held,) = _in_turn([hosts], given.rounds)
            _tell(f"plan.noop-csr-{given.n}", held, 2.2)


def _postgres(folder: Path, count: int, rounds: int) -> None:
    """The same fleet, whose state a server has."""
    with running(on_disk=True, shared_buffers="256MB", max_wal_size="4GB") as server:
        for made in (".pkicode", "public"):
            shutil.rmtree(folder / made)
        _fleet.into(folder, server, "plans")
        run(PKICODE, "-q", "apply", "-y", cwd=folder)
        (held,) = _in_turn([folder], rounds)
        _tell(f"plan.noop-postgres-{count}", held, 1.2, megabytes=150)


def _in_turn(folders: Sequence[Path], rounds: int) -> list[list[Ran]]:
    """Plans that find nothing to do, one folder after the other; the first of each only warms the disk's cache."""
    ran = [[run(PKICODE, "plan", "--detailed-exitcode", cwd=folder) for folder in folders] for _ in range(rounds + 1)]
    return [list(one) for one in zip(*ran[1:], strict=True)]


def _tell(figure: str, ran: Sequence[Ran], seconds: float, *, megabytes: int = 10**6) -> None:
    wall, rss = statistics.median(one.wall for one in ran), max(one.rss for one in ran) / 1e6
    bar = f"<= {seconds} s" + (f", <= {megabytes} MB" if megabytes < 10**6 else "")
    cpu = round(statistics.median(one.cpu for one in ran), 3)
    tell(figure, wall, bar, holds=wall <= seconds and rss <= megabytes, cpu_seconds=cpu, rss_mb=round(rss, 1))


def _first(folder: Path, saved: Path, count: int, rounds: int) -> None:
    """Every row is to be issued, and the plan is written to a file."""
    ran = []
    for _ in range(rounds):
        saved.unlink(missing_ok=True)
        ran.append(run(PKICODE, "plan", "-o", str(saved), cwd=folder))
    size = saved.stat().st_size / 1e6
    with sqlite3.connect(f"file:{folder}/.pkicode/state.db?mode=ro", uri=True) as state:
        if state.execute("SELECT count(*) FROM certificates WHERE address LIKE 'cert.%'").fetchone() != (0,):
            sys.exit("a plan wrote certificates")
    wall, rss = statistics.median(one.wall for one in ran), max(one.rss for one in ran) / 1e6
    tell(
        f"plan.first-{count}",
        wall,
        "<= 4 s, <= 400 MB, file <= 40 MB",
        holds=wall <= 4 and rss <= 400 and size <= 40,
        cpu_seconds=round(statistics.median(one.cpu for one in ran), 2),
        rss_mb=round(rss),
        file_mb=round(size, 1),
    )


if __name__ == "__main__":
    main()

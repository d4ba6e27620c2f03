"""One round after the other: CFSSL's API, ours with every core, ours with one worker; the same names for all."""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import _cfssl
import _fleet
from _measure import PKICODE, Ran, run, sign_seconds, tell
from _postgres import Postgres


def bench(
    mode: str,
    bodies: Callable[[Path, int], Sequence[dict[str, object]]],
    bars: tuple[float, float],
    postgres: Postgres | None = None,
) -> None:
    """Measure one way of getting certificates.

    Args:
        mode: csr or keys.
        bodies: what CFSSL is asked: the project's folder and how many -> request bodies.
        bars: times CFSSL's rate, and signs of CPU for each certificate.
        postgres: where both sides have their database; else each has one of SQLite.
    """
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--n", type=int, default=20_000, help="certificates of each of our applies")
    options.add_argument("--peer", type=int, default=2_000, help="certificates CFSSL makes in a round")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        work = Path(name)
        folder = _fleet.make(work / "fleet", given.n, csr=mode == "csr")
        _cfssl.make_ca(work / "ca")
        asked = list(bodies(folder, min(given.peer, given.n)))
        served, both, single = [], [], []
        sign = sign_seconds()
        for number in range(given.rounds):
            served.append(_cfssl.serve(work / "ca", work / f"cfssl{number}", _ENDPOINT[mode], asked, postgres))
            both.append(_apply(folder, given.n, postgres, f"both{number}"))
            single.append(_apply(folder, given.n, postgres, f"single{number}", "--jobs", "1"))
        (work / "sample").mkdir()
        good = _fleet.verified(folder, work / "sample", postgres, f"single{given.rounds - 1}")
        if good != min(200, given.n):
            sys.exit(f"openssl verify accepts only {good} of the sample")
        peer = statistics.median(one.rate for one in served)
        named = f"{mode}.postgres" if postgres else mode
        tell(
            f"{named}.cfssl",
            peer,
            rates=[round(one.rate) for one in served],
            p99=round(statistics.median(one.p99 for one in served), 4),
            refused=sum(one.refused for one in served),
            cpu_signs=round(statistics.median(one.cpu / one.issued for one in served) / sign, 1),
            sign_us=round(sign * 1e6, 2),
        )
        _tell(f"{named}.apply", both, served, given.n, sign, bars)
        # One worker has a bar of its own where nothing else takes a core; a database server does.
        _tell(f"{named}.apply-jobs-1", single, served, given.n, sign, None if postgres else (4.0, bars[1]))


_ENDPOINT = {"csr": "sign", "keys": "newcert"}


def _apply(folder: Path, count: int, postgres: Postgres | None, schema: str, *options: str) -> Ran:
    for made in (".pkicode", "public"):
        shutil.rmtree(folder / made, ignore_errors=True)
    if postgres:
        _fleet.into(folder, postgres, schema)
    _fleet.apply_authorities(folder)
    ran = run(PKICODE, "-q", "apply", "-y", *options, cwd=folder)
    if (found := _fleet.issued(folder, postgres, schema)) != count:
        sys.exit(f"{count} certificates were asked for and {found} are in the database:\n{ran.output[-2000:]}")
    return ran


def _tell(
    figure: str,
    ours: Sequence[Ran],
    served: Sequence[_cfssl.Served],
    count: int,
    sign: float,
    bars: tuple[float, float] | None,
) -> None:
    ratio = statistics.median(count / one.wall / peer.rate for one, peer in zip(ours, served, strict=True))
    signs = statistics.median(one.cpu for one in ours) / count / sign
    tell(
        figure,
        ratio,
        f">= {bars[0]}x CFSSL, <= {bars[1]} signs" if bars else "",
        holds=ratio >= bars[0] and signs <= bars[1] if bars else None,
        n=count,
        rates=[round(count / one.wall) for one in ours],
        cpu_signs=round(signs, 1),
        cpu_seconds=[round(one.cpu, 2) for one in ours],
        rss_mb=round(max(one.rss for one in ours) / 1e6),
    )

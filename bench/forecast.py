"""Forecasts by the installed command: one year of 100,000 certificates, ten years of 10,000; no peer can do either.

The issuing CA of the ten years lives long enough, so that no day is left out because a leaf would outlive it.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import _fleet
from _measure import PKICODE, Ran, run, tell


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--n", type=int, default=100_000, help="certificates of the one year; a tenth for the ten")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        for years, count, bar in ((1, given.n, 12), (10, given.n // 10, None)):
            folder = _fleet.make(Path(name) / f"{years}", count)
            text = (folder / "pki.toml").read_text().replace('validity = "5y"', 'validity = "15y"')
            (folder / "pki.toml").write_text(text)
            run(PKICODE, "-q", "apply", "-y", cwd=folder)
            command = (PKICODE, "forecast", "--until", f"+{years}y", "--format", "json")
            ran = [run(*command, cwd=folder) for _ in range(given.rounds)]
            _tell(f"forecast.{years}y-{count}", ran, bar, renewals=_renewals(ran[0], years, count))


def _renewals(ran: Ran, years: int, count: int) -> int:
    """How many renewals were foreseen; each certificate has about seven a year."""
    rows = json.loads(ran.output)["rows"]
    found = sum(row["count"] for row in rows if row["action"] == "renew")
    if not 6 * years * count < found < 9 * years * count:
        sys.exit(f"{found} renewals of {count} certificates in {years} years cannot be right")
    return found


def _tell(figure: str, ran: list[Ran], seconds: int | None, **more: object) -> None:
    wall = statistics.median(one.wall for one in ran)
    tell(
        figure,
        wall,
        f"<= {seconds} s" if seconds else "",
        holds=wall <= seconds if seconds else None,
        cpu_seconds=round(statistics.median(one.cpu for one in ran), 2),
        rss_mb=round(max(one.rss for one in ran) / 1e6),
        **more,
    )


if __name__ == "__main__":
    main()

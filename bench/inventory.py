"""The inventory as a DataFrame, and as JSON, in a cold process: 100,000 and a million certificates.

The rows are written by SQLite itself: how long they took to be issued is another bench's question.
"""

import argparse
import sqlite3
import statistics
import sys
import tempfile
from pathlib import Path

import _fleet
from _measure import PKICODE, run, tell

_FRAME = "import pkicode; print(len(pkicode.open('pki.toml').inventory()))"
_SEED = """
INSERT INTO certificates (issuer_key, serial, issuer_dn, status, address, generation, ca, ca_generation, profile,
  subject, sans, not_before, not_after, key_alg, key_label, spki, sha256, plan_id, reason, session, created, duty,
  revoked_at, revocation_reason, der)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
SELECT c.issuer_key, lower(hex(randomblob(20))), c.issuer_dn, CASE WHEN i % 50 THEN 'issued' ELSE 'revoked' END,
  format('cert.fleet["h%06d"]', i), 1, 'issuing', 1, 'host', '', format('["dns:h%06d.fleet.example"]', i),
  c.not_before + i % 7776000, c.not_before + i % 7776000 + 7776000, 'ec-p256', format('cert.fleet["h%06d"]@1', i),
  lower(hex(randomblob(32))), lower(hex(randomblob(32))), '', 'new', 's', c.created + i % 7776000, c.duty,
  CASE WHEN i % 50 THEN NULL ELSE c.created END, CASE WHEN i % 50 THEN NULL ELSE 'superseded' END, zeroblob(550)
FROM n, (SELECT * FROM certificates WHERE address = 'ca.issuing') AS c
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--n", type=int, nargs="*", default=[100_000, 1_000_000])
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    for count in given.n:
        with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
            folder = _fleet.make(Path(name) / "fleet", 1)
            _fleet.apply_authorities(folder)
            with sqlite3.connect(folder / ".pkicode/state.db") as state:
                state.execute(_SEED, {"count": count})
            _frame(folder, count, given.rounds)
            _json(folder, count)


def _frame(folder: Path, count: int, rounds: int) -> None:
    seconds = 1 if count <= 100_000 else 6
    ran = [run(sys.executable, "-c", _FRAME, cwd=folder) for _ in range(rounds)]
    if int(ran[0].output) != count + 2:
        sys.exit(f"{ran[0].output} rows in the frame")
    empty = statistics.median(
        run(sys.executable, "-c", "import pandas, pkicode", cwd=folder).wall for _ in range(rounds)
    )
    wall = statistics.median(one.wall for one in ran)
    tell(
        f"inventory.frame-{count}",
        wall - empty,
        f"<= {seconds} s",
        holds=wall - empty <= seconds,
        process_seconds=round(wall, 2),
        import_seconds=round(empty, 2),
        rss_mb=round(max(one.rss for one in ran) / 1e6),
    )


def _json(folder: Path, count: int) -> None:
    ran = run("sh", "-c", f"{PKICODE} inventory --format json > rows.json", cwd=folder)
    size = (folder / "rows.json").stat().st_size
    tell(
        f"inventory.json-{count}",
        ran.wall,
        rss_mb=round(ran.rss / 1e6),
        mb=round(size / 1e6),
        rows_per_second=round(count / ran.wall),
    )


if __name__ == "__main__":
    main()

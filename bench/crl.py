"""CRLs of 100,000 and a million entries: the installed library in a cold process, against `cfssl gencrl`.

Each process reads the serials from a file, builds, signs, verifies and writes the list; OpenSSL counts its entries.
Ours say when and why each certificate was revoked, no two of them at the same second; CFSSL's list says neither.
"""

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path

import _cfssl
from _measure import Ran, run, tell

_OURS = """
import sys, time
from pathlib import Path
from pkicode.revocation import crl
from pkicode.x509 import keys, names
from pkicode.x509.tbs import self_issued
serials, now = Path(sys.argv[1]), 1_800_000_000
key = keys.generate("ec-p256")
issuer = self_issued(names.subject_der((("cn", "Bench CA"),)), keys.spki(key))
began = time.process_time()
with serials.open() as file:
    entries = (crl.Entry(int(line), now - 60 - at, "superseded") for at, line in enumerate(file))
    tbs = crl.tbs(issuer, entries, number=1, this_update=now, next_update=now + 604800)
der = crl.crl(tbs, issuer.alg, keys.sign(key, tbs))
crl.verify(der, issuer)
Path(sys.argv[2]).write_bytes(der)
print(time.process_time() - began)
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        work = Path(name)
        _cfssl.make_ca(work / "ca")
        for size in given.sizes:
            _measure(work, size, given.rounds)


def _measure(work: Path, size: int, rounds: int) -> None:
    drawn = sorted({random.getrandbits(158) | 1 << 158 for _ in range(size)})
    serials, made = work / f"serials-{size}", work / f"{size}.crl"
    serials.write_text("".join(f"{serial}\n" for serial in drawn))
    ours: list[Ran] = []
    peer: list[Ran] = []
    for _ in range(rounds):
        ours.append(run(sys.executable, "-c", _OURS, str(serials), str(made)))
        peer.append(run("cfssl", "gencrl", str(serials), str(work / "ca" / "ca.pem"), str(work / "ca" / "ca-key.pem")))
    listed = run("openssl", "crl", "-inform", "DER", "-in", str(made), "-noout", "-text").output
    if (found := listed.count("Serial Number:")) != size:
        sys.exit(f"OpenSSL finds {found} entries of {size}")
    seconds = statistics.median(float(one.output) for one in ours)
    wall, rss = statistics.median(one.wall for one in ours), max(one.rss for one in ours) / 1e6
    limit, memory = (0.2, 60) if size <= 100_000 else (2.0, 10**6)
    tell(
        f"crl.{size}",
        seconds,
        f"<= {limit} s" + (f", <= {memory} MB" if memory < 10**6 else ""),
        holds=seconds <= limit and rss <= memory,
        process_seconds=round(wall, 3),
        rss_mb=round(rss, 1),
        cfssl_seconds=round(statistics.median(one.wall for one in peer), 3),
        cfssl_rss_mb=round(max(one.rss for one in peer) / 1e6, 1),
        times_cfssl=round(statistics.median(two.wall / one.wall for one, two in zip(ours, peer, strict=True)), 2),
    )


if __name__ == "__main__":
    main()

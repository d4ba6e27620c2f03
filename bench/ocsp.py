"""OCSP: `pkicode serve ocsp` and `cfssl ocspserve` on the same 10,000 certificates, by wrk with 8 connections in turn.

Both are the installed command in one process.  An answer of each is verified by OpenSSL before anything is measured,
and wrk counts what is not status 200.  Then pre-signing: the pure half of it on one core, against raw signatures.
"""

import argparse
import base64
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from _measure import PKICODE, run, sign_seconds, tell
from attrs import frozen

from pkicode.model.names import SanType
from pkicode.revocation import ocsp_request, pack
from pkicode.revocation.ocsp_response import GOOD
from pkicode.revocation.presign import Due, presign
from pkicode.x509 import keys, names
from pkicode.x509.pem import encode
from pkicode.x509.profile import Profile
from pkicode.x509.tbs import IssuerFacts, certificate, form, self_issued

CONNECTIONS = 8
_LUA = """
local requests, n = {{}}, 0
for line in io.lines("{file}") do n = n + 1; requests[n] = line end
local function bytes(hex) return (hex:gsub("..", function(two) return string.char(tonumber(two, 16)) end)) end
for i = 1, n do requests[i] = bytes(requests[i]) end
math.randomseed(1)
request = function() return requests[math.random(n)] end
done = function(summary, latency)
  local wrong = summary.errors
  local failed = wrong.status + wrong.connect + wrong.read + wrong.write + wrong.timeout
  io.write(string.format("RESULT %d %d %d %f\\n", summary.requests, summary.duration, failed, latency:percentile(99)))
end
"""


@frozen
class Round:
    """What wrk saw in one round, and what it cost the server."""

    rate: float
    p99_ms: float
    failed: int
    cpu: float
    """Seconds of the server per request."""


@frozen
class Site:
    """A CA, its delegate and the certificates they answer for."""

    folder: Path
    maker: pack.Maker
    delegate: keys.PrivateKey
    due: list[Due]

    @property
    def issuer(self) -> IssuerFacts:
        return self.maker.issuer


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pkicode-bench-") as name:
        site = _site(Path(name), given.size)
        records = _presigned(site, given.rounds)
        _write(site, records)
        peer = _compare(site, "POST", given.rounds, given.seconds)
        _compare(site, "GET", given.rounds, given.seconds, peer)


def _site(folder: Path, size: int) -> Site:
    now = int(time.time())
    ca_key, delegate, leaf = (keys.generate("ec-p256") for _ in range(3))
    ca = self_issued(names.subject_der((("cn", "Bench CA"),)), keys.spki(ca_key))

    def made(profile: Profile, serial: int, name: str, spki: bytes, sans: tuple[tuple[SanType, str], ...]) -> bytes:
        tbs = form(profile, ca).tbs(
            serial=serial,
            not_before=now - 3600,
            not_after=now + 30 * 86400,
            subject=names.subject_der((("cn", name),)),
            spki=spki,
            sans=sans,
        )
        return certificate(tbs, ca.alg, keys.sign(ca_key, tbs))

    root = made(Profile(is_ca=True, usage=("keyCertSign", "cRLSign")), 1, "Bench CA", ca.spki, ())
    by = made(Profile(eku=("OCSPSigning",), ocsp_nocheck=True), 2, "Bench OCSP", keys.spki(delegate), ())
    serials = sorted({random.getrandbits(158) | 1 << 158 for _ in range(size)})
    profile, host = Profile(eku=("serverAuth",)), ((SanType.DNS, "host.bench.example"),)
    due = [Due(one, GOOD, made(profile, one, "host.bench.example", keys.spki(leaf), host)) for one in serials]
    for file, der in (("ca", root), ("leaf", due[0].certificate or b"")):
        (folder / f"{file}.pem").write_bytes(encode("CERTIFICATE", der))
    return Site(folder, pack.Maker("bench-g1", root, by), delegate, due)


def _presigned(site: Site, rounds: int) -> list[bytes]:
    """The records, and how fast they were made; a raw signature is what the same library takes for nothing else."""
    now, records, rates, raws = int(time.time()), [], [], []
    pkcs8 = keys.pkcs8(site.delegate)
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(5000):
            keys.sign(site.delegate, b"x" * 200)
        raws.append(5000 / (time.process_time() - began))
        began = time.process_time()
        records = presign(site.maker, pkcs8, site.due, now, now + 86400)
        rates.append(2 * len(site.due) / (time.process_time() - began))
    rate = statistics.median(rates)
    more = {"raw_signatures": round(statistics.median(raws)), "certificates": round(rate / 2)}
    tell(
        "ocsp.presign",
        rate,
        ">= 10000 answers/s",
        holds=rate >= 10_000,
        share_of_raw=round(rate / statistics.median(raws), 2),
        **more,
    )
    return [one for one in records if one]


def _write(site: Site, records: list[bytes]) -> None:
    """The same answers for both: a pack for us, one response a line for CFSSL (SHA-1 CertIDs are all it takes)."""
    body = pack.unsigned(site.maker, records, made=int(time.time()))
    data = pack.signed(body, keys.sign(site.delegate, pack.to_sign(body)))
    (site.folder / "bench.pack").write_bytes(data)
    form_, lines = site.maker.form, []
    for one in map(pack.unpack, records):
        tbs = form_.tbs("sha1", one.serial, GOOD, this_update=one.this_update, next_update=one.next_update)
        lines.append(base64.b64encode(form_.response(tbs, one.signatures[0])))
    (site.folder / "responses").write_bytes(b"\n".join(lines) + b"\n")


def _requests(site: Site, method: str) -> None:
    """Whole HTTP requests in hexadecimal.  Without `//` in a path: CFSSL answers none of those."""
    lines = []
    for one in site.due:
        der = ocsp_request.encode(ocsp_request.cert_id(site.issuer, one.serial, "sha1"))
        if method == "POST":
            head = "POST / HTTP/1.1\r\nHost: ocsp\r\nContent-Type: application/ocsp-request"
            lines.append(f"{head}\r\nContent-Length: {len(der)}\r\n\r\n".encode().hex() + der.hex())
        else:
            path = quote(base64.b64encode(der).decode(), safe="")
            lines.append(f"GET /{path} HTTP/1.1\r\nHost: ocsp\r\n\r\n".encode().hex())
    (site.folder / "requests").write_text("\n".join(lines) + "\n")
    (site.folder / "wrk.lua").write_text(_LUA.format(file=site.folder / "requests"))


def _compare(site: Site, method: str, rounds: int, seconds: int, peer: float = 0) -> float:
    """Tell the figures; returns CFSSL's rate.  `peer` is that of POST, for GET: Debian's CFSSL refuses all of these."""
    _requests(site, method)
    sign = sign_seconds()
    commands = {
        "pkicode": [PKICODE, "serve", "ocsp", "--pack", str(site.folder / "bench.pack"), "--bind", "127.0.0.1:{port}"],
        "cfssl": [
            "cfssl",
            "ocspserve",
            "-address",
            "127.0.0.1",
            "-port",
            "{port}",
            "-responses",
            str(site.folder / "responses"),
        ],
    }
    seen: dict[str, list[Round]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            with _serving(command) as (process, port):
                _ask(site, port)
                # Once around: what is measured is a responder that has been up for some seconds.
                _wrk(site, process, port, 2)
                seen[name].append(_wrk(site, process, port, seconds))
    ours, theirs = seen["pkicode"], seen["cfssl"]
    ratio = statistics.median(one.rate / (peer or two.rate) for one, two in zip(ours, theirs, strict=True))
    signs = statistics.median(one.cpu for one in ours) / sign
    p99 = statistics.median(one.p99_ms for one in ours)
    failed = sum(one.failed for one in ours)
    tell(
        f"ocsp.{method.lower()}",
        ratio,
        "none refused, <= 2 signs, p99 < 5 ms" if peer else ">= 4 times CFSSL, <= 2 signs, p99 < 5 ms",
        holds=(ratio >= 4 or peer > 0) and signs <= 2 and p99 < 5 and not failed,
        rate=round(statistics.median(one.rate for one in ours)),
        signs=round(signs, 2),
        p99_ms=round(p99, 2),
        failed=failed,
        cfssl_rate=round(statistics.median(one.rate for one in theirs)),
        cfssl_signs=round(statistics.median(one.cpu for one in theirs) / sign, 2),
        cfssl_p99_ms=round(statistics.median(one.p99_ms for one in theirs), 2),
        cfssl_failed=sum(one.failed for one in theirs),
    )
    return statistics.median(one.rate for one in theirs)


@contextmanager
def _serving(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [one.format(port=port) for one in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _ask(site: Site, port: int) -> None:
    """OpenSSL accepts what is about to be measured."""
    ca, leaf = str(site.folder / "ca.pem"), str(site.folder / "leaf.pem")
    url = f"http://127.0.0.1:{port}"
    told = run("openssl", "ocsp", "-issuer", ca, "-cert", leaf, "-url", url, "-CAfile", ca, "-no_nonce").output
    if "Response verify OK" not in told or "leaf.pem: good" not in told:
        sys.exit(f"OpenSSL does not accept the answer:\n{told}")


def _wrk(site: Site, process: subprocess.Popen[bytes], port: int, seconds: int) -> Round:
    before = _cpu(process.pid)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(site.folder / "wrk.lua")]
    output = run(*command, f"http://127.0.0.1:{port}/").output
    cpu = _cpu(process.pid) - before
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+)", output)
    if found is None:
        sys.exit(f"wrk says nothing:\n{output}")
    requests, micros, failed, p99 = int(found[1]), int(found[2]), int(found[3]), float(found[4])
    return Round(requests / micros * 1e6, p99 / 1000, failed, cpu / requests)


def _cpu(pid: int) -> float:
    """Seconds of user and system time of a process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

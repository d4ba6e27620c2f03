"""Fleets live through issuance, revocation, renewal, removal and archive, on both stores, in memory that is bounded.

Everything is done by the command in a process of its own, and looked at from outside: by OpenSSL, in the published CRL,
and in the inventory as CSV.
"""

import csv
import io
import json
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import define, field
from cryptography import x509

from tests.cli.running import COMMAND, environment
from tests.oracles import Refused, assert_verifies
from tests.postgres import Postgres
from tests.quick import quick_keystore

TEXT = """
version = 1
[project]
name = "fleet"
[keystore.main]
type = "file"
passphrase = { file = ".pkicode/passphrase" }
[publish.web]
url = "public"
base_url = "http://pki.corp.example"
[ca.root]
subject = { cn = "Fleet Root" }
validity = "20y"
path_len = 1
publish = ["web"]
[ca.issuing]
issuer = "root"
subject = { cn = "Fleet Issuing" }
validity = "10y"
path_len = 0
publish = ["web"]
[profile.host]
issuer = "issuing"
eku = ["serverAuth"]
validity = "90d"
renew = { at = "2/3", jitter = "30%" }
allow = { dns = [".corp.example"] }
[cert.fleet]
profile = "host"
for_each = { csv = "fleet.csv", key = "host" }
dns = ["${each.host}.corp.example"]
on_remove = "revoke"
"""
MEGABYTES = {"state": 450}
"""What a command may use at its highest, for 100,000 rows; if not named here: 320."""


@define
class Fleet:
    """A folder with a fleet, driven by the command."""

    folder: Path
    size: int
    url: str
    text: str = TEXT
    day: str = "2026-11-23T09:00:00Z"
    peaks: dict[str, int] = field(factory=dict)
    """Command -> octets it used at its highest."""

    def write(self, more: str = "") -> None:
        state = f'url = "{self.url}"\n' if self.url else ""
        self.text += more
        (self.folder / "pki.toml").write_text(f'{self.text}\n[state]\n{state}keep = "60d"\n', "utf-8")

    def hosts(self, first: int = 0) -> None:
        names = "".join(f"h{number:06}\n" for number in range(first, self.size))
        (self.folder / "fleet.csv").write_text(f"host\n{names}", "utf-8")

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; what it prints on stdout."""
        with (self.folder / "out").open("w+b") as out, (self.folder / "err").open("w+b") as err:
            process = subprocess.Popen(
                [*COMMAND, *arguments], cwd=self.folder, env=environment(PKICODE_NOW=self.day), stdout=out, stderr=err
            )
            name = arguments[0]
            while process.returncode is None:
                self.peaks[name] = max(self.peaks.get(name, 0), _highest(process.pid))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
        assert process.returncode == code, (self.folder / "err").read_text()[-3000:]
        return (self.folder / "out").read_text("utf-8")

    def apply(self, *allow: str) -> str:
        """Apply, see that nothing is left to do, and what was done."""
        told = self.run("apply", "-y", "--allow-clock", *[word for one in allow for word in ("--allow", one)])
        self.run("plan", "-e")
        return told.splitlines()[-1]

    def inventory(self, *arguments: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.run("inventory", "--format", "csv", *arguments))))

    def revoked(self) -> set[int]:
        crl = x509.load_der_x509_crl((self.folder / "public/crl/issuing-g1.crl").read_bytes())
        return {one.serial_number for one in crl}

    def verify(self, host: str) -> None:
        """OpenSSL accepts the newest certificate of a host with the published bundle and CRLs."""
        chain = self.run("export", f'cert.fleet["{host}"]', "--allow-clock").encode()
        pems = [b"-----BEGIN" + one for one in chain.split(b"-----BEGIN")[1:]]
        root = (self.folder / "public/bundle/trust.pem").read_bytes()
        crls = [one.read_bytes() for one in sorted((self.folder / "public/crl").glob("*.crl"))]
        at = int(x509.load_pem_x509_certificate(pems[0]).not_valid_before_utc.timestamp()) + 86400
        assert_verifies(pems[0], chain=pems[1:], root=root, crls=crls, at=at)


def _highest(pid: int) -> int:
    """Octets a process has had at most since its exec: what wait4 tells is also what its parent had at the fork."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(one.split()[1]) * 1024 for one in lines if one.startswith("VmHWM:")), 0)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return ""
    there: Postgres = request.getfixturevalue("postgres")
    return there.url(schema=there.schema().schema)


@pytest.mark.parametrize(
    "size", [pytest.param(600, id="600"), pytest.param(100_000, id="100k", marks=pytest.mark.heavy)]
)
@pytest.mark.timeout(1800)
def test_a_fleet_is_issued_revoked_renewed_removed_and_archived(size: int, url: str, quick_path: Path) -> None:
    quick_keystore(quick_path)
    fleet = Fleet(quick_path, size, url)
    fleet.write()
    fleet.hosts()
    if url:
        fleet.run("state", "migrate")

    assert fleet.apply().startswith(f"Applied: {size + 2:,} issued")
    first = fleet.inventory("--ca", "issuing")
    assert len(first) == len({one["serial_number"] for one in first}) == size
    fleet.verify("h000000")

    stolen = first[:: max(1, size // 200)][: size // 20]
    lines = "".join(f"{one['serial_number']}\n" for one in stolen)
    (fleet.folder / "stolen.csv").write_text(f"serial\n{lines}", "utf-8")
    fleet.write('\n[[revoke]]\nid = "INC-1"\ncsv = "stolen.csv"\nreason = "superseded"\nwait = false\n')
    fleet.apply(f"revoke={len(stolen)}")
    gone = {int(one["serial_number"], 16) for one in stolen}
    assert fleet.revoked() == gone
    fleet.verify("h000000")

    fleet.day = "2027-01-08T09:00:00Z"
    told = fleet.apply()
    renewed = [one for one in fleet.inventory("--ca", "issuing", "--status", "good") if int(one["generation"]) > 1]
    assert size // 5 < len(renewed) < size * 4 // 5, told
    fleet.verify("h000001")

    fleet.hosts(size // 10)
    left = size // 10
    fleet.apply(f"remove={left}", f"revoke={3 * left}")
    removed = {
        int(one["serial_number"], 16)
        for one in fleet.inventory("--ca", "issuing")
        if one["address"] < f'cert.fleet["h{left:06}"]'
    }
    assert fleet.revoked() == gone | removed
    with pytest.raises((Refused, AssertionError)):
        fleet.verify("h000000")

    fleet.day = "2027-08-01T09:00:00Z"
    fleet.apply()
    fleet.apply()
    held = len(fleet.inventory())
    told = json.loads(fleet.run("state", "prune", "-y", "--allow-clock", "--format", "json"))
    assert held - len(fleet.inventory()) == told["certificates"] > size
    fleet.run("plan", "-e")
    fleet.run("state", "verify")
    over = {name: peak for name, peak in fleet.peaks.items() if peak > MEGABYTES.get(name, 320) * 1_000_000}
    assert not over

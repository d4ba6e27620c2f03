"""What clients make of our CRLs: the full lists, and all shards loaded together; by the machine's clock, as they do.

A leaf that was revoked is refused, every other one is accepted: by OpenSSL, curl and Java whichever lists they have, by
GnuTLS with the full lists.  Why not with shards stands in docs/explanation/crl.md.
"""

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen

from pkicode.ports import Certificate, Want
from pkicode.x509 import pem
from tests.kinds.site import Site
from tests.kinds.test_crl_shards import HOSTS, sharded
from tests.oracles import Refused, assert_verifies
from tests.oracles.tls import curl
from tests.quick import quick_keystore

GONE = HOSTS[::3]
OUTPUT = 'output = { chain = "out/${each.value}.pem", key = "out/${each.value}.key" }\n'
LISTS = pytest.mark.parametrize("lists", ["full", "shards"])


@frozen
class Clients:
    """A PKI of four shards with twelve leaves, four of them revoked, and its files."""

    root: Path
    leaves: dict[str, Certificate]

    def crls(self, lists: str) -> list[bytes]:
        """The root's list, and the issuing CA's: the full one, or all shards."""
        mine = self.root / "public/crl/issuing-g1.crl"
        found = [mine] if lists == "full" else sorted(mine.with_suffix("").glob("*.crl"))
        return [one.read_bytes() for one in (self.root / "public/crl/root-g1.crl", *found)]

    def crl_file(self, lists: str) -> Path:
        """The same as one PEM file."""
        path = self.root / f"{lists}.pem"
        path.write_bytes(b"".join(pem.encode("X509 CRL", one) for one in self.crls(lists)))
        return path

    @property
    def trust(self) -> Path:
        return self.root / "public/bundle/trust.pem"

    @property
    def issuing(self) -> Path:
        return self.root / "public/ca/issuing-g1.pem"


@pytest.fixture(scope="module")
def clients(quick_folder: Path) -> Clients:
    root = quick_folder / "clients"
    root.mkdir()
    quick_keystore(root)
    site = Site(root, now=int(time.time()) - 2).write(base=sharded(4, *HOSTS) + OUTPUT)
    assert site.apply().exit_code == 0
    leaves = {one.address.split('"')[1]: one for one in site.open().inventory(Want(block="cert.fleet"))}
    shutil.copytree(root / "out", root / "kept")
    site.now += 1
    site.write(base=sharded(4, *(host for host in HOSTS if host not in GONE)) + OUTPUT).apply()
    return Clients(root, leaves)


@LISTS
def test_openssl_is_right_about_every_leaf(clients: Clients, lists: str) -> None:
    given = {
        "root": clients.trust.read_bytes(),
        "chain": [clients.issuing.read_bytes()],
        "crls": clients.crls(lists),
    }
    for host, one in clients.leaves.items():
        if host in GONE:
            with pytest.raises(Refused, match="certificate revoked"):
                assert_verifies(one.der, **given)
        else:
            assert_verifies(one.der, **given)


@LISTS
def test_curl_refuses_the_revoked_and_talks_to_the_good(clients: Clients, lists: str) -> None:
    crls = clients.crl_file(lists)
    for host in ("h1", "h2", *GONE):
        mine = [clients.root / f"kept/{host}.{kind}" for kind in ("pem", "key")]
        done = curl(f"{host}.corp.example", *mine, trust=clients.trust, crls=crls)
        if host in GONE:
            assert done.returncode == 60
            assert "certificate revoked" in done.stderr
        else:
            assert done.returncode == 0, done.stderr


def test_gnutls_is_right_about_every_leaf_with_the_full_lists(clients: Clients) -> None:
    crls = clients.crl_file("full")
    for host in HOSTS:
        command = ["certtool", "--verify", "--load-ca-certificate", clients.trust, "--load-crl", crls]
        done = subprocess.run(
            [*command, "--infile", clients.root / f"kept/{host}.pem"], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode == 0) is (host not in GONE), f"{host}\n{done.stdout}{done.stderr}"
        assert ("certificate chain is revoked" in done.stdout.lower() + done.stderr.lower()) is (host in GONE)


@pytest.mark.heavy
@LISTS
def test_java_is_right_about_every_leaf(clients: Clients, lists: str, tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    paths: list[str | Path] = []
    for number, data in enumerate(clients.crls(lists)):
        (tmp_path / f"{number}.crl").write_bytes(data)
        paths.append(tmp_path / f"{number}.crl")
    said = java(clients, paths, [clients.root / f"kept/{host}.pem" for host in HOSTS])
    assert said == {f"{host}.pem": "REVOKED" if host in GONE else "good" for host in HOSTS}
    without = java(clients, paths[:1], [clients.root / "kept/h1.pem"])
    assert without == {"h1.pem": "UNDETERMINED_REVOCATION_STATUS"}


def java(clients: Clients, crls: Sequence[str | Path], leaves: Sequence[Path]) -> dict[str, str]:
    source = Path(__file__).with_name("Revoked.java")
    at = str(int(time.time() * 1000))
    command = ["java", source, at, clients.trust, clients.issuing, *crls, "--", *leaves]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())

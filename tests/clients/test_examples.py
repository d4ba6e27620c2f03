"""Every example with OCSP: of each of its CAs one certificate is good and one is revoked, and all clients agree."""

import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.clients.agreeing import CLIENTS, Client
from tests.clients.moment import Asked, Moment, apply, keep, moment, revoked
from tests.guards.tree import ROOT
from tests.kinds.site import Site
from tests.quick import quick_keystore

LEAVES: Mapping[str, Sequence[tuple[str, str, str]]] = {
    ".": [("issuing", "server", "corp.example")],
    "single-ca": [("home", "server", "home.example")],
    "web-and-database": [("web", "web-server", "shop.example"), ("database", "database-server", "db.shop.example")],
    "revocation": [("web", "server", "shop.example"), ("web-b", "test-b", "shop.example")],
    "root-rollover": [("issuing", "server", "corp.example")],
    "fleet": [("issuing", "host", "asked.fleet.example")],
}
"""Example -> its issuing CAs, each with a profile and the domain of its leaves."""
ELSEWHERE = {
    "dask-cluster": "tests/scan/test_cluster.py: its certificates name no list, and dask would look at none",
    "hsm": "tests/hsm/test_life.py: its keys are on a token",
    "offline-root": "tests/ceremony: its root's answers need a ceremony",
    "post-quantum": "tests/kinds/test_lattices.py: no client here knows ML-DSA",
}
"""Examples whose CAs are asked about by other tests, and why."""
SPARE = """
[ca.spare]
issuer = "root"
subject = { cn = "Spare CA ${generation}" }
validity = "1y"
path_len = 0
publish = ["web"]
[profile.test-b]
issuer = "ISSUER"
eku = ["serverAuth"]
"""
"""Of a root the certificate that is revoked is a CA's; and a profile for the CA that has none."""
GONE = '[[revoke]]\nid = "SPARE"\nca = "spare"\ngeneration = 1\nreason = "cACompromise"\n'


HOSTS = 20
"""Lines of the fleet's ten thousand that are played: its CAs do not know how many there are."""


def with_ocsp(text: str) -> str:
    """Every CA has OCSP, which is published beside the rest."""
    if "\ncontent = " not in text:
        text = text.replace("\nbase_url", '\ncontent = ["ca", "crl", "ocsp", "bundle"]\nbase_url', 1)
    head, *tables = text.split("\n[")
    told = '\nocsp = { url = "http://ocsp.corp.example" }\n'
    return "\n[".join([head, *(one + told * (one[:3] == "ca." and "\nocsp = " not in one) for one in tables)])


def leaf(ca: str, profile: str, domain: str, word: str) -> str:
    name = f"{word}-{ca}"
    more = 'on_remove = "revoke"\n' if word == "lost" else ""
    return f'[cert.{name}]\nprofile = "{profile}"\ndns = ["{name}.{domain}"]\n{more}'


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Moment]:
    @cache
    def play(name: str) -> Moment:
        folder = tmp_path_factory.mktemp("example")
        (folder / "site").mkdir()
        quick_keystore(folder / "site")
        if name == "fleet":
            lines = (ROOT / "examples/fleet/fleet.csv").read_text(encoding="utf-8").splitlines(keepends=True)
            (folder / "site/fleet.csv").write_text("".join(lines[: 1 + HOSTS]), encoding="utf-8")
        text = with_ocsp((ROOT / ("." if name == "." else f"examples/{name}") / "pki.toml").read_text(encoding="utf-8"))
        site = Site(folder / "site", now=int(time.time()) - 2).write(base=text)
        spare = SPARE.replace("ISSUER", LEAVES[name][-1][0]) if "[ca.root]" in text else ""
        good = spare + "".join(leaf(*one, "kept") for one in LEAVES[name])
        apply(site, good + "".join(leaf(*one, "lost") for one in LEAVES[name]))
        asked: list[Asked] = []
        lost: list[Asked] = []
        for ca, _, _ in LEAVES[name]:
            asked += [keep(site, f"cert.kept-{ca}"), *([keep(site, f"ca.{ca}")] if spare else [])]
            lost += [keep(site, f"cert.lost-{ca}")]
        lost += [keep(site, "ca.spare")] if spare else []
        site.now += 1
        apply(site, good + (GONE if spare else ""), allow={"ca-revoke": "spare"} if spare else {})
        return moment(site, folder / "now", [*asked, *revoked(*lost)], real=True)

    return play


@pytest.mark.parametrize(
    "name", [one if one == "single-ca" else pytest.param(one, marks=pytest.mark.heavy) for one in LEAVES]
)
@CLIENTS
def test_all_clients_agree_about_every_ca_of_an_example(
    played: Callable[[str], Moment], client: Client, name: str, tmp_path: Path
) -> None:
    found = played(name)
    assert {one.word for one in found.asked} == {"good", "revoked"}
    client(found, tmp_path)


def test_no_ca_of_an_example_is_forgotten() -> None:
    """The example that is the repository's own pki.toml among them; roots are asked about by what they signed."""
    found = {}
    for path in (ROOT / "pki.toml", *ROOT.glob("examples/*/pki.toml")):
        cas = tomllib.loads(path.read_text(encoding="utf-8"))["ca"]
        name = "." if path.parent == ROOT else path.parent.name
        found[name] = {one for one, spec in cas.items() if "issuer" in spec} or set(cas)
    assert found.keys() == LEAVES.keys() | ELSEWHERE.keys()
    assert {name: found[name] for name in LEAVES} == {
        name: {ca for ca, _, _ in leaves} for name, leaves in LEAVES.items()
    }

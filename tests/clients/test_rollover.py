"""A CA is followed by its next key: before, while both have leaves, and when the first has none any more.

At each of the three instants all clients agree about every certificate, by whichever way they ask.
"""

import base64
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.clients.agreeing import CLIENTS, Client, openssl_asks
from tests.clients.moment import Asked, Moment, apply, keep, moment, revoked
from tests.kinds.site import Site
from tests.kinds.test_ocsp import OCSP
from tests.oracles import ocsptool
from tests.quick import quick_keystore

ROTATING = (
    OCSP.replace('cn = "Site Issuing"', 'cn = "Site Issuing A${generation}"')
    .replace('validity = "5y"', 'validity = "400d"\nrotate = { every = "60d", prepublish = "7d" }')
    .replace("path_len = 1", 'path_len = 1\nocsp = { url = "http://ocsp.corp.example" }')
    + 'validity = "30d"\n'
)
WHEN = pytest.mark.parametrize("when", ["before", "during", "after"])


def leaves(*names: str) -> str:
    return "".join(
        f'[cert.{name}]\nprofile = "server"\ndns = ["{name}.corp.example"]\non_remove = "revoke"\n' for name in names
    )


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Moment]:
    folder = tmp_path_factory.mktemp("rollover")
    (folder / "site").mkdir()
    quick_keystore(folder / "site")
    site = Site(folder / "site").write(base=ROTATING)

    def kept(*addresses: str) -> list[Asked]:
        return [keep(site, one) for one in addresses]

    def at(name: str, asked: list[Asked], *ended: Asked) -> Moment:
        return moment(site, folder / name, asked, ended)

    apply(site, leaves("portal", "lost"))
    first, lost = kept("cert.portal", "cert.lost")
    site.now += 60
    apply(site, leaves("portal"))
    before = at("before", [first, *kept("ca.issuing"), *revoked(lost)])

    for _ in range(3):
        # At last the second key is there, and waits: these are the first one's.
        site.later(20)
        apply(site, leaves("portal", "stolen"))
    old, stolen = kept("cert.portal", "cert.stolen")
    site.later(8)
    apply(site, leaves("portal", "stolen", "fresh", "leaked"))
    fresh, leaked = kept("cert.fresh", "cert.leaked")
    site.now += 60
    apply(site, leaves("portal", "fresh"))
    during = at("during", [old, fresh, *kept("ca.issuing"), before.asked[1], *revoked(stolen, leaked)])
    assert [each.issuer for each in (old, stolen, fresh, leaked)] == [
        "issuing-g1",
        "issuing-g1",
        "issuing-g2",
        "issuing-g2",
    ]

    for _ in range(2):
        site.later(16)
        apply(site, leaves("portal", "fresh", "taken"))
    (taken,) = kept("cert.taken")
    site.now += 60
    apply(site, leaves("portal", "fresh"))
    now = kept("cert.portal", "cert.fresh", "ca.issuing")
    assert {each.issuer for each in [*now, taken]} == {"issuing-g2", "root-g1"}
    after = at("after", [*now, *revoked(taken)], first, lost, old, stolen)
    return {"before": before, "during": during, "after": after}


@WHEN
@CLIENTS
def test_all_clients_agree_before_during_and_after(
    moments: Mapping[str, Moment], client: Client, when: str, tmp_path: Path
) -> None:
    client(moments[when], tmp_path)


def test_curl_may_ask_by_get(moments: Mapping[str, Moment], tmp_path: Path) -> None:
    now = moments["during"]
    for one in now.asked:
        with now.responder("pack") as server:
            way = ["-no_nonce", "-reqout", tmp_path / "request"]
            openssl_asks(now, server.url, one.issuer, ["-cert", one.file], *way)
            url = f"{server.url}/{quote(base64.b64encode((tmp_path / 'request').read_bytes()).decode(), safe='')}"
            told = subprocess.run(
                ["curl", "-sSf", "-o", tmp_path / "got", url], capture_output=True, text=True, timeout=60
            )
        assert told.returncode == 0, told.stderr
        said = ocsptool("--response-info", "--load-response", tmp_path / "got")
        assert f"Certificate Status: {one.word}" in said

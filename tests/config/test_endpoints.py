"""Where certificates are served: declared with them, one row at a time, and no reason to sign anything."""

from pathlib import Path

import pytest

from pkicode.config.endpoints import endpoints
from pkicode.config.reader import Config, read
from pkicode.model.address import Address, parse
from pkicode.model.problem import Place
from pkicode.scanner.target import targets
from tests.kinds.site import BASE, Site, told

FLEET = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
endpoints = ["portal.corp.example:443", "[2001:db8::1]:8443"]
[profile.fleet]
extends = "server"
allow = { dns = [".corp.example"] }
[cert.fleet]
profile = "fleet"
for_each = { csv = "fleet.csv", key = "host" }
dns = ["${each.host}.corp.example"]
endpoints = ["${each.host}.corp.example:${each.port}"]
[cert.quiet]
profile = "server"
dns = ["quiet.corp.example"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "fleet.csv").write_text("host,port\na,443\nb,8443\nc,no port\n")
    (tmp_path / "pki.toml").write_text(BASE + FLEET)
    return read(tmp_path / "pki.toml", environ={})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cert.portal", ["portal.corp.example:443", "[2001:db8::1]:8443"]),
        ('cert.fleet["b"]', ["b.corp.example:8443"]),
        ("cert.fleet", ["a.corp.example:443", "b.corp.example:8443", "c.corp.example:no port"]),
        ("cert.quiet", []),
    ],
)
def test_a_certificate_has_the_endpoints_of_its_rows(config: Config, text: str, found: list[str]) -> None:
    assert endpoints(config, parse(text)[0]) == found


@pytest.mark.parametrize("text", ["cert.none", 'cert.fleet["z"]', 'cert.portal["a"]'])
def test_what_is_not_declared_has_none(config: Config, text: str) -> None:
    with pytest.raises(LookupError, match=r"there is no|has no row"):
        endpoints(config, parse(text)[0])


def test_a_scan_of_certificates_is_one_of_their_endpoints(config: Config) -> None:
    here = Place("pki.toml")

    def declared(address: Address) -> list[str]:
        return endpoints(config, address)

    found, problems = targets([("cert.fleet", here), ("cert.none", here)], read=Path.read_bytes, endpoints=declared)
    assert [str(one) for one in found] == ["a.corp.example:443", "b.corp.example:8443"]
    assert [one.code for one in problems] == ["E0350", "E0352"]


def test_other_endpoints_are_remembered_and_reissue_nothing(tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text("host,port\na,443\nb,8443\n")
    site = Site(tmp_path).write(FLEET)
    assert site.apply().exit_code == 0
    site.write(FLEET.replace("portal.corp.example:443", "portal.corp.example:444"))
    (change,) = site.plan().changes
    assert (told([change]), change.irreversible) == (["update cert.portal@1 spec-changed"], False)
    assert site.apply().exit_code == 0
    (tmp_path / "fleet.csv").write_text("host,port\na,443\nb,9443\n")
    (change,) = site.plan().changes
    assert (str(change.address), change.irreversible) == ('cert.fleet["b"]', False)

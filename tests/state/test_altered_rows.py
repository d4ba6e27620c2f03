"""One row that somebody altered: `state verify` tells, and a list that was put off is signed all the same."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from pkicode.ports import Want
from pkicode.project.breakglass import Asked
from pkicode.project.checks import Level
from tests.faults.corp import BASE as ANSWERED
from tests.kinds.site import Site, told
from tests.quick import quick_keystore
from tests.state.older import PORTAL, serial_of

_GONE = '[cert.gone]\nprofile = "server"\ndns = ["gone.corp.example"]\n'


@pytest.fixture
def site(quick_path: Path) -> Site:
    """Of two certificates the second is revoked, and replaced."""
    quick_keystore(quick_path)
    site = Site(quick_path).write(PORTAL + _GONE, base=ANSWERED)
    assert site.apply().exit_code == 0
    site.open().revoke(Asked("cert.gone", "superseded"))
    assert site.apply().exit_code == 0
    return site


def tamper(site: Site, *statements: str) -> list[str]:
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount
    return site.open().upkeep.verify()


_ELSEWHERE = "cert.portal@1: its certificate is not in the inventory, or not under this address"
_DIFFERS = "cert.portal@1: its record differs from the inventory"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("status = 'aborted'", ["certificate SERIAL (cert.portal): it was signed, but is listed as aborted"]),
        ("status = 'unknown'", ["certificate SERIAL (cert.portal): it was signed, but is listed as unknown"]),
        ("status = 'intent'", ["certificate SERIAL (cert.portal): it was signed, but is listed as intent"]),
        ("address = 'cert.other'", [_ELSEWHERE]),
        ("generation = 7", [_ELSEWHERE]),
        ("key_label = 'cert.gone@1'", [_DIFFERS]),
        (
            "reason = 'adopted', ca = '', ca_generation = 0",
            [
                "certificate SERIAL (cert.portal): its issuing CA is not the one in its bytes",
                _DIFFERS,
                "adopted: 1 certificate by the inventory, but 0 by the audit",
            ],
        ),
    ],
)
def test_a_row_of_the_inventory_that_hides_a_certificate_is_told(site: Site, change: str, found: list[str]) -> None:
    serial = serial_of(site, "cert.portal")
    told_of = tamper(site, f"UPDATE certificates SET {change} WHERE address = 'cert.portal'")
    assert told_of == [one.replace("SERIAL", serial) for one in found]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("generation = 2", "cert.portal@2: its certificate is not in the inventory, or not under this address"),
        ("record = '{}'", "the record of cert.portal@1 cannot be read"),
        ("record = json_set(record, '$.serial', '1')", _DIFFERS),
        ("due = due * 2", "cert.portal@1: it would be renewed after its certificate has ended"),
    ],
)
def test_a_row_that_stands_for_another_certificate_is_told(site: Site, change: str, found: str) -> None:
    assert tamper(site, f"UPDATE resources SET {change} WHERE kind = 'cert' AND name = 'portal'") == [found]


def test_the_row_of_a_ca_that_is_gone_is_told_by_what_it_signed(site: Site) -> None:
    """Its number would be given to another certificate of another key."""
    found = tamper(site, "DELETE FROM resources WHERE kind = 'ca' AND name = 'issuing'")
    assert found == ["ca.issuing@1: certificates say that it signed them, and its row is gone"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("number = '7' WHERE kind = 'crl'", "crl issuing-g1: its number is not the one in its bytes"),
        ("this_update = this_update + 1 WHERE kind = 'crl'", "crl issuing-g1: its this_update is not the one"),
        ("next_update = next_update + 1 WHERE kind = 'crl'", "crl issuing-g1: its next_update is not the one"),
        ("this_update = this_update + 1 WHERE kind = 'ocsp'", "ocsp issuing-g1: its this_update is not the one"),
        ("next_update = next_update + 1 WHERE kind = 'ocsp'", "ocsp issuing-g1: its next_update is not the one"),
        ("name = 'root-g1' WHERE name = 'issuing-g1' AND kind = 'ocsp'", "ocsp root-g1: its bytes are no list of its"),
    ],
)
def test_a_list_is_held_against_its_bytes(site: Site, change: str, found: str) -> None:
    other = tamper(site, "DELETE FROM artefacts WHERE name <> 'issuing-g1'")
    assert other == []
    (wrong,) = tamper(site, f"UPDATE artefacts SET {change}")
    assert wrong.startswith(found)


def test_what_a_list_says_is_revoked_is_held_against_the_state(site: Site) -> None:
    (serial,) = [one.serial for one in site.open().inventory(Want()) if one.status == "revoked"]
    earlier = "revoked_at = revoked_at - 1"
    gives = f"the revocation of {serial}: crl issuing-g1 gives another date or reason"
    assert tamper(site, f"UPDATE revocations SET {earlier}", f"UPDATE certificates SET {earlier}") == [gives]
    assert tamper(site, "UPDATE revocations SET revoked_at = revoked_at + 1, reason = 'cessationOfOperation'") == [
        gives
    ]
    # A compromise is what the state may know before the list does.
    assert tamper(site, "UPDATE revocations SET reason = 'keyCompromise'") == []
    assert tamper(
        site,
        "DELETE FROM matches",
        "DELETE FROM revocations",
        "UPDATE certificates SET status = 'issued' WHERE status = 'revoked'",
    ) == [f"certificate {serial} (cert.gone): crl issuing-g1 says that it is revoked, and the state does not"]


def test_lists_that_were_put_off_are_told_and_signed_all_the_same(site: Site) -> None:
    late = 60 * 365
    found = tamper(
        site,
        f"UPDATE artefacts SET this_update = this_update + {late} * 86400, next_update = next_update + {late} * 86400",
        f"UPDATE resources SET due = due + {late} * 86400 WHERE kind IN ('crl', 'ocsp')",
    )
    late_rows = [f"{one}: its lists are due later than anybody can have set" for one in ("crl.issuing", "ocsp.issuing")]
    assert set(late_rows) <= set(found)
    checks = {one.subject: one.level for one in site.open().vitals.status().checks if one.name == "list"}
    assert {checks["crl issuing-g1"], checks["ocsp issuing-g1"]} == {Level.CRITICAL}
    signs = [one for one in told(site.plan().changes) if one.startswith("sign ")]
    assert {"sign crl.issuing@1 crl-due", "sign ocsp.issuing@1 ocsp-due"} <= set(signs)
    assert site.apply().exit_code == 0
    assert told(site.plan().changes) == []
    assert site.open().upkeep.verify() == []


def test_a_plan_at_an_earlier_instant_signs_no_list(site: Site) -> None:
    """The newest event says how far dates may be ahead, whatever the clock says."""
    assert told(evolve(site, now=site.now - 86400 * 9).plan().changes) == []

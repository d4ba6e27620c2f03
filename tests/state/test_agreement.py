"""`state verify` holds every row of the inventory against its bytes: names, key, issuer and publication duty."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pkicode.adapters.store import open_sqlite
from pkicode.adapters.verify import verify
from pkicode.model.problem import StateError
from tests.faults.corp import BASE as ANSWERED
from tests.kinds.site import Site
from tests.quick import quick_keystore
from tests.state.conftest import Run
from tests.state.older import PORTAL
from tests.state.samples import NEW, NOW, draft, write

_NAMED = """
[cert.named]
profile = "server"
cn = "named.corp.example"
subject = { o = "Änd, \\\\Co+", ou = "#1", dc = "corp" }
dns = ["named.corp.example", "*.corp.example"]
ip = ["192.0.2.1", "2001:db8::1"]
email = ["a@corp.example"]
uri = ["https://named.corp.example/a"]
dirname = ["CN=a\\\\,b,O=Ö"]
rid = ["1.2.840"]
upn = ["ä@corp.example"]
"""


@pytest.fixture
def named(quick_path: Path) -> Site:
    quick_keystore(quick_path)
    site = Site(quick_path).write(PORTAL + _NAMED, base=ANSWERED.replace("name_constraints", "# name_constraints"))
    assert site.apply().exit_code == 0
    return site


def tamper(site: Site, statement: str) -> list[str]:
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as connection, connection:
        assert connection.execute(statement).rowcount
    return site.open().upkeep.verify()


def test_names_of_every_type_are_as_issuance_wrote_them(named: Site) -> None:
    assert named.open().upkeep.verify() == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("issuer_key = spki", "issuer's key"),
        ("ca = 'root'", "issuing CA"),
        ("ca = ''", "issuing CA"),
        ("ca_generation = 2", "issuing CA"),
        ("subject = lower(subject)", "subject"),
        ("sans = replace(sans, '192.0.2.1', '192.0.2.2')", "alternative names"),
        ("sans = replace(sans, '2001:db8::1', '2001:db8:0::1')", "alternative names"),
        ("sans = '[]'", "alternative names"),
        ("key_alg = 'ec-p384'", "key algorithm"),
        ("duty = '[]'", "CRL duty"),
        ("duty = replace(duty, 'http', 'https')", "CRL duty"),
    ],
)
def test_a_row_that_differs_from_its_certificate_is_told(named: Site, change: str, what: str) -> None:
    wrong, *more = tamper(named, f"UPDATE certificates SET {change} WHERE address = 'cert.named'")
    assert wrong.endswith(f"(cert.named): its {what} is not the one in its bytes")
    assert set(more) <= {"cert.named@1: its record differs from the inventory"}


def test_the_record_of_a_ca_is_held_against_what_it_signed(named: Site) -> None:
    found = tamper(named, "UPDATE resources SET name = 'other' WHERE kind = 'ca' AND name = 'root'")
    assert [one for one in found if "(ca.root): its issuing CA" in one]
    assert [one for one in found if "(ca.issuing): its issuing CA" in one]


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"der": "AAAA"}', "[" * 100_000])
def test_a_record_of_a_ca_that_cannot_be_read_is_told_by_verify_as_by_a_plan(named: Site, record: str) -> None:
    told = "the record of ca.issuing@1"
    assert tamper(named, f"UPDATE resources SET record = '{record}' WHERE kind = 'ca' AND name = 'issuing'") == [
        f"{told} cannot be read"
    ]
    with pytest.raises(StateError, match=f"{told} in the state cannot be read"):
        named.plan()


@pytest.mark.parametrize("hidden", ["0603551d11", "0603551d1f"])
def test_a_key_that_spells_an_extension_is_no_finding(tmp_path: Path, run: Run, hidden: str) -> None:
    """Whoever brings a CSR has chosen it."""
    store = run(open_sqlite(tmp_path / "state.db", create=NEW))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    run(store.commit(write(intents=[draft(1, key=bytes.fromhex(hidden), sans="[]")]), lease))
    run(store.close())
    assert verify(tmp_path / "state.db", None) == []

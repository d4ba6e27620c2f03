"""CRLs: when they are signed, what of an earlier list counts, and when a serial leaves them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkicode.model.event import Event
from pkicode.model.instants import DAY
from pkicode.model.problem import PkicodeError
from pkicode.ports import Want
from pkicode.revocation import crl
from pkicode.x509 import keys
from pkicode.x509.tbs import IssuerFacts
from tests.kinds.site import Site, told
from tests.oracles import revoked_serials
from tests.quick import quick_keystore

PORTAL = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
on_remove = "revoke"
"""


def issuing(site: Site) -> crl.CrlFacts:
    return crl.read((site.root / "public/crl/issuing-g1.crl").read_bytes(), limit=10_000)


def applied(site: Site) -> list[Event]:
    """Apply; what was told of the issuing CA's list as wrong."""
    events: list[Event] = []
    assert site.open().apply(emit=events.append).exit_code == 0
    return [one for one in events if one.failed and one.address == "crl.issuing"]


def test_the_first_list_knows_of_nothing_and_is_due_a_refresh_later(site: Site) -> None:
    site.write(base=site.text + '[ca.other]\nissuer = "root"\nsubject = { cn = "O" }\npublish = ["web"]\n')
    plan = site.plan()
    lists = [one for one in plan.changes if one.address.kind == "crl"]
    assert [one.row.values for one in lists if one.row] == ['["0"]'] * 3
    assert [one.after for one in lists] == [{"refresh": "1d", "validity": "7d"}] * 3
    assert plan.next_due == site.now + DAY
    site.apply()
    assert site.plan().next_due == site.now + DAY
    assert issuing(site).next_update == site.now + 7 * DAY


def test_other_dates_in_pki_toml_sign_a_list_again(site: Site) -> None:
    site.apply()
    site.write(base=site.text.replace("path_len = 0", 'path_len = 0\ncrl = { validity = "9d", refresh = "2d" }'))
    assert "sign crl.issuing@1 spec-changed" in told(site.plan().changes)
    site.later(0.5).apply()
    assert issuing(site).next_update == site.now + 9 * DAY
    assert site.plan().changes == ()
    assert issuing(site).number == 2


@pytest.mark.parametrize("other", ['validity = "9d"', 'refresh = "2d"'])
def test_either_of_its_dates_alone_signs_a_list_again(site: Site, other: str) -> None:
    site.apply()
    site.write(base=site.text.replace("path_len = 0", f"path_len = 0\ncrl = {{ {other} }}"))
    assert [line for line in told(site.plan().changes) if " crl." in line] == ["sign crl.issuing@1 spec-changed"]


@pytest.mark.parametrize("ours", [False, True], ids=["another's key", "a broken signature"])
def test_a_forged_list_neither_raises_the_number_nor_revokes_and_is_told(site: Site, ours: bool) -> None:
    site.write(PORTAL)
    site.apply()
    certificate = x509.load_pem_x509_certificates(site.chain("cert.portal"))[1]
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    alg, real = keys.alg_of_spki(spki), issuing(site)
    facts = IssuerFacts(real.dn, real.aki, spki, alg)
    dates = {"this_update": real.this_update + 60, "next_update": real.next_update}
    tbs = crl.tbs(facts, [crl.Entry(5, real.this_update)], number=1 << 158, **dates)
    signature = bytes(64) if ours else keys.sign(keys.generate(alg), tbs)
    (site.root / "public/crl/issuing-g1.crl").write_bytes(crl.crl(tbs, alg, signature))
    (alarm,) = applied(site.later(1))
    assert "publish.web: crl/issuing-g1.crl is not a CRL of ca.issuing@1" in alarm.message
    assert "it counts for nothing, and is replaced unless" in alarm.message
    assert (issuing(site).number, issuing(site).entries) == (2, ())


def published(site: Site) -> Path:
    return site.root / "public/crl/issuing-g1.crl"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda der: der[:-20], "issuing-g1.crl is not a CRL of ca.issuing@1"),
        (lambda der: der[:40], "issuing-g1.crl is not a CRL of ca.issuing@1"),
        (lambda der: b"", "issuing-g1.crl is not a CRL of ca.issuing@1"),
        (lambda der: b"<html>404</html>", "issuing-g1.crl is not a CRL of ca.issuing@1"),
        (lambda der: der + b"\0", "issuing-g1.crl is not a CRL of ca.issuing@1"),
    ],
    ids=["cut at its end", "cut at its beginning", "empty", "a page", "longer"],
)
def test_a_truncated_list_is_told_and_replaced(site: Site, damage: Callable[[bytes], bytes], words: str) -> None:
    site.apply()
    published(site).write_bytes(damage(published(site).read_bytes()))
    (alarm,) = applied(site.later(1))
    assert words in alarm.message
    assert issuing(site).number == 2


def test_another_cas_list_is_told_and_replaced(site: Site) -> None:
    site.apply()
    shutil.copy(site.root / "public/crl/root-g1.crl", published(site))
    (alarm,) = applied(site.later(1))
    assert "the CRL is of another issuer" in alarm.message
    assert issuing(site).number == 2


def test_an_older_list_of_ours_that_was_put_back_neither_lowers_the_number_nor_un_revokes(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    stale = published(site).read_bytes()
    site.write("").later(0.1).apply()
    (serial,) = revoked_serials(published(site).read_bytes())
    published(site).write_bytes(stale)
    assert applied(site.later(1)) == []
    assert issuing(site).number == 3
    assert revoked_serials(published(site).read_bytes()) == [serial]


def restored(site: Site, backup: Path) -> None:
    """The state is what it was when the copy was made."""
    for name in ("state.db-wal", "state.db-shm"):
        (site.root / ".pkicode" / name).unlink(missing_ok=True)
    shutil.copy(backup, site.root / ".pkicode/state.db")


@pytest.mark.invariant(8)
def test_after_a_restore_the_number_rises_above_what_is_published_and_nobody_is_un_revoked(
    site: Site, tmp_path: Path
) -> None:
    site.write(PORTAL)
    site.apply()
    shutil.copy(site.root / ".pkicode/state.db", tmp_path / "backup")
    site.write("").later(0.1).apply()
    site.later(1).apply()
    (serial,) = revoked_serials(published(site).read_bytes())
    assert issuing(site).number == 3
    restored(site, tmp_path / "backup")
    site.write(PORTAL).later(1)
    (alarm,) = applied(site)
    assert "not in the state: 1 serial on an earlier CRL of ca.issuing@1; revoked they stay" in alarm.message
    assert issuing(site).number == 4
    assert revoked_serials(published(site).read_bytes()) == [serial]


@pytest.mark.invariant(8)
def test_a_restored_state_puts_no_older_list_over_a_newer_one(site: Site, tmp_path: Path) -> None:
    site.write(PORTAL)
    site.apply()
    shutil.copy(site.root / ".pkicode/state.db", tmp_path / "backup")
    site.write("").later(0.1).apply()
    before = published(site).read_bytes()
    restored(site, tmp_path / "backup")
    site.write(PORTAL, base=site.text.replace('url = "public"', 'url = "./public"')).later(0.1)
    assert told(site.plan().changes) == ["publish publish.web@1 publish-missing"]
    (alarm,) = applied(site)
    assert "crl/issuing-g1.crl is number 2 where it is published, and older in the state; it stays" in alarm.message
    assert published(site).read_bytes() == before


@pytest.mark.parametrize(("behind", "codes"), [(300, set()), (301, {"E0511"})])
def test_a_clock_may_be_five_minutes_behind_the_published_list(
    site: Site, tmp_path: Path, behind: int, codes: set[str]
) -> None:
    site.apply()
    shutil.copy(site.root / ".pkicode/state.db", tmp_path / "backup")
    site.later(30).apply()
    restored(site, tmp_path / "backup")
    site.now -= behind
    assert {one.code for one in site.open().apply().problems} == codes


def test_a_clock_behind_the_published_list_signs_nothing_until_it_is_set(site: Site, tmp_path: Path) -> None:
    """The state would refuse such a clock itself, but a restored one has forgotten."""
    site.apply()
    shutil.copy(site.root / ".pkicode/state.db", tmp_path / "backup")
    site.later(30).apply()
    restored(site, tmp_path / "backup")
    before = published(site).read_bytes()
    site.later(-20)
    outcome = site.open().apply()
    assert {one.code for one in outcome.problems} == {"E0511"}
    assert "this clock says 2026-12-03T09:00:00Z" in outcome.problems[0].message
    assert published(site).read_bytes() == before
    assert applied(site.later(20.5)) == []
    assert issuing(site).number == 3


def test_a_clock_that_is_a_little_behind_makes_no_list_look_older(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    first = issuing(site).this_update
    site.write("")
    site.now -= 200
    assert applied(site) == []
    assert (issuing(site).number, issuing(site).this_update) == (2, first)


def test_a_pipe_where_the_list_should_be_is_told_and_replaced(site: Site) -> None:
    site.apply()
    path = site.root / "public/crl/issuing-g1.crl"
    path.unlink()
    os.mkfifo(path)
    (alarm,) = applied(site.later(1))
    assert alarm.message.startswith("publish.web: ")
    assert issuing(site).number == 2


def test_what_expired_stays_on_one_more_list(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    (row,) = site.open().inventory(Want(address="cert.portal"))
    site.write("").later(1).apply()
    site.now = row.not_after + DAY
    for listed in ([row.serial], []):
        assert applied(site) == []
        assert revoked_serials((site.root / "public/crl/issuing-g1.crl").read_bytes()) == listed
        site.later(1)


def test_a_revocation_is_on_the_list_of_its_issuer_only(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.write("").later(0.1)
    signed = [one for one in site.plan().changes if one.address.kind == "crl"]
    assert told(signed) == ["sign crl.issuing@1 crl-content"]
    assert [one.row.values for one in signed if one.row] == ['["0+"]']
    site.apply()
    (entry,) = issuing(site).entries
    assert (entry.revoked_at, entry.reason) == (site.now, "cessationOfOperation")
    assert crl.read((site.root / "public/crl/root-g1.crl").read_bytes(), limit=10_000).number == 1


def test_the_keystore_of_another_history_signs_no_list(site: Site, quick_path: Path) -> None:
    site.apply()
    other = Site(quick_path / "other")
    other.root.mkdir()
    quick_keystore(other.root)
    other.write().apply()
    shutil.copy(other.root / ".pkicode/keys.db", site.root / ".pkicode/keys.db")
    with pytest.raises(PkicodeError, match=r"its key is not the one in the keystore"):
        site.later(1).apply()
    assert issuing(site).number == 1

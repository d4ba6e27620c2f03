"""CRLs: when they are signed, what of an earlier list counts, and when a serial leaves them."""

import os
import shutil
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
    assert "it is replaced" in alarm.message
    assert (issuing(site).number, issuing(site).entries) == (2, ())


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

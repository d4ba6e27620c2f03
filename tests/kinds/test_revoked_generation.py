"""Where [[revoke]], `rotate`, CRLs and OCSP meet: a CA generation that is revoked, and what waits in between."""

import pytest

from pkicode.model.change import Readiness
from pkicode.model.instants import DAY
from pkicode.ports import Want
from pkicode.project.breakglass import Asked
from pkicode.revocation import pack
from tests.kinds.rollover import TWO_TIER, split
from tests.kinds.site import NOW, Site, certificates, told
from tests.kinds.test_ocsp import OCSP, newest, status
from tests.kinds.test_revocation import HANDED_OUT, PORTAL, before, listed, revoke, rows, statuses
from tests.oracles import Refused, assert_verifies

BOTH = (
    TWO_TIER.replace('base_url = "http', 'content = ["ca", "crl", "ocsp", "bundle"]\nbase_url = "http')
    .replace("path_len = 0", 'path_len = 0\nocsp = { url = "http://ocsp.corp.example/issuing" }')
    .replace("path_len = 1", 'path_len = 1\nocsp = { url = "http://ocsp.corp.example/root" }')
)
FIRST = 'ca = "issuing"\ngeneration = 1'
STOLEN = revoke("INC-1", FIRST, "cACompromise")
ALLOW = {"ca-revoke": "issuing"}


def packed(site: Site, stem: str) -> pack.Pack:
    return pack.read((site.root / f"public/ocsp/{stem}.pack").read_bytes())


def under(site: Site) -> list[int]:
    """By which generation the certificates of cert.portal were issued."""
    return [one.ca_generation for one in rows(site)]


@pytest.fixture
def corp(site: Site) -> Site:
    """Two tiers that rotate and answer, with leaves that were handed out."""
    assert site.write(base=BOTH).apply().exit_code == 0
    assert site.plan().changes == ()
    return site


# Long enough for nothing, OCSP answers, a delegate, and a CRL to be due.
@pytest.mark.parametrize("days", [0.1, 5, 16, 41])
def test_a_stolen_generation_is_told_of_then_followed_and_its_leaves_are_issued_anew(corp: Site, days: float) -> None:
    corp.later(days)
    old, root = (corp.root / "out/portal.pem").read_bytes(), corp.root / "public/bundle/trust.pem"
    gone = newest(corp, "ca.issuing").serial
    corp.write(STOLEN, base=BOTH)
    assert "issue ca.issuing@2 ca-rotate" in certificates(corp.plan(allow=ALLOW))
    assert corp.apply(allow=ALLOW).exit_code == 0
    events = [one.action + " " + one.subject for one in corp.open().upkeep.audit(0, 1000)]
    after = events[events.index('revoke revoke.INC-1["ca.issuing@1"]') :]
    told_at = after.index("publish publish.web")
    assert {"crl crl.root", "ocsp ocsp.root"} <= set(after[:told_at])
    assert told_at < after.index("issue.intent ca.issuing") < after.index("issue.intent cert.portal")
    assert corp.plan().changes == ()
    assert under(corp) == [1, 2]
    assert listed(corp, "root-g1") == [gone]
    assert status(corp, gone, packed(corp, "root-g1")) == "revoked"
    assert status(corp, newest(corp, "ca.issuing").serial, packed(corp, "root-g1")) == "good"
    assert status(corp, newest(corp, "cert.portal").serial, packed(corp, "issuing-g2")) == "good"
    new = (corp.root / "out/portal.pem").read_bytes()
    for chain, is_good in ((old, False), (new, True)):
        leaf, *above = split(chain)
        checked = {"chain": above, "root": root.read_bytes(), "crls": corp.crls(), "at": corp.now}
        if is_good:
            assert_verifies(leaf, **checked)
        else:
            with pytest.raises(Refused, match="certificate revoked"):
                assert_verifies(leaf, **checked)


@pytest.mark.parametrize("days", [184, 200])
def test_where_the_newest_is_revoked_at_once_an_older_one_issues_until_the_next_is_out_long_enough(
    corp: Site, days: int
) -> None:
    """Before and after it issued itself: the older one has not long to live."""
    for _ in range(days // 8):
        corp.later(8)
        assert corp.apply().exit_code in (0, 8)
    assert [one.generation for one in rows(corp, "ca.issuing")] == [1, 2]
    corp.open().revoke(Asked("ca.issuing@2", "cACompromise", id="INC-2"), allow=ALLOW)
    said = {one.subject: one.message for one in corp.open().vitals.status().checks if one.name == "ca"}
    assert "it issues nothing" in said["ca.issuing@2"]
    assert "issue ca.issuing@3 ca-rotate" in certificates(corp.plan())
    assert corp.apply().exit_code == 0
    assert under(corp)[-1] == 1
    assert corp.plan().changes == ()
    corp.later(61)
    assert corp.apply().exit_code == 0
    assert under(corp)[-1] == 3


def test_a_generation_whose_revocation_is_denied_is_not_followed(corp: Site) -> None:
    corp.write(STOLEN, base=BOTH)
    assert [one for one in certificates(corp.plan()) if " ca." in one] == []
    (change,) = [one for one in corp.plan().changes if one.address.kind == "revoke"]
    assert change.readiness is Readiness.DENIED


def test_a_superseded_generation_is_revoked_when_the_next_one_has_replaced_its_leaves(corp: Site) -> None:
    corp.later(1).write(revoke("R-1", FIRST, "superseded"), base=BOTH)
    assert corp.apply(allow=ALLOW).exit_code == 7
    assert {one.readiness for one in corp.plan(allow=ALLOW).changes} == {Readiness.WAITING}
    assert (statuses(corp, "ca.issuing"), under(corp)) == (["issued", "issued"], [1])
    assert corp.later(14).apply(allow=ALLOW).exit_code == 0
    assert corp.plan(allow=ALLOW).changes == ()
    assert (statuses(corp, "ca.issuing"), under(corp)) == (["revoked", "issued"], [1, 2])
    corp.verify("cert.portal")


def test_what_falls_due_while_the_next_generation_waits_is_renewed_by_the_one_that_will_be_revoked(corp: Site) -> None:
    corp.later(30).write(revoke("R-1", FIRST, "superseded"), base=BOTH)
    assert corp.apply(allow=ALLOW).exit_code == 7
    assert under(corp) == [1]
    for days in (11, 0):
        assert corp.later(days).apply(allow=ALLOW).exit_code == 7
        assert {one.readiness for one in corp.plan(allow=ALLOW).changes} == {Readiness.WAITING}
        assert under(corp) == [1, 1]
        corp.verify("cert.portal")
    assert corp.later(3).apply(allow=ALLOW).exit_code == 0
    assert (statuses(corp, "ca.issuing"), under(corp)) == (["revoked", "issued"], [1, 1, 2])
    corp.verify("cert.portal")


def test_a_key_on_the_block_list_signs_no_delegate_and_its_last_one_answers_to_its_end(corp: Site) -> None:
    corp.later(10).write(STOLEN, base=BOTH).apply(allow=ALLOW)
    corp.apply()
    last = newest(corp, 'ocsp.issuing["g1"]')
    while corp.now < NOW + 40 * DAY:
        corp.later(1)
        assert corp.apply().exit_code == 0
        assert corp.plan().changes == ()
        assert max(one.next_update for one in map(pack.unpack, packed(corp, "issuing-g1").raw())) <= last.not_after
    assert newest(corp, 'ocsp.issuing["g1"]') == last
    assert packed(corp, "issuing-g1").made < last.not_after < packed(corp, "issuing-g2").made


def test_a_revoked_generation_that_is_not_followed_leaves_nothing_due_for_ever(corp: Site) -> None:
    still = BOTH.replace('rotate = { every = "180d", prepublish = "14d" }', "")
    corp.write(STOLEN, base=still)
    for days in (0, 20, 20):
        assert corp.later(days).apply(allow=ALLOW).exit_code == 7
        assert {one.readiness for one in corp.plan(allow=ALLOW).changes} == {Readiness.WAITING}
    assert under(corp) == [1]


def test_a_compromise_is_in_crl_and_answers_before_there_is_a_new_key(site: Site) -> None:
    site.write(HANDED_OUT, base=OCSP).apply()
    site.later(0.5).write(HANDED_OUT + revoke("INC-1", before(site), "keyCompromise"), base=OCSP)
    assert site.apply().exit_code == 0
    events = [one.action for one in site.open().upkeep.audit(0, 1000)]
    after = events[events.index("revoke") :]
    assert after[:4] == ["revoke", "crl", "ocsp", "publish"]
    assert after.index("issue.intent") > 3
    assert site.plan().changes == ()
    first, second = rows(site)
    assert [status(site, one.serial) for one in (first, second)] == ["revoked", "good"]


def test_what_waits_leaves_no_list_to_be_signed(site: Site) -> None:
    """A CSR that is not there, and a revocation that waits for it."""
    (site.root / "csr").mkdir()
    host = PORTAL.replace("portal", "host") + 'csr = { dir = "csr", file = "host.csr" }\n'
    site.write(PORTAL + host, base=OCSP)
    assert site.apply().exit_code == 7
    assert told(site.plan().changes) == ["issue cert.host@1 new"]
    entry = revoke("R-1", before(site.later(0.1)), "superseded")
    brought = PORTAL + 'csr = { dir = "csr", file = "portal.csr" }\n'
    site.write(brought + host + entry, base=OCSP)
    assert site.apply().exit_code == 7
    left = site.plan().changes
    assert {one.readiness for one in left} == {Readiness.WAITING}
    assert {one.address.kind for one in left} == {"cert", "revoke"}
    assert [one.status for one in site.open().inventory(Want(address="cert.portal"))] == ["issued"]

"""Keys and CAs that are good no more: the block list at issuance, CSRs, revoked CAs and distrusted roots."""

import pytest

from pkicode.adapters import loop
from pkicode.model.change import Action, Readiness
from pkicode.model.problem import Denied
from pkicode.ports import Blocked, Want, Write
from tests.kinds.site import BASE, Site, certificates, told
from tests.kinds.test_fleet import CSR, csr
from tests.kinds.test_revocation import HANDED_OUT, PORTAL, before, listed, revoke, rows, statuses
from tests.oracles import Refused

HOST = CSR.replace('"a", "b"', '"a"')
A = "cert = 'cert.host[\"a\"]'\ngeneration = 1"
NEXT = '[ca.next]\nissuer = "root"\nsubject = { cn = "Site Next" }\nvalidity = "5y"\npublish = ["web"]\n'
MOVED_ON = BASE.replace('issuer = "issuing"\neku', 'issuer = "next"\neku')
LEAKED = revoke("CA-1", 'ca = "issuing"\ngeneration = 1', "cACompromise")


def test_a_compromised_key_on_a_host_waits_for_another_csr(site: Site) -> None:
    csr(site, "a")
    site.write(HOST).apply()
    site.later(1).write(HOST + revoke("INC-1", A, "keyCompromise"))
    for _ in range(2):
        assert site.apply().exit_code == 7
        (change,) = [one for one in site.plan().changes if one.address.kind == "cert"]
        assert change.readiness is Readiness.WAITING
        assert "key-blocked" in [str(one.code) for one in change.reasons]
        assert "hand in a CSR with a new key as csr/a.csr" in change.waits
    assert statuses(site, 'cert.host["a"]') == ["revoked"]
    csr(site, "a")
    assert site.apply().exit_code == 0
    assert statuses(site, 'cert.host["a"]') == ["revoked", "issued"]
    assert site.plan().changes == ()


def test_a_superseded_certificate_waits_with_its_replacement_unless_it_shall_not(site: Site) -> None:
    require = HOST + 'renew = { rekey = "require" }\n'
    csr(site, "a")
    site.write(require).apply()
    site.later(1).write(require + revoke("R-1", A, "superseded"))
    assert site.apply().exit_code == 7
    waiting = [one for one in site.plan().changes if one.readiness is Readiness.WAITING]
    assert [one.address.kind for one in waiting] == ["cert", "revoke"]
    assert "no replacement yet: rekey is required" in waiting[1].waits
    assert listed(site) == []
    site.write(require + revoke("R-1", A, "superseded", "wait = false"))
    assert site.apply().exit_code == 7
    assert listed(site) == [rows(site, 'cert.host["a"]')[0].serial]
    csr(site, "a")
    assert site.apply().exit_code == 0
    assert site.plan().changes == ()


async def _block(site: Site, spki: str) -> None:
    """As if it had been blocked between plan and apply."""
    store = await site.open().state.open()
    lease = await store.acquire("project", holder="test", now=site.now, ttl=60)
    blocked = [Blocked(spki, site.now, "keyCompromise", "INC-1")]
    await store.commit(Write(site.now, "test", "revoke", "revoke.INC-1", blocked=blocked), lease)
    await store.release(lease)
    await store.close()


def test_issuance_refuses_a_blocked_key_whatever_the_plan_said(site: Site) -> None:
    """The last door: a plan knows which keys are kept, and issuance which key that is."""
    kept = PORTAL + "renew = { rekey = false }\n"
    site.write(kept).apply()
    loop.run(_block(site, rows(site)[0].spki))
    assert site.plan().changes == ()
    (problem,) = site.later(61).apply().problems
    assert problem.code == "E0528"
    assert "its key is on the block list since" in problem.message
    assert "revoke.INC-1" in problem.message
    assert statuses(site) == ["issued"]


def test_issuance_refuses_a_blocked_issuer_whatever_the_plan_said(site: Site) -> None:
    site.write(PORTAL).apply()
    project = site.later(61).open()
    (issuing,) = project.inventory(Want(address="ca.issuing"))
    plan = project.plan()
    assert certificates(plan) == ["renew cert.portal@2 due"]
    loop.run(_block(site, issuing.spki))
    assert site.plan().changes[0].waits.startswith("ca.issuing@1 is revoked")


def test_a_ca_is_revoked_only_by_its_name_and_with_its_blast_radius(site: Site) -> None:
    site.write(HANDED_OUT).apply()
    site.later(1).write(HANDED_OUT + LEAKED)
    with pytest.raises(Denied, match=r"1 live certificate below it, which stop validating; 0 with a replacement"):
        site.apply()
    with pytest.raises(Denied, match=r"ca\.issuing@1"):
        site.apply(allow={"ca-revoke": "root"})
    assert listed(site, "root-g1") == []
    assert site.apply(allow={"ca-revoke": "issuing"}).exit_code == 7
    (issuing,) = site.open().inventory(Want(address="ca.issuing"))
    assert listed(site, "root-g1") == [issuing.serial]
    with pytest.raises(Refused, match="revoked"):
        site.verify("cert.portal")


def test_a_revoked_ca_signs_no_more_and_what_it_signed_moves_to_the_next(site: Site) -> None:
    site.write(HANDED_OUT).apply()
    site.later(1).write(HANDED_OUT + LEAKED).apply(allow={"ca-revoke": "issuing"})
    more = HANDED_OUT + '[cert.other]\nprofile = "server"\ndns = ["other.corp.example"]\n'
    site.write(more + LEAKED)
    waiting = [one.waits for one in site.plan().changes]
    assert waiting == ["ca.issuing@1 is revoked: name another issuer, or rotate it"] * 2
    assert site.apply().exit_code == 7
    site.write(more + LEAKED + NEXT, base=MOVED_ON)
    assert "renew cert.portal@2 issuer-revoked" in certificates(site.plan())
    assert site.apply().exit_code == 0
    site.verify("cert.portal")
    assert site.plan().changes == ()
    assert site.open().upkeep.verify() == []


def test_a_leaked_ca_is_revoked_before_anything_is_issued_by_the_next(site: Site) -> None:
    site.write(HANDED_OUT).apply()
    site.later(1).write(HANDED_OUT + LEAKED + NEXT, base=MOVED_ON)
    assert site.apply(allow={"ca-revoke": "issuing"}).exit_code == 0
    events = [one.action for one in site.open().upkeep.audit(0, 1000)]
    after = events[events.index("revoke") :]
    assert after.index("publish") < after.index("issue.intent")
    site.verify("cert.portal")
    assert site.plan().changes == ()


def test_a_ca_that_is_superseded_is_revoked_when_all_below_it_are_replaced(site: Site) -> None:
    site.write(HANDED_OUT).apply()
    superseded = LEAKED.replace("cACompromise", "superseded")
    site.later(1).write(HANDED_OUT + superseded)
    assert site.apply(allow={"ca-revoke": "issuing"}).exit_code == 7
    assert listed(site, "root-g1") == []
    site.verify("cert.portal")
    site.write(HANDED_OUT + superseded + NEXT, base=MOVED_ON)
    assert site.apply(allow={"ca-revoke": "issuing"}).exit_code == 0
    (issuing,) = site.open().inventory(Want(address="ca.issuing"))
    assert listed(site, "root-g1") == [issuing.serial]
    site.verify("cert.portal")
    assert site.plan().changes == ()


def test_a_root_is_distrusted_and_leaves_the_bundle(site: Site) -> None:
    other = '[ca.other]\nsubject = { cn = "Other Root" }\npublish = ["web"]\n'
    site.write(HANDED_OUT + other).apply()
    bundle = site.root / "public/bundle/trust.pem"
    assert bundle.read_text().count("BEGIN") == 2
    entry = revoke("CA-1", 'ca = "root"\ngeneration = 1', "cACompromise")
    site.later(1).write(HANDED_OUT + other + entry)
    (change,) = [one for one in site.plan().changes if one.address.kind == "revoke"]
    assert change.action is Action.DISTRUST
    with pytest.raises(Denied, match=r"distrusts ca\.root@1"):
        site.apply(allow={"ca-revoke": "root"})
    assert site.apply(allow={"root-change": "root"}).exit_code == 7
    assert bundle.read_text().count("BEGIN") == 1
    assert [one for one in told(site.plan().changes) if "cert." not in one] == []


def test_the_certificate_of_a_revoked_ca_stays_revoked_when_its_entry_goes(site: Site) -> None:
    site.write(HANDED_OUT).apply()
    site.later(1).write(HANDED_OUT + LEAKED).apply(allow={"ca-revoke": "issuing"})
    site.write(HANDED_OUT)
    assert [one.code for one in site.plan().problems] == ["W0441"]
    assert {one.readiness for one in site.plan().changes} == {Readiness.WAITING}


def test_a_revoked_certificate_that_is_taken_out_is_not_revoked_again(site: Site) -> None:
    removed = PORTAL + 'on_remove = "revoke"\n'
    site.write(removed).apply()
    entry = revoke("R-1", before(site.later(1)), "superseded")
    site.write(removed + entry).apply()
    first = rows(site)[0]
    site.later(1).write(entry).apply()
    assert statuses(site) == ["revoked", "revoked"]
    assert rows(site)[0] == first
    assert rows(site)[1].revocation_reason == "cessationOfOperation"
    assert site.plan().changes == ()

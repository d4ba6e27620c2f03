"""Approvals: what [policy] require_approval names is done with an approver's signature over the plan, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, evolve, field

from pkicode.model.change import APPROVAL, Readiness
from pkicode.model.instants import DAY
from pkicode.model.problem import PkicodeError, StalePlan, Unapproved
from pkicode.plan import approval
from pkicode.plan.approval import ApprovalError
from pkicode.plan.planfile import canonical
from pkicode.ports import Want
from pkicode.project.applied import Applied
from pkicode.project.approving import approve
from tests.kinds.site import BASE, Site, certificates
from tests.oracles import openssl

PORTAL = '[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\n'
NEW = '[cert.new]\nprofile = "server"\ndns = ["new.corp.example"]\n'
REVOKED = '[[revoke]]\nid = "INC-1"\ncert = "cert.portal"\ngeneration = 1\nreason = "superseded"\nwait = false\n'


@define
class Approvers:
    """Private keys by name, made by OpenSSL, and a site that declares them."""

    site: Site
    names: tuple[str, ...] = ("alice",)
    globs: str = '"ca.*", "revoke.*"'
    keys: dict[str, Path] = field(factory=dict)

    def key(self, name: str, alg: str = "ED25519") -> Path:
        if name not in self.keys:
            self.keys[name] = self.site.root / f"{name}.pem"
            openssl("genpkey", "-algorithm", alg, "-out", self.keys[name])
        return self.keys[name]

    def write(self, more: str = PORTAL, *, key_of: str = "") -> None:
        tables = ""
        for name in self.names:
            public = openssl("pkey", "-in", self.key(key_of or name), "-pubout")
            tables += f'[approver.{name}]\npublic_key = """\n{public}"""\n'
        rule = f"[policy]\nrequire_approval = [{self.globs}]\n" if self.globs else ""
        self.site.write(rule + tables + more, base=BASE)

    def save(self) -> Path:
        path = self.site.root / "saved.plan"
        project = self.site.open()
        project.save(project.plan(), path)
        return path

    def approval(self, plan: Path, name: str = "alice") -> bytes:
        project = self.site.open()
        key = approval.private_key(self.key(name).read_bytes(), None)
        return approve(project.load(plan), key, project.config, now=self.site.now).encode()

    def apply(self, plan: Path, *approvals: bytes, detached: bool = False) -> Applied:
        project = self.site.open()
        return project.apply(evolve(project.load(plan), approvals=approvals, detached=detached))

    def approved(self) -> Applied:
        plan = self.save()
        return self.apply(plan, self.approval(plan))


@pytest.fixture
def approvers(site: Site) -> Approvers:
    """One approver, for CAs and revocations; nothing applied."""
    found = Approvers(site)
    found.write()
    return found


def test_without_an_approval_a_first_apply_does_nothing_and_waits(approvers: Approvers, site: Site) -> None:
    applied = site.apply()
    assert applied.exit_code == 7
    assert not applied.counts
    waiting = {str(one.address): one.waits for one in applied.plan.changes}
    assert waiting["ca.root"] == waiting["ca.issuing"] == APPROVAL
    assert waiting["cert.portal"] == "ca.root comes first"
    assert not site.open().inventory(Want())


def test_with_one_everything_is_done(approvers: Approvers, site: Site) -> None:
    assert approvers.approved().exit_code == 0
    assert not site.plan().changes
    site.verify("cert.portal")


def test_a_plan_says_what_wants_an_approval(approvers: Approvers, site: Site) -> None:
    plan = site.plan()
    assert [one.message for one in plan.verdicts] == ["2 changes of ca.*, revoke.* wait for an approval"]
    assert all(one.readiness is Readiness.READY for one in plan.changes)


def test_what_wants_none_goes_on(approvers: Approvers, site: Site) -> None:
    approvers.approved()
    approvers.write(PORTAL + NEW)
    assert site.apply().exit_code == 0
    assert not site.plan().changes


def test_a_revocation_waits_and_lists_do_not(approvers: Approvers, site: Site) -> None:
    approvers.approved()
    approvers.write(PORTAL + REVOKED)
    waiting = [str(one.address) for one in site.apply().plan.changes if one.waits == APPROVAL]
    assert [one.partition("[")[0] for one in waiting] == ["revoke.INC-1"]
    before = site.crls()
    assert site.apply().exit_code == 7
    assert site.crls() == before, "nothing new is to be said"
    site.later(1)
    applied = site.apply()
    assert (applied.exit_code, applied.counts["sign"]) == (7, 2)
    assert site.crls() != before
    assert approvers.approved().counts["revoke"] == 1
    assert certificates(site.plan()) == []


def test_only_reasons_and_approvals_hold_back_together(approvers: Approvers, site: Site) -> None:
    approvers.approved()
    approvers.write(PORTAL + NEW + REVOKED)
    applied = site.apply(only_reasons=["due"])
    assert applied.exit_code == 7
    assert not applied.counts


def _forged(data: bytes) -> bytes:
    told = json.loads(data)
    return canonical(told | {"expires_at": "2099-01-01T00:00:00Z"})


def _another_signature(data: bytes) -> bytes:
    told = json.loads(data)
    return canonical(told | {"signature": told["signature"][:-8] + "AAAAAA=="})


def _more_in_it(data: bytes) -> bytes:
    return canonical(json.loads(data) | {"note": "unsigned"})


def _cut(data: bytes) -> bytes:
    return data[:-20]


def _nested(_: bytes) -> bytes:
    return b"[" * 60_000


def _large(_: bytes) -> bytes:
    return b" " * (approval.LIMIT + 1)


@pytest.mark.parametrize("bend", [_forged, _another_signature, _more_in_it, _cut, _nested, _large])
def test_an_altered_approval_is_refused(bend: Callable[[bytes], bytes], approvers: Approvers, site: Site) -> None:
    plan = approvers.save()
    good = approvers.approval(plan)
    with pytest.raises(ApprovalError, match="altered"):
        approvers.apply(plan, bend(good))
    with pytest.raises(ApprovalError, match="altered"):
        approvers.apply(plan, good, bend(good))
    assert not list(site.root.glob("public/*"))


def test_an_approval_of_another_plan_is_refused(approvers: Approvers, site: Site) -> None:
    other = approvers.approval(approvers.save())
    (site.root / "saved.plan").unlink()
    approvers.write(PORTAL + NEW)
    with pytest.raises(ApprovalError, match="another plan"):
        approvers.apply(approvers.save(), other)


def test_an_approval_ends_with_its_plan(approvers: Approvers, site: Site) -> None:
    plan = approvers.save()
    given = approvers.approval(plan)
    site.now += DAY + 1
    with pytest.raises(StalePlan):
        approvers.apply(plan, given)
    with pytest.raises(StalePlan, match="expired"):
        approvers.approval(plan)


def test_an_approval_of_the_future_is_refused(approvers: Approvers, site: Site) -> None:
    plan = approvers.save()
    site.now += 3600
    given = approvers.approval(plan)
    site.now -= 3600
    with pytest.raises(ApprovalError, match="this clock says"):
        approvers.apply(plan, given)


def test_an_approver_that_pki_toml_does_not_name_counts_for_nothing(approvers: Approvers) -> None:
    approvers.names = ("alice", "bob")
    approvers.write()
    by_bob = approvers.approval(approvers.save(), "bob")
    approvers.names = ("alice",)
    approvers.write()
    (approvers.site.root / "saved.plan").unlink()
    plan = approvers.save()
    with pytest.raises(ApprovalError, match=r"no \[approver.bob\]"):
        approvers.apply(plan, by_bob)
    with pytest.raises(ApprovalError, match="has the public half of this key"):
        approvers.approval(plan, "bob")


def test_the_key_that_approved_first_is_the_approvers_for_ever(approvers: Approvers) -> None:
    approvers.approved()
    approvers.write(PORTAL + REVOKED, key_of="mallory")
    (approvers.site.root / "saved.plan").unlink()
    plan = approvers.save()
    with pytest.raises(ApprovalError, match=r"another key in pki\.toml than the one that approved first"):
        approvers.apply(plan, approvers.approval(plan, "mallory"))
    approvers.names = ("alice-2",)
    approvers.write(PORTAL + REVOKED, key_of="mallory")
    plan.unlink()
    plan = approvers.save()
    assert approvers.apply(plan, approvers.approval(plan, "mallory")).exit_code == 0


def test_who_approved_stands_in_the_audit(approvers: Approvers, site: Site) -> None:
    approvers.approved()
    events = [one for one in site.open().upkeep.audit(0, 100) if one.action == "approve"]
    assert [one.subject for one in events] == ["approver.alice"]
    assert json.loads(events[0].detail)["keys"].keys() == {"approver.alice"}


def test_a_detached_plan_goes_although_pki_toml_was_edited_and_says_the_same(approvers: Approvers, site: Site) -> None:
    plan = approvers.save()
    given = approvers.approval(plan)
    approvers.write("# a word for people\n" + PORTAL)
    with pytest.raises(StalePlan, match=r"pki.toml changed"):
        approvers.apply(plan, given)
    with pytest.raises(Unapproved):
        approvers.apply(plan, detached=True)
    approvers.write("# a word for people\n" + PORTAL.replace("portal.corp", "other.corp"))
    with pytest.raises(StalePlan, match=r"cert.portal: after differ"):
        approvers.apply(plan, given, detached=True)
    approvers.write("# a word for people\n" + PORTAL)
    assert approvers.apply(plan, given, detached=True).exit_code == 0


@pytest.mark.parametrize("alg", ["EC", "RSA"])
def test_an_approver_may_have_a_key_of_any_sort_that_signs(alg: str, approvers: Approvers, site: Site) -> None:
    key = site.root / "alice.pem"
    how = ("-pkeyopt", "ec_paramgen_curve:P-256") if alg == "EC" else ("-pkeyopt", "rsa_keygen_bits:3072")
    openssl("genpkey", "-algorithm", alg, *how, "-out", key)
    approvers.write()
    assert approvers.approved().exit_code == 0


def test_a_private_key_that_does_not_open_is_not_shown(approvers: Approvers) -> None:
    sealed = openssl("pkey", "-in", approvers.key("alice"), "-aes256", "-passout", "pass:hunter2").encode()
    assert approval.private_key(sealed, b"hunter2")
    for passphrase in (None, b"hunter3"):
        with pytest.raises(PkicodeError) as caught:
            approval.private_key(sealed, passphrase)
        assert "hunter" not in str(caught.value)
        assert caught.value.__suppress_context__

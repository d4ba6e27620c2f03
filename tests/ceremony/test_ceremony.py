"""A root whose key is on another machine: what waits, what goes there, what comes back."""

import pytest
from attrs import evolve

from pkicode.ceremony.bundle import LIFE, BundleError
from pkicode.model.change import Action, Readiness
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY
from pkicode.model.problem import PkicodeError, StalePlan
from pkicode.ports import Want
from pkicode.project import open_project
from pkicode.x509 import der
from tests.ceremony.two import PORTAL, TEXT, Two, inventory, statuses, waiting
from tests.kinds.site import told
from tests.oracles import crl_number, revoked_serials


def test_from_no_key_to_a_leaf_that_openssl_accepts(two: Two) -> None:
    assert two.apply().exit_code == 7
    why = waiting(two)["ca.root"]
    assert "`pkicode ceremony init ca.root@1 --alg ec-p384 --keystore FILE`" in why
    assert why.endswith("then put ca.root@1.csr there")
    two.card()
    assert told(two.site.plan().changes)[0] == "reserve ca.root@1 new"
    assert two.apply().counts == {"reserve": 1}
    assert two.apply().exit_code == 7
    assert "waits for a ceremony" in waiting(two)["ca.root"]
    assert set(waiting(two).values()) - {waiting(two)["ca.root"]} == {"ca.root comes first"}
    assert two.round().certificates == ("ca.root@1",)
    assert two.apply().counts == {"reserve": 1, "publish": 1}
    received = two.round()
    assert (received.certificates, received.lists) == (("ca.issuing@1",), ("crl.root@1",))
    assert two.apply().exit_code == 0
    assert two.site.plan().changes == ()
    two.site.verify("cert.portal")
    assert two.site.open().upkeep.verify() == []
    assert statuses(two) == ["ca.issuing@1 issued", "ca.root@1 issued", "cert.portal@1 issued"]


@pytest.mark.invariant(1)
@pytest.mark.invariant(3)
def test_a_certificate_is_the_intents_very_bytes(two: Two) -> None:
    two.card()
    two.apply()
    [intent] = two.site.open().inventory(Want(with_der=True))
    assert intent.status == "intent"
    request = two.export()
    assert [one.tbs for one in request.items] == [intent.der]
    two.receive(two.sign(request))
    [root] = two.site.open().inventory(Want(with_der=True))
    assert der.tlv(*der.children(der.only(root.der, der.SEQUENCE))[0]) == intent.der
    assert root.serial == intent.serial


@pytest.mark.invariant(2)
def test_an_apply_while_something_waits_reserves_nothing_again(two: Two) -> None:
    two.card()
    two.apply()
    before = inventory(two)
    for _ in range(3):
        two.site.now += DAY
        applied = two.apply()
        assert (applied.exit_code, dict(applied.counts)) == (7, {})
    assert inventory(two) == before
    assert two.round().certificates == ("ca.root@1",)


@pytest.mark.invariant(4)
def test_what_was_not_brought_back_in_time_is_burnt_and_reserved_anew(two: Two) -> None:
    two.card()
    two.apply()
    late = two.sign(two.export())
    two.site.now += LIFE + 1
    applied = two.apply()
    assert (dict(applied.resumed), dict(applied.counts)) == ({"unknown": 1}, {"reserve": 1})
    assert statuses(two) == ["ca.root@1 intent", "ca.root@1 revoked"]
    with pytest.raises(BundleError, match="ended"):
        two.receive(late)
    with pytest.raises(BundleError, match="no such intent is open"):
        two.receive(evolve(late, request=evolve(late.request, expires=two.site.now + DAY)))
    two.round()
    two.apply()
    two.round()
    assert two.apply().exit_code == 0
    [burnt] = [one for one in two.site.open().inventory(Want()) if one.status == "revoked"]
    assert revoked_serials((two.site.root / "public/crl/root-g1.crl").read_bytes()) == [burnt.serial]
    two.site.verify("cert.portal")


def test_what_is_exported_late_is_to_be_back_as_early(two: Two) -> None:
    two.card()
    two.apply()
    two.site.later(20)
    request = two.export()
    assert request.created == two.site.now
    assert request.expires == two.site.now + LIFE - 20 * DAY
    two.site.later(11)
    [root] = [one for one in two.site.plan().changes if str(one.address) == "ca.root"]
    assert (root.action, root.readiness) == (Action.RESERVE, Readiness.READY), "its time is over"


def test_a_card_of_another_algorithm_is_told(two: Two) -> None:
    two.card(alg="ec-p256")
    assert two.apply().exit_code == 7
    told = "the key of its card is ec-p256, not ec-p384"
    mend = 'write alg = "ec-p256" in `key` of the CA, or bring the card of another key'
    assert waiting(two)["ca.root"] == f"{told}: {mend}"


def test_pki_toml_changed_while_something_waits_takes_it_back(two: Two) -> None:
    two.card()
    two.apply()
    response = two.sign(two.export())
    two.site.write(PORTAL, base=TEXT.replace("Site Root R", "Other Root R"))
    with pytest.raises(BundleError, match="no such intent is open"):
        two.receive(response)
    assert dict(two.apply().resumed) == {"unknown": 1}


def test_a_new_list_is_due_at_half_its_life_and_says_what_was_revoked(ready: Two) -> None:
    ready.site.later(30)
    [issuing] = ready.site.open().inventory(Want(address="ca.issuing"))
    assert ready.apply().exit_code == 0
    ready.site.later(151)
    assert waiting(ready)["crl.root"].startswith("its key is offline")
    assert ready.apply().exit_code == 7
    received = ready.round()
    assert received.lists == ("crl.root@1",)
    assert ready.apply().exit_code == 0
    published = (ready.site.root / "public/crl/root-g1.crl").read_bytes()
    assert crl_number(published) == 2
    ready.site.verify("cert.portal")
    entry = '[[revoke]]\nid = "R"\nca = "issuing"\ngeneration = 1\nreason = "cessationOfOperation"\nwait = false\n'
    ready.site.write(PORTAL + entry, base=TEXT)
    ready.apply(allow={"ca-revoke": "issuing"})
    ready.round()
    ready.apply(allow={"ca-revoke": "issuing"})
    published = (ready.site.root / "public/crl/root-g1.crl").read_bytes()
    assert revoked_serials(published) == [issuing.serial]


def test_what_is_revoked_between_export_and_import_asks_for_another_list(ready: Two) -> None:
    ready.site.later(181)
    response = ready.sign(ready.export())
    entry = '[[revoke]]\nid = "R"\nca = "issuing"\ngeneration = 1\nreason = "cessationOfOperation"\nwait = false\n'
    ready.site.write(PORTAL + entry, base=TEXT)
    ready.site.now += 60
    ready.apply(allow={"ca-revoke": "issuing"})
    assert ready.receive(response).lists == ("crl.root@1",)
    assert "crl.root" in waiting(ready)
    assert ready.round().lists == ("crl.root@1",)
    assert "crl.root" not in waiting(ready)


@pytest.mark.parametrize("point", [FaultPoint.JOURNALLED, FaultPoint.ISSUED, FaultPoint.CRL_STORED])
def test_an_import_that_was_interrupted_is_imported_again(two: Two, point: FaultPoint) -> None:
    def reach(here: FaultPoint) -> None:
        if here is point:
            raise Died

    two.card()
    two.apply()
    two.round()
    two.apply()
    response = two.sign(two.export())
    project = open_project(two.site.root / "pki.toml", environ={}, now=two.site.now, reach=reach)
    with pytest.raises(Died):
        project.ceremonies.receive(response, lambda _: None)
    if point is FaultPoint.CRL_STORED:
        with pytest.raises(BundleError, match="imported already"):
            two.receive(response)
    else:
        two.receive(response)
    assert two.apply().exit_code == 0
    two.site.verify("cert.portal")
    assert two.site.open().upkeep.verify() == []


@pytest.mark.invariant(2)
@pytest.mark.invariant(10)
@pytest.mark.parametrize("which", ["root", "issuing"])
@pytest.mark.parametrize("point", [FaultPoint.KEYS_MADE, FaultPoint.INTENTS_STORED])
def test_an_apply_that_dies_while_it_reserves_leaves_one_intent_or_none(
    two: Two, which: str, point: FaultPoint
) -> None:
    two.card()
    if which == "issuing":
        two.apply()
        two.round()
    died = _dying(two, point)
    assert died == (which == "issuing" or point is FaultPoint.INTENTS_STORED), "the root's key was made elsewhere"
    two.apply()
    assert sorted(inventory(two).values()) == ["intent"] if which == "root" else ["intent", "issued"]
    while two.apply().exit_code == 7:
        two.round()
    assert statuses(two) == ["ca.issuing@1 issued", "ca.root@1 issued", "cert.portal@1 issued"]
    two.site.verify("cert.portal")


class Died(BaseException):
    """The process ends here."""


def _dying(two: Two, point: FaultPoint) -> bool:
    """Whether an apply came to this point, where it died."""

    def reach(here: FaultPoint) -> None:
        if here is point:
            raise Died

    project = open_project(two.site.root / "pki.toml", environ={}, now=two.site.now, reach=reach)
    try:
        project.apply()
    except Died:
        return True
    return False


def test_years_later_the_root_and_what_is_below_it_are_followed_by_the_next(two: Two) -> None:
    """Without a cross-certificate, for which there is no room: the bundle comes first."""
    base = TEXT.replace("path_len = 0", 'path_len = 0\nrotate = { every = "1640d", prepublish = "14d" }')
    site = two.site.write(PORTAL, base=base)
    two.card()
    while two.apply().exit_code == 7:
        two.round()
    site.later(4 * 365)
    two.card("ca.root@2")
    site.write(PORTAL, base=base.replace('validity = "10y"', 'validity = "10y"\npolicies = ["1.3.6.1.4.1.99999.1"]', 1))
    allow = {"root-change": "root"}
    assert "reserve ca.root@2 ca-rotate" in told(site.plan(allow=allow).changes)
    assert two.apply(allow=allow).exit_code == 7
    assert "ca.root@2" in two.round().certificates
    for _ in range(3):
        site.later(20)
        if two.apply().exit_code == 7:
            two.round()
            two.apply()
    assert two.apply().exit_code == 0
    issued = {
        f"{one.address}@{one.generation} by {one.ca}@{one.ca_generation}" for one in site.open().inventory(Want())
    }
    authorities = {one for one in issued if one.startswith("ca.")}
    assert authorities == {
        "ca.root@1 by root@1",
        "ca.root@2 by root@2",
        "ca.issuing@1 by root@1",
        "ca.issuing@2 by root@2",
    }
    site.verify("cert.portal")
    trust = (site.root / "public/bundle/trust.pem").read_text()
    assert trust.count("BEGIN CERTIFICATE") == 2


def test_a_root_with_an_ml_dsa_key_is_signed_in_a_ceremony_too(two: Two) -> None:
    two.site.write(PORTAL, base=TEXT.replace("ec-p384", "ml-dsa-65"))
    two.card(alg="ml-dsa-65")
    two.apply()
    two.round()
    two.apply()
    two.round()
    assert two.apply().exit_code == 0
    assert two.site.plan().changes == ()


def test_a_policy_ca_may_be_offline_below_an_offline_root(two: Two) -> None:
    policy = (
        '[ca.policy]\nissuer = "root"\noffline = true\nkey = { alg = "ed25519", store = "vault" }\n'
        'subject = { cn = "Site Policy A${generation}" }\nvalidity = "8y"\npath_len = 1\n'
        'crl = { validity = "1y", refresh = "180d" }\npublish = ["web"]\n'
    )
    below = TEXT.replace("path_len = 1", "path_len = 2").replace(
        '[ca.issuing]\nissuer = "root"', '[ca.issuing]\nissuer = "policy"'
    )
    two.site.write(PORTAL + policy, base=below)
    two.card()
    two.apply()
    two.round()
    assert two.apply().exit_code == 7
    assert "ceremony init ca.policy@1 --alg ed25519" in waiting(two)["ca.policy"]
    two.card("ca.policy@1", "ed25519")
    for signed in (("ca.policy@1", "crl.root@1"), ("ca.issuing@1", "crl.policy@1")):
        assert two.apply().exit_code == 7
        received = two.round()
        assert (*received.certificates, *received.lists) == signed
    assert two.apply().exit_code == 0
    assert two.site.plan().changes == ()
    two.site.verify("cert.portal")


def test_a_saved_plan_reserves_what_was_agreed_to_and_is_stale_afterwards(two: Two) -> None:
    two.card()
    project = two.site.open()
    project.save(project.plan(), two.site.root / "plan.json")
    saved = project.load(two.site.root / "plan.json")
    assert two.apply(plan=saved).exit_code == 7
    with pytest.raises(StalePlan):
        two.apply(plan=saved)
    assert statuses(two) == ["ca.root@1 intent"]


def test_only_offline_cas_are_reserved(ready: Two) -> None:
    assert {one.action for one in ready.site.plan(at=ready.site.now + 70 * DAY).changes} & {Action.RENEW}
    assert not [one for one in ready.site.plan(at=ready.site.now + 70 * DAY).changes if one.action is Action.RESERVE]


def test_nothing_to_carry_is_told(two: Two, ready: Two) -> None:
    for one in (two, ready):
        with pytest.raises(PkicodeError, match="nothing waits for a ceremony"):
            one.export()

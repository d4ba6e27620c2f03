"""A root whose key is on another machine: what waits, what goes there, what comes back, and what is refused."""

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from pkicode.adapters.sealed import SealedKeyStore
from pkicode.ceremony.bundle import LIFE, BundleError, Response, encode
from pkicode.model.change import Action, Readiness
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY, rfc3339
from pkicode.model.problem import KeyStoreError, PkicodeError, StalePlan, StateError
from pkicode.ports import Want
from pkicode.project import open_project
from pkicode.project.offline import check_clock, transcript
from pkicode.revocation import crl
from pkicode.x509 import der
from tests.ceremony.two import PORTAL, TEXT, Two, two_machines
from tests.kinds.site import told
from tests.oracles import crl_number, revoked_serials
from tests.quick import PASSPHRASE, quick_key_file


def inventory(two: Two) -> dict[str, str]:
    return {f"{one.address}@{one.generation} {one.serial}": one.status for one in two.site.open().inventory(Want())}


def statuses(two: Two) -> list[str]:
    return sorted(f"{key.split()[0]} {status}" for key, status in inventory(two).items())


def waiting(two: Two) -> dict[str, str]:
    return {str(one.address): one.waits for one in two.site.plan().changes if one.readiness is Readiness.WAITING}


def test_from_no_key_to_a_leaf_that_openssl_accepts(two: Two) -> None:
    assert two.apply().exit_code == 7
    assert "pkicode ceremony init ca.root@1 --alg ec-p384" in waiting(two)["ca.root"]
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


def test_pki_toml_changed_while_something_waits_takes_it_back(two: Two) -> None:
    two.card()
    two.apply()
    response = two.sign(two.export())
    two.site.write(PORTAL, base=TEXT.replace("Site Root R", "Other Root R"))
    with pytest.raises(BundleError, match="no such intent is open"):
        two.receive(response)
    assert dict(two.apply().resumed) == {"unknown": 1}


def _altered(tbs: bytes) -> bytes:
    return tbs[:40] + bytes((tbs[40] ^ 1,)) + tbs[41:]


ALTERED: dict[str, tuple[Callable[[Response], Response], str]] = {
    "a signature": (
        lambda one: evolve(one, signatures=(_altered(one.signatures[0]), *one.signatures[1:])),
        "does not verify",
    ),
    "the bytes": (
        lambda one: _with(one, evolve(one.request.items[0], tbs=_altered(one.request.items[0].tbs))),
        "no such intent is open",
    ),
    "the address": (
        lambda one: _with(one, evolve(one.request.items[0], address="ca.other")),
        "no such intent is open",
    ),
    "the generation": (
        lambda one: _with(one, evolve(one.request.items[0], generation=2)),
        "no such intent is open",
    ),
    "who signs": (
        lambda one: _with(one, evolve(one.request.items[0], issuer="ca.root@2")),
        "no such intent is open",
    ),
    "what it is": (lambda one: _with(one, evolve(one.request.items[0], kind="crl")), "no such list is due"),
    "the state": (lambda one: evolve(one, request=evolve(one.request, lineage="0" * 32)), "this is another"),
    "the project": (lambda one: evolve(one, request=evolve(one.request, project="x")), "this is another"),
    "its end": (lambda one: evolve(one, request=evolve(one.request, expires=0)), "ended"),
}


def _with(response: Response, item: object) -> Response:
    items = (item, *response.request.items[1:])
    return evolve(response, request=evolve(response.request, items=items))


@pytest.mark.parametrize("what", ALTERED)
def test_whoever_makes_another_file_with_its_digest_has_nothing_taken_in(two: Two, what: str) -> None:
    two.card()
    two.apply()
    two.round()
    two.apply()
    alter, reason = ALTERED[what]
    response = two.sign(two.export())
    before = inventory(two)
    with pytest.raises(BundleError, match=reason):
        two.receive(alter(response))
    assert inventory(two) == before
    assert two.site.crls() == []
    assert two.receive(response).certificates == ("ca.issuing@1",)


def test_of_a_list_that_was_altered_and_a_certificate_that_was_not_neither_is_taken(two: Two) -> None:
    two.card()
    two.apply()
    two.round()
    two.apply()
    response = two.sign(two.export())
    bad = evolve(response, signatures=(response.signatures[0], _altered(response.signatures[1])))
    with pytest.raises(BundleError, match="the list is not taken"):
        two.receive(bad)
    assert statuses(two) == ["ca.issuing@1 intent", "ca.root@1 issued"]


def test_a_response_is_taken_once(two: Two) -> None:
    two.card()
    two.apply()
    response = two.sign(two.export())
    two.receive(response)
    with pytest.raises(BundleError, match="imported already"):
        two.receive(response)
    two.apply()
    second = two.sign(two.export())
    two.receive(second)
    with pytest.raises(BundleError, match="imported already"):
        two.receive(second)
    with pytest.raises(BundleError, match="imported already"):
        two.receive(response)


def test_a_response_for_another_state_of_the_same_project_is_refused(two: Two, quick_path: Path) -> None:
    (quick_path / "other").mkdir()
    other = two_machines(quick_path / "other")
    for one in (two, other):
        one.card()
        one.apply()
    with pytest.raises(BundleError, match="this is another"):
        two.receive(other.sign(other.export()))


def test_another_key_of_the_same_label_signs_nothing(two: Two, quick_path: Path) -> None:
    (quick_path / "thief").mkdir(mode=0o700)
    quick_key_file(quick_path / "thief/keys.db")
    thief = Two(two.site, quick_path / "thief")
    thief.offline.init("ca.root@1", "ec-p384")
    two.card()
    two.apply()
    with pytest.raises(KeyStoreError, match="another key here"):
        thief.sign(two.export())


def test_whoever_writes_the_database_cannot_name_another_key_for_the_root(ready: Two, quick_path: Path) -> None:
    """The card is what counts, and it lies in the project."""
    (quick_path / "thief").mkdir(mode=0o700)
    quick_key_file(quick_path / "thief/keys.db")
    card = ready.site.root / "ceremony/ca.root@1.csr"
    card.write_bytes(Two(ready.site, quick_path / "thief").offline.init("ca.root@1", "ec-p384"))
    ready.site.later(190)
    with pytest.raises(StateError, match="its key is not the one in the keystore"):
        ready.export()
    card.unlink()
    with pytest.raises(StateError, match="no card of its key"):
        ready.export()


def test_a_planted_intent_is_not_exported(two: Two) -> None:
    two.card()
    two.apply()
    with sqlite3.connect(two.site.root / ".pkicode/state.db") as other:
        other.execute("UPDATE certificates SET not_after = not_after + 1 WHERE status = 'intent'")
    with pytest.raises(PkicodeError, match="nothing waits"):
        two.export()


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


def test_a_list_that_is_older_or_says_less_is_not_taken(ready: Two) -> None:
    ready.site.later(181)
    old = ready.sign(ready.export())
    ready.site.now += 60
    new = ready.sign(ready.export())
    ready.receive(new)
    with pytest.raises(BundleError, match="no such list is due"):
        ready.receive(old)
    ready.site.later(181)
    facts = crl.read((ready.site.root / "public/crl/root-g1.crl").read_bytes(), limit=1 << 20)
    assert facts.number == 1, "published by the next apply"
    with pytest.raises(BundleError, match="number is 2, and number 2 is there already"):
        ready.receive(evolve(old, request=evolve(old.request, expires=ready.site.now)))


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


def test_years_later_the_root_and_what_is_below_it_are_followed_by_the_next(ready: Two) -> None:
    rotating = TEXT.replace("path_len = 0", 'path_len = 0\nrotate = { every = "1640d", prepublish = "14d" }')
    site = ready.site.write(PORTAL, base=rotating)
    ready.apply()
    site.later(4 * 365)
    ready.card("ca.root@2")
    allow = {"root-change": "root"}
    changed = rotating.replace('validity = "10y"', 'validity = "10y"\npolicies = ["1.3.6.1.4.1.99999.1"]', 1)
    site.write(PORTAL, base=changed)
    assert "reserve ca.root@2 ca-rotate" in told(site.plan(allow=allow).changes)
    assert ready.apply(allow=allow).exit_code == 7
    assert "ca.root@2" in ready.round().certificates
    for _ in range(3):
        site.later(20)
        ready.apply(allow=allow)
        if any("ceremony" in why for why in waiting(ready).values()):
            ready.round()
            ready.apply(allow=allow)
    assert ready.apply().exit_code == 0
    issued = {f"{one.address}@{one.generation}": one for one in site.open().inventory(Want())}
    assert {"ca.root@1", "ca.root@2", "ca.issuing@1", "ca.issuing@2"} <= set(issued)
    assert (issued["ca.issuing@2"].ca, issued["ca.issuing@2"].ca_generation) == ("root", 2)
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


def test_the_offline_machine_needs_nothing_of_the_project(two: Two, quick_path: Path) -> None:
    two.card()
    two.apply()
    request = two.export()
    shutil.move(two.site.root, quick_path / "away")
    assert len(two.sign(request).signatures) == 1


def test_the_offline_machine_lints_again_and_signs_nothing_if_anything_is_wrong(two: Two) -> None:
    two.card()
    two.apply()
    request = two.export()
    [item] = request.items
    # A lower keyUsage, in otherwise the same bytes: a CA that may not sign.
    weak = evolve(item, tbs=item.tbs.replace(bytes.fromhex("03020106"), bytes.fromhex("03020780")))
    assert weak.tbs != item.tbs
    with pytest.raises(BundleError, match=r"nothing of this is signed: ca\.root: key_usage_of_a_ca"):
        two.offline.answer(evolve(request, items=(weak,)), two.site.now)
    with pytest.raises(BundleError, match="cannot be read"):
        two.offline.answer(evolve(request, items=(evolve(item, tbs=b"0\x00"),)), two.site.now)


def test_a_clock_that_is_wrong_is_told(two: Two) -> None:
    two.card()
    two.apply()
    request = two.export()
    check_clock(request, two.site.now)
    for now in (two.site.now - 2 * DAY, two.site.now + LIFE + 1):
        with pytest.raises(BundleError, match=f"this clock says {rfc3339(now)}"):
            check_clock(request, now)


def test_the_transcript_says_everything_that_was_signed(two: Two) -> None:
    two.card()
    two.apply()
    two.round()
    two.apply()
    request = two.export()
    response = two.sign(request)
    text = "\n".join(transcript(request, response))
    [_, issuing] = two.site.open().inventory(Want())
    for part in (request.words, request.digest.hex(), issuing.serial, "CN=Site Issuing A1", "permit DNS corp.example"):
        assert part in text
    assert "a CA, at most 0 CAs below, critical" in text
    assert "number                 1" in text
    for signature in response.signatures:
        assert hashlib.sha256(signature).hexdigest() in text


def test_no_private_key_is_online_and_none_is_in_what_is_carried(ready: Two) -> None:
    store = SealedKeyStore(ready.vault / "keys.db", _passphrase)
    [pkcs8] = asyncio.run(store.export(["ca.root@1"]))
    ready.site.later(181)
    request = ready.export()
    carried = encode(request) + encode(ready.sign(request))
    scalar = pkcs8[-200:][:48]
    everything = b"".join(path.read_bytes() for path in ready.site.root.rglob("*") if path.is_file())
    assert pkcs8 not in everything + carried
    assert scalar not in everything + carried
    assert "ca.root@1" not in ready.site.open().upkeep.key_labels("main")
    with pytest.raises(KeyStoreError, match="offline"):
        ready.site.open().export("ca.root", with_key=True)


async def _passphrase() -> bytes:
    return PASSPHRASE


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


@pytest.mark.parametrize("label", ["ca.root", "cert.portal@1", "root@1", 'ca.root["x"]@1', "ca.root@0"])
def test_a_label_that_is_no_generation_of_a_ca_makes_no_key(two: Two, label: str) -> None:
    with pytest.raises(PkicodeError):
        two.offline.init(label, "ec-p384")
    assert asyncio.run(SealedKeyStore(two.vault / "keys.db", _passphrase).labels()) == []


def test_init_of_a_key_that_is_there_gives_its_card_again_and_no_other_key(two: Two) -> None:
    first = two.offline.init("ca.root@1", "ec-p384")
    assert two.offline.init("ca.root@1", "ec-p384") == first
    with pytest.raises(KeyStoreError, match="is there already, as ec-p384"):
        two.offline.init("ca.root@1", "ec-p256")

"""What is not taken back: altered, planted, foreign, replayed, older, or saying less than before."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from pkicode.ceremony.bundle import BundleError, Item, Response
from pkicode.model.instants import DAY
from pkicode.model.problem import ConfigError, KeyStoreError, PkicodeError, StateError
from pkicode.revocation import crl
from pkicode.x509.tbs import facts_of
from tests.ceremony.two import PORTAL, TEXT, Two, inventory, statuses, two_machines
from tests.quick import quick_key_file


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
    "who signs a list": (lambda one: _with(one, one.request.items[0], issuer="ca.issuing@1"), "does not sign it"),
    "an address that is none": (
        lambda one: _with(one, evolve(one.request.items[0], kind="crl", address="no address")),
        "no such list is due",
    ),
    "what it is": (lambda one: _with(one, evolve(one.request.items[0], kind="crl")), "no such list is due"),
    "the state": (lambda one: evolve(one, request=evolve(one.request, lineage="0" * 32)), "this is another"),
    "the project": (lambda one: evolve(one, request=evolve(one.request, project="x")), "this is another"),
    "its end": (lambda one: evolve(one, request=evolve(one.request, expires=0)), "ended"),
}


def _with(response: Response, item: Item, **of_the_list: str) -> Response:
    items = (item, *(evolve(one, **of_the_list) for one in response.request.items[1:]))
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


@pytest.mark.parametrize("address", ["ca.\ud800", 'ca.issuing["\ud800"]', "ca.\0", "ca.issuing@1"])
def test_an_address_that_no_database_can_be_asked_for_is_refused(two: Two, address: str) -> None:
    two.card()
    two.apply()
    response = two.sign(two.export())
    with pytest.raises(BundleError, match="no such intent is open"):
        two.receive(_with(response, evolve(response.request.items[0], address=address)))


def test_whoever_puts_no_der_into_the_database_stops_no_ceremony(two: Two) -> None:
    two.card()
    two.apply()
    two.round()
    two.apply()
    response = two.sign(two.export())
    with sqlite3.connect(two.site.root / ".pkicode/state.db") as other:
        columns = [row[1] for row in other.execute("PRAGMA table_info(certificates)") if row[1] != "id"]
        planted = {"status": "'unknown'", "serial": "'abc'", "generation": "7", "der": "X'3080'"}
        other.execute(
            f"INSERT INTO certificates ({', '.join(columns)}) "
            f"SELECT {', '.join(planted.get(name, name) for name in columns)} "
            "FROM certificates WHERE address = 'ca.issuing'"
        )
    assert two.receive(response).certificates == ("ca.issuing@1",)
    two.site.later(181)
    response = two.sign(two.export())
    with sqlite3.connect(two.site.root / ".pkicode/state.db") as other:
        other.execute("UPDATE artefacts SET der = X'3080' WHERE kind = 'crl'")
    assert two.receive(response).lists == ("crl.root@1",)


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


@pytest.mark.parametrize("place", [0, 1])
def test_of_a_response_that_says_something_twice_nothing_is_taken(two: Two, place: int) -> None:
    two.card()
    two.apply()
    two.round()
    two.apply()
    response = two.sign(two.export())
    items, signatures = response.request.items, response.signatures
    request = evolve(response.request, items=(*items, items[place]))
    with pytest.raises(BundleError, match=r"no such (intent|list) is"):
        two.receive(evolve(response, request=request, signatures=(*signatures, signatures[place])))
    assert statuses(two) == ["ca.issuing@1 intent", "ca.root@1 issued"]
    assert two.receive(response).lists == ("crl.root@1",)


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


def _forged(two: Two, **changes: int) -> Response:
    """A list that says other things than export drew up, signed by the right key all the same."""
    request = two.export()
    [item] = request.items
    facts = facts_of(item.issuer_certificate)
    dates = {"number": 9, "this_update": two.site.now, "next_update": two.site.now + 100 * DAY} | changes
    return two.sign(evolve(request, items=(evolve(item, tbs=crl.tbs(facts, (), **dates)),)))


@pytest.mark.invariant(8)
def test_no_list_takes_a_revocation_back(ready: Two) -> None:
    entry = '[[revoke]]\nid = "R"\nca = "issuing"\ngeneration = 1\nreason = "cessationOfOperation"\nwait = false\n'
    ready.site.write(PORTAL + entry, base=TEXT)
    ready.apply(allow={"ca-revoke": "issuing"})
    ready.round()
    ready.site.later(181)
    with pytest.raises(BundleError, match="of the last list it lacks 1 serial"):
        ready.receive(_forged(ready))
    ready.round()


@pytest.mark.parametrize("changes", [{"this_update": DAY}, {"this_update": -9 * DAY, "next_update": 0}])
def test_a_list_that_is_not_in_force_is_not_taken(ready: Two, changes: dict[str, int]) -> None:
    ready.site.later(181)
    with pytest.raises(BundleError, match="it is in force from"):
        ready.receive(_forged(ready, **{name: ready.site.now + days for name, days in changes.items()}))


def test_a_planted_intent_lets_no_online_ca_be_changed(two: Two) -> None:
    """Of an offline CA a reservation shows that somebody gave leave; of others it shows nothing."""
    base = TEXT.replace("path_len = 1", "path_len = 2").replace("path_len = 0", "path_len = 1") + (
        '[ca.below]\nissuer = "issuing"\nkey = { store = "main" }\nvalidity = "1y"\n'
        'subject = { cn = "Site Below A${generation}" }\n'
    )
    two.site.write(base=base)
    two.card()
    while two.apply().exit_code == 7:
        two.round()
    changed = base + 'policies = ["1.3.6.1.4.1.99999.1"]\n'
    two.site.write(base=changed)
    with sqlite3.connect(two.site.root / ".pkicode/state.db") as other:
        columns = [row[1] for row in other.execute("PRAGMA table_info(certificates)") if row[1] != "id"]
        planted = {"status": "'intent'", "serial": "'abc'", "generation": "2"}
        other.execute(
            f"INSERT INTO certificates ({', '.join(columns)}) "
            f"SELECT {', '.join(planted.get(name, name) for name in columns)} "
            "FROM certificates WHERE address = 'ca.below'"
        )
    with pytest.raises(ConfigError) as caught:
        two.site.plan()
    assert [one.code for one in caught.value.problems] == ["E0410"]

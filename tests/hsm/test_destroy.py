"""Keys of a token at their end, and a process that dies over it: what is needed stays, what was named goes."""

from pathlib import Path

import pytest

from pkicode.model.keyuse import Use
from pkicode.model.problem import KeyStoreError
from tests.hsm.dying import die_destroying
from tests.hsm.site import on_token
from tests.kinds.site import Site
from tests.softhsm import SoftHsm

OLD = ('ocsp.issuing["g1"]@1', 'ocsp.issuing["g1"]@2')
"""Keys of delegates, each of which was followed after 15 days."""


@pytest.fixture
def aged(hsm: SoftHsm, token: str, quick_path: Path) -> Site:
    """A PKI on a token, in which two keys are removable."""
    site = on_token(quick_path, hsm, token)
    for _ in range(6):
        assert site.apply().exit_code == 0
        site.later(15)
    assert site.apply().exit_code == 0
    assert {label for label, use in uses(site).items() if use is Use.REMOVABLE} >= set(OLD)
    return site


def uses(site: Site) -> dict[str, Use]:
    return {one.label: one.use for one in site.open().upkeep.keys("hsm")}


def objects(hsm: SoftHsm, token: str, label: str) -> int:
    """How many objects of the token are called so, public and private."""
    return hsm.tool(token, "--list-objects").count(f"label:      {label}\n")


def assert_well(site: Site, hsm: SoftHsm, token: str) -> None:
    """What was named is gone for good, and nothing else is."""
    assert [objects(hsm, token, label) for label in OLD] == [0, 0]
    left = uses(site)
    assert not set(OLD) & set(left)
    assert {"ca.root@1", "ca.issuing@1"} <= {label for label, use in left.items() if use is Use.IN_USE}
    assert site.open().upkeep.verify_keys("hsm") == []
    assert site.open().upkeep.verify() == []
    site.later(1)
    assert site.apply().exit_code == 0
    site.verify("cert.portal")


@pytest.mark.invariant(13)
def test_killed_over_the_event_the_keys_are_there_and_go_when_they_are_named_again(
    hsm: SoftHsm, token: str, aged: Site
) -> None:
    before = len(aged.open().upkeep.audit(0, 1000))
    die_destroying(aged.root, aged.now, OLD, hsm)
    assert [objects(hsm, token, label) for label in OLD] == [2, 2]
    assert {uses(aged)[label] for label in OLD} == {Use.REMOVABLE}
    events = [one.action for one in aged.open().upkeep.audit(before, 1000)]
    assert events == ["key.destroy"]
    # The lease of the one that died is taken over; what is in use beside them stops all of it.
    aged.now += 60
    with pytest.raises(KeyStoreError, match="in use"):
        aged.open().upkeep.destroy_keys("hsm", [*OLD, "ca.issuing@1"])
    assert [objects(hsm, token, label) for label in (*OLD, "ca.issuing@1")] == [2, 2, 2]
    aged.open().upkeep.destroy_keys("hsm", OLD)
    assert_well(aged, hsm, token)


def test_what_was_left_half_done_is_finished_when_it_is_named_again(hsm: SoftHsm, token: str, aged: Site) -> None:
    # As a process leaves it that dies between two objects, or between two keys.
    hsm.tool(token, "--delete-object", "--type", "privkey", "--label", OLD[0])
    assert [objects(hsm, token, label) for label in OLD] == [1, 2]
    assert aged.apply().exit_code == 0
    aged.open().upkeep.destroy_keys("hsm", OLD)
    assert_well(aged, hsm, token)


def test_what_is_gone_already_is_not_named_again(hsm: SoftHsm, token: str, aged: Site) -> None:
    aged.open().upkeep.destroy_keys("hsm", OLD[:1])
    with pytest.raises(KeyStoreError, match=r"there is no key ocsp\.issuing.*nothing was destroyed"):
        aged.open().upkeep.destroy_keys("hsm", OLD)
    aged.open().upkeep.destroy_keys("hsm", OLD[1:])
    assert_well(aged, hsm, token)

"""Laws of plan and apply, on random PKIs (docs/explanation/issuance-cycle.md; invariant 13)."""

import json
import random

import pytest
from cryptography import x509
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pkicode.model.change import Action
from pkicode.model.instants import DAY
from pkicode.ports import Want
from tests.cli.running import spawn
from tests.laws import corporate
from tests.laws.corporate import Leaf, leaves

few = settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Leaves = tuple[Leaf, ...]


@pytest.mark.invariant(13)
@few
@given(first=leaves, second=leaves, days=st.integers(0, 100))
def test_after_an_apply_there_is_nothing_to_do(
    first: Leaves, second: Leaves, days: int, ground: corporate.Ground
) -> None:
    """Whatever was there before, and whatever changes."""
    with corporate.site(ground, first) as site:
        for wanted in (first, second, first):
            site.write(corporate.text(wanted))
            applied = site.apply(allow={"remove": "99"})
            assert applied.exit_code == 0
            assert site.plan().changes == ()
            assert site.apply().counts == {}
            site.later(days)


@few
@given(first=leaves, second=leaves, days=st.integers(0, 100), seed=st.integers(0, 9))
def test_a_plan_is_the_same_bytes_again_and_with_its_stanzas_shuffled(
    first: Leaves, second: Leaves, days: int, seed: int, ground: corporate.Ground
) -> None:
    with corporate.site(ground, first) as site:
        site.apply()
        site.later(days).write(corporate.text(second))
        plan = corporate.told(site.plan(allow={"remove": "99"}))
        assert corporate.told(site.plan(allow={"remove": "99"})) == plan
        shuffled = list(second)
        random.Random(seed).shuffle(shuffled)
        site.write(corporate.text(shuffled))
        assert corporate.told(site.plan(allow={"remove": "99"})) == plan


@few
@given(wanted=leaves, days=st.integers(1, 100))
def test_what_a_plan_knows_is_what_the_certificate_says(wanted: Leaves, days: int, ground: corporate.Ground) -> None:
    with corporate.site(ground, wanted) as site:
        for _ in range(2):
            plan = site.plan()
            site.apply(plan=plan)
            there = {(one.address, one.generation): one for one in site.open().inventory(Want())}
            for change in plan.changes:
                if change.action in (Action.ISSUE, Action.RENEW) and change.address.kind == "cert":
                    row = there[str(change.address), change.generation]
                    assert change.after is not None
                    assert list(change.after["sans"]) == json.loads(row.sans)
                    assert change.after["subject"] == row.subject
                    assert change.after["key_alg"] == row.key_alg
                    assert change.after["profile"] == row.profile
                    assert change.after["issuer"] == f"ca.{row.ca}"
                    found = x509.load_der_x509_certificate(row.der)
                    seconds = (found.not_valid_after_utc - found.not_valid_before_utc).total_seconds() + 1
                    assert change.after["validity"] == f"{seconds / DAY:g}d"
                    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                    assert [f"dns:{one}" for one in names.get_values_for_type(x509.DNSName)] == json.loads(row.sans)
            site.later(days)


@few
@given(wanted=leaves, part=st.floats(0, 1, exclude_max=True))
def test_nothing_falls_due_before_next_due_and_something_does_then(
    wanted: Leaves, part: float, ground: corporate.Ground
) -> None:
    with corporate.site(ground, wanted) as site:
        foreseen = site.plan().next_due
        site.apply()
        plan = site.plan()
        assert plan.next_due is not None
        assert plan.next_due == foreseen
        wait = plan.next_due - site.now
        assert site.plan(at=site.now + int(part * wait)).changes == ()
        assert site.plan(at=plan.next_due - 1).changes == ()
        assert site.plan(at=plan.next_due).changes != ()


def test_a_plan_is_the_same_bytes_whatever_the_hash_seed_and_the_time_zone(ground: corporate.Ground) -> None:
    wanted = [Leaf(name, corporate.NAMES[:3], True, 30, "2/3", True, "revoke", True) for name in corporate.NAMES]
    with corporate.site(ground, wanted) as site:
        told = {
            spawn(site.root, "plan", "--format", "json", PYTHONHASHSEED=seed, TZ=zone, LC_ALL=locale).out
            for seed, zone, locale in (("0", "UTC", "C"), ("1", "Asia/Kathmandu", "C.UTF-8"), ("77", "EST5EDT", "C"))
        }
    assert len(told) == 1
    assert json.loads(told.pop())["counts"]["issue"] == 14

"""What is written is read back the same: addresses, durations, instants, plan files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.model.address import Address, parse
from pkicode.model.instants import NO_EXPIRY, YEAR, duration, parse_duration, parse_instant, rfc3339
from pkicode.plan.planfile import canonical, document, encode, load
from tests.laws import corporate
from tests.laws.corporate import Leaf

bare = st.text("abcXYZ019_-", min_size=1, max_size=12)


@given(st.sampled_from(["ca", "cert", "crl", "output"]), bare, st.text(max_size=20), st.none() | st.integers(1, 10**6))
def test_an_address_is_read_as_it_was_written(kind: str, name: str, key: str, generation: int | None) -> None:
    address = Address(kind, name, key)
    assert parse(address.at(generation) if generation else str(address)) == (address, generation)


@given(st.integers(0, 1000 * YEAR))
def test_a_duration_is_read_as_it_was_written(seconds: int) -> None:
    assert parse_duration(duration(seconds)) == seconds


@given(st.integers(YEAR, NO_EXPIRY - 100 * YEAR), st.integers(0, 2**31))
def test_an_instant_is_read_as_it_was_written_whatever_the_time_is_now(instant: int, now: int) -> None:
    assert parse_instant(rfc3339(instant), now=now) == instant


def test_a_plan_file_is_read_as_it_was_written(ground: corporate.Ground) -> None:
    wanted = [Leaf(name, corporate.NAMES, True, 30, "2/3", True, "revoke", True) for name in corporate.NAMES]
    with corporate.site(ground, wanted) as site:
        plan = site.plan(allow={"issue": "99"}, only=["c*"])
    plan_id, data = encode(plan)
    saved = load(data)
    assert saved.plan_id == plan_id
    assert (saved.at, saved.expires_at) == (plan.at, plan.expires_at)
    assert canonical(saved.document) == canonical(json.loads(canonical(document(plan))))


def test_a_time_so_late_that_nothing_could_end_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the years"):
        parse_instant("+99999999999y", now=0)

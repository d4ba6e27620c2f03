"""Pace: no bucket gives more than its rate, whoever else waits; the shuffle visits each number once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkicode.scanner.pace import Pace, Rate, Shuffle, network_of

FAST = Rate(1e6, 1e6)


def starts(pace, addresses, *, seconds, step=0.01):
    """When each address got a connection, all of them asking again and again."""
    got = []
    for tick in range(round(seconds / step)):
        now = tick * step
        got += [(now, address) for address in addresses if pace.take(address, now) == 0.0]
    return got


def test_everything_together_keeps_to_the_rate():
    pace = Pace(Rate(10.0, 5.0), FAST, FAST)
    got = starts(pace, [f"10.0.{net}.1" for net in range(50)], seconds=3)
    assert len(got) == 5 + 29


def test_one_host_is_not_hurried_however_many_are_allowed():
    pace = Pace(FAST, FAST, Rate(2.0))
    got = starts(pace, ["10.0.0.1", "10.0.0.2"], seconds=2.01)
    assert [now for now, address in got if address == "10.0.0.1"] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])


def test_a_network_that_waits_holds_up_no_other():
    pace = Pace(Rate(100.0, 100.0), Rate(1.0), FAST)
    got = starts(pace, ["10.0.0.1", "10.0.0.2", "10.0.1.1"], seconds=2)
    assert [address for now, address in got if now == 0.0] == ["10.0.0.1", "10.0.1.1"]
    assert len(got) == 4


def test_who_has_to_wait_takes_nothing_and_is_told_how_long():
    pace = Pace(Rate(1.0), FAST, FAST)
    assert pace.take("10.0.0.1", 0.0) == 0.0
    assert pace.take("10.0.0.2", 0.25) == pytest.approx(0.75)
    assert pace.take("10.0.0.2", 0.25) == pytest.approx(0.75)
    assert pace.take("10.0.0.2", 1.0) == 0.0


def test_a_pause_gives_no_more_than_the_burst():
    pace = Pace(Rate(10.0, 3.0), FAST, FAST)
    pace.take("10.0.0.1", 0.0)
    assert [pace.take("10.0.0.1", 1000.0) == 0.0 for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing():
    pace = Pace(Rate(1.0), FAST, FAST)
    pace.take("10.0.0.1", 100.0)
    assert pace.take("10.0.0.1", 50.0) == pytest.approx(1.0)
    assert pace.take("10.0.0.1", 101.0) == 0.0


def test_buckets_that_are_full_again_are_forgotten():
    pace = Pace(FAST, FAST, Rate(1.0))
    for number in range(70_000):
        pace.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", number / 100)
    assert len(pace._hosts) <= 65_536


@pytest.mark.parametrize(
    ("address", "network"), [("10.20.30.40", "10.20.30.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48")]
)
def test_who_has_one_owner_has_one_bucket(address, network):
    assert network_of(address) == network


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=16))
def test_a_shuffle_visits_each_number_once(size, key):
    assert sorted(Shuffle(size, key).part(0, size)) == list(range(size))


def test_a_shuffle_is_the_same_with_the_same_key_and_another_with_another():
    one = list(Shuffle(1000, b"key").part(0, 1000))
    assert list(Shuffle(1000, b"key").part(0, 1000)) == one
    assert list(Shuffle(1000, b"other").part(0, 1000)) != one
    assert list(Shuffle(1000, b"key").part(300, 20)) == one[300:320]
    assert list(Shuffle(1000, b"key").part(990, 100)) == one[990:]


def test_neighbours_are_scattered_over_the_order():
    numbers = list(Shuffle(2**16, b"key").part(0, 256))
    assert len({number >> 8 for number in numbers}) > 120


def test_a_place_of_a_million_costs_no_list_of_a_million():
    shuffle = Shuffle(2**26 - 5, b"key")
    assert all(0 <= shuffle[place] < 2**26 - 5 for place in range(0, 2**26 - 5, 1_000_003))
    with pytest.raises(IndexError):
        shuffle[2**26 - 5]

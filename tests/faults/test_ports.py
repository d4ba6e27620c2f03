"""Any call of any port may fail, with its work done or not: the next apply ends as if nothing had happened."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from pkicode.model.problem import PkicodeError
from tests.faults import corp
from tests.faults.corp import Ground
from tests.faults.failing import Calls, Failure, failing

OCCASIONS = (corp.FIRST, corp.RENEWAL, corp.REMOVAL)
CHANGING = ("store.commit", "keystore.keep", "publisher.put", "world.journal", "world.write_outputs", "world.run_hook")
"""Calls that leave something behind: each one fails once.  Of the others only the first and the last do."""


@pytest.fixture(scope="session")
def uninterrupted(applied, quick_folder):
    @cache
    def told(occasion: corp.Occasion) -> tuple[Counter[str], dict[str, object]]:
        site = corp.before(occasion, quick_folder / f"{applied.folder.name}-counted-{occasion.name}", applied)
        calls = Calls()
        assert failing(site.open(), calls).apply().exit_code == 0
        return calls.counted, corp.end_state(site)

    return told


def failures(counted: Counter[str], *, changing: bool) -> list[Failure]:
    return [
        Failure(call, nth, happened)
        for call, count in sorted(counted.items())
        if (call in CHANGING) is changing
        for nth in (range(1, count + 1) if changing else sorted({1, count}))
        for happened in (False, True)
    ]


@pytest.mark.invariant(11)
@pytest.mark.parametrize("changing", [True, pytest.param(False, marks=pytest.mark.heavy)], ids=["changing", "reading"])
@pytest.mark.parametrize("occasion", OCCASIONS, ids=lambda one: one.name)
def test_a_port_that_fails_is_told_and_the_next_apply_mends_it(
    occasion: corp.Occasion, changing: bool, applied: Ground, uninterrupted, quick_path: Path
) -> None:
    counted, end = uninterrupted(occasion)
    for number, failure in enumerate(failures(counted, changing=changing)):
        site = corp.before(occasion, quick_path / str(number), applied)
        calls = Calls(failure)
        try:
            told = failing(site.open(), calls).apply().exit_code != 0
        except PkicodeError as error:
            told = failure.call in error.message
        assert calls.counted[failure.call] >= failure.nth, f"{failure} did not come to pass"
        assert told or failure.happened, failure
        # Whether it was told or not, nothing may be left undone by the next one.
        site.now += 60
        assert site.apply().exit_code == 0, failure
        corp.assert_sound(site, occasion)
        assert corp.end_state(site) == end, failure


@pytest.mark.invariant(11)
def test_without_the_database_nothing_is_signed(applied: Ground, quick_path: Path) -> None:
    """The commit of the intents fails: no certificate exists afterwards, and what is published still stands."""
    site = corp.before(corp.RENEWAL, quick_path / "corp", applied)
    journal, published = (site.root / ".pkicode/journal.log").read_bytes(), site.crls()
    calls = Calls(Failure("store.commit", 1, happened=False))
    with pytest.raises(PkicodeError, match=r"store\.commit failed here"):
        failing(site.open(), calls).apply()
    assert (site.root / ".pkicode/journal.log").read_bytes() == journal
    assert calls.counted["world.journal"] == 0
    assert site.crls() == published

"""A process that dies at any fault point, in any apply, loses nothing and doubles nothing (invariants 1 to 5, 8 to 10).

After each crash a second, plain apply must reach what an apply that nobody interrupted reaches.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pkicode.model.faults import FaultPoint
from tests.faults import corp, test_breakglass
from tests.faults.corp import Ground
from tests.faults.run import Fault, crash
from tests.keys import test_key_life
from tests.retention import long

Uninterrupted = Callable[[corp.Occasion], tuple[Counter[FaultPoint], dict[str, object]]]

CASES = [
    pytest.param(occasion, point, id=f"{occasion.name}-{point}")
    for occasion in corp.OCCASIONS
    for point in FaultPoint
    if point in occasion.points
]


@pytest.fixture(scope="session")
def uninterrupted(applied: Ground, quick_folder: Path) -> Uninterrupted:
    """How often an occasion reaches each fault point, and where it ends."""

    @cache
    def told(occasion: corp.Occasion) -> tuple[Counter[FaultPoint], dict[str, object]]:
        site = corp.before(occasion, quick_folder / f"{applied.folder.name}-uninterrupted-{occasion.name}", applied)
        reached: list[FaultPoint] = []
        assert corp.opened(site, reached.append).apply().exit_code == 0
        return Counter(reached), corp.end_state(site)

    return told


def test_every_fault_point_is_passed_on_some_occasion() -> None:
    passed = {point for occasion in corp.OCCASIONS for point in occasion.points}
    assert passed | {*test_breakglass.POINTS, *long.POINTS, *test_key_life.POINTS} == set(FaultPoint)


@pytest.mark.parametrize("occasion", corp.OCCASIONS, ids=lambda one: one.name)
def test_an_occasion_passes_the_points_that_it_says(occasion: corp.Occasion, uninterrupted: Uninterrupted) -> None:
    assert set(uninterrupted(occasion)[0]) == set(occasion.points)


@pytest.mark.invariant(1)
@pytest.mark.invariant(2)
@pytest.mark.invariant(4)
@pytest.mark.invariant(5)
@pytest.mark.invariant(8)
@pytest.mark.invariant(9)
@pytest.mark.invariant(10)
@pytest.mark.invariant(13)
@pytest.mark.parametrize(("occasion", "point"), CASES)
def test_after_a_crash_the_next_apply_ends_as_if_nothing_had_happened(
    occasion: corp.Occasion, point: FaultPoint, applied: Ground, uninterrupted: Uninterrupted, quick_path: Path
) -> None:
    reached, end = uninterrupted(occasion)
    for nth in range(1, reached[point] + 1):
        site = corp.before(occasion, quick_path / str(nth), applied)
        crash(site.root, site.now, Fault(point, nth))
        site.now += 60
        assert site.apply().exit_code == 0
        corp.assert_sound(site, occasion)
        assert corp.end_state(site) == end

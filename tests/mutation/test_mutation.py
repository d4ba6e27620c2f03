"""Guard 3: tests that agree with themselves would let wrong code pass; here wrong code is tried."""

import pytest

from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.mutants import mutants
from tests.mutation.run import ROOT, TESTS, run, sample

EACH = 12
"""Mutants of a module: the run takes minutes on two cores."""
KILLED = 0.85


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_the_tests_of_the_engine_kill_nearly_every_mutant() -> None:
    trials = list(run([(module, one) for module in TESTS for one in sample(module, EACH)]))
    lived = [f"{one.module} {one.mutant.name}" for one in trials if not one.killed]
    assert len(trials) - len(lived) >= KILLED * len(trials), "these live:\n" + "\n".join(lived)


def test_a_mutant_has_one_thing_wrong_and_a_name_that_says_which() -> None:
    source = 'def f(a: "x" = 1):\n    """One."""\n    if a < 2 and g(a, "is b"):\n        h()\n    return not a\n'
    names = [one.name for one in mutants(source)]
    assert names == [
        "f: 1 -> 2",
        "f: if a < 2 and g(a, 'is b'): -> if not (a < 2 and g(a, 'is b')):",
        "f: a < 2 and g(a, 'is b') -> a < 2 or g(a, 'is b')",
        "f: a < 2 -> a <= 2",
        "f: 2 -> 3",
        "f: g(a, 'is b') -> g('is b', a)",
        "f: h() -> pass",
    ]
    assert len({one.source for one in mutants(source)}) == len(names)


def test_every_mutant_that_is_called_equivalent_is_still_one() -> None:
    for module, known in EQUIVALENT.items():
        names = {one.name for one in mutants((ROOT / "pkicode" / f"{module}.py").read_text(encoding="utf-8"))}
        assert known.keys() <= names, f"the code has changed, look again: {known.keys() - names}"

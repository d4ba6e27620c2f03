"""What an apply did, in the hands of Python: shown as the command line tells it, or taken apart."""

from collections.abc import Mapping

from attrs import field, frozen

from pkicode.config.reader import Config
from pkicode.model.change import Plan
from pkicode.model.problem import Problem
from pkicode.project.applied import Applied as Done
from pkicode.views.applied import human


@frozen(repr=False)
class Applied:
    """What an apply did."""

    counts: Mapping[str, int]
    """Action -> how many were done."""
    problems: tuple[Problem, ...]
    """What failed, each with its place in pki.toml where it has one; the rest was done all the same."""
    resumed: Mapping[str, int]
    """How intents that an earlier apply left open ended: issued, unknown."""
    stopped: bool
    """Somebody asked to stop before everything was begun; the next apply goes on from here."""
    exit_code: int
    """0 done, 7 something waits, 8 something failed, 130 stopped."""
    plan: Plan
    """What was applied, as data."""
    _told: str = field(eq=False)

    def __repr__(self) -> str:
        return self._told


def applied(done: Done, config: Config) -> Applied:
    """As Python shows it."""
    problems = config.located(done.problems)
    told = human(done, problems)
    return Applied(done.counts, problems, done.resumed, done.stopped, done.exit_code, done.plan, told)

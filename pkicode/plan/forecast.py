"""The forecast: the planner's decisions day after day, each made on what the plans before it would have left.

Every step is a plan of its own (planner.py), so that forecast and plan cannot disagree.  A step looks at the rows of
fan-outs that time or an earlier change has touched and at no others, which is what makes a year of 100,000 rows short.
Nothing is done: what apply would leave is worked out from the change and the kind's `foresee`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

from pkicode.config.reader import Config
from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Plan, Readiness, ReasonCode
from pkicode.model.instants import DAY
from pkicode.model.problem import ConfigError, Problem
from pkicode.plan.foreseen import Foreseen, Step
from pkicode.plan.kind import Ahead, Kind, Snapshot

_BRAKE = "max_actions."
_UNLIMITED = str(10**12)


@frozen
class Coming:
    """Something that happens on a coming day if nobody changes anything and every plan before is applied."""

    at: int
    """The instant of the plan it is in; of the event itself where it is not planned: `expire`, `outlive`, `error`."""
    address: str
    """A block's address where several rows are told together."""
    kind: str
    action: str
    """An Action, or what no plan does.  `expire`: a certificate ends with no successor; `outlive`: from then on one
    issued here would outlive its issuer, and is refused; `error`: no plan can be made, so that the forecast ends."""
    reasons: tuple[tuple[str, str], ...]
    """(code, detail): reason codes, of an `error` the problem's code."""
    generation: int | None
    """None where several rows are told together and theirs differ."""
    count: int = 1
    status: str = str(Readiness.READY)
    """ready, waiting (for a person), or denied: max_actions must be lifted that day."""


def forecast(
    config: Config,
    snapshot: Snapshot,
    *,
    now: int,
    until: int,
    kinds: Sequence[Kind],
    full: bool = False,
) -> Iterator[Coming]:
    """What the plans at `now`, a day later, ... up to and including `until` would do, in that order.

    Each plan is made as if every one before it had been applied, its ceremonies held the same day, and nothing else had
    happened.  Where max_actions denies one, it is told so and taken as allowed; where none can be made, an `error` is
    the last that is told.

    Args:
        kinds: in stage order.
        full: one row per address; else the rows of a fan-out that do the same on one day are told together.
    """
    last = (until - now) // DAY

    def day(instant: int) -> int | None:
        number = max(0, -((now - instant) // DAY))
        return number if number <= last else None

    world = Foreseen(config, snapshot, kinds, day=day, one_by_one=full)
    for at in range(now, until + 1, DAY):
        try:
            step = world.step(at)
            denied = {one.rule: one.message for one in step.plan.verdicts if not one.passed}
            yield from (_refused(rule, message, at) for rule, message in denied.items() if not rule.startswith(_BRAKE))
            if not all(rule.startswith(_BRAKE) for rule in denied):
                return
            told = step.plan
            if denied:
                step = world.step(at, {rule.removeprefix(_BRAKE): _UNLIMITED for rule in denied})
                told = _braked(step.plan, told)
        except ConfigError as error:
            yield from (_broken(one, at) for one in error.problems)
            return
        generations = world.apply(step, at)
        yield from (_row(one, at) for one in told.changes) if full else _grouped(told.changes, step, generations, at)
        end = min(at + DAY, until + 1)
        yield from (_ending(change, ended) for change, ended in world.ending(step.plan, end))
        yield from (_coming(address, one) for address, one in world.ahead(at, end))


def _braked(lifted: Plan, denied: Plan) -> Plan:
    """The plan as it is once max_actions is lifted, with what needs that marked as denied."""
    held = {one.address for one in denied.changes if one.readiness is Readiness.DENIED}
    marked = [
        evolve(one, readiness=Readiness.DENIED) if one.readiness is Readiness.READY and one.address in held else one
        for one in lifted.changes
    ]
    return evolve(lifted, changes=tuple(marked))


def _broken(problem: Problem, at: int) -> Coming:
    kind = problem.address.partition(".")[0]
    return Coming(at, problem.address or "pki.toml", kind, "error", ((problem.code, problem.message),), None)


def _refused(rule: str, message: str, at: int) -> Coming:
    return Coming(at, "pki.toml", "", "error", ((rule, message),), None)


def _coming(address: Address, ahead: Ahead) -> Coming:
    return Coming(ahead.at, str(address), address.kind, ahead.action, (("", ahead.detail),), ahead.generation)


def _ending(change: Change, at: int) -> Coming:
    address, generation = change.address, change.held.generation if change.held else None
    return Coming(at, str(address), address.kind, "expire", (("", change.waits),), generation)


def _row(change: Change, at: int) -> Coming:
    waiting = change.readiness is Readiness.WAITING
    return Coming(
        at,
        str(change.address),
        change.address.kind,
        str(change.action),
        # What holds a change back says more than why it is wanted.
        tuple((str(one.code), change.waits if waiting else one.detail) for one in change.reasons),
        change.generation,
        status=str(change.readiness),
    )


def _grouped(changes: Sequence[Change], step: Step, generations: Sequence[set[int]], at: int) -> Iterator[Coming]:
    groups: dict[tuple[object, ...], list[Change]] = defaultdict(list)
    for one in changes:
        codes = tuple(reason.code for reason in one.reasons)
        groups[one.address.block, one.action, codes, one.readiness].append(one)
    more: dict[tuple[object, ...], tuple[int, set[int]]] = {
        (f"{one.block.kind}.{one.block.name}", Action.RENEW, (ReasonCode.DUE,), Readiness.READY): (len(one.keys), made)
        for one, made in zip(step.steady, generations, strict=True)
    }
    for alike, found in groups.items():
        count, made = more.get(alike, (0, set[int]()))
        if len(found) + count == 1:
            yield _row(found[0], at)
            continue
        numbers = made.union(one.generation for one in found)
        first = _row(found[0], at)
        yield evolve(
            first,
            address=found[0].address.block,
            reasons=tuple((code, "") for code, _ in first.reasons),
            generation=numbers.pop() if len(numbers) == 1 else None,
            count=len(found) + count,
        )

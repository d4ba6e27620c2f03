"""A plan as titled sections that fit a size: what Markdown and HTML share.  Escaping is theirs."""

from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from pkicode.model.change import Change, Plan, Readiness
from pkicode.model.counted import counted
from pkicode.views import problems
from pkicode.views.human import pending, rows, verdict
from pkicode.views.plan import IN_FULL, SYMBOLS, Summary, lines
from pkicode.views.served import has_drift
from pkicode.views.text import printable


@frozen
class Section:
    title: str
    body: tuple[str, ...]
    unfolded: bool
    dropped: int = 0
    """Lines left out because the page would have grown too large."""


def sections(plan: Plan, said: Summary) -> list[Section]:
    """The most important first: when space runs out, the end is what gets shorter."""
    urgent = [change for change in plan.changes if _is_urgent(change)]
    calm = [change for change in plan.changes if not _is_urgent(change)]
    groups = lines(calm)
    each = len(urgent) <= IN_FULL
    found = [
        Section(f"Needs attention ({len(urgent):,})", tuple(rows(lines(urgent, full=each))), unfolded=True),
        Section(
            "Policy", tuple(map(verdict, said.verdicts)), unfolded=not all(judged.passed for judged in said.verdicts)
        ),
        Section("Problems", tuple(problems.human(said.problems).splitlines()), unfolded=True),
        Section(counted(len(calm), "change"), tuple(rows(groups)), unfolded=False),
        Section("Endpoints", tuple(map(printable, said.endpoints)), unfolded=has_drift(plan.seen or ())),
        Section("Pending", tuple(map(pending, said.pending)), unfolded=False),
    ]
    return [section for section in found if section.body]


def fitted(found: Sequence[Section], budget: int, cost: Callable[[str], int]) -> list[Section]:
    """Keep as many lines as `budget` bytes hold, section by section; `cost` is what one line takes."""
    kept = []
    for section in found:
        count = 0
        for line in section.body:
            budget -= cost(line)
            if budget < 0:
                break
            count += 1
        kept.append(evolve(section, body=section.body[:count], dropped=len(section.body) - count))
    return kept


def _is_urgent(change: Change) -> bool:
    return change.readiness is not Readiness.READY or SYMBOLS[change.action] == "!"

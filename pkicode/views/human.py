"""A plan for a terminal: plain text, colour only beside what the symbols already say."""

from collections.abc import Sequence

from pkicode.model.change import Plan, Verdict
from pkicode.model.counted import counted
from pkicode.views import problems
from pkicode.views.plan import Line, Summary, summary
from pkicode.views.text import printable

_COLOURS = {"+": 32, "+/-": 33, "~": 33, "-": 31, "!": 31, "*": 36, "=": 34, ">": 34, "?": 35, "x": 31}
_LABEL_WIDTH = 40
"""Longer addresses push their own line to the right, not everybody's."""


def human(plan: Plan, *, full: bool = False, color: bool = False) -> str:
    """The whole plan, ending in a newline."""
    said = summary(plan, full=full)
    parts = [heading(said), *rows(said.lines, color=color), *map(pending, said.pending)]
    parts += [f"Lint: {said.lint}"] if said.lint else []
    parts += map(verdict, said.verdicts)
    if said.problems:
        parts.append(problems.human(said.problems).rstrip("\n"))
    return "\n".join([*parts, *map(printable, said.endpoints), conclusion(said)]) + "\n"


def heading(said: Summary) -> str:
    """When, where, and on what this plan stands."""
    declared = f"{counted(said.declared, 'leaf certificate')} declared"
    scope = (f"scope: {printable(said.scope)}",) if said.scope else ()
    return "   ".join([f"At {said.at}", f"env: {printable(said.env)}", f"state: {said.state}", declared, *scope])


def conclusion(said: Summary) -> str:
    """The tally and the next instant at which there would be something to do."""
    plan = said.tally if said.tally == "No changes." else f"Plan: {said.tally}."
    return plan + (f"   Next wake: {said.next_wake}" if said.next_wake else "")


def pending(told: str) -> str:
    """What changed in pki.toml and waits for certificates to be renewed anyway."""
    return f"  ~ pending {printable(told)}"


def verdict(judged: Verdict) -> str:
    """One policy rule's word on the plan."""
    mend = f"      {printable(judged.help)}" if judged.help and not judged.passed else ""
    return f"Policy: {'ok' if judged.passed else 'x'} {printable(judged.rule)}: {printable(judged.message)}{mend}"


def rows(lines: Sequence[Line], *, color: bool = False) -> list[str]:
    """The lines as aligned text, every name made printable."""
    counted = [f"x{line.count:,}" if line.count > 1 else "" for line in lines]
    labels = [printable(line.label) for line in lines]
    width = max((len(label) for label in labels if len(label) <= _LABEL_WIDTH), default=0)
    count_width = max(map(len, counted), default=0)
    return [
        _row(line, label.ljust(width), count.rjust(count_width), color=color)
        for line, label, count in zip(lines, labels, counted, strict=True)
    ]


def _row(line: Line, label: str, count: str, *, color: bool) -> str:
    mark = line.symbol.rjust(3)
    if color:
        mark = f"\x1b[{_COLOURS[line.symbol]}m{mark}\x1b[0m"
    told = [printable(fact) for fact in (*line.facts, line.why and f"because {line.why}", line.note) if fact]
    return "  ".join([" ".join(part for part in (mark, label, count) if part), *told]).rstrip()

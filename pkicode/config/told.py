"""One mistake in many rows of a fan-out, told once: which problems have one cause.  Others find what is wrong."""

import re
from collections.abc import Hashable, Iterable
from itertools import islice

from attrs import evolve

from pkicode.model.address import parse
from pkicode.model.counted import counted
from pkicode.model.problem import MOST_ROWS, NAMED_ROWS, Problem

_KEY = re.compile(r'\["(?:[^"\\]|\\.)*"\]')
_QUOTED = re.compile(r"`[^`]*`")


def cause(problem: Problem) -> Hashable:
    """What stands the same in all rows that one mistake is told of: block, code, entry, and the reason.

    A message quotes first what the row says; what it quotes after that is what the row was held against.
    """
    reason = _QUOTED.sub("", _KEY.sub("", problem.message), count=1)
    # The file of a row is that of its block; its line is the row's own.
    return problem.code, _block(problem), problem.place.keys if problem.place else (), reason


def _block(problem: Problem) -> str:
    """The fan-out that it is about a row of; "" where it is about no row."""
    block, is_row, _ = problem.address.partition("[")
    return block if is_row else ""


def once(problems: Iterable[Problem]) -> list[Problem]:
    """The problems, those of rows with one cause as the first of them, which says how many more there are."""
    found: dict[Hashable, list[Problem]] = {}
    for number, problem in enumerate(problems):
        found.setdefault(cause(problem) if _block(problem) else number, []).append(problem)
    return [_first(same) for same in found.values()]


def _first(same: list[Problem]) -> Problem:
    first, others = same[0], {one.address: one for one in same}
    del others[first.address]
    if not others:
        return first
    named = f": {', '.join(map(_row, others.values()))}" if len(others) <= NAMED_ROWS else ""
    message = f"{first.message} (and {counted(len(others), 'more row')} of {_block(first)}{named})"
    listed = [first, *islice(others.values(), MOST_ROWS - 1)]
    return evolve(first, message=message, rows=tuple((one.address, _line(one)) for one in listed))


def _line(problem: Problem) -> int | None:
    return problem.place.line if problem.place else None


def _row(problem: Problem) -> str:
    """How people find it: by its line in a file, else by its key."""
    line = _line(problem)
    return f"line {line}" if line else parse(problem.address)[0].key

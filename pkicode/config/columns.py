"""Texts with `${each.x}` as functions of a record's values, compiled once for all rows.  Reads no rows."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from pkicode.config.substitute import HOLE
from pkicode.config.tabular import Record

Pick = Callable[[Record], tuple[str, ...]]


def columns_in(text: str) -> list[str]:
    """The columns that a text with `${each.x}` names."""
    return [match[1][5:] for match in HOLE.finditer(text) if match[1] and match[1].startswith("each.")]


def picker(indices: list[int]) -> Pick:
    """A function from a record to the values at these indices."""
    if not indices:
        return lambda _: ()
    if len(indices) == 1:
        only = indices[0]
        return lambda record: (record[only],)
    return itemgetter(*indices)


def compiled(text: str, at: dict[str, int]) -> Callable[[Any], str]:
    """A text with `${each.x}` as a function of the record's values."""
    indices: list[int] = []

    def hole(match: Any) -> str:
        if match[0] == "$${":
            return "${"
        indices.append(at[match[1][5:]])
        return "%s"

    form = HOLE.sub(hole, text.replace("%", "%%"))
    if form == "%s":
        return itemgetter(indices[0])
    if not indices:
        literal = form.replace("%%", "%")
        return lambda _: literal
    pick = picker(indices)
    return lambda record: form % pick(record)

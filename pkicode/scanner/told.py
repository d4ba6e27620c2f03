"""One check says several things of several chains; its finding is the worst of them."""

from collections.abc import Sequence

from attrs import frozen

from pkicode.scanner.finding import Finding, Grade

_MOST = 5
"""Sentences of one finding."""


@frozen
class Told:
    """One thing that a check has to say."""

    grade: Grade
    value: str
    """One word."""
    detail: str
    """A sentence without its full stop, with what mends it."""


def worst(check: str, told: Sequence[Told]) -> Finding:
    """The finding of one check of the family PKI: the worst grade, its first word, its sentences."""
    if not told:
        return Finding("PKI", check, Grade.UNKNOWN, "unknown", "Nothing could be said of it.")
    grade = max((one.grade for one in told), key=Grade.weight)
    those = [one for one in told if one.grade is grade]
    details = list(dict.fromkeys(f"{one.detail[:1].upper()}{one.detail[1:]}." for one in those))
    more = f" And {len(details) - _MOST} more." if len(details) > _MOST else ""
    return Finding("PKI", check, grade, those[0].value, " ".join(details[:_MOST]) + more)

"""Problems for people: the message, the line it is about, and how to mend it.  Finding problems is others' work."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from pkicode.model.address import parse
from pkicode.model.problem import MOST_ROWS, NAMED_ROWS, Problem, Severity, Span
from pkicode.views.text import printable

_LISTED = 100
_WIDEST = 160
"""Characters of a source line that are drawn; a CSV row or a long list is cut around the caret."""


def human(problems: Iterable[Problem]) -> str:
    """Every problem in the form of rustc: header, arrow to the place, the line with carets, `= help:`.

    Args:
        problems: with spans filled in (Config.located); one without span is shown without a line.
    """
    return "\n".join(_problem(problem) for problem in problems)


def _problem(problem: Problem) -> str:
    word = "error" if problem.severity is Severity.ERROR else "warning"
    lines = [f"{word}[{problem.code}]: {printable(problem.message)}"]
    shown = [(problem.span, "^", problem.label)] + [(other.span, "-", other.label) for other in problem.related]
    width = max((len(str(span.line)) for span, _, _ in shown if span), default=1)
    for number, (span, mark, label) in enumerate(shown):
        if span:
            lines += _drawn(span, mark, label, width, arrow="-->" if number == 0 else ":::")
    if not problem.span and problem.place:
        lines.append(f"  --> {printable(problem.place.path)}")
    if len(problem.rows) > NAMED_ROWS + 1:
        lines.append(f"   = rows: {printable(_listed(problem.rows))}")
    if problem.help:
        lines.append(f"   = help: {printable(problem.help)}")
    return "\n".join(lines)


def _listed(rows: Sequence[tuple[str, int | None]]) -> str:
    """Rows by their lines, those that follow each other as one, or by their keys: a hundred of these."""
    found = [parse(address)[0].key for address, line in rows if line is None]
    lines = sorted(line for _, line in rows if line is not None)
    for _, run in groupby(enumerate(lines), key=lambda pair: pair[1] - pair[0]):
        at = [line for _, line in run]
        found.append(f"line {at[0]}" if len(at) == 1 else f"lines {at[0]}-{at[-1]}")
    more = ", and more" if len(rows) == MOST_ROWS else ""
    return ", ".join(found[:_LISTED]) + (", and more: `--format json` lists them" if len(found) > _LISTED else more)


def _drawn(span: Span, mark: str, label: str, width: int, *, arrow: str) -> list[str]:
    where = f"{' ' * width}{arrow} {printable(span.path)}:{span.line}:{span.column}"
    if not span.text:
        return [where]
    # A masked line is shorter than the one that was read.
    start, end = (
        min(span.column - 1, len(span.text)),
        span.end_column - 1 if span.end_line == span.line else len(span.text),
    )
    first = max(0, start - _WIDEST // 2) if len(span.text) > _WIDEST else 0
    text = span.text.replace("\t", " ")[first : first + _WIDEST]
    before = printable(text[: start - first])
    marked = printable(text[start - first : max(end, start + 1) - first])
    after = printable(text[max(end, start + 1) - first :])
    gutter = " " * width
    carets = f"{' ' * len(before)}{mark * max(1, len(marked))} {printable(label)}".rstrip()
    return [where, f"{span.line:>{width}} | {before}{marked}{after}", f"{gutter} | {carets}"]

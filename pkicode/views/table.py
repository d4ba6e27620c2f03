"""Rows of cells as aligned text or CSV (RFC 4180)."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from pkicode.views.text import printable


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart, a newline after each row."""
    cells = [tuple(headers), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def listing(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, one pair a line, values in one column."""
    told = [(name, printable(value)) for name, value in pairs]
    width = max((len(name) for name, _ in told), default=0)
    return "".join(f"{name.ljust(width)}  {value}".rstrip() + "\n" for name, value in told)


def csv_text(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV that a spreadsheet reads as text: a cell that would start a formula gets an apostrophe in front.

    Without headers there is no line of them: more rows of a text that has one.
    """
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if headers:
        writer.writerow(headers)
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    return out.getvalue()


def _inert(cell: str) -> str:
    # Tab and CR are skipped by spreadsheets before they look for the sign.
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell

"""A scan for people and programs, from the rows of scanner/tables.py.  Every text of a stranger is made printable."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pkicode.model.counted import counted
from pkicode.model.instants import rfc3339
from pkicode.scanner.finding import Grade
from pkicode.scanner.tables import COLUMNS, INSTANTS, Row, Rows
from pkicode.views.table import csv_text, table
from pkicode.views.text import printable

VENDOR = "application/vnd.pkicode.scan.v1+json"
_SILENT = ("closed", "filtered", "unresolved")
_TOLD = (Grade.BAD, Grade.WARNING, Grade.UNKNOWN)
_MOST_FINDINGS, _MOST_TARGETS, _ALL_SHOWN = 100, 3, 20
_MAX_BYTES = 64 * 1024
_STYLE = "color:var(--jp-content-font-color1,inherit);background:transparent;white-space:pre-wrap;margin:0.3em 0"


def document(rows: Rows, scan_id: str) -> dict[str, object]:
    """What `pkicode scan --format json` prints: the seven tables as lists of objects, instants as RFC 3339."""
    tables = {name: [dict(_said(COLUMNS[name], row)) for row in rows[name]] for name in COLUMNS}
    return {"format": "pkicode.scan", "version": "1.0", "scan_id": scan_id, **tables}


def _said(columns: Iterable[str], row: Row) -> Iterator[tuple[str, object]]:
    for name, value in zip(columns, row, strict=True):
        if name in INSTANTS:
            yield name, None if value is None else rfc3339(value)
        else:
            yield name, list(value) if isinstance(value, tuple) else value


def csv(rows: Rows) -> str:
    """The table of findings."""
    return csv_text(COLUMNS["findings"], (tuple(printable(str(cell)) for cell in row) for row in rows["findings"]))


def human(rows: Rows) -> str:
    """Who answers and how well, what is to be mended, and how many of each."""
    mend = "".join(f"{line}\n" for line in mended(rows))
    return "\n".join([table(*endpoints(rows)), *([mend] if mend else []), f"{conclusion(rows)}\n"])


def endpoints(rows: Rows) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A header and a line for each endpoint; of many that do not answer there are only counts."""
    there = [dict(zip(COLUMNS["endpoints"], row, strict=True)) for row in rows["endpoints"]]
    if len(there) > _ALL_SHOWN:
        there = [one for one in there if one["state"] not in _SILENT]
    counts = Counter((row[0], str(row[3]), row[6]) for row in rows["findings"])
    several = _are_several(rows)
    header = ("TARGET", "STATE", "LETTER", "VERSIONS", "BAD", "WARNING", "UNKNOWN")
    return (*(["SCAN"] if several else []), *header), [
        (
            *([one["scan"]] if several else []), one["target"], one["state"], one["letter"], " ".join(one["versions"]),
            *(str(counts[one["target"], grade, one["scan"]] or "") for grade in _TOLD),
        )
        for one in there
    ]  # fmt: skip


def _are_several(rows: Rows) -> bool:
    """Whether it is the result of several declared scans, each with a policy."""
    return len({row[-1] for row in rows["endpoints"]}) > 1


def mended(rows: Rows) -> Iterator[str]:
    """A line for each thing to be mended, the worst first, with who has it."""
    found: dict[Any, list[str]] = {}
    several = _are_several(rows)
    for target, family, check, grade, value, detail, scan in rows["findings"]:
        who = f"{target} in scan.{scan}" if several else target
        found.setdefault((str(grade), str(family), check, value, detail), []).append(who)
    told = sorted((key for key in found if key[0] in _TOLD), key=lambda key: _TOLD.index(Grade(key[0])))
    for grade, family, check, value, detail in told[:_MOST_FINDINGS]:
        those = found[grade, family, check, value, detail]
        more = f" and {len(those) - _MOST_TARGETS:,} more" if len(those) > _MOST_TARGETS else ""
        said = f"{grade:<8} {family} {check} {value}".rstrip()
        yield printable(f"{said}: {', '.join(those[:_MOST_TARGETS])}{more}")
        yield printable(f"         {detail}")
    if len(told) > _MOST_FINDINGS:
        yield f"And {len(told) - _MOST_FINDINGS:,} more: --format csv has each."


def conclusion(rows: Rows) -> str:
    """How many of each."""
    states = Counter(str(row[COLUMNS["endpoints"].index("state")]) for row in rows["endpoints"])
    grades = Counter(str(row[3]) for row in rows["findings"])
    answered = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    judged = ", ".join(f"{grades[grade]:,} {grade}" for grade in reversed(Grade) if grades[grade])
    return f"{counted(states.total(), 'target')}: {answered or 'none'}.   Findings: {judged or 'none'}."


def reaches(rows: Rows, grades: Collection[str]) -> bool:
    """Whether a finding has one of these grades."""
    return any(row[3] in grades for row in rows["findings"])


def mimebundle(rows: Rows, scan_id: str) -> Mapping[str, object]:
    """A scan for notebooks: text, HTML of 64 KiB at most without a script, Markdown, and counts as JSON."""
    states = Counter(str(row[COLUMNS["endpoints"].index("state")]) for row in rows["endpoints"])
    grades = Counter(str(row[3]) for row in rows["findings"])
    text = human(rows)
    return {
        "text/plain": text,
        "text/html": _html(rows),
        # Four backticks, and none of a stranger's can end the block: a line of ours begins with a word.
        "text/markdown": f"````text\n{text[:_MAX_BYTES]}\n````\n",
        VENDOR: {
            "format": "pkicode.scan.summary", "version": "1.0", "scan_id": scan_id, "states": states, "grades": grades,
        },
    }  # fmt: skip


def _html(rows: Rows) -> str:
    # For notebooks alone.
    from html import escape

    header, lines = endpoints(rows)
    parts = [
        ("Endpoints", table(header, lines).splitlines()),
        ("To be mended", list(mended(rows))),
    ]
    budget = _MAX_BYTES - 4096
    found = [f"<p><strong>{escape(conclusion(rows))}</strong></p>"]
    for title, body in parts:
        kept = []
        for line in body:
            budget -= len(escape(line).encode()) + 1
            if budget < 0:
                break
            kept.append(escape(line))
        dropped = len(body) - len(kept)
        note = f"<p>{dropped:,} more lines: the frames have every row.</p>" if dropped else ""
        opened = " open" if len(kept) <= _ALL_SHOWN + 1 else ""
        text = "\n".join(kept)
        found.append(f'<details{opened}><summary>{title}</summary><pre style="{_STYLE}">{text}</pre>{note}</details>')
    return f'<div class="pkicode-scan">{"".join(found)}</div>'

"""A forecast for people and scripts: the load of the days, and what somebody should know before it comes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from attrs import frozen

from pkicode.model.counted import counted
from pkicode.model.instants import DAY, as_datetime, rfc3339
from pkicode.plan.forecast import Coming
from pkicode.project.foresight import Forecast
from pkicode.views.text import printable

COLUMNS = ("at", "address", "kind", "action", "reasons", "generation", "count", "status")
_SIGNED = ("issue", "renew", "sign")
_TOLD = ("expire", "outlive", "error")
_BARS = 62
"""More lines of load than fit on two screens: then a line is a week, or a month."""
_WIDTH = 40
_LISTED = 20


def document(told: Forecast) -> dict[str, object]:
    """The JSON that scripts may rely on (docs/reference/forecast-json.md)."""
    return {
        "format": "pkicode.forecast",
        "version": "1.0",
        "at": rfc3339(told.at),
        "until": rfc3339(told.until),
        "rows": [
            {
                "at": rfc3339(one.at),
                "address": one.address,
                "kind": one.kind,
                "action": one.action,
                "reasons": [{"code": code, "detail": detail} for code, detail in one.reasons],
                "generation": one.generation,
                "count": one.count,
                "status": one.status,
            }
            for one in told.rows
        ],
        "crls": [{"name": one.name, "entries": one.entries, "entries_until": one.entries_until} for one in told.crls],
    }


def cells(rows: Iterable[Coming]) -> Iterator[tuple[str, ...]]:
    """The rows as text, in the order of COLUMNS."""
    for one in rows:
        reasons = " ".join(code or detail for code, detail in one.reasons)
        generation = "" if one.generation is None else str(one.generation)
        yield rfc3339(one.at), one.address, one.kind, one.action, reasons, generation, str(one.count), one.status


@frozen
class Load:
    """The work of one stretch of days."""

    since: int
    counts: Counter[str]
    """Action -> how often."""
    peak: int
    """Signatures on its busiest day."""

    @property
    def signatures(self) -> int:
        """Of certificates and lists."""
        return sum(self.counts[one] for one in _SIGNED)


def load(told: Forecast, days: int) -> list[Load]:
    """The work of a forecast in stretches of so many days, idle ones too."""
    daily: dict[int, Counter[str]] = defaultdict(Counter)
    for one in told.rows:
        if one.action not in _TOLD and one.status != "waiting":
            daily[(one.at - told.at) // DAY][one.action] += one.count
    last = (told.until - told.at) // DAY
    found = []
    for first in range(0, last + 1, days):
        stretch = [daily[day] for day in range(first, min(first + days, last + 1))]
        peak = max(sum(one[action] for action in _SIGNED) for one in stretch)
        found.append(Load(told.at + first * DAY, sum(stretch, Counter()), peak))
    return found


def human(told: Forecast) -> str:
    """Totals, the load, and what no plan will do."""
    days = (told.until - told.at) // DAY + 1
    total: Counter[str] = Counter()
    for one in told.rows:
        if one.action not in _TOLD and one.status != "waiting":
            total[one.action] += one.count
    done = ", ".join(f"{number:,} to {action}" for action, number in sorted(total.items())) or "nothing to do"
    if stops := [one.at for one in told.rows if one.action == "error"]:
        done += f", and no plan can be made from {rfc3339(min(stops))} on"
    parts = [
        f"{rfc3339(told.at)} to {rfc3339(told.until)}, {counted(days, 'day')} with an apply each: {done}.",
        "",
        *_histogram(told, days),
        *_notes(told),
    ]
    return "\n".join(parts) + "\n"


def _histogram(told: Forecast, days: int) -> Iterator[str]:
    width, unit = next(
        (one, name)
        for one, name in ((1, "day"), (7, "week"), (30, "30 days"), (365, "year"))
        if days <= one * _BARS or one == 365
    )
    loads = load(told, width)
    most = max(one.signatures for one in loads) or 1
    digits = len(f"{most:,}")
    yield f"Signatures by {unit}" + ("" if width == 1 else " (and on the busiest day)")
    for one in loads:
        bar = "#" * -(-one.signatures * _WIDTH // most)
        peak = "" if width == 1 else f"  ({one.peak:,})"
        yield f"  {as_datetime(one.since):%Y-%m-%d}  {one.signatures:>{digits},}{peak}  {bar}".rstrip()


def _notes(told: Forecast) -> Iterator[str]:
    for title, rows in (
        ("Waits for a person", _first_of_each(one for one in told.rows if one.status == "waiting")),
        (
            "Denied by max_actions, unless --allow lifts it that day",
            [one for one in told.rows if one.status == "denied"],
        ),
        ("Ends without a successor", [one for one in told.rows if one.action == "expire"]),
        ("From then on a certificate would outlive its issuer", [one for one in told.rows if one.action == "outlive"]),
        ("No plan can be made from then on", [one for one in told.rows if one.action == "error"]),
    ):
        if rows:
            yield from ("", title)
            yield from (_note(one) for one in rows[:_LISTED])
            if len(rows) > _LISTED:
                yield f"  and {len(rows) - _LISTED:,} more (--format json or csv has them all)"
    sizes = [one for one in told.crls if one.entries]
    if sizes:
        yield from ("", "Entries of CRLs, if nobody else is revoked")
        yield from (f"  {one.name}  {one.entries:,} now, {one.entries_until:,} at the end" for one in sizes)


def _first_of_each(rows: Iterable[Coming]) -> list[Coming]:
    """What waits is planned anew each day."""
    found: dict[tuple[str, int | None], Coming] = {}
    for one in rows:
        found.setdefault((one.address, one.generation), one)
    return list(found.values())


def _note(one: Coming) -> str:
    address = one.address if one.generation is None else f"{one.address}@{one.generation}"
    count = f"  x{one.count:,}" if one.count > 1 else ""
    reasons = "; ".join(" ".join(part for part in told if part) for told in one.reasons)
    return printable(f"  {rfc3339(one.at)}  {address}{count}  {reasons}".rstrip())

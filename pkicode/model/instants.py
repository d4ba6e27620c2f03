"""Instants and durations: whole seconds, UTC.

An instant is an `int` of seconds since 1970-01-01T00:00:00Z and not a datetime: it is what the stores hold, 100,000 of
them are compared in a plan, and RFC 5280's "no expiry" (9999-12-31T23:59:59Z) fits, which nanoseconds do not.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

NO_EXPIRY = 253402300799
"""RFC 5280 section 4.1.2.5: 99991231235959Z."""

MINUTE, HOUR, DAY = 60, 3600, 86400
YEAR = 365 * DAY
"""`1y` in pki.toml: 365 days, whatever the calendar says."""

_EARLIEST, _LATEST = YEAR, NO_EXPIRY - 100 * YEAR
"""As an instant to plan at: what counts back and ahead from there must still have a date, and 0 is none."""
_UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": YEAR}
_DURATION = re.compile(r"([0-9]{1,11})([smhdwy])\Z")


def rfc3339(instant: int) -> str:
    """`2026-11-23T09:00:00Z`."""
    return as_datetime(instant).strftime("%Y-%m-%dT%H:%M:%SZ") if instant >= 0 else "never"


def as_datetime(instant: int) -> datetime:
    """The aware datetime (UTC) of an instant."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=instant)


def from_datetime(moment: datetime) -> int:
    """Whole seconds of an aware datetime.

    Raises:
        ValueError: the datetime has no offset: a local time means another instant on every host.
    """
    if moment.tzinfo is None:
        raise ValueError("a local time means another instant on every host; write an offset or Z")
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


def parse_instant(text: str, *, now: int) -> int:
    """Read `2027-01-11`, an RFC 3339 time with an offset, or `+60d` (from `now`).

    Raises:
        ValueError: none of these, or too long ago or ahead.
    """
    instant = now + parse_duration(text[1:]) if text.startswith("+") else _absolute(text)
    if not _EARLIEST <= instant <= _LATEST:
        raise ValueError(f"`{text}` lies outside the years 1971 to 9899, for which certificates can be planned")
    return instant


def _absolute(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"`{text}` is not a time; write 2027-01-11, 2027-01-11T09:00:00Z or +60d") from error
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        moment = moment.replace(tzinfo=UTC)
    return from_datetime(moment)


def parse_duration(text: str) -> int:
    """Seconds of `5m`, `1h`, `90d`, `2w`, `2y`.

    Raises:
        ValueError: not one number and one unit.
    """
    match = _DURATION.match(text)
    if not match:
        raise ValueError(f"`{text}` is not a duration; write a number and one of s m h d w y, as in 90d")
    return int(match[1]) * _UNITS[match[2]]


@lru_cache(maxsize=256)
def duration(seconds: int) -> str:
    """The shortest exact text: 7776000 -> `90d`, 730 days -> `2y`."""
    for unit in ("y", "d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


@lru_cache(maxsize=64)
def renewal_window(at: str, jitter: str, validity: int) -> tuple[int, int]:
    """Of `renew`: seconds from not_before to the declared instant, and how many of them jitter may take."""
    part, over, whole = at.partition("/")
    declared = validity * int(part) // int(whole) if over else max(0, validity - parse_duration(at))
    return declared, min(validity * int(jitter.rstrip("%")) // 100, declared // 2)

"""When OCSP answers fall due, and when those who sign them are followed: a plan and an apply reckon alike."""

from collections.abc import Mapping, Sequence

from pkicode.config.language import OcspSpec
from pkicode.kinds.authority import Authority, Standing
from pkicode.model.instants import DAY, NO_EXPIRY
from pkicode.model.row import Held

LIFE = 30 * DAY
_TERM = LIFE // 2


def term(of: Authority | Standing, now: int) -> tuple[int, int]:
    """Since when the delegate in force at an instant may have been issued, and when the next one takes over.

    Every 15 days of a CA's life, and so known ahead; never, where a delegate of that time already ends with the CA.
    """
    since = of.not_before + max(0, now - of.not_before) // _TERM * _TERM
    return since, since + _TERM if since + LIFE <= of.not_after else NO_EXPIRY


def follows_at(not_before: int, not_after: int, ca_not_after: int) -> int:
    """When a ceremony is to sign the next one for an offline CA; never, where this one ends with the CA.

    Two thirds on: with 548 days there is a ceremony a year, and half a year to hold it in.
    """
    return not_before + (not_after + 1 - not_before) * 2 // 3 if not_after < ca_not_after else NO_EXPIRY


def next_due(
    kept: Held | None,
    spec: OcspSpec,
    duty: Sequence[Authority | Standing],
    now: int,
    *,
    is_away: bool,
) -> int:
    """When answers are signed again, all of them, or a delegate is to follow; `kept`: the row whose answers go on.

    What follows the delegate of a CA whose key `is_away` has a row of its own.
    """
    ends = [now + spec.refresh, *(term(one, now)[1] for one in duty if not is_away)]
    return min([*ends, *([kept.due] if kept else [])])


def tallied(generation: int, signed: int, revoked: int, delegated: Mapping[str, int]) -> str:
    """What a row's value says of one generation: how much was signed and revoked by it, and who answers for it."""
    by = f" by {delegated[key]}" if (key := f"g{generation}") in delegated else ""
    return f"@{generation} {signed} {revoked}{by}"

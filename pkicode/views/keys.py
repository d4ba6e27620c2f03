"""The keys of a keystore, as text and as JSON."""

from collections.abc import Sequence
from typing import Any

from attrs import asdict

from pkicode.model.instants import rfc3339
from pkicode.model.keyuse import Attested, KeyUse
from pkicode.views.table import listing, table


def records(found: Sequence[KeyUse]) -> list[dict[str, Any]]:
    """One object for each key."""
    return [{**asdict(one), "since": None if one.since is None else rfc3339(one.since)} for one in found]


def human(found: Sequence[KeyUse]) -> str:
    """One line for each key."""
    return table(("key", "alg", "use", "why"), [(one.label, one.alg, _use(one), one.why) for one in found])


def _use(one: KeyUse) -> str:
    return str(one.use) if one.since is None else f"{one.use} since {rfc3339(one.since)[:10]}"


def attested_human(found: Sequence[Attested]) -> str:
    """Label and value of everything that is said, key by key."""
    words = {True: "yes", False: "no", None: "not told"}
    told = [[(name, words.get(value, value)) for name, value in asdict(one).items()] for one in found]
    return "\n".join(listing([(name.replace("_", " "), str(value)) for name, value in one]) for one in told)

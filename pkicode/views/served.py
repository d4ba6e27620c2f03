"""What endpoints serve, for people: a line for each that does not serve what was issued, with what mends it.

Names in it are strangers': whoever shows a line makes it printable.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from pkicode.model.instants import rfc3339
from pkicode.model.served import Leaf, Seen

_MENDS = {
    "unknown": "install ours there and reload the server, or take the endpoint out of pki.toml",
    "revoked": "clients that look refuse it: install the newest one and reload the server",
    "superseded": "reload the server, which has not read the newest one; `after` in [cert.X] does that",
    "not-served": "look at which files the server reads, and reload it",
}
_UNREACHED = "no certificate was seen, so that nothing is known"
_NAME_MOST = 100
"""Characters of a stranger's name that are shown."""
_LINES_MOST = 50


def told(seen: Sequence[Seen], *, full: bool = False) -> Iterator[str]:
    """A headline, and a line for each thing that is not as it should be; some of them unless `full`."""
    words = Counter(map(_word, seen))
    good = words.pop("", 0)
    yield ", ".join(
        [f"Endpoints: {good:,} of {len(seen):,} as issued", *(f"{words[word]:,} {word}" for word in sorted(words))]
    )
    wrong = [one for one in seen if _word(one)]
    shown = wrong if full else wrong[:_LINES_MOST]
    widths = [max((len(text(one)) for one in shown), default=0) for text in (_word, _label)]
    for one in shown:
        yield f"  {_word(one):{widths[0]}}  {_label(one):{widths[1]}}  {one.target}  {_what(one)}"
    if len(shown) < len(wrong):
        yield f"  ... and {len(wrong) - len(shown):,} more (--full lists all)"
    for word, mend in _MENDS.items():
        if words[word]:
            yield f"   = help: {word}: {mend}"


def has_drift(seen: Sequence[Seen]) -> bool:
    """Whether anything is served that should not be."""
    return any(one.drift for one in seen)


def _word(one: Seen) -> str:
    """The word of drift, the state of who was not reached, or nothing."""
    return one.drift or ("" if one.is_reached else "no certificate" if one.state == "tls" else one.state)


def _label(one: Seen) -> str:
    return one.address if one.generation is None else f"{one.address}@{one.generation}"


def _what(one: Seen) -> str:
    if not one.is_reached:
        return _UNREACHED
    return f"serves {'; and '.join(map(_leaf, one.served))}"


def _leaf(one: Leaf) -> str:
    ends = rfc3339(one.not_after) if one.not_after is not None else "nobody knows when"
    return f'serial {_short(one.serial_number)}, issuer "{_short(one.issuer)}", until {ends}'


def _short(name: str) -> str:
    return name if len(name) <= _NAME_MOST else f"{name[:_NAME_MOST]}..."

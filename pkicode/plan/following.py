"""What stands on something new that is only reserved, not approved or left out: it waits, and does not fail halfway."""

from collections.abc import Iterable, Sequence

from attrs import evolve

from pkicode.model.change import APPROVAL, Action, Change, Readiness


def following(changes: Sequence[Change], left_out: Iterable[str]) -> list[Change]:
    """The changes, in which what has to follow a reservation, an approval or a CA that is left out waits with it.

    What goes to relying parties goes without what is missing, unless all of it is.

    Args:
        left_out: addresses of CAs that are not there and not made by these changes.
    """
    # Of each address, what is said of everything behind it.
    missing = {one: f"{one} comes before it, and is left out" for one in left_out}
    if not missing and not any(map(_holds, changes)):
        return list(changes)
    found = []
    for planned in changes:
        change = planned
        behind = [missing[one] for one in change.depends_on if one in missing]
        if behind and change.action is Action.PUBLISH and len(behind) < len(change.depends_on):
            behind = []
        if behind and change.readiness is Readiness.READY:
            change = evolve(change, readiness=Readiness.WAITING, waits=behind[0])
        is_new = change.held is None or change.held.is_forgotten
        if is_new and (behind or _holds(change)):
            missing[str(change.address)] = behind[0] if behind else f"{change.address} comes first"
        found.append(change)
    return found


def _holds(change: Change) -> bool:
    return change.action is Action.RESERVE or change.waits == APPROVAL

"""What stands on something new that is only reserved, or not approved: it waits, and is not begun to fail halfway."""

from collections.abc import Sequence

from attrs import evolve

from pkicode.model.change import APPROVAL, Action, Change, Readiness


def following(changes: Sequence[Change]) -> list[Change]:
    """The changes, in which what has to follow a reservation of something new, or an approval, waits with it.

    What goes to relying parties goes without what is missing, unless all of it is.
    """
    if not any(map(_holds, changes)):
        return list(changes)
    missing: dict[str, str] = {}
    found = []
    for planned in changes:
        change = planned
        behind = [missing[one] for one in change.depends_on if one in missing]
        if behind and change.action is Action.PUBLISH and len(behind) < len(change.depends_on):
            behind = []
        if behind and change.readiness is Readiness.READY:
            change = evolve(change, readiness=Readiness.WAITING, waits=f"{behind[0]} comes first")
        is_new = change.held is None or change.held.is_forgotten
        if is_new and (behind or _holds(change)):
            missing[str(change.address)] = behind[0] if behind else str(change.address)
        found.append(change)
    return found


def _holds(change: Change) -> bool:
    return change.action is Action.RESERVE or change.waits == APPROVAL

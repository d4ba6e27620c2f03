"""What of a plan may be done at all: nothing that is denied, and unattended only what is done for given reasons."""

from collections.abc import Sequence

from attrs import evolve

from pkicode.model.change import Change, Plan, Readiness
from pkicode.model.problem import Denied


def refuse_denied(plan: Plan) -> None:
    denied = [one for one in plan.verdicts if not one.passed]
    if denied:
        listed = "; ".join(one.message for one in denied)
        raise Denied(f"policy denies this plan: {listed}", help="; ".join(one.help for one in denied if one.help))


def held_to(plan: Plan, only_reasons: Sequence[str]) -> Plan:
    """The plan with everything waiting that is done for another reason, and what stands on it."""
    if not only_reasons:
        return plan
    waiting: set[str] = set()
    changes: list[Change] = []
    for planned in plan.changes:
        change = planned
        follows = change.address.kind in ("publish", "output")
        meant = follows or all(str(one.code) in only_reasons for one in change.reasons)
        if change.readiness is Readiness.READY and (not meant or waiting.intersection(change.depends_on)):
            change = evolve(change, readiness=Readiness.WAITING, waits="its reason is not among --only-reasons")
        if change.readiness is not Readiness.READY:
            waiting.add(str(change.address))
        changes.append(change)
    return evolve(plan, changes=tuple(changes))

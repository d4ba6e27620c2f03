"""One apply: what it may do of a plan, where it signs, and what it did."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from attrs import evolve, field, frozen

from pkicode.adapters.workers import Workers
from pkicode.kinds import KINDS
from pkicode.model.change import Action, Change, Plan, Readiness
from pkicode.model.problem import Denied, Problem
from pkicode.plan.applier import Outcome
from pkicode.plan.planfile import SavedPlan
from pkicode.ports import Certificate
from pkicode.project.leases import Leave

LISTS = tuple(kind for kind in KINDS if kind.tells)
TELLING = tuple(f"{kind.name}.*" for kind in LISTS)
"""Addresses of what relying parties live on."""
_OTHER_REASON = "its reason is not among --only-reasons"
_TELLING = frozenset(kind.name for kind in LISTS)
POOL_FROM = 2000
"""Signatures from which a process pool pays."""


@frozen
class Applied:
    """What an apply did."""

    plan: Plan = field(repr=False)
    counts: Mapping[str, int]
    """Action -> how many were done."""
    problems: tuple[Problem, ...]
    resumed: Mapping[str, int] = field(factory=dict)
    """How intents that an earlier apply left open ended: issued, unknown."""
    stopped: bool = False
    """Somebody asked to stop before everything was begun; the next apply goes on from here."""

    @property
    def exit_code(self) -> int:
        """0 done, 7 something waits, 8 something failed, 130 stopped."""
        if self.stopped:
            return 130
        if self.problems:
            return 8
        # What was reserved waits for a ceremony now.
        waits = any(one.readiness is Readiness.WAITING for one in self.plan.changes)
        return 7 if waits or self.counts.get(Action.RESERVE) else 0


def came_to(fresh: Plan, outcome: Outcome, ended: Sequence[Certificate], *, stopping: bool) -> Applied:
    """What is told of an apply: of its plan, and of the intents that it finished or gave up first."""
    ready = sum(one.readiness is Readiness.READY for one in fresh.changes)
    left = ready - outcome.done.total() - len(outcome.failed)
    return Applied(
        fresh,
        dict(outcome.done),
        tuple(outcome.failed.values()),
        Counter(one.status for one in ended),
        stopped=stopping and left > 0,
    )


@asynccontextmanager
async def workers(plan: Plan, jobs: int | None) -> AsyncIterator[tuple[Callable[..., Awaitable[Any]], int]]:
    """Where signing runs and how many batches are under way: a pool of processes where there is much to sign."""
    signatures = sum(one.action in (Action.ISSUE, Action.RENEW) for one in plan.changes)
    # Of each certificate two answers are signed, one for each hash of a CertID.
    told = [one.after or {} for one in plan.changes if one.address.kind in _TELLING]
    signatures += sum(2 * int(str(after.get("certificates", 0))) for after in told)
    wanted = (os.cpu_count() or 1 if signatures >= POOL_FROM else 1) if jobs is None else jobs
    async with Workers(wanted) as workers:
        # One batch more than workers, so that they sign while the store commits.
        yield workers.run, wanted + 1


def scope_of(plan: Plan | SavedPlan) -> tuple[Sequence[str], Sequence[str], Mapping[str, str]]:
    """--only, --except and --allow that a plan was made with."""
    if isinstance(plan, SavedPlan):
        scope = plan.document["scope"]
        return scope["only"], scope["except"], plan.document["allow"]
    return *plan.scope, dict(plan.allow)


def leave_for(plan: Plan | SavedPlan | None, only: Sequence[str]) -> Leave:
    """With crl, ocsp and publish alone nobody is waited for; but to remember an approval takes the project's lease."""
    tells = bool(only) and all(pattern.partition(".")[0] in _TELLING for pattern in only)
    approved = isinstance(plan, SavedPlan) and plan.approvals
    return Leave.LISTS if tells and not approved else Leave.ALL


def refuse_denied(plan: Plan) -> None:
    denied = [one for one in plan.verdicts if not one.passed]
    if denied:
        listed = "; ".join(one.message for one in denied)
        raise Denied(f"policy denies this plan: {listed}", help="; ".join(one.help for one in denied if one.help))


def held_to(planned: Callable[..., Plan], only_reasons: Sequence[str]) -> Plan:
    """The plan with everything waiting that is done for another reason, and what stands on it.

    It is made a second time, knowing what waits: no list is signed for a revocation that is not made.
    """
    plan = planned()
    if not only_reasons:
        return plan
    held = {one.address: one.waits for one in _held_to(plan, only_reasons).changes if one.waits == _OTHER_REASON}
    return _held_to(planned(held=held), only_reasons) if held else plan


def _held_to(plan: Plan, only_reasons: Sequence[str]) -> Plan:
    waiting: set[str] = set()
    changes: list[Change] = []
    for planned in plan.changes:
        change = planned
        follows = change.address.kind in ("publish", "output")
        meant = follows or all(str(one.code) in only_reasons for one in change.reasons)
        if change.readiness is Readiness.READY and (not meant or waiting.intersection(change.depends_on)):
            change = evolve(change, readiness=Readiness.WAITING, waits=_OTHER_REASON)
        if change.readiness is not Readiness.READY:
            waiting.add(str(change.address))
        changes.append(change)
    return evolve(plan, changes=tuple(changes))

"""The applier: the changes of a plan, stage after stage, in batches of one block.

It knows no kind; what every kind shares (moving and forgetting rows) is done here.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby, takewhile
from typing import TypeVar

from attrs import evolve, field, frozen

from pkicode.model.address import Address
from pkicode.model.change import Action, Change, Plan, Readiness, Stage
from pkicode.model.event import Event
from pkicode.model.instants import NO_EXPIRY, from_datetime
from pkicode.model.problem import LeaseHeld, Problem
from pkicode.model.row import FORGOTTEN, Held
from pkicode.plan.kind import Kind, Run
from pkicode.ports import Write

BATCH = 500
"""Changes of one call of a kind: large enough that two fsyncs are nothing, small enough to stop and resume at."""

T = TypeVar("T")


@frozen
class Outcome:
    """How an apply went, filled in while batches end: what was neither done nor failed was not begun."""

    done: Counter[str] = field(factory=Counter)
    """Action -> changes done."""
    failed: dict[str, Problem] = field(factory=dict)
    """Address -> what went wrong, which stopped nothing but what stands on it."""
    told: set[str] = field(factory=set)
    """Lists that were signed or published: once more in a later part of the plan is not counted again."""


async def apply(
    changes: Sequence[Change], run: Run, *, kinds: Sequence[Kind], width: int, outcome: Outcome | None = None
) -> Outcome:
    """Do every ready change, until somebody asks to stop.

    Args:
        width: batches of one block that may be under way at once.
        outcome: of an earlier part of the same plan, which is gone on with.
    """
    by_name = {kind.name: kind for kind in kinds}
    outcome = outcome or Outcome()
    ready = [one for one in changes if one.readiness is Readiness.READY]
    for (kind_name, _), group in groupby(ready, key=lambda one: (one.address.kind, one.address.block)):
        if run.stopping():
            break
        kind, block = by_name[kind_name], list(group)
        if kind.lists is None:
            await _group(kind, block, run, width, outcome)
            continue
        try:
            async with run.publishing(kind.lists(block[0].address.name, run.config)) as leased:
                await _group(kind, await _as_they_are(block, leased), leased, width, outcome)
        except LeaseHeld as error:
            for change in block:
                _fail(change, _busy(change, error), run, outcome)
    return outcome


async def _group(kind: Kind, block: Sequence[Change], run: Run, width: int, outcome: Outcome) -> None:
    moving = [one for one in block if one.action is Action.MOVE]
    leaving = [one for one in block if one.action is Action.FORGET]
    await _rename(moving, run)
    await _forget(leaving, run)
    outcome.done.update(str(one.action) for one in (*moving, *leaving))
    rest = [one for one in block if one.action not in (Action.MOVE, Action.FORGET)]
    free = [one for one in rest if not _blocked(one, outcome.failed)]
    await _block(kind, free, run, width if kind.parallel else 1, outcome)


async def _as_they_are(block: Sequence[Change], run: Run) -> list[Change]:
    """With the rows of now: another process may have signed or published since the plan was made."""
    first = block[0].address
    there = {one.address: one for one in await run.world.store.held(first.kind, first.name)}

    def now(change: Change) -> Held | None:
        held, found = change.held, there.get(change.address)
        # What nobody wrote meanwhile is what the plan took it for: it does not believe every date.
        return (
            held if held and found and (held.generation, held.version) == (found.generation, found.version) else found
        )

    return [evolve(one, held=now(one)) for one in block]


def _busy(change: Change, error: LeaseHeld) -> Problem:
    return Problem("E0512", f"{change.address}: {error.message}", help=error.help, address=str(change.address))


def _fail(change: Change, problem: Problem, run: Run, outcome: Outcome) -> None:
    outcome.failed[str(change.address)] = problem
    run.world.emit(Event(change.address.kind, problem.message, address=str(change.address), failed=True, again=True))


async def apply_plan(
    plan: Plan, run: Run, again: Callable[[], Awaitable[Plan]], *, kinds: Sequence[Kind], width: int
) -> Outcome:
    """Do a plan in its parts: compromises and the lists that tell of them, everything else, then what was replaced.

    Each part is planned anew from what the one before left; nothing is done that the plan did not announce.
    """
    changes: Sequence[Change] = plan.changes
    if all(one.stage is Stage.MAIN for one in changes) and not _follows_lists(changes, kinds):
        return await apply(changes, run, kinds=kinds, width=width)
    announced = {(one.address, one.action) for one in changes}
    # What another part did already is only noted.
    announced |= {(one.address, Action.UPDATE) for one in changes}
    outcome = Outcome()

    async def do(some: Sequence[Change]) -> Sequence[Change]:
        known = [one for one in some if (one.address, one.action) in announced]
        await apply(known, run, kinds=kinds, width=width, outcome=outcome)
        return (await again()).changes

    if any(one.stage is Stage.FIRST for one in changes):
        # What moves, moves before: revocations count from the new address.
        changes = await do([one for one in changes if one.stage is Stage.FIRST or one.action is Action.MOVE])
    if _follows_lists(changes, kinds):
        changes = await do(_lists(changes, kinds))
    last = {str(one.address) for one in changes if one.stage is Stage.LAST}
    changes = await do([one for one in changes if one.stage is not Stage.LAST and last.isdisjoint(one.depends_on)])
    if last:
        # Whose replacement is in place now comes last no more.
        changes = await do([one for one in changes if str(one.address) in last and one.stage is Stage.MAIN])
        await do(_lists(changes, kinds))
    return outcome


def _lists(changes: Sequence[Change], kinds: Sequence[Kind]) -> list[Change]:
    """What relying parties read, of CAs that are there."""
    telling = {one.name for one in kinds if one.tells}
    coming = {str(one.address) for one in changes if one.action is Action.ISSUE}
    return [one for one in changes if one.address.kind in telling and coming.isdisjoint(one.depends_on)]


def _follows_lists(changes: Sequence[Change], kinds: Sequence[Kind]) -> bool:
    """Whether something else may only be done once the lists are published."""
    told = {str(one.address) for one in _lists(changes, kinds)}
    telling = {one.name for one in kinds if one.tells}
    return any(not told.isdisjoint(one.depends_on) for one in changes if one.address.kind not in telling)


def _blocked(change: Change, failed: dict[str, Problem]) -> bool:
    """What it stands on failed and was told; a second problem would say nothing new."""
    return any(one in failed for one in change.depends_on)


async def _block(kind: Kind, changes: Sequence[Change], run: Run, width: int, outcome: Outcome) -> None:
    done = 0

    async def one_batch(batch: Sequence[Change]) -> None:
        nonlocal done
        for change, problem in zip(batch, await kind.apply(batch, run), strict=True):
            if problem is None:
                outcome.failed.pop(str(change.address), None)
                outcome.done[str(change.action)] += str(change.address) not in outcome.told
                outcome.told.update([str(change.address)] if kind.tells else ())
            else:
                _fail(change, problem, run, outcome)
        done += len(batch)
        text = str(batch[0].address) if len(changes) == 1 else batch[0].address.block
        run.world.emit(Event(kind.name, text, done, len(changes), address=text))

    batches = [changes] if kind.whole and changes else _batches(changes)
    await side_by_side(takewhile(lambda _: not run.stopping(), batches), one_batch, width)


async def side_by_side(batches: Iterable[T], do: Callable[[T], Awaitable[None]], width: int) -> None:
    """Do batches, so many at a time; the failure of one cancels the others, and is raised as it is."""
    gate = asyncio.Semaphore(width)

    async def one(batch: T) -> None:
        try:
            await do(batch)
        finally:
            gate.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            for batch in batches:
                # Taken before the task exists, so that 200 batches are not all held in memory at once.
                await gate.acquire()
                tasks.create_task(one(batch))
    except BaseExceptionGroup as group:
        # It is what happened, and says how to mend it.
        raise group.exceptions[0] from None


def _batches(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    for start in range(0, len(changes), BATCH):
        yield changes[start : start + BATCH]


async def _forget(changes: Sequence[Change], run: Run) -> None:
    """Stop managing rows; they stay in state as forgotten, so that a name that comes back goes on counting."""
    for batch in _batches(changes):
        first = batch[0].address
        records = await run.world.store.records(first.kind, first.name, [one.address.key for one in batch])
        rows = [
            (evolve(one.held, status=FORGOTTEN, due=NO_EXPIRY), records[one.address.key, one.held.generation])
            for one in batch
            if one.held
        ]
        await run.world.store.commit(write(run, "forget", batch, held=rows), run.world.lease)


def moved_to(address: Address) -> str:
    """What a row left behind by a move says it stands on: the way back is open to nobody else."""
    return f"moved to {address}"


def arrived(old: Held, change: Change, *, version: int) -> Held:
    """The row that a move leaves at its new address."""
    due = from_datetime(datetime.fromisoformat(str((change.after or {})["due"])))
    return evolve(old, name=change.address.name, key=change.address.key, version=version, due=due)


async def _rename(changes: Sequence[Change], run: Run) -> None:
    for batch in _batches(changes):
        rows, moved = [], []
        for change in batch:
            if change.held is None:
                continue
            old, replaces = change.held, int(str((change.before or {}).get("replaces", 0)))
            records = await run.world.store.records(old.kind, old.name, [old.key])
            record = records[old.key, old.generation]
            rows.append((arrived(old, change, version=replaces), record))
            # What is declared under the old name one day goes on counting, and never gets the moved one's key.
            left = evolve(old, status=FORGOTTEN, due=NO_EXPIRY, needs=moved_to(change.address))
            rows.append((left, record))
            moved.append((str(old.address), str(change.address)))
        await run.world.store.commit(write(run, "move", batch, held=rows, moved=moved), run.world.lease)


def write(run: Run, action: str, changes: Sequence[Change], **parts: object) -> Write:
    """A commit of this run about these changes of one block."""
    first = changes[0].address
    subject = str(first) if len(changes) == 1 else f"{first.block} x{len(changes)}"
    detail = json.dumps({"count": len(changes), "plan": run.world.plan_id}, sort_keys=True)
    return Write(at=run.world.now, actor=run.world.actor, action=action, subject=subject, detail=detail, **parts)  # type: ignore[arg-type]

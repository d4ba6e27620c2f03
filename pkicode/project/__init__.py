"""The composition root: opens a pki.toml, joins adapters to kinds, and offers what faces need.

The only place that reads the clock and draws randomness; everything below gets them handed in.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from pkicode.adapters import loop
from pkicode.adapters.journal import Journal
from pkicode.adapters.sqlite import SqliteStore, open_sqlite
from pkicode.adapters.sql import NewState
from pkicode.adapters.workers import Workers
from pkicode.config.reader import Config, read
from pkicode.kinds import KINDS
from pkicode.kinds.resume import resume
from pkicode.model.change import Action, Change, Plan, Readiness
from pkicode.model.event import Event
from pkicode.model.faults import Reach, nothing
from pkicode.model.instants import rfc3339
from pkicode.model.problem import Denied, LeaseHeld, LeaseLost, PkicodeError, Problem, StateError
from pkicode.plan import planfile, planner
from pkicode.plan.applier import apply as apply_changes
from pkicode.plan.kind import Run, Snapshot
from pkicode.plan.planfile import SavedPlan
from pkicode.ports import About, Lease, World
from pkicode.project import world as worlds

LEASE = "project"
LEASE_TTL = 60
"""Seconds a lease outlives its last heartbeat."""
CLOCK_TOLERANCE = 300
"""Apply refuses a clock that is further behind the newest event."""
POOL_FROM = 2000
"""Signatures from which a process pool pays (architecture.md: Processes)."""


@frozen
class Applied:
    """What an apply did."""

    plan: Plan
    counts: Mapping[str, int]
    """Action -> how many were done."""
    problems: tuple[Problem, ...]
    resumed: Mapping[str, int] = field(factory=dict)
    """How intents that an earlier apply left open ended: issued, unknown."""

    @property
    def exit_code(self) -> int:
        """0 done, 7 something waits, 8 something failed."""
        if self.problems:
            return 8
        return 7 if any(one.readiness is Readiness.WAITING for one in self.plan.changes) else 0


def open_project(
    path: Path | None,
    *,
    env: str | None = None,
    variables: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    now: int | None = None,
    text: str | None = None,
    reach: Reach = nothing,
) -> "Project":
    """Read a pki.toml and everything it includes.

    Args:
        path: the file; None looks upward from the working directory.
        now: freezes the clock (tests and rehearsals).
        text: what-if text instead of the file's.

    Raises:
        ConfigError: every mistake in it, located.
    """
    environ = os.environ if environ is None else environ
    config = read(path or find(Path.cwd(), environ), env=env, variables=variables or {}, environ=environ, text=text)
    return Project(config, dict(environ), now, reach)


def find(start: Path, environ: Mapping[str, str]) -> Path:
    """The pki.toml of a folder: PKICODE_CONFIG, or upward from `start` as far as the folder with .git.

    Raises:
        PkicodeError: there is none.
    """
    if named := environ.get("PKICODE_CONFIG"):
        return Path(named)
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "pki.toml").is_file():
            return folder / "pki.toml"
        if (folder / ".git").exists():
            break
    raise PkicodeError(f"no pki.toml in {start} or above", help="`pkicode init` makes one")


@define
class Project:
    """One pki.toml, its state, keys and targets.  Blocking methods; the async ones have an `a` in front."""

    config: Config
    _environ: Mapping[str, str] = field(repr=False)
    _now: int | None
    _reach: Reach = field(repr=False)
    _stopping: bool = field(default=False, init=False, repr=False)

    def clock(self) -> int:
        """Now, in whole seconds."""
        return self._now if self._now is not None else int(time.time())

    def plan(
        self,
        at: int | None = None,
        *,
        only: Sequence[str] = (),
        except_: Sequence[str] = (),
        allow: Mapping[str, str] | None = None,
    ) -> Plan:
        """What apply would do; see `aplan`."""
        return loop.run(self.aplan(at, only=only, except_=except_, allow=allow))

    async def aplan(
        self,
        at: int | None = None,
        *,
        only: Sequence[str] = (),
        except_: Sequence[str] = (),
        allow: Mapping[str, str] | None = None,
    ) -> Plan:
        """What apply would do at `at` (now, if absent).  Reads only: no key, no lock, no network.

        Raises:
            ConfigError: pki.toml cannot be planned.
            StateError: the state cannot be read.
        """
        async with self.reading() as store:
            snapshot = await self._snapshot(store)
        return self._planned(snapshot, self.clock() if at is None else at, only, except_, allow)

    def _planned(
        self, snapshot: Snapshot, now: int, only: Sequence[str], except_: Sequence[str], allow: Mapping[str, str] | None
    ) -> Plan:
        return planner.plan(self.config, snapshot, now=now, kinds=KINDS, only=only, except_=except_, allow=allow)

    def validate(self) -> tuple[Problem, ...]:
        """Everything that can be said of pki.toml without state."""
        return planner.validate(self.config, now=self.clock(), kinds=KINDS, empty=self._empty())

    def apply(self, plan: Plan | SavedPlan | None = None, **options: object) -> Applied:
        """Make it so; see `aapply`.  The first ^C finishes what is under way, the second aborts."""
        self._stopping = False
        return loop.run(self.aapply(plan, **options), stop=self._stop)  # type: ignore[arg-type]

    def _stop(self) -> None:
        self._stopping = True

    async def aapply(
        self,
        plan: Plan | SavedPlan | None = None,
        *,
        only: Sequence[str] = (),
        except_: Sequence[str] = (),
        allow: Mapping[str, str] | None = None,
        only_reasons: Sequence[str] = (),
        jobs: int | None = None,
        emit: Callable[[Event], None] = lambda event: None,
    ) -> Applied:
        """Plan under the lease at this clock, and do it.

        Args:
            plan: what was shown and agreed to; anything else is refused as stale.
            only_reasons: reason codes that may be acted on; everything else waits.
            jobs: worker processes; as many as there are cores when there is much to sign.

        Raises:
            StalePlan, Denied, LeaseHeld, LeaseLost, ConfigError, StateError: nothing (more) was done.
        """
        now = self.clock()
        if isinstance(plan, SavedPlan):
            scope = plan.document["scope"]
            only, except_, allow = scope["only"], scope["except"], plan.document["allow"]
        elif plan is not None:
            (only, except_), allow = plan.scope, dict(plan.allow)
        async with self._writing(now) as (store, lease), self._world(store, lease, now, emit) as world:
            run = Run(world, self.config, lambda: self._stopping)
            resumed = await resume(run)
            fresh = self._planned(await self._snapshot(store), now, only, except_, allow)
            if plan is not None:
                saved = plan if isinstance(plan, SavedPlan) else planfile.saved(plan)
                planfile.check(saved, fresh, now=now)
            _refuse_denied(fresh)
            fresh = _held_to(fresh, only_reasons)
            async with _workers(fresh, jobs) as (work, width):
                world = evolve(world, plan_id=planfile.plan_id(fresh), work=work)
                problems = await self._with_heartbeat(evolve(run, world=world), fresh, width)
        failed = {problem.address for problem in problems}
        done: dict[str, int] = {}
        for change in fresh.changes:
            if change.readiness is Readiness.READY and str(change.address) not in failed:
                done[str(change.action)] = done.get(str(change.action), 0) + 1
        return Applied(fresh, done, tuple(problems), resumed)

    def _world(
        self, store: SqliteStore, lease: Lease, now: int, emit: Callable[[Event], None]
    ) -> AbstractAsyncContextManager[World]:
        return worlds.opened(
            self.config,
            store,
            lease,
            now=now,
            environ=self._environ,
            clock=self.clock,
            ttl=LEASE_TTL,
            journal=self.journal,
            emit=emit,
            reach=self._reach,
        )

    async def _with_heartbeat(self, run: Run, plan: Plan, width: int) -> list[Problem]:
        """Apply while the lease is kept alive; losing it stops everything at once."""
        work = asyncio.create_task(apply_changes(plan.changes, run, kinds=KINDS, width=width))
        beat = asyncio.create_task(self._heartbeat(run))
        try:
            await asyncio.wait({work, beat}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                beat.result()
            return work.result()
        except* LeaseLost as lost:
            raise lost.exceptions[0] from None
        finally:
            beat.cancel()
            work.cancel()
            await asyncio.gather(beat, work, return_exceptions=True)

    async def _heartbeat(self, run: Run) -> None:
        while True:
            await asyncio.sleep(LEASE_TTL / 4)
            await run.world.store.renew(run.world.lease, now=self.clock(), ttl=LEASE_TTL)

    # -- stores and worlds

    @property
    def state_path(self) -> Path:
        """The SQLite file."""
        return self.config.root / self.config.settings.state.url.removeprefix("sqlite:///")

    @property
    def journal(self) -> Journal:
        """The issuance journal, outside the database."""
        return Journal(self.state_path.parent / worlds.JOURNAL)

    def _wanted(self) -> NewState:
        name = self.config.settings.project.name
        return NewState(project=name, env=self.config.env, lineage=os.urandom(16).hex(), at=self.clock())

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqliteStore | None]:
        """The store for reading, None while there is no state yet."""
        try:
            store = await open_sqlite(self.state_path, create=self._wanted(), read_only=True)
        except FileNotFoundError:
            yield None
            return
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def _writing(self, now: int) -> AsyncIterator[tuple[SqliteStore, Lease]]:
        store = await open_sqlite(self.state_path, create=self._wanted())
        try:
            about = await store.about()
            if now < about.newest - CLOCK_TOLERANCE:
                raise StateError(
                    f"this clock says {rfc3339(now)}, but the state was written at {rfc3339(about.newest)}",
                    help="set the clock; certificates dated by a wrong one cannot be taken back",
                )
            lease = await self._lease(store)
            try:
                yield store, lease
            finally:
                await store.release(lease)
        finally:
            await store.close()

    async def _lease(self, store: SqliteStore) -> Lease:
        """Wait for the lease as long as [state] lock_timeout says."""
        until = time.monotonic() + self.config.settings.state.lock_timeout
        while True:
            try:
                return await store.acquire(LEASE, holder=_holder(), now=self.clock(), ttl=LEASE_TTL)
            except LeaseHeld:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(0.2)

    def _empty(self) -> Snapshot:
        about = About(self.config.settings.project.name, "", self.config.env, 0, 0, "", 0)
        return Snapshot(about, (), {}, {}, (), (), {})

    async def _snapshot(self, store: SqliteStore | None) -> Snapshot:
        if store is None:
            return self._empty()
        held = await store.held()
        snapshot = Snapshot(
            about=await store.about(),
            held=held,
            templates=await store.templates(),
            authorities=await store.authorities(),
            artefacts=await store.artefacts(),
            published=(),
            revoked=await store.revoked(),
        )
        declared = {block.name for block in self.config.blocks if block.kind == "ca"}
        if any(name not in declared for name, _ in snapshot.authorities):
            snapshot = evolve(snapshot, living=await store.living(self.clock()))
        return snapshot


@asynccontextmanager
async def _workers(plan: Plan, jobs: int | None) -> AsyncIterator[tuple[Callable[..., Awaitable[Any]], int]]:
    """Where signing runs and how many batches are under way: a pool of processes where there is much to sign."""
    signatures = sum(one.action in (Action.ISSUE, Action.RENEW) for one in plan.changes)
    wanted = jobs or (os.cpu_count() or 1 if signatures >= POOL_FROM else 1)
    workers = Workers(wanted)
    try:
        # One batch more than workers, so that they sign while the store commits.
        yield workers.run, wanted + 1
    finally:
        await workers.close()


def _holder() -> str:
    return f"{os.environ.get('USER', 'uid ' + str(os.getuid()))}@{socket.gethostname()}"


def _refuse_denied(plan: Plan) -> None:
    denied = [one for one in plan.verdicts if not one.passed]
    if denied:
        listed = "; ".join(one.message for one in denied)
        raise Denied(f"policy denies this plan: {listed}", help="; ".join(one.help for one in denied if one.help))


def _held_to(plan: Plan, only_reasons: Sequence[str]) -> Plan:
    """The plan with everything waiting that is done for another reason, and what stands on it."""
    if not only_reasons:
        return plan
    waiting: set[str] = set()
    changes: list[Change] = []
    for change in plan.changes:
        follows = change.address.kind in ("publish", "output")
        meant = follows or all(str(one.code) in only_reasons for one in change.reasons)
        if change.readiness is Readiness.READY and (not meant or waiting.intersection(change.depends_on)):
            change = evolve(change, readiness=Readiness.WAITING, waits="its reason is not among --only-reasons")
        if change.readiness is not Readiness.READY:
            waiting.add(str(change.address))
        changes.append(change)
    return evolve(plan, changes=tuple(changes))

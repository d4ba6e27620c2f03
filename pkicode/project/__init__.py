"""The composition root: opens a pki.toml, joins adapters to kinds, and offers what faces need.

The only place that reads the clock and draws randomness; everything below gets them handed in.
Everybody plans, all day: what a plan does not need is imported by the method that needs it (tests/guards/test_imports).
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from pkicode.adapters import loop
from pkicode.adapters.store import StateStore
from pkicode.config.find import find
from pkicode.config.reader import Config, read
from pkicode.kinds import KINDS, revocation
from pkicode.model.change import Action, Change, Plan
from pkicode.model.event import Event
from pkicode.model.faults import Reach, nothing
from pkicode.model.problem import Problem
from pkicode.plan import planfile, planner
from pkicode.plan.kind import Kind, Run, Snapshot
from pkicode.plan.planfile import SavedPlan
from pkicode.ports import NO_LEASE, Certificate, KeyStore, Lease, Want, World
from pkicode.project import requests, telling
from pkicode.project.leases import Leave, kept_alive
from pkicode.project.state import State
from pkicode.project.telling import Explanation, Exported

if TYPE_CHECKING:
    from pkicode.project.applied import Applied
    from pkicode.project.breakglass import Asked, Revoked
    from pkicode.project.ceremony import Ceremonies
    from pkicode.project.foresight import Foresight
    from pkicode.project.status import Vitals
    from pkicode.project.upkeep import Upkeep


def drop(told: object) -> None:
    """Nobody listens: progress may be dropped."""


def open_project(
    path: Path | None,
    *,
    env: str | None = None,
    variables: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    now: int | Callable[[], int] | None = None,
    reach: Reach = nothing,
) -> "Project":
    """Read a pki.toml and everything it includes.

    Args:
        path: the file; None looks upward from the working directory.
        now: freezes the clock, or is one that is set (tests and rehearsals).

    Raises:
        ConfigError: every mistake in it, located.
    """
    environ = os.environ if environ is None else environ
    config = read(path or find(Path.cwd(), environ), env=env, variables=variables or {}, environ=environ)
    return Project(config, dict(environ), now, reach)


@define
class Project:
    """One pki.toml, its state, keys and targets.  Blocking methods; the async ones have an `a` in front."""

    config: Config
    _environ: Mapping[str, str] = field(repr=False)
    _now: int | Callable[[], int] | None
    _reach: Reach = field(repr=False)
    _stopping: bool = field(default=False, init=False, repr=False)

    def clock(self) -> int:
        """Now, in whole seconds."""
        now = self._now
        return int(time.time()) if now is None else now if isinstance(now, int) else now()

    @property
    def foresight(self) -> "Foresight":
        """What is to come."""
        from pkicode.project.foresight import Foresight

        return Foresight(self.config, self.state)

    @property
    def vitals(self) -> "Vitals":
        """Whether all is well."""
        from pkicode.project.status import Vitals

        return Vitals(self.config, self.state, self.keystore)

    @property
    def ceremonies(self) -> "Ceremonies":
        """What is carried to offline keys, and back."""
        from pkicode.project.ceremony import Ceremonies

        return Ceremonies(self.config, self.state, self.clock, self._planned, self._world)

    @property
    def upkeep(self) -> "Upkeep":
        """Looking after the state and the keystores."""
        from pkicode.project.upkeep import Upkeep

        return Upkeep(self.state, self.keystore, self._reach)

    def plan(self, at: int | None = None, **options: object) -> Plan:
        """What apply would do; see `aplan`."""
        return loop.run(self.aplan(at, **options))  # type: ignore[arg-type]

    async def aplan(
        self,
        at: int | None = None,
        *,
        only: Sequence[str] = (),
        except_: Sequence[str] = (),
        allow: Mapping[str, str] | None = None,
        commands: bool = False,
        published: bool = False,
    ) -> Plan:
        """What apply would do at `at` (now, if absent).  Reads only: no key, no lock, no network but the database's.

        Args:
            commands: whether the database's password may come from a command, as it does when apply follows.
            published: also read what is published; what is gone or altered there is put back.

        Raises:
            ConfigError: pki.toml cannot be planned.
            StateError: the state cannot be read.
        """
        await self.state.refuse_keys_of_another()
        async with self.state.reading(commands=commands) as store:
            snapshot = await self.state.snapshot(store, at, published=published)
            behind = await self.state.behind(store)
            plan = await self._planned(snapshot, self.clock() if at is None else at, only, except_, allow)
            refused = await requests.warnings(plan, snapshot, self.config, store)
        return evolve(plan, problems=plan.problems + behind + refused)

    async def aseen(self, plan: Plan, *, emit: Callable[[Event], None] = drop) -> Plan:
        """The plan with what the endpoints in its scope serve now: each is connected to, and what it does is told.

        Raises:
            ConfigError: more endpoints than a scan may ask.
            StateError: the state, which knows what was issued, cannot be read.
        """
        from pkicode.project.served import seen

        only, except_ = plan.scope
        found = await seen(self.config, self.state, only=only, except_=except_, now=self.clock(), emit=emit)
        return evolve(plan, seen=found)

    async def _planned(
        self,
        snapshot: Snapshot,
        now: int,
        only: Sequence[str] = (),
        except_: Sequence[str] = (),
        allow: Mapping[str, str] | None = None,
        kinds: Sequence[Kind] = KINDS,
        unapproved: Sequence[str] = (),
        only_reasons: Sequence[str] = (),
    ) -> Plan:
        """In a thread: a fleet takes seconds, and whatever else this loop does goes on."""
        from pkicode.project.applied import held_to

        made = partial(planner.plan, self.config, snapshot, now=now, kinds=kinds, allow=allow, unapproved=unapproved)
        return await asyncio.to_thread(held_to, partial(made, only=only, except_=except_), only_reasons)

    def validate(self) -> tuple[Problem, ...]:
        """Everything that can be said of pki.toml without state."""
        return planner.validate(self.config, now=self.clock(), kinds=KINDS, empty=self.state.empty())

    def apply(self, plan: Plan | SavedPlan | None = None, **options: object) -> "Applied":
        """Make it so; see `aapply`.  The first ^C finishes what is under way, the second aborts."""
        self._stopping = False
        return loop.run(self.aapply(plan, **options), stop=self.stop)  # type: ignore[arg-type]

    def stop(self) -> None:
        """What an apply has under way is finished, nothing new is begun."""
        self._stopping = True

    async def aapply(
        self,
        plan: Plan | SavedPlan | None = None,
        *,
        only: Sequence[str] = (),
        except_: Sequence[str] = (),
        allow: Mapping[str, str] | None = None,
        only_reasons: Sequence[str] = (),
        published: bool = False,
        kinds: Sequence[Kind] = KINDS,
        jobs: int | None = None,
        emit: Callable[[Event], None] = drop,
        show: Callable[[Plan], None] = drop,
    ) -> "Applied":
        """Plan under the lease at this clock, and do it.

        Args:
            plan: what was shown and agreed to; anything else is refused as stale.
            only: with crl, ocsp and publish alone nobody is waited for, and nothing that was left open is finished.
            only_reasons: reason codes that may be acted on; everything else waits.
            published: also read what is published, and put back what is gone or altered; a `plan` that did, is enough.
            kinds: what is looked at.
            jobs: worker processes; as many as there are cores when there is much to sign.
            emit: gets progress.
            show: gets the plan before anything is done.

        Raises:
            StalePlan, Denied, Unapproved, LeaseHeld, LeaseLost, ConfigError, StateError: nothing (more) was done.
        """
        from pkicode.kinds.resume import resume
        from pkicode.plan.applier import apply_plan
        from pkicode.project import approving, lookout
        from pkicode.project.applied import LISTS, came_to, leave_for, refuse_denied, scope_of, workers

        now = self.clock()
        if plan is not None:
            only, except_, allow = scope_of(plan)
            published = published or lookout.looked(plan)
        leave = leave_for(plan, only)
        if leave is Leave.LISTS:
            # What is told does not wait for what is wrong elsewhere.
            kinds = LISTS if plan is None else kinds
        async with self.state.applying(now, leave) as (store, lease), self._world(store, lease, now, emit) as world:
            run = Run(world, self.config, lambda: self._stopping)
            ended = await resume(run) if leave is Leave.ALL else []
            planned = partial(self._planned, now=now, only=only, except_=except_, allow=allow)
            snapshot = await self.state.snapshot(store, published=published)
            fresh = await planned(snapshot, kinds=kinds)
            if plan is not None:
                expected = plan if isinstance(plan, SavedPlan) else planfile.shown(plan)
                finished = frozenset(one.address for one in ended)
                await asyncio.to_thread(planfile.check, expected, fresh, now=now, finished=finished)
            if unapproved := await approving.unapproved(plan, fresh, self.config, world):
                planned = partial(planned, unapproved=unapproved)
            if unapproved or only_reasons:
                planned = partial(planned, only_reasons=only_reasons)
                fresh = await planned(snapshot, kinds=kinds)
            show(fresh)
            refuse_denied(fresh)
            async with workers(fresh, jobs) as (work, width):
                fit = evolve(world, plan_id=await asyncio.to_thread(planfile.plan_id, fresh), work=work)

                async def again() -> Plan:
                    return await planned(await self.state.snapshot(store, published=published))

                parts = apply_plan(fresh, evolve(run, world=fit), again, kinds=KINDS, width=width)
                outcome = await kept_alive(run.world.keep, parts)
        return came_to(fresh, outcome, ended, stopping=self._stopping)

    def _world(
        self, store: StateStore, lease: Lease, now: int, emit: Callable[[Event], None]
    ) -> AbstractAsyncContextManager[World]:
        from pkicode.project import world as worlds

        return worlds.opened(
            self.config,
            store,
            lease,
            now=now,
            environ=self._environ,
            clock=self.clock,
            take=partial(self.state.lease, store),
            journal=self.state.journal,
            emit=emit,
            reach=self._reach,
        )

    def revoke(self, asked: "Asked", **options: object) -> "Revoked":
        """Break-glass: revoke now; see `arevoke`."""
        return loop.run(self.arevoke(asked, **options))  # type: ignore[arg-type]

    async def arevoke(
        self, asked: "Asked", *, allow: Mapping[str, str] | None = None, emit: Callable[[Event], None] = drop
    ) -> "Revoked":
        """Revoke, publish the lists that say so, and write the [[revoke]] entry into pki.toml, in this order.

        Nobody else's apply is waited for: what it took away there is found by the next plan in the inventory.

        Raises:
            PkicodeError: nothing is selected, or a brake holds it: nothing was done.
        """
        from pkicode.plan.applier import apply_plan
        from pkicode.project import breakglass
        from pkicode.project.applied import refuse_denied

        now = self.clock()
        opened = self.state.applying(now, Leave.EITHER)
        async with opened as (store, lease), self._world(store, lease, now, emit) as world:
            entry = await breakglass.entry_of(asked, self.config, store, now)
            config = breakglass.with_entry(self.config, entry)
            planned = partial(breakglass.planned, entry, evolve(self.state, config=config), store, now, allow or {})
            plan = await planned()
            breakglass.refuse_nothing(plan, asked)
            if lease == NO_LEASE:
                breakglass.refuse_ca(plan)
            refuse_denied(plan)
            run = Run(evolve(world, plan_id=planfile.plan_id(plan)), config, lambda: False)
            parts = apply_plan(plan, run, planned, kinds=breakglass.KINDS, width=1)
            outcome = await kept_alive(run.world.keep, parts)
        return await asyncio.to_thread(breakglass.ended, self.config, entry, plan, outcome, self._reach)

    def save(self, plan: Plan, path: Path) -> str:
        """Write a plan file, 0600, and give its plan_id; a plan holds no secret, but says much of what you run."""
        return telling.save(plan, path)

    def load(self, path: Path) -> SavedPlan:
        """Read a plan file; raises PkicodeError or StalePlan: not one, or edited."""
        return telling.load(path)

    def where(self, change: Change) -> tuple[str, int]:
        """File and line that ask for a change: its row's, else its block's; line 0 for what is in state only."""
        block = change.block
        if block is None:
            return self.config.path.name, 0
        source = getattr(block.spec, "for_each", None)
        if source and change.row and change.row.line:
            return source.csv or source.jsonl, change.row.line
        place = block.source.place()
        span = self.config.span(place)
        return (span.path, span.line) if span else (place.path, 0)

    def inventory(self, want: Want) -> Sequence[Certificate]:
        """Every certificate ever signed that `want` asks for; none while there is no state."""
        return loop.run(self.ainventory(want))

    async def ainventory(self, want: Want) -> Sequence[Certificate]:
        """See `inventory`."""
        async with self.state.reading() as store:
            return await store.certificates(want) if store else ()

    def facts(
        self, want: Want, names: Sequence[str], made: Callable[[Iterable[Sequence[Any]]], list[Any]]
    ) -> list[Any]:
        """Fields of what `inventory` gives, while they are read; see ports.Store.facts."""
        return loop.run(self.afacts(want, names, made))

    async def afacts(
        self, want: Want, names: Sequence[str], made: Callable[[Iterable[Sequence[Any]]], list[Any]]
    ) -> list[Any]:
        """See `facts`."""
        async with self.state.reading() as store:
            return await store.facts(want, names, made) if store else made(())

    def explain(self, address: str) -> Explanation:
        """Why an address is as it is, and what a plan would do to it now.

        Raises:
            PkicodeError: the text is not an address.
        """
        return loop.run(self.aexplain(address))

    async def aexplain(self, address: str, *, plan: Plan | None = None) -> Explanation:
        """See `explain`; with `plan`, what that one would do."""
        parsed = telling.meant(address)
        async with self.state.reading(commands=False) as store:
            snapshot = await self.state.snapshot(store)
            told = await telling.revocations(parsed, store) if store else ()
        plan = plan or await self._planned(snapshot, self.clock())
        generation, status, lines = telling.explain(parsed, snapshot, plan, told)
        known = {one.name: one for one in revocation.blocks(self.config)} if parsed.kind == "revoke" else {}
        kind = telling.DECLARED_IN.get(parsed.kind, parsed.kind)
        block = known.get(parsed.name) or self.config.block(kind, parsed.name)
        source = self.where(Change(parsed, Action.UPDATE, 0, (), block)) if block else None
        return Explanation(str(parsed), generation, status, lines, source)

    def export(self, address: str, *, with_key: bool = False) -> Exported:
        """The current certificate of an address with its chain, and its key if asked for.

        Raises:
            PkicodeError: there is none, or its key is not ours.
        """
        return loop.run(self._export(address, with_key=with_key))

    async def _export(self, address: str, *, with_key: bool) -> Exported:
        parsed = telling.meant(address)
        async with self.state.existing() as store:
            return await telling.export(parsed, self.config, store, self.keystore, now=self.clock(), with_key=with_key)

    def keystore(self, name: str, warn: Callable[[str], None] = drop) -> KeyStore:
        """[keystore.NAME]; opened when a private key is first needed, closed by the caller."""
        from pkicode.project import keystores

        return keystores.keystore(self.config, name, self._environ, warn)

    @property
    def state(self) -> State:
        """The state this project has, or will have."""
        return State(self.config, self.clock, self._environ)

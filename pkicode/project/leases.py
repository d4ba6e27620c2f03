"""The leases of one process: the project's, for resource rows, and one for each CA whose lists it signs or publishes.

docs/explanation/writers.md says who needs which.  Here they are kept alive and given back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any, TypeVar

from attrs import frozen

from pkicode.model.faults import FaultPoint, Reach
from pkicode.model.problem import LeaseLost
from pkicode.ports import Lease, Store

T = TypeVar("T")

PROJECT = "project"
TTL = 60
"""Seconds a lease outlives its last heartbeat."""
_PUBLISH = "publish/ca."


class Leave(Enum):
    """What a command wants to write."""

    ALL = auto()
    """Whatever a plan may change: the project's lease."""
    LISTS = auto()
    """Lists alone: publish leases, each while it is needed."""
    EITHER = auto()
    """As ALL where nobody else is applying, else as LISTS."""


def guards(name: str) -> str:
    """What is written under a lease of this name."""
    return f"lists of ca.{name.removeprefix(_PUBLISH)}" if name.startswith(_PUBLISH) else "resource rows"


@frozen
class Leases:
    """Those that a process holds of one state."""

    _store: Store
    _take: Callable[[str], Awaitable[Lease]]
    """Waits for a lease; raises LeaseHeld."""
    _clock: Callable[[], int]
    _reach: Reach
    _held: list[Lease]

    @asynccontextmanager
    async def publishing(self, names: Sequence[str]) -> AsyncIterator[tuple[Lease, int]]:
        """World.publishing."""
        taken: list[Lease] = []
        try:
            # In one order everywhere: of two that want the same ones, neither waits for the other for ever.
            for name in sorted(set(names)):
                taken.append(await self._take(f"{_PUBLISH}{name}"))
                self._held.append(taken[-1])
            self._reach(FaultPoint.LISTS_LEASED)
            # Also the project's: whoever lost that one is told here, and does not go on from what it planned.
            await self.keep()
            yield taken[0], self._clock()
        finally:
            for one in taken:
                self._held.remove(one)
                await self._store.release(one)

    async def keep(self) -> None:
        """World.keep."""
        for one in tuple(self._held):
            try:
                await self._store.renew(one, now=self._clock(), ttl=TTL)
            except LeaseLost:
                # Unless we gave it back ourselves meanwhile.
                if one in self._held:
                    raise

    async def check(self) -> None:
        """adapters.lock.Check: every lease is still ours, and there is one."""
        if not self._held:
            raise LeaseLost("no lease is held, and nothing is written without one", help="report this")
        await self.keep()


async def kept_alive(keep: Callable[[], Awaitable[None]], work: Coroutine[Any, Any, T]) -> T:
    """Do some work while leases are kept alive; losing one stops everything at once."""

    async def heartbeat() -> None:
        while True:
            await asyncio.sleep(TTL / 4)
            await keep()

    working, beat = asyncio.create_task(work), asyncio.create_task(heartbeat())
    try:
        await asyncio.wait({working, beat}, return_when=asyncio.FIRST_COMPLETED)
        if beat.done():
            beat.result()
        return working.result()
    finally:
        beat.cancel()
        working.cancel()
        await asyncio.gather(beat, working, return_exceptions=True)

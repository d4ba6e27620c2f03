"""Ports that fail once, before or after they did their work: real ones inside, an error at one chosen call.

Nobody knows from an error whether the thing was done (ports.Store.commit): both must end well.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from attrs import define, evolve, field, frozen

from pkicode.model.event import Event
from pkicode.model.problem import KeyStoreError, PkicodeError, StateError
from pkicode.ports import Lease, Store, World
from pkicode.project import Project

ERRORS: dict[str, type[PkicodeError]] = {"store": StateError, "keystore": KeyStoreError}
"""What a port may raise, if not any PkicodeError."""


@frozen
class Failure:
    """The nth call of `port.method` fails; `happened` says whether it did its work first."""

    call: str
    nth: int
    happened: bool


@define
class Calls:
    """Counts what an apply asks of its ports, and lets one call fail."""

    failure: Failure | None = None
    counted: Counter[str] = field(factory=Counter)

    def around(self, port: str, method: str, function: Callable[..., Any]) -> Callable[..., Any]:
        call = f"{port}.{method}"

        async def called(*args: Any, **options: Any) -> Any:
            self.counted[call] += 1
            failing = self.failure is not None and (self.failure.call, self.failure.nth) == (call, self.counted[call])
            if failing and not self.failure.happened:
                raise self._error(call)
            answer = await function(*args, **options)
            if failing:
                raise self._error(call)
            return answer

        return called

    @staticmethod
    def _error(call: str) -> PkicodeError:
        return ERRORS.get(call.split(".", maxsplit=1)[0], PkicodeError)(f"{call} failed here", help="this is a test")


@frozen
class Port:
    """A port of ours whose awaited methods go through Calls."""

    name: str
    inner: Any
    calls: Calls

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return self.calls.around(self.name, method, getattr(self.inner, method))


@define
class FailingProject(Project):
    """The project with Calls between apply and its world; everything else is as it is."""

    calls: Calls = field(kw_only=True)

    def _world(
        self, store: Store, lease: Lease, now: int, emit: Callable[[Event], None]
    ) -> AbstractAsyncContextManager[World]:
        return self._watched(super()._world(store, lease, now, emit))

    @asynccontextmanager
    async def _watched(self, opened: AbstractAsyncContextManager[World]) -> AsyncIterator[World]:
        async with opened as world:
            yield evolve(
                world,
                store=Port("store", world.store, self.calls),
                keystores={name: Port("keystore", one, self.calls) for name, one in world.keystores.items()},
                publishers={name: Port("publisher", one, self.calls) for name, one in world.publishers.items()},
                **{one: self.calls.around("world", one, getattr(world, one)) for one in FUNCTIONS},
            )


FUNCTIONS = ("journal", "write_outputs", "run_hook")
"""What a World does to the outside without a port."""


def failing(project: Project, calls: Calls) -> Project:
    """`project` with `calls` in between."""
    return FailingProject(project.config, {}, project.clock(), lambda point: None, calls=calls)

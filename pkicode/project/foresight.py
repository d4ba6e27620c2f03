"""What is to come: forecasts over the state there is, read and never written."""

import asyncio

from attrs import evolve, frozen

from pkicode.adapters import loop
from pkicode.config.reader import Config
from pkicode.kinds import KINDS
from pkicode.kinds import authority as authorities
from pkicode.model.instants import YEAR
from pkicode.model.problem import PkicodeError
from pkicode.plan.forecast import Coming, forecast
from pkicode.plan.kind import Snapshot
from pkicode.project.state import State

LONGEST = 100 * YEAR
"""A forecast makes a plan for every day in it."""


@frozen
class CrlSize:
    """How many entries the CRL of one CA generation has and will have, if nobody else is revoked."""

    name: str
    """`issuing-g1`, as its file is called."""
    entries: int
    entries_until: int
    """On the last day of the forecast: entries leave when their certificates have expired."""


@frozen
class Forecast:
    """What is to come between two instants."""

    at: int
    until: int
    rows: tuple[Coming, ...]
    """By day; within a day in the order they would be applied."""
    crls: tuple[CrlSize, ...]


@frozen
class Foresight:
    """Forecasts of one project.  Blocking methods; the async one has an `a` in front."""

    _config: Config
    _state: State

    def forecast(self, until: int, *, full: bool = False) -> Forecast:
        """See `aforecast`."""
        return loop.run(self.aforecast(until, full=full))

    async def aforecast(self, until: int, *, full: bool = False) -> Forecast:
        """Every coming action up to an instant, as an apply a day would do them.  Needs no key, no lock, no network.

        Raises:
            ConfigError: pki.toml cannot be read into rows.
            PkicodeError: `until` has passed, or lies too far ahead.
            StateError: the state cannot be read.
        """
        now = self._state.clock()
        if not now <= until <= now + LONGEST:
            raise PkicodeError("a forecast ends between now and in a hundred years", help="as in --until +1y")
        async with self._state.reading(commands=False) as store:
            snapshot = await self._state.snapshot(store)
            # Asked for whatever there is now: a generation to come makes it matter.
            snapshot = evolve(snapshot, ends=await store.ends() if store else {})
            expiries: dict[str, list[int]] = {}
            for key in snapshot.revoked if store else ():
                expiries[key] = [one.not_after for one in await store.revocations(key)] if store else []
        rows = await asyncio.to_thread(self._rows, snapshot, now, until, full=full)
        return Forecast(now, until, rows, _sizes(snapshot, expiries, now, until))

    def _rows(self, snapshot: Snapshot, now: int, until: int, *, full: bool) -> tuple[Coming, ...]:
        return tuple(forecast(self._config, snapshot, now=now, until=until, kinds=KINDS, full=full))


def _sizes(snapshot: Snapshot, expiries: dict[str, list[int]], now: int, until: int) -> tuple[CrlSize, ...]:
    found = []
    for (name, generation), record in sorted(snapshot.authorities.items()):
        authority = authorities.from_record(name, generation, record)
        ends = expiries.get(authority.issuer_key, [])
        if authority.not_after >= now:
            found.append(CrlSize(authority.stem, sum(one >= now for one in ends), sum(one >= until for one in ends)))
    return tuple(found)

"""`pkicode.open`: a pki.toml in the hands of Python.  Blocking methods; each has an async one with an `a` in front."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from pkicode.adapters import loop
from pkicode.adapters.asked import Wanted
from pkicode.model.extras import framed
from pkicode.model.instants import from_datetime, parse_instant
from pkicode.model.problem import PkicodeError
from pkicode.notebook.applied import Applied, applied
from pkicode.notebook.foretold import Foretold
from pkicode.notebook.planned import Planned
from pkicode.notebook.scanned import Files, Scanned, paths, scanned
from pkicode.notebook.told import Listener, Told, heard, loaded, mended
from pkicode.ports import Want
from pkicode.project import Project, open_project
from pkicode.project.asked import declared

if TYPE_CHECKING:
    from pandas import DataFrame

    from pkicode.adapters.cluster import Cluster

Globs = str | Sequence[str]


def open_pki(
    path: str | PathLike[str] | None = None, env: str | None = None, variables: Mapping[str, str] | None = None
) -> "Pki":
    """Open a pki.toml.

    Args:
        path: the file, or its folder; without it, it is looked for from the working directory upward.
        env: the overlay [env.NAME] to merge.
        variables: values for [vars].

    Raises:
        ConfigError: every mistake in it, located.
    """
    with mended():
        file = None if path is None else Path(path)
        file = file / "pki.toml" if file and file.is_dir() else file
        config = open_project(file, env=env, variables=variables).config
    return Pki(config.path.absolute(), env, dict(variables or {}))


def read_frame(path: str | PathLike[str]) -> "DataFrame":
    """A frame of plans, forecasts, inventories or scans that `to_parquet` stored, with its dtypes and `.pki`."""
    with mended(), framed():
        from pkicode.frames.stored import stored_frame

    return stored_frame(path)


@frozen
class Pki:
    """One pki.toml, its state, keys and targets.  The file is read anew by every method, as the command line does."""

    path: Path
    env: str | None = None
    variables: Mapping[str, str] = field(factory=dict, hash=False)

    def plan(
        self,
        at: str | date | None = None,
        *,
        only: Globs = (),
        except_: Globs = (),
        allow: Mapping[str, int | str] | None = None,
        refresh: Globs = (),
    ) -> Planned:
        """What apply would do.  Reads only: no key, no lock, and no network unless `refresh` asks for it.

        Args:
            at: as of then: `+60d`, `2027-01-11`, an RFC 3339 time, a date, or an aware datetime; now if absent.
            only: addresses to look at, as globs: `cert.mesh*`.
            except_: addresses to leave out.
            allow: brakes to lift, as in {"issue": 12000}; recorded in the plan.
            refresh: `endpoints` also connects to the endpoints of certificates, and says what they serve now;
                `published` reads what is published, and plans to put back what is gone or altered.

        Raises:
            ConfigError: pki.toml cannot be planned.
            StateError: the state cannot be read.
            PkicodeError: nothing called so can be refreshed, or not for another day.
        """
        return loop.run(self.aplan(at, only=only, except_=except_, allow=allow, refresh=refresh))

    async def aplan(
        self,
        at: str | date | None = None,
        *,
        only: Globs = (),
        except_: Globs = (),
        allow: Mapping[str, int | str] | None = None,
        refresh: Globs = (),
    ) -> Planned:
        """See `plan`."""
        with mended():
            looked_at = _globs(refresh)
            if set(looked_at) - {"endpoints", "published"} or (looked_at and at is not None):
                text = "only `endpoints` and `published` can be refreshed, and for no other day"
                raise PkicodeError(text, help="leave `at` out")
            project = self._project()
            plan = await project.aplan(
                _instant(at, project.clock()),
                only=_globs(only),
                except_=_globs(except_),
                allow=_words(allow),
                published="published" in looked_at,
            )
            plan = await project.aseen(plan) if "endpoints" in looked_at else plan
        return Planned(plan, project, self._project)

    def apply(
        self,
        *,
        only: Globs = (),
        except_: Globs = (),
        allow: Mapping[str, int | str] | None = None,
        jobs: int | None = None,
        emit: Listener | None = None,
    ) -> Applied:
        """Plan and do it at once; `plan().apply()` lets you look in between.

        Args:
            emit: told of every step, from another thread; without it, warnings are logged.

        Returns:
            What was done; `problems` tells what failed, and the rest is done all the same.

        Raises:
            Denied, LeaseHeld, LeaseLost, ConfigError, StateError: nothing (more) was done.
        """
        with mended():
            project = self._project()
            done = project.apply(
                only=_globs(only), except_=_globs(except_), allow=_words(allow), jobs=jobs, emit=heard(emit)
            )
            return applied(done, project.config)

    async def aapply(
        self,
        *,
        only: Globs = (),
        except_: Globs = (),
        allow: Mapping[str, int | str] | None = None,
        jobs: int | None = None,
        emit: Listener | None = None,
    ) -> Applied:
        """See `apply`."""
        with mended():
            project = self._project()
            done = await project.aapply(
                only=_globs(only), except_=_globs(except_), allow=_words(allow), jobs=jobs, emit=heard(emit)
            )
            return applied(done, project.config)

    def inventory(self) -> "DataFrame":
        """One row per certificate ever signed; docs/reference/frames.md has the columns."""
        return loop.run(self.ainventory())

    async def ainventory(self) -> "DataFrame":
        """See `inventory`."""
        with mended(), framed():
            await loaded("inventory")
            from pkicode.frames.inventory import FIELDS, batches, inventory_frame

        with mended():
            project = self._project()
            found = await project.afacts(Want(), FIELDS, batches)
            return await asyncio.to_thread(inventory_frame, found, now=project.clock())

    def archive(self) -> "DataFrame":
        """One row per certificate that `pkicode state prune` moved out of the inventory, with the inventory's columns.

        Raises:
            PkicodeError: a file is not in the folder of archives.
        """
        return loop.run(self.aarchive())

    async def aarchive(self) -> "DataFrame":
        """See `archive`."""
        with mended(), framed():
            await loaded("inventory")
            from pkicode.frames.inventory import archived, inventory_frame

        with mended():
            project = self._project()
            found = await asyncio.to_thread(archived, await project.upkeep.aarchives())
            return await asyncio.to_thread(inventory_frame, found, now=project.clock())

    def forecast(self, until: str | date, *, full: bool = False) -> Foretold:
        """Every coming action up to an instant, as an apply a day would do them.  Reads only: no key, no lock.

        Args:
            until: `+1y`, `2036-01-01`, an RFC 3339 time, a date, or an aware datetime.
            full: a row for every certificate; else the rows of a fan-out that do the same on one day are one.

        Raises:
            ConfigError: pki.toml cannot be read.
            PkicodeError: `until` has passed.
        """
        return loop.run(self.aforecast(until, full=full))

    async def aforecast(self, until: str | date, *, full: bool = False) -> Foretold:
        """See `forecast`."""
        with mended():
            project = self._project()
            return Foretold(await project.foresight.aforecast(_moment(until, project.clock()), full=full))

    def scan(
        self,
        targets: Globs = (),
        *,
        checks: str = "deep",
        family: str = "",
        scanner: str = "",
        starttls: str = "",
        rate: float | None = None,
        trust: Files = (),
        revocation: bool = False,
        allow_private: bool = False,
        output: str | PathLike[str] | None = None,
        jobs: int | None = None,
        engine: str = "local",
        client: "Cluster | None" = None,
        emit: Listener | None = None,
    ) -> Scanned:
        """Scan hosts as `pkicode.scan` does, trusting the roots of this PKI too.

        Args:
            targets: also `cert.NAME` for its endpoints, or `scan.NAME`, one or several; without any, every [scan.X].
        """
        return loop.run(
            self.ascan(
                targets, checks=checks, family=family, scanner=scanner, starttls=starttls, rate=rate, trust=trust,
                revocation=revocation, allow_private=allow_private,
                output=output, jobs=jobs, engine=engine, client=client, emit=emit,
            )
        )  # fmt: skip

    async def ascan(
        self,
        targets: Globs = (),
        *,
        checks: str = "deep",
        family: str = "",
        scanner: str = "",
        starttls: str = "",
        rate: float | None = None,
        trust: Files = (),
        revocation: bool = False,
        allow_private: bool = False,
        output: str | PathLike[str] | None = None,
        jobs: int | None = None,
        engine: str = "local",
        client: "Cluster | None" = None,
        emit: Listener | None = None,
    ) -> Scanned:
        """See `scan`."""
        wanted = Wanted(
            _globs(targets),
            checks,
            family,
            scanner,
            starttls,
            rate,
            paths(trust),
            Path(),
            revocation,
            allow_private,
        )
        with mended():
            project = self._project()
            told = await declared(project.config, project.state, wanted.targets, now=project.clock())
        return await scanned(wanted, told, output=output, jobs=jobs, engine=engine, client=client, emit=emit)

    def drift(self, names: Globs = (), *, rate: float | None = None) -> "DataFrame":
        """Whether what is served is what was issued; docs/reference/frames.md has the columns.

        Args:
            names: `scan.NAME` or `cert.NAME`; without any, every [scan.X] and every certificate that has endpoints.
            rate: connections begun each second.
        """
        return loop.run(self.adrift(names, rate=rate))

    async def adrift(self, names: Globs = (), *, rate: float | None = None) -> "DataFrame":
        """See `drift`."""
        with mended(), framed():
            await loaded("drifting")
            from pkicode.frames.drifting import drifted

        with mended():
            found, _ = await drifted(self._project(), _globs(names), rate=rate, emit=heard(None))
        return found

    def explain(self, address: str) -> Told:
        """Why an address is as it is, and what a plan would do to it now."""
        return loop.run(self.aexplain(address))

    async def aexplain(self, address: str) -> Told:
        """See `explain`."""
        return await (await self.aplan()).aexplain(address)

    def _project(self) -> Project:
        return open_project(self.path, env=self.env, variables=self.variables)


def _instant(at: str | date | None, now: int) -> int | None:
    return None if at is None else _moment(at, now)


def _moment(at: str | date, now: int) -> int:
    """A date is its first instant in UTC, as in text."""
    if isinstance(at, str):
        return parse_instant(at, now=now)
    return from_datetime(at if isinstance(at, datetime) else datetime.combine(at, time(), UTC))


def _globs(given: Globs) -> tuple[str, ...]:
    """One glob may come without its tuple; a string is a sequence too, of letters."""
    return (given,) if isinstance(given, str) else tuple(given)


def _words(allow: Mapping[str, int | str] | None) -> dict[str, str]:
    return {word: str(value) for word, value in (allow or {}).items()}

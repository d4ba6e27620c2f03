"""apply --watch: an apply whenever something is due, or pki.toml, its inputs or the state changed; until it is stopped.

pki.toml is read anew each round.  While it is broken, or no plan can be made or policy refuses it, the last one that
was good goes on keeping CRLs, OCSP answers and what is published fresh, and nothing else: relying parties are served,
and nothing is issued that the file as it stands does not ask for.  So it goes, too, while somebody else is applying.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from attrs import define, field, frozen

from pkicode.adapters.store import StateStore
from pkicode.model.event import Event
from pkicode.model.problem import ConfigError, Denied, LeaseHeld, PkicodeError
from pkicode.project import Project, drop
from pkicode.project.applied import TELLING, Applied

POLL = 5
"""Seconds between two looks at the files and the state."""
LONGEST = 600
"""Seconds after which a round is made though nobody saw anything change: a CSR that was overwritten, a new include."""
BACKOFF = 5
"""Seconds to wait after a failure; doubled with each that follows, up to LONGEST."""
BUSY = 20
"""The most of BACKOFF while somebody else is applying: what is revoked meanwhile is to show within a minute or two."""


@frozen
class Round:
    """What one round did."""

    at: int
    applied: Applied | None
    """None where nothing could be applied."""
    error: PkicodeError | None = None
    """Why not all of it."""
    wait: int = 0
    """Seconds until it is tried again, after a failure."""


Signs = tuple[object, ...]
"""What is compared to see that something changed."""


@define
class Watch:
    """The loop.  Time and waiting are handed in, so that tests need neither."""

    _open: Callable[[], Project]
    """Reads pki.toml; raises ConfigError while it is broken."""
    _clock: Callable[[], int]
    _wait: Callable[[float], Awaitable[None]]
    """Waits so many seconds, less when `stop` is called."""
    _tell: Callable[[Round], None]
    only: Sequence[str] = ()
    except_: Sequence[str] = ()
    only_reasons: Sequence[str] = ()
    jobs: int | None = None
    poll: int = POLL
    longest: int = LONGEST
    emit: Callable[[Event], None] = drop
    _good: Project | None = field(default=None, init=False)
    _current: Project | None = field(default=None, init=False)
    _stopping: bool = field(default=False, init=False)

    def stop(self) -> None:
        """What is under way is finished, nothing new is begun."""
        self._stopping = True
        if self._current:
            self._current.stop()

    async def run(self) -> None:
        """Rounds, until somebody stops."""
        failures = 0
        while not self._stopping:
            # Before the round: what changes while it runs, its own commits too, makes another one.
            before = await self._signs()
            done = await self._round(failures)
            failures = failures + 1 if done.wait else 0
            self._tell(done)
            await self._idle(before, done)

    async def _idle(self, before: Signs, done: Round) -> None:
        """Until the next due instant, a sign of change, or LONGEST.

        After a failure that no edit mends, what was tried and recorded is no reason to try again at once.
        """
        until = done.at + (done.wait or self.longest)
        blind = bool(done.wait) and not isinstance(done.error, ConfigError | Denied)
        if done.applied and done.applied.plan.next_due is not None and not blind:
            until = min(until, done.applied.plan.next_due)
        project = self._current or self._good
        heard = None if project is None or blind else await project.state.listening()
        try:
            while not self._stopping and self._clock() < until:
                left = until - self._clock()
                await self._pause(left if blind else min(self.poll, left), heard)
                if not blind and await self._signs(heard) != before:
                    return
        finally:
            if heard:
                await heard.close()

    async def _pause(self, seconds: float, heard: StateStore | None) -> None:
        """So long, or until somebody stops or is heard to have committed."""
        if heard is None:
            await self._wait(seconds)
            return
        waits = [asyncio.ensure_future(one) for one in (self._wait(seconds), heard.changed(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            # A connection that failed is told by the round that follows.
            await asyncio.gather(*waits, return_exceptions=True)

    async def _round(self, failures: int) -> Round:
        at = self._clock()
        wait = min(BACKOFF << min(failures, 10), LONGEST)
        try:
            self._current = await asyncio.to_thread(self._open)
            applied = await self._apply(self._current)
        except (ConfigError, Denied) as error:
            return await self._lists(self._good, at, error, wait)
        except LeaseHeld as error:
            return await self._lists(self._current, at, error, min(wait, BUSY))
        except PkicodeError as error:
            return Round(at, None, error, wait)
        except OSError as error:
            return Round(at, None, PkicodeError(f"{error.strerror}: {error.filename}"), wait)
        self._good = self._current
        return Round(at, applied, wait=wait if applied.problems else 0)

    async def _apply(self, project: Project) -> Applied:
        return await project.aapply(
            only=self.only, except_=self.except_, only_reasons=self.only_reasons, jobs=self.jobs, emit=self.emit
        )

    async def _lists(self, by: Project | None, at: int, why: PkicodeError, wait: int) -> Round:
        """What relying parties need, by the last configuration that could be applied, or that can be and is not yet."""
        if by is None or self.only:
            return Round(at, None, why, wait)
        self._current = by
        try:
            applied = await by.aapply(
                only=TELLING,
                except_=self.except_,
                only_reasons=self.only_reasons,
                emit=self.emit,
            )
        except PkicodeError as error:
            return Round(at, None, error, wait)
        # The file is looked at again soon: somebody is mending it.
        return Round(at, applied, why, wait)

    async def _signs(self, heard: StateStore | None = None) -> Signs:
        """What tells that there may be something to do: the state's sequence, and which files there are."""
        project = self._current or self._good
        if project is None:
            return ()
        try:
            async with nullcontext(heard) if heard else project.state.reading() as store:
                sequence = (await store.about()).sequence if store else 0
        except PkicodeError:
            # The round says what is wrong with it, and how to mend it.
            sequence = -1
        return sequence, *(_seen(path) for path in _inputs(project))


def _inputs(project: Project) -> list[Path]:
    """pki.toml, what it includes and reads, their folders, and those of CSRs: a new file shows in its folder."""
    config = project.config
    files = {config.path, *(config.root / path for path, _ in config.inputs)}
    csrs = (block.spec.csr.dir for block in config.blocks if block.kind == "cert" and block.spec.csr)
    folders = {config.root / folder for folder in csrs if "${" not in folder}
    return sorted({*files, *folders, *(file.parent for file in files if file.parent != config.root)})


def _seen(path: Path) -> tuple[int, ...]:
    """Another file, or other contents, as far as the file system tells; LONGEST covers what it does not."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns

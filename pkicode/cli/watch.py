"""apply --watch in a terminal or under systemd: a line a round on stderr, and signals that stop it."""

import signal
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

import click

from pkicode.cli.session import CLOCK, Session
from pkicode.model.change import Readiness
from pkicode.model.instants import rfc3339
from pkicode.model.problem import ConfigError, PkicodeError, Severity
from pkicode.views.applied import summary

if TYPE_CHECKING:
    from pkicode.project.watch import Round


def watch(
    session: Session, *, only: Sequence[str], except_: Sequence[str], reasons: Sequence[str], jobs: int | None
) -> int:
    """Apply until SIGTERM or ^C: what is under way is finished; the second one aborts."""
    import asyncio
    import os
    import time

    from pkicode.adapters import loop
    from pkicode.cli.progress import progress
    from pkicode.project.watch import Watch

    if os.environ.get(CLOCK):
        raise click.UsageError(f"{CLOCK} is set: a clock that stands still wakes nobody")
    stopped = asyncio.Event()

    async def wait(seconds: float) -> None:
        try:
            await asyncio.wait_for(stopped.wait(), seconds)
        except TimeoutError:
            return

    told: list[str] = []

    def tell(done: "Round") -> None:
        line = said(done)
        # A round that follows its own commits finds nothing to do, and says nothing new.
        if told != [line]:
            told[:] = [line]
            click.echo(f"{rfc3339(done.at)}  {line}", err=True)

    with progress(session) as emit:
        watching = Watch(
            session.project,
            lambda: int(time.time()),
            wait,
            tell,
            only=only,
            except_=except_,
            only_reasons=reasons,
            jobs=jobs,
            emit=emit,
        )

        def stop() -> None:
            watching.stop()
            loop.call(stopped.set)

        signal.signal(signal.SIGTERM, _interrupt)
        loop.run(watching.run(), stop=stop)
    click.echo(f"{rfc3339(int(time.time()))}  stopped; what was begun is done and recorded", err=True)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM is what ^C is to a terminal."""
    raise KeyboardInterrupt


def said(done: "Round") -> str:
    """One line: what failed, what was done, and when there is more to do."""
    from pkicode.views.text import printable

    parts = [f"error: {_mistake(done.error)}."] if done.error else []
    if done.applied and done.error:
        parts.append("Only CRLs, OCSP answers and what is published, as the last good pki.toml has them.")
    if done.applied:
        made, failed = done.applied, done.applied.problems
        parts += [f"error: {one.message}." for one in failed[:1]]
        parts.append(summary(made.counts, made.resumed, made.plan, failed=len(failed)))
        held = [str(one.address) for one in made.plan.changes if one.readiness is Readiness.WAITING]
        more = f" and {len(held) - 1:,} more" if len(held) > 1 else ""
        parts += [f"Held back: {held[0]}{more}."] if held else []
    if done.wait:
        parts.append(f"Tried again within {done.wait} s.")
    return printable("  ".join(parts))


def _mistake(error: PkicodeError) -> str:
    if not isinstance(error, ConfigError):
        return error.message.replace("\n", " ")
    first, *more = [one for one in error.problems if one.severity is Severity.ERROR]
    where = f"{first.span.path}:{first.span.line}: " if first.span else ""
    return f"{where}[{first.code}] {first.message}" + (f" (and {len(more)} more)" if more else "")

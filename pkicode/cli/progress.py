"""Progress of long work on stderr: a bar on a terminal, a line every ten seconds elsewhere; warnings at once.

Both tell how fast it goes and how long it will take.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from attrs import define, field

from pkicode.cli.session import Session
from pkicode.model.event import Event
from pkicode.views.event import WARNINGS, line
from pkicode.views.text import printable

EVERY_SECONDS = 10

Emit = Callable[[Event], None]


@contextmanager
def progress(session: Session) -> Iterator[Emit]:
    """What to hand to apply as `emit`; called from another thread, and never needed for the result."""
    if session.quiet:
        yield lambda _event: None
    elif session.verbose:
        yield lambda event: _echo(f"warning: {line(event)}" if event.failed else line(event))
    elif sys.stderr.isatty():
        with _bar() as (emit, tell):
            yield _with_warnings(emit, tell)
    else:
        yield _with_warnings(_now_and_then(), _echo)


@contextmanager
def once(emit: Emit) -> Iterator[Emit]:
    """For a face that tells every failure at the end: on the way there it is told only where the end is not near."""
    began = time.monotonic()
    held: list[Event] = []

    def told(event: Event) -> None:
        if event.again and time.monotonic() - began < EVERY_SECONDS:
            held.append(event)
        else:
            emit(event)

    try:
        yield told
    except BaseException:
        # Then there is no such end.
        for event in held:
            emit(event)
        raise


def _echo(text: str) -> None:
    click.echo(text, err=True)


def _with_warnings(emit: Emit, tell: Callable[[str], None]) -> Emit:
    left = WARNINGS

    def told(event: Event) -> None:
        nonlocal left
        if not event.failed:
            emit(event)
        elif left:
            left -= 1
            tell(f"warning: {line(event)}")

    return told


@define
class _Pace:
    """How fast each stage goes, from its first event on."""

    _first: dict[str, tuple[float, int]] = field(factory=dict)

    def of(self, event: Event) -> float:
        """Changes a second, 0 while nobody knows."""
        now = time.monotonic()
        began, done = self._first.setdefault(event.stage, (now, event.done))
        return (event.done - done) / (now - began) if event.done > done and now > began else 0.0


def _now_and_then() -> Emit:
    last = time.monotonic()
    pace = _Pace()

    def emit(event: Event) -> None:
        nonlocal last
        rate = pace.of(event)
        if time.monotonic() - last >= EVERY_SECONDS:
            last = time.monotonic()
            _echo(line(event, rate))

    return emit


@contextmanager
def _bar() -> Iterator[tuple[Emit, Callable[[str], None]]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    stages: dict[str, TaskID] = {}
    pace = _Pace()

    def emit(event: Event) -> None:
        # Not before there is something to show: the plan is printed first.
        bar.start()
        if event.stage not in stages:
            stages[event.stage] = bar.add_task(printable(event.stage), total=event.total or None)
        rate = pace.of(event)
        told = f"{event.stage} {rate:,.0f}/s" if rate else event.stage
        bar.update(stages[event.stage], description=printable(told), completed=event.done, total=event.total or None)

    try:
        yield emit, lambda text: bar.console.print(text, markup=False, highlight=False)
    finally:
        bar.stop()

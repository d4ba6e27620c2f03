"""What Python users are told: texts that a prompt shows as they are, and errors with their mend below them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import takewhile
from logging import getLogger
from types import FrameType

from pkicode.model.event import Event
from pkicode.model.problem import ConfigError, PkicodeError
from pkicode.views.event import WARNINGS, line

Listener = Callable[[Event], None]


class Told(str):
    """Text for people; a prompt or a notebook shows it without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


async def loaded(frames: str) -> None:
    """A module of frames, before it is imported: pandas takes half a second, which the loop of a caller has not."""
    await asyncio.to_thread(import_module, f"pkicode.frames.{frames}")


def heard(emit: Listener | None) -> Listener:
    """What hears of every step: the caller's own, or one that logs what somebody has to know.

    A new secret that wants a copy and a list that lacks what was revoked are told nowhere else.
    """
    left = WARNINGS

    def logged(event: Event) -> None:
        nonlocal left
        if event.failed and left:
            left -= 1
            getLogger("pkicode").warning("%s", line(event))

    hears = emit or logged

    def told(event: Event) -> None:
        nonlocal hears
        try:
            hears(event)
        except Exception:  # a bar that breaks is no reason to leave an apply half done, or to lose a scan
            hears = logged
            getLogger("pkicode").exception("emit failed and hears no more; the work goes on")
            hears(event)

    return told


@contextmanager
def mended() -> Iterator[None]:
    """Add to our errors what their message leaves to the faces: every located mistake, and the help (PEP 678 notes)."""
    try:
        yield
    except PkicodeError as error:
        if not getattr(error, "__notes__", None):
            _annotate(error)
        raise


def _annotate(error: PkicodeError) -> None:
    from pkicode.views import problems
    from pkicode.views.text import printable

    # Python has no list of notes where there is none, and our users are told to read it.
    error.__notes__ = []
    if isinstance(error, ConfigError):
        error.add_note(problems.human(error.problems))
    if error.help:
        error.add_note(f"help: {printable(error.help)}")
    # IPython asks an error for it; scripts and debuggers have the whole traceback.
    error._render_traceback_ = partial(_rendered, error)  # type: ignore[attr-defined]


def _rendered(error: PkicodeError) -> list[str]:
    """Where the caller was, and what is wrong: sixty lines of ours in between hid the mend from a notebook's reader."""
    from traceback import StackSummary, format_exception_only, walk_tb

    from pkicode.views.text import printable

    foreign = takewhile(lambda one: not _is_of(one, "pkicode"), walk_tb(error.__traceback__))
    callers = StackSummary.extract(one for one in foreign if not _is_of(one, "IPython"))
    lines = [f"{one.name}, line {one.lineno}: {one.line}" for one in callers]
    told = "".join(format_exception_only(error)).rstrip("\n").split("\n")
    return [printable(line) for line in (*lines, "", *told)]


def _is_of(one: tuple[FrameType, int], package: str) -> bool:
    return str(one[0].f_globals.get("__name__")).partition(".")[0] == package

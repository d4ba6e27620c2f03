"""What Python users are told: texts that a prompt shows as they are, and errors with their mend below them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from pkicode.model.problem import ConfigError, PkicodeError


class Told(str):
    """Text for people; a prompt or a notebook shows it without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


async def loaded(frames: str) -> None:
    """A module of frames, before it is imported: pandas takes half a second, which the loop of a caller has not."""
    await asyncio.to_thread(import_module, f"pkicode.frames.{frames}")


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

    if isinstance(error, ConfigError):
        error.add_note(problems.human(error.problems))
    if error.help:
        error.add_note(f"help: {printable(error.help)}")

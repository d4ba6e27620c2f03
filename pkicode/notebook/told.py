"""What Python users are told: texts that a prompt shows as they are, and errors with their mend below them."""

from collections.abc import Iterator
from contextlib import contextmanager

from pkicode.model.problem import ConfigError, PkicodeError, installing


class Told(str):
    """Text for people; a prompt or a notebook shows it without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@contextmanager
def mended() -> Iterator[None]:
    """Add to our errors what their message leaves to the faces: every located mistake, and the help (PEP 678 notes)."""
    try:
        yield
    except PkicodeError as error:
        if not getattr(error, "__notes__", None):
            _annotate(error)
        raise


@contextmanager
def framed() -> Iterator[None]:
    """Say what to install where a DataFrame is asked for without what makes one."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("numpy", "pandas", "pyarrow"):
            raise
        raise PkicodeError(
            f"a DataFrame needs {error.name}, which is not installed",
            help=installing("notebook"),
        ) from error


def _annotate(error: PkicodeError) -> None:
    from pkicode.views import problems
    from pkicode.views.text import printable

    if isinstance(error, ConfigError):
        error.add_note(problems.human(error.problems))
    if error.help:
        error.add_note(f"help: {printable(error.help)}")

"""What is not installed, told with what installs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from pkicode.model.problem import PkicodeError, installing


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

"""What every test stands on: no configuration from the caller's environment, no deadline (machines are shared)."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import Postgres, running
from tests.watch import slow_callbacks

for variable in [name for name in os.environ if name.startswith("PKICODE_")] + ["NO_COLOR", "FORCE_COLOR"]:
    os.environ.pop(variable, None)

# Hundreds of tests start a command: without byte code each would compile all of pkicode anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

_MEMORY = Path("/dev/shm")
"""tmpfs on Linux, where an fsync costs nothing: tests that apply a hundred times and pull no plug use it."""


@pytest.fixture(scope="session")
def quick_folder() -> Iterator[Path]:
    """In memory where there is such a folder, else wherever temporary files are."""
    there = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pkicode-", dir=there, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def quick_path(quick_folder: Path) -> Iterator[Path]:
    """As tmp_path, but quick and gone when the test is over."""
    with tempfile.TemporaryDirectory(dir=quick_folder, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for everybody, whose data lie in memory."""
    with running() as there:
        yield there


@pytest.fixture(autouse=True)
def _nothing_blocks_the_event_loop() -> Iterator[None]:
    """Guard 10 of docs/explanation/architecture.md."""
    with slow_callbacks() as found:
        yield
    assert not found, "move it to a thread or a worker:\n" + "\n".join(found)

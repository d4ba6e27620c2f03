"""The PKI of corp.py, applied once and copied."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.faults.corp")

from tests.faults import corp  # noqa: E402 - rewritten asserts say what differs


@pytest.fixture(scope="session")
def applied(quick_folder: Path) -> Path:
    """A folder in which the first apply is done; tests copy it and leave it alone."""
    return corp.built(quick_folder / "applied")

"""The long life, once on each store."""

from pathlib import Path

import pytest

from tests.kinds.site import Site
from tests.quick import another
from tests.retention import long


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, quick_folder: Path) -> long.Ground:
    on = request.param
    return long.lived(another(quick_folder, on), request.getfixturevalue("postgres") if on == "postgres" else None)


@pytest.fixture
def site(ground: long.Ground, quick_path: Path) -> Site:
    return ground.copy(quick_path / "pruned")


@pytest.fixture
def other(ground: long.Ground, quick_path: Path) -> Site:
    """The same, where nothing is ever archived."""
    return ground.copy(quick_path / "whole")

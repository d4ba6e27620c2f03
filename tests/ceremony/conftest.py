"""The two machines, with and without their CAs."""

import shutil
from pathlib import Path

import pytest

from tests.ceremony.two import PORTAL, TEXT, Two, two_machines
from tests.kinds.site import Site


@pytest.fixture
def two(quick_path: Path) -> Two:
    return two_machines(quick_path)


@pytest.fixture(scope="session")
def _ready(quick_folder: Path) -> Path:
    folder = quick_folder / "two-ready"
    folder.mkdir()
    two = two_machines(folder)
    two.card()
    assert two.apply().exit_code == 7
    two.round()
    assert two.apply().exit_code == 7
    two.round()
    assert two.apply().exit_code == 0
    return folder


@pytest.fixture
def ready(_ready: Path, quick_path: Path) -> Two:
    """Everything is there, after both ceremonies."""
    shutil.copytree(_ready, quick_path / "copy", symlinks=True)
    return Two(Site(quick_path / "copy/online").write(PORTAL, base=TEXT), quick_path / "copy/offline")

"""The ground every test of issuance stands on."""

from pathlib import Path

import pytest

from tests.issuing.ground import Ground
from tests.quick import quick_key_file


@pytest.fixture
def ground(quick_path: Path) -> Ground:
    (quick_path / "p").mkdir(mode=0o700)
    quick_key_file(quick_path / "p/keys.db")
    return Ground(quick_path / "p")

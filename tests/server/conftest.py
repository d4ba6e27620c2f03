"""The site fixture."""

from pathlib import Path

import pytest

from tests.kinds.site import Site
from tests.quick import quick_keystore


@pytest.fixture
def site(quick_path: Path) -> Site:
    """A root, an issuing CA, and nothing below yet."""
    quick_keystore(quick_path)
    return Site(quick_path).write()

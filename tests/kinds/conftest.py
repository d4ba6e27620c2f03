"""The site fixture."""

from pathlib import Path

import pytest

from tests.kinds.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A root, an issuing CA, and nothing below yet."""
    return Site(tmp_path).write()

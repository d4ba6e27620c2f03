"""A site in memory, with a keystore that opens at once."""

from pathlib import Path

import pytest

from tests.kinds.site import Site
from tests.quick import quick_keystore

LEAVES = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
output = { chain = "out/portal.pem", key = "out/portal.key" }
[cert.app]
profile = "server"
for_each = { values = ["api", "search"] }
dns = ["${each.value}.corp.example"]
"""


@pytest.fixture
def site(quick_path: Path) -> Site:
    """A root, an issuing CA and LEAVES, nothing applied."""
    root = quick_path / "site"
    root.mkdir()
    quick_keystore(root)
    return Site(root).write(LEAVES)

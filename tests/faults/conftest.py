"""The PKI of corp.py, applied once on each store and copied."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.faults.corp")

from tests.faults import corp  # noqa: E402 - rewritten asserts say what differs
from tests.quick import another  # noqa: E402 - as above

QUICK = ("test_crash", "test_cut", "test_two_applies")
"""What is tried on PostgreSQL every time; the others on SQLite, and on PostgreSQL with all heavy tests."""


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def applied(request: pytest.FixtureRequest, quick_folder: Path) -> corp.Ground:
    """Where the first apply is done; tests copy it and leave it alone."""
    on = request.param
    return corp.built(another(quick_folder, on), request.getfixturevalue("postgres") if on == "postgres" else None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        chosen = getattr(item, "callspec", None)
        if chosen and chosen.params.get("applied") == "postgres" and item.path.stem not in QUICK:
            item.add_marker(pytest.mark.heavy)

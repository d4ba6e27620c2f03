"""Where the laws are tried: on SQLite every time, a few of them on PostgreSQL too, and with the heavy tests all."""

from pathlib import Path

import pytest

from tests.laws.corporate import Ground
from tests.state.postgres import empty

QUICK = (
    "test_after_an_apply_there_is_nothing_to_do",
    "test_revocations_leave_nothing_to_do_and_their_order_means_nothing",
)


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, quick_folder: Path) -> Ground:
    """A folder in memory, and with PostgreSQL a database to be copied."""
    states = empty(request.getfixturevalue("postgres"), "site") if request.param == "postgres" else None
    return Ground(quick_folder, states)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        chosen = getattr(item, "callspec", None)
        on_postgres = chosen is not None and chosen.params.get("ground") == "postgres"
        if on_postgres and item.name.partition("[")[0] not in QUICK:
            item.add_marker(pytest.mark.heavy)

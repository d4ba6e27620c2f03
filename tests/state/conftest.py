"""The stores under the contract: a new adapter joins by one more parameter of `store`."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pkicode.adapters.store import open_sqlite
from pkicode.ports import Lease, Store
from tests.postgres import Postgres
from tests.state.postgres import opened
from tests.state.samples import NEW, NOW

Run = Callable[[Any], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(params=["memory", "file", "postgres"])
def store(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Iterator[Store]:
    match request.param:
        case "memory":
            store = run(open_sqlite(":memory:", create=NEW))
        case "file":
            store = run(open_sqlite(tmp_path / ".pkicode" / "state.db", create=NEW))
        case _:
            there: Postgres = request.getfixturevalue("postgres")
            store = run(opened(there.schema()))
    yield store
    run(store.close())


@pytest.fixture
def lease(store: Store, run: Run) -> Lease:
    return run(store.acquire("project", holder="alice", now=NOW, ttl=60))


@pytest.fixture
def template(store: Store, run: Run, lease: Lease) -> int:
    return run(store.template('{"kind":"cert"}', lease=lease))

"""The stores under the contract: a new adapter joins by one more parameter of `store`."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pkicode.adapters.sqlite import open_sqlite
from pkicode.ports import Lease, Store
from tests.state.samples import NEW, NOW

Run = Callable[[Any], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Iterator[Store]:
    path = ":memory:" if request.param == "memory" else tmp_path / ".pkicode" / "state.db"
    store = run(open_sqlite(path, create=NEW))
    yield store
    run(store.close())


@pytest.fixture
def lease(store: Store, run: Run) -> Lease:
    return run(store.acquire("project", holder="alice", now=NOW, ttl=60))


@pytest.fixture
def template(store: Store, run: Run, lease: Lease) -> int:
    return run(store.template('{"kind":"cert"}', lease=lease))

"""The stores under the contract: a new adapter joins by one more parameter of `store`."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pkicode.adapters.store import open_sqlite
from pkicode.ports import Lease, Store
from tests.faults.corp import BASE as ANSWERED
from tests.kinds.site import Site
from tests.postgres import Postgres
from tests.quick import quick_keystore
from tests.state.older import NEW as MORE
from tests.state.older import PORTAL, Older, copied
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


@pytest.fixture
def site(quick_path: Path) -> Site:
    quick_keystore(quick_path)
    site = Site(quick_path).write(PORTAL, base=ANSWERED)
    assert site.apply().exit_code == 0
    return site


@pytest.fixture
def older(site: Site) -> Older:
    """Taken before [cert.new] was issued and portal renewed."""
    older = copied(site)
    site.write(PORTAL + MORE, base=ANSWERED).later(61)
    assert site.apply().exit_code == 0
    return older

"""How much is done, counted and not timed: a plan of nothing asks a few questions however many rows there are."""

import asyncio
import json
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve

from pkicode.adapters import loop
from pkicode.kinds import KINDS
from pkicode.model.row import Held
from pkicode.plan import planner
from pkicode.ports import Lease, Revocation, Want, Write
from pkicode.project import Project
from tests.faults.failing import Calls, Port, failing
from tests.kinds.site import BASE, NOW, Site
from tests.oracles import revoked_serials
from tests.quick import quick_keystore

FLEET = """
[cert.fleet]
profile = "server"
for_each = { csv = "fleet.csv", key = "host" }
dns = ["${each.host}.corp.example"]
"""
FAR = NOW + 10**7
QUERIES = 9
"""What a plan asks of the store: as many questions for ten rows as for a hundred thousand."""


def fleet(root: Path, rows: int) -> Site:
    quick_keystore(root)
    (root / "fleet.csv").write_text("host\n" + "".join(f"h{number}\n" for number in range(rows)))
    return Site(root).write(FLEET)


def rows_of(template: int, rows: int) -> list[tuple[Held, str]]:
    return [
        (Held("cert", "fleet", f"h{one}", 1, template, json.dumps([f"h{one}"]), FAR, "ca.issuing", "ok", 0), "{}")
        for one in range(rows)
    ]


async def fill(project: Project, rows: int) -> None:
    """Resource rows as `rows` issuances would leave them, without their certificates."""
    store = await project.state.open()
    lease: Lease = await store.acquire("project", holder="test", now=NOW, ttl=60)
    block = project.config.block("cert", "fleet")
    assert block is not None
    number = await store.template(block.template, lease=lease)
    held = await asyncio.to_thread(rows_of, number, rows)
    await store.commit(Write(NOW, "test", "issue.issued", "cert.fleet", held=held), lease)
    await store.release(lease)
    await store.close()


async def counted(project: Project, calls: Calls, diffs: Counter[str]) -> int:
    """How many changes a plan finds, with every question to the store and every call of a diff counted."""

    def counting(kind):
        def diff(*args):
            diffs[kind.name] += 1
            return kind.diff(*args)

        return evolve(kind, diff=diff)

    async with project.state.reading() as store:
        snapshot = await project.state.snapshot(Port("store", store, calls))  # type: ignore[arg-type]
    kinds = [counting(one) for one in KINDS]
    plan = await asyncio.to_thread(partial(planner.plan, project.config, snapshot, now=NOW, kinds=kinds))
    return len(plan.changes)


@pytest.mark.parametrize(
    "rows", [10, 10_000, pytest.param(100_000, marks=pytest.mark.heavy)], ids=lambda rows: f"{rows} rows"
)
def test_a_plan_of_nothing_asks_a_few_questions_and_compares_nothing(rows: int, quick_path: Path) -> None:
    site = fleet(quick_path, rows)
    site.apply(only=["ca.*", "crl.*", "publish.*"])
    loop.run(fill(site.open(), rows))
    calls, diffs = Calls(), Counter[str]()
    assert loop.run(counted(site.open(), calls, diffs)) == 0
    assert not diffs
    assert calls.counted.total() <= QUERIES, calls.counted


def test_a_thousand_certificates_take_a_few_commits(quick_path: Path) -> None:
    rows = 1000
    site = fleet(quick_path, rows)
    site.apply(only=["ca.*", "crl.*", "publish.*"])
    calls = Calls()
    applied = failing(site.open(), calls).apply()
    assert applied.counts["issue"] == rows
    assert calls.counted["store.commit"] <= 2 * -(-rows // 500) + 6
    assert calls.counted["world.journal"] <= -(-rows // 500)
    assert calls.counted["keystore.keep"] <= -(-rows // 500)
    assert calls.counted.total() <= 40, calls.counted


async def revoke(project: Project, count: int) -> None:
    """Revocations by the issuing CA, of certificates that somebody forgot."""
    store = await project.state.open()
    lease: Lease = await store.acquire("project", holder="test", now=NOW, ttl=60)
    (ca,) = await store.certificates(Want(address="ca.issuing"))
    rows = [Revocation(ca.spki, f"{one:x}", NOW, "superseded", FAR, "test") for one in range(1, count + 1)]
    await store.commit(Write(NOW, "test", "revoke", "ca.issuing", revocations=rows), lease)
    await store.release(lease)
    await store.close()


@pytest.mark.parametrize("shards", ["", "crl = { shards = 2 }\n"], ids=["unsharded", "sharded"])
def test_a_list_of_thousands_asks_as_little_as_a_list_of_ten(shards: str, quick_path: Path) -> None:
    asked = []
    for count in (10, 5000):
        root = quick_path / str(count)
        root.mkdir()
        site = fleet(root, 1)
        site.write(FLEET, base=BASE.replace("path_len = 0\n", f"path_len = 0\n{shards}"))
        site.apply()
        loop.run(revoke(site.open(), count))
        calls = Calls()
        assert failing(site.open(), calls).apply().counts == {"sign": 1, "publish": 1}
        assert revoked_serials((root / "public/crl/issuing-g1.crl").read_bytes())[-1] == f"{count:x}"
        asked.append(calls.counted)
    assert asked[0] == asked[1]

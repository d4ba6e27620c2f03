"""With the state in PostgreSQL, responders and `apply --watch` hear of a commit; a replica is enough to plan on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkicode.adapters import loop
from pkicode.model.problem import StateError
from pkicode.ports import Write
from pkicode.project import open_project
from pkicode.project.watch import Round, Watch
from pkicode.revocation import pack
from pkicode.revocation.ocsp_request import cert_id, encode
from pkicode.revocation.ocsp_response import verified
from tests.kinds.site import Site
from tests.kinds.test_ocsp import OCSP, OTHER, PORTAL, newest
from tests.postgres import Postgres, replica
from tests.quick import quick_keystore
from tests.server.running import post, serving
from tests.state.postgres import empty


@pytest.fixture
def there(postgres: Postgres, quick_path: Path) -> Site:
    """A site whose state is on the server, with two certificates and OCSP."""
    quick_keystore(quick_path)
    site = Site(quick_path, state=empty(postgres, "site").new()).write(PORTAL + OTHER, base=OCSP)
    assert site.apply().exit_code == 0
    return site


def test_a_responder_tells_of_a_revocation_though_it_looks_once_an_hour(there: Site) -> None:
    portal = newest(there, "cert.portal")
    found = pack.read((there.root / "public/ocsp/issuing-g1.pack").read_bytes())
    asked = cert_id(found.maker.issuer, int(portal.serial, 16), "sha1")
    with serving(there.root, "--every", "3600") as server:
        (good,) = server.ask(post(encode(asked)))
        assert verified(good.body, asked, found.maker.ca, now=there.now).status == "good"
        there.write(OTHER, base=OCSP)
        assert there.apply().exit_code == 0
        server.hears("issuing-g1: ")
        (revoked,) = server.ask(post(encode(asked)))
        assert verified(revoked.body, asked, found.maker.ca, now=there.now).status == "revoked"


def test_a_watch_makes_a_round_when_somebody_commits_though_it_looks_once_an_hour(there: Site) -> None:
    rounds: list[Round] = []

    async def live() -> None:
        stopped, made = asyncio.Event(), asyncio.Queue[Round]()

        async def wait(seconds: float) -> None:
            try:
                await asyncio.wait_for(stopped.wait(), seconds)
            except TimeoutError:
                return

        def opened():
            return open_project(there.root / "pki.toml", environ={}, now=there.now)

        watch = Watch(opened, lambda: there.now, wait, made.put_nowait, poll=3600, longest=3600)
        running = asyncio.create_task(watch.run())
        # The first round finds nothing to do and then listens: until somebody is heard.
        rounds.append(await made.get())
        committing = asyncio.create_task(commits(there))
        rounds.append(await asyncio.wait_for(made.get(), 60))
        committing.cancel()
        watch.stop()
        stopped.set()
        await running

    loop.run(live())
    assert [one.error for one in rounds] == [None, None]


async def commits(site: Site) -> None:
    """Somebody elsewhere, again and again."""
    project = site.open()
    while True:
        async with project.state.writing(site.now) as (store, lease):
            await store.commit(Write(at=site.now, actor="elsewhere", action="note", subject="x"), lease)
        await asyncio.sleep(0.2)


@pytest.fixture
def copied(there: Site, postgres: Postgres) -> Iterator[Postgres]:
    with replica(postgres) as standby:
        yield standby


def test_a_plan_is_made_on_a_replica_and_an_apply_is_refused_there(
    there: Site, copied: Postgres, postgres: Postgres
) -> None:
    wanted = there.plan().changes
    there.state = there.state.replace(f":{postgres.port}/", f":{copied.port}/")
    there.write(PORTAL + OTHER, base=OCSP)
    assert there.plan().changes == wanted
    assert there.open().upkeep.verify() == []
    with pytest.raises(StateError, match="is a replica") as caught:
        there.apply()
    assert "primary" in caught.value.help
    heard = loop.run(there.open().state.listening())
    assert heard is not None
    loop.run(heard.changed(0))  # it tells of nothing, and fails at nothing
    loop.run(heard.close())


def test_a_responder_needs_no_more_than_its_role(there: Site, postgres: Postgres, tmp_path: Path) -> None:
    database = there.state.rpartition("/")[2]
    postgres.sql(there.open().upkeep.roles(), database)
    postgres.sql("CREATE ROLE answering LOGIN IN ROLE pkicode_responder", database)
    (tmp_path / "pki.toml").write_text(there.text.replace("//postgres@", "//answering@"))
    with serving(tmp_path, "--every", "3600") as server:
        portal = newest(there, "cert.portal")
        found = pack.read((there.root / "public/ocsp/issuing-g1.pack").read_bytes())
        asked = cert_id(found.maker.issuer, int(portal.serial, 16), "sha1")
        there.write(OTHER, base=OCSP)
        assert there.apply().exit_code == 0
        server.hears("issuing-g1: ")
        (revoked,) = server.ask(post(encode(asked)))
        assert verified(revoked.body, asked, found.maker.ca, now=there.now).status == "revoked"

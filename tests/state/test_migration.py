"""States of an older schema: read as they are, brought up when they are opened for writing, compared when restored."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pkicode.adapters.backup import backup, place_of_file, restore
from pkicode.adapters.sql import SCHEMA, migrations
from pkicode.adapters.store import open_sqlite
from pkicode.adapters.verify import verify
from pkicode.model.problem import StateError
from pkicode.ports import Blocked, Match
from tests.state.samples import ISSUER, NEW, NOW, revocation, write

NEWER = {1: ("blocked", "matches", "archives"), 2: ("archives",)}
"""The tables that a version did not have."""


@pytest.fixture
def version() -> int:
    return 1


@pytest.fixture
def path(tmp_path: Path, run, version: int) -> Path:
    """A state as that version left it."""
    path = tmp_path / ".pkicode" / "state.db"
    store = run(open_sqlite(path, create=NEW))
    run(store.close())
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in NEWER[version]:
            connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(version),))
        tables = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        first = "".join(migrations()[:version]).replace("IF NOT EXISTS ", "")
        assert all(table.split("(", maxsplit=1)[0] in first for table in tables)
    return path


def schema(path: Path) -> tuple[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        (count,) = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('blocked', 'matches', 'archives')"
        ).fetchone()
        return version, count


@pytest.mark.parametrize("version", NEWER)
def test_an_older_state_is_read_and_verified_without_being_touched(path, run, version):
    store = run(open_sqlite(path, create=NEW, read_only=True))
    assert (run(store.blocked()), run(store.entries()), run(store.about()).schema) == ({}, {}, version)
    assert (run(store.signed()), run(store.ends()), run(store.archives())) == ({}, {}, [])
    run(store.close())
    assert verify(path, None) == []
    assert schema(path) == (str(version), 3 - len(NEWER[version]))


@pytest.mark.parametrize("version", NEWER)
def test_an_older_state_is_brought_up_when_it_is_written_and_twice_is_once(path, run, version):
    for _ in range(2):
        store = run(open_sqlite(path, create=NEW))
        assert run(store.about()).schema == SCHEMA
        run(store.close())
    assert schema(path) == (str(SCHEMA), 3)
    assert verify(path, None) == []


def go(path: Path, run, **changes) -> None:
    async def one() -> None:
        store = await open_sqlite(path, create=NEW)
        lease = await store.acquire("project", holder="alice", now=NOW, ttl=60)
        await store.commit(write(**changes), lease)
        await store.release(lease)
        await store.close()

    run(one())


def test_a_backup_of_an_older_state_is_restored_and_brought_up(path, run, tmp_path):
    copy = tmp_path / "copy.db"
    backup(path, copy)
    assert schema(copy) == ("1", 0)
    path.unlink()
    run(restore(copy, place_of_file(path, NOW + 9), whose=NEW, now=NOW + 9, actor="bob"))
    assert schema(path) == (str(SCHEMA), 3)
    assert verify(path, None) == []


@pytest.mark.invariant(8)
@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"blocked": [Blocked("ab", NOW, "keyCompromise", "INC-1")]}, "1 blocked key .ab"),
        ({"matches": [Match("INC-1", ISSUER, "77", "superseded", NOW)]}, r"1 ..revoke.. target .INC-1 77"),
        ({"revocations": [revocation("77", reason="keyCompromise")]}, "1 revocation .77"),
    ],
    ids=["a blocked key", "a match", "a worse reason"],
)
def test_a_restore_lowers_no_revocation(path, run, tmp_path, changes, lost):
    go(path, run, revocations=[revocation("77")])
    old = tmp_path / "old.db"
    backup(path, old)
    go(path, run, **changes)
    with pytest.raises(StateError, match=f"does not know {lost}.*nothing was changed"):
        run(restore(old, place_of_file(path, NOW + 9), whose=NEW, now=NOW + 9, actor="bob"))


def test_a_state_of_version_1_restores_over_one_that_blocked_nothing(path, run, tmp_path):
    old = tmp_path / "old.db"
    shutil.copy(path, old)
    go(path, run)
    run(restore(old, place_of_file(path, NOW + 9), whose=NEW, now=NOW + 9, actor="bob"))
    assert schema(path) == (str(SCHEMA), 3)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "INSERT INTO matches VALUES ('INC-1', 'ff', '77', 'superseded', 5)",
            "revoke.INC-1: its revocation of 77 is gone",
        ),
        ("DROP TABLE blocked", "table blocked is missing"),
    ],
)
def test_an_altered_list_is_seen(path, run, statement, found):
    go(path, run)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    try:
        assert any(found in one for one in verify(path, None))
    except StateError as error:
        assert "blocked" in error.message  # noqa: PT017 - a table that is gone cannot even be asked

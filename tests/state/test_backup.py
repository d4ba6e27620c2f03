"""Backup and restore: a copy is whole, and the way back forgets nothing the world has seen."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest
from attrs import evolve

from pkicode.adapters.backup import backup, place_of_file, restore
from pkicode.adapters.store import open_sqlite
from pkicode.adapters.verify import verify
from pkicode.model.problem import LeaseHeld, LeaseLost, StateError
from pkicode.ports import Settlement, Want, Write
from pkicode.x509 import der
from tests.state.samples import NEW, NOW, crl, draft, revocation, write


def issued(number: int) -> Settlement:
    row = draft(number)
    whole = der.tlv(der.SEQUENCE, row.der, b"\x30\x00", der.bit_string(b""))
    return Settlement(row.issuer_key, row.serial, "issued", hashlib.sha256(whole).hexdigest(), whole)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".pkicode" / "state.db"


@pytest.fixture
def store(path, run):
    store = run(open_sqlite(path, create=NEW))
    yield store
    with suppress(RuntimeError):  # a test that closed it to lose the file
        run(store.close())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


@pytest.fixture
def go(store, run):
    """Commit under a lease of its own."""

    def commit(**changes) -> None:
        async def one():
            lease = await store.acquire("project", holder="alice", now=NOW, ttl=60)
            await store.commit(write(**changes), lease)
            await store.release(lease)

        run(one())

    return commit


@pytest.fixture
def back(run, copy, path):
    def again(source: Path = copy, **how) -> None:
        run(restore(source, place_of_file(path, NOW + 9), **{"whose": NEW, "now": NOW + 9, "actor": "bob", **how}))

    return again


def test_a_backup_is_one_file_for_its_owner_taken_while_others_write(store, run, go, path, copy):
    go(intents=[draft(1)])
    backup(path, copy)
    go(intents=[draft(2)])
    assert copy.stat().st_mode & 0o777 == 0o600
    assert verify(copy, None) == []
    assert [one.name for one in copy.parent.iterdir() if one.is_file()] == ["copy.db"]
    other = run(open_sqlite(copy, create=NEW, read_only=True))
    assert run(other.intents()) == [draft(1)]
    run(other.close())


def test_a_backup_overwrites_nothing(store, path, copy):
    copy.write_bytes(b"precious")
    with pytest.raises(StateError, match="already"):
        backup(path, copy)
    assert copy.read_bytes() == b"precious"
    with pytest.raises(StateError, match="cannot be made"):
        backup(path, copy.parent / "nowhere" / "copy.db")


@pytest.fixture
def gone() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_what_a_killed_backup_left_goes_with_the_next_and_what_is_anybody_elses_stays(store, path, tmp_path, gone):
    target = tmp_path / "copy[1].db"
    draft = f".{target.name}.draft.{gone}.140737353"
    left = [draft, f"{draft}-journal", f"{draft}-wal"]
    dated = ("261130", "20261130", "2026.20261130", f"{gone}", f"{gone}.11.30", f"{gone}.140737353")
    drafts = (f"draft.{os.getppid()}.140737353", "draft.20261130", f"draft.{gone}.11.30", f"draft.{gone}.txt")
    others = [f".{target.name}.{one}" for one in (*dated, *drafts)]
    for name in (*left, *others):
        (tmp_path / name).write_bytes(b"x")
    backup(path, target)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([".pkicode", target.name, *others])


def test_what_a_killed_restore_left_goes_with_the_next(store, path, copy, back, gone):
    backup(path, copy)
    left = [f".restore.draft.{gone}", f".restore.draft.{gone}-journal"]
    left.append(f"..restore.draft.{gone}.draft.{gone}.140737353")
    for name in left:
        (path.parent / name).write_bytes(b"x")
    back()
    assert not list(path.parent.glob(".*restore.*"))


def test_a_copy_under_a_hidden_name_leaves_those_that_were_numbered_after_it(store, path, tmp_path, gone):
    older = tmp_path / f".copy.db.{gone}"
    older.write_bytes(b"x")
    backup(path, tmp_path / ".copy.db")
    assert older.read_bytes() == b"x"


def test_there_is_no_backup_of_nothing(tmp_path, copy):
    with pytest.raises(FileNotFoundError):
        backup(tmp_path / "state.db", copy)
    assert not copy.exists()


def test_a_lost_state_comes_back_with_an_event(store, run, go, path, copy, back):
    go(intents=[draft(1)], artefacts=[crl("5")], revocations=[revocation("77")])
    backup(path, copy)
    run(store.close())
    path.unlink()
    back()
    assert verify(path, None) == []
    found = run(open_sqlite(path, create=NEW))
    assert run(found.intents()) == [draft(1)]
    assert run(found.artefact("crl", "issuing-g1")) == crl("5")
    assert [(one.actor, one.action) for one in run(found.audit())] == [("alice", "issue.intent"), ("bob", "restore")]
    assert path.stat().st_mode & 0o777 == 0o600
    run(found.close())


def test_a_state_the_backup_knows_all_of_is_replaced_for_everybody_who_has_it_open(store, run, go, path, copy, back):
    go(intents=[draft(1)])
    backup(path, copy)
    run(store.commit(Write(NOW, "mallory", "forget", "x"), run(store.acquire("project", holder="m", now=NOW, ttl=1))))
    back()
    assert run(store.intents()) == [draft(1)]
    assert [one.action for one in run(store.audit())] == ["issue.intent", "restore"]
    assert run(store.leases()) == []


@pytest.mark.invariant(8)
@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"intents": [draft(2)]}, "certificate .*1002"),
        ({"settled": [issued(1)]}, "certificate .*1001"),
        ({"revocations": [revocation("77")]}, "revocation .*77"),
        ({"artefacts": [crl("10")]}, "list .*crl issuing-g1 number 10"),
        ({"artefacts": [crl("1", scope="0")]}, "list .*crl issuing-g1 number 1"),
    ],
)
def test_what_the_world_has_seen_is_not_forgotten(store, run, go, path, copy, back, changes, lost):
    go(intents=[draft(1)], artefacts=[crl("9")])
    backup(path, copy)
    go(**changes)
    before = run(store.about())
    with pytest.raises(StateError, match=f"does not know 1 {lost}.*nothing was changed"):
        back()
    assert run(store.about()) == before
    assert run(store.leases()) == []


def test_losses_are_counted_and_the_first_few_named(store, go, path, copy, back):
    backup(path, copy)
    go(intents=[draft(number) for number in range(10)])
    with pytest.raises(StateError, match=r"10 certificates \(1000 .*, 1001 .*, 1002 .* and 7 more\)"):
        back()


def test_an_aborted_certificate_may_be_forgotten(store, run, go, path, copy, back):
    backup(path, copy)
    go(intents=[draft(1)])
    go(settled=[Settlement(draft(1).issuer_key, draft(1).serial, "aborted")])
    back()
    assert run(store.certificates(Want())) == []


def test_a_backup_of_another_lineage_is_refused(store, run, tmp_path, copy, back):
    other = tmp_path / "other" / "state.db"
    run(run(open_sqlite(other, create=evolve(NEW, lineage="another"))).close())
    backup(other, copy)
    with pytest.raises(StateError, match="another lineage"):
        back()


def test_a_backup_of_another_env_is_refused_even_where_nothing_is(store, run, path, copy, back):
    backup(path, copy)
    run(store.close())
    path.unlink()
    with pytest.raises(StateError, match="env `default`, not `prod`"):
        back(whose=evolve(NEW, env="prod"))
    assert not path.exists()


def test_nobody_restores_under_a_writer(store, run, path, copy, back):
    backup(path, copy)
    lease = run(store.acquire("publish issuing", holder="publisher", now=NOW, ttl=60))
    with pytest.raises(LeaseHeld, match="publisher"):
        back()
    assert run(store.leases()) == [lease]


def test_leases_given_before_are_worth_nothing_after(store, run, go, path, copy, back):
    backup(path, copy)
    old = run(store.acquire("project", holder="paused", now=NOW, ttl=1))
    back()
    newer = run(store.acquire("project", holder="next", now=NOW + 9, ttl=60))
    assert newer.epoch > old.epoch
    with pytest.raises(LeaseLost):
        run(store.commit(write(), old))


def test_epochs_go_on_from_where_the_state_was_and_not_the_backup(store, run, path, copy, back):
    run(store.acquire("publish", holder="one", now=NOW, ttl=1))
    backup(path, copy)
    for number in range(1, 5):
        old = run(store.acquire("publish", holder="one", now=NOW + number, ttl=1))
    back()
    assert run(store.acquire("publish", holder="next", now=NOW + 9, ttl=60)).epoch > old.epoch


def test_a_state_is_overwritten_under_its_newest_lease_only(store, run, path, copy):
    old = run(store.acquire("project", holder="paused", now=NOW, ttl=1))
    run(store.acquire("project", holder="next", now=NOW + 1, ttl=60))
    backup(path, copy)
    with pytest.raises(LeaseLost):
        run(store.database.overwrite(copy, old))


def test_the_log_of_a_damaged_state_does_not_reach_the_restored_one(store, run, go, path, copy, back, tmp_path):
    go(intents=[draft(1)])
    backup(path, copy)
    go(intents=[draft(number) for number in range(2, 300)])
    crashed = tmp_path / "crashed" / "state.db"
    crashed.parent.mkdir(mode=0o700)
    shutil.copy(path, crashed)
    shutil.copy(f"{path}-wal", f"{crashed}-wal")
    crashed.write_bytes(b"\0" * 100)
    run(restore(copy, place_of_file(crashed, NOW + 9), whose=NEW, now=NOW + 9, actor="bob"))
    aside = [f"state.db.damaged-{NOW + 9}", f"state.db.damaged-{NOW + 9}-wal"]
    assert sorted(one.name for one in crashed.parent.iterdir()) == ["state.db", *aside]
    assert verify(crashed, None) == []


@pytest.mark.parametrize("cut", [0, 100, 8192 * 3])
def test_a_damaged_state_is_kept_aside_and_replaced(store, run, go, path, copy, back, cut):
    go(intents=[draft(1)])
    backup(path, copy)
    run(store.close())
    broken = path.read_bytes()[:cut]
    path.write_bytes(broken)
    back()
    assert verify(path, None) == []
    assert path.with_name(f"state.db.damaged-{NOW + 9}").read_bytes() == broken


def test_a_backup_that_is_not_sound_is_refused(store, run, go, path, copy, back):
    go(intents=[draft(1)])
    backup(path, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE events SET actor = 'mallory'")
    with pytest.raises(StateError, match="not sound: audit: event 1 was altered"):
        back()
    with pytest.raises(FileNotFoundError):
        back(copy.with_name("nothing"))
    assert run(store.intents()) == [draft(1)]


def test_a_restore_leaves_no_draft_behind(store, run, path, copy, back):
    backup(path, copy)
    back()
    assert {one.name for one in path.parent.iterdir()} == {"state.db", "state.db-wal", "state.db-shm"}


def test_a_pipe_in_the_place_of_a_backup_is_waited_for_by_nobody(store, path, back, copy):
    os.mkfifo(copy, 0o600)
    with pytest.raises(StateError, match="is not a regular file"):
        back()

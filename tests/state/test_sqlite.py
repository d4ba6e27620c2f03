"""What only the SQLite store does: its file, its locks, its damage."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve

from pkicode.adapters import statefile, steps
from pkicode.adapters.holder import here, is_dead
from pkicode.adapters.store import open_sqlite
from pkicode.model.problem import LeaseHeld, StateError
from pkicode.ports import Lease, Want
from tests.state.samples import NEW, NOW, certificate, held, write

_PROCESS = {"PYTHONPATH": os.getcwd(), "PATH": os.environ["PATH"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".pkicode" / "state.db"


@pytest.fixture
def filled(path, run) -> Path:
    """A state with 400 certificates, closed."""

    async def fill():
        store = await open_sqlite(path, create=NEW)
        lease = await store.acquire("project", holder="alice", now=NOW, ttl=60)
        await store.commit(write(intents=[certificate(n, der=b"\0" * 700) for n in range(400)]), lease)
        await store.release(lease)
        await store.close()

    run(fill())
    return path


def refused(run, path, match, **how):
    with pytest.raises(StateError, match=match) as caught:
        run(open_sqlite(path, **{"create": NEW, **how}))
    assert caught.value.help
    return caught.value


def test_a_state_is_made_for_its_owner_only_whatever_the_umask(path, run):
    mask = os.umask(0)
    try:
        store = run(open_sqlite(path, create=NEW))
    finally:
        os.umask(mask)
    run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    run(store.close())
    assert [one.name for one in path.parent.iterdir()] == ["state.db"]


def test_commits_are_synchronous_and_in_the_log(filled):
    with closing(statefile.connect(filled, read_only=False)) as connection:
        settings = [connection.execute(f"PRAGMA {word}").fetchone()[0] for word in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]


@pytest.mark.parametrize(("mode", "what"), [(0o640, "file"), (0o604, "file"), (0o770, "folder")])
def test_a_state_others_may_touch_is_refused(filled, run, mode, what):
    (filled if what == "file" else filled.parent).chmod(mode)
    assert "chmod" in refused(run, filled, "others").help


@pytest.mark.parametrize("word", ["project", "env"])
def test_a_state_of_another_project_or_env_is_refused(filled, run, word):
    refused(run, filled, "other", create=evolve(NEW, **{word: "other"}))
    refused(run, filled, "other", create=evolve(NEW, **{word: "other"}), read_only=True)


def test_opening_again_keeps_lineage_and_rows(filled, run):
    store = run(open_sqlite(filled, create=evolve(NEW, lineage="another")))
    assert run(store.about()).lineage == NEW.lineage
    assert len(run(store.intents())) == 400
    run(store.close())


@pytest.mark.parametrize("how", [{"create": None}, {"create": NEW, "read_only": True}])
def test_a_state_that_is_not_there_is_not_made_for_readers(path, run, how):
    with pytest.raises(FileNotFoundError):
        run(open_sqlite(path, **how))
    assert not path.parent.exists()


def test_a_state_of_a_newer_pkicode_is_refused(filled, run):
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    assert "upgrade" in refused(run, filled, "schema 99").help


@pytest.mark.parametrize(
    "planted",
    [
        "CREATE TRIGGER t BEFORE INSERT ON revocations BEGIN SELECT raise(ignore); END",
        "CREATE TRIGGER t AFTER INSERT ON revocations BEGIN DELETE FROM revocations; END",
        "CREATE VIEW t AS SELECT * FROM revocations",
        "CREATE TRIGGER t AFTER INSERT ON revocations BEGIN DELETE FROM revocations; END; PRAGMA writable_schema = ON;"
        " UPDATE sqlite_master SET type = 'Trigger' WHERE name = 't'",
    ],
)
def test_a_state_in_which_something_acts_by_itself_is_refused(filled, run, planted):
    """With such a trigger a revocation was told as made, and stood on no list."""
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.executescript(planted)
    assert "state verify" in refused(run, filled, " t is in it").help
    refused(run, filled, " t is in it", create=NEW, read_only=True)


@pytest.mark.parametrize("content", [b"", b"[project]\nname = 'x'\n", b"SQLite format 3\0" + b"\0" * 84])
def test_a_file_that_is_no_database_is_refused(path, run, content):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(content)
    path.chmod(0o600)
    refused(run, path, "not a pkicode state|damaged|not hold")
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused(path, run):
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE meta (key text, value text)")
    path.chmod(0o600)
    refused(run, path, "not a pkicode state")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_a_truncated_state_is_refused(filled, run, keep):
    with filled.open("r+b") as file:
        file.truncate(int(filled.stat().st_size * keep))
    refused(run, filled, "damaged|not hold")


def test_flipped_bytes_are_an_error_that_names_the_mend_and_never_wrong_rows(filled, run):
    """Every page in turn; a flip inside text goes unseen here and is `state verify`'s to find."""
    whole = filled.read_bytes()
    mends = []
    for offset in range(0, len(whole), 8192):
        broken = bytearray(whole)
        broken[offset : offset + 16] = b"\xff" * 16
        filled.write_bytes(broken)
        try:
            assert run(everything(filled)) == 400
        except StateError as error:
            mends.append(error.help)
    assert len(mends) > 10
    assert all("state verify" in mend or "elsewhere" in mend for mend in mends)


async def everything(path: Path) -> int:
    store = await open_sqlite(path, create=NEW)
    try:
        return len(await store.certificates(Want()))
    finally:
        await store.close()


def test_a_full_disk_undoes_the_whole_commit_and_says_so(path, run):
    async def fill():
        store = await open_sqlite(path, create=NEW)
        lease = await store.acquire("project", holder="alice", now=NOW, ttl=60)
        # SQLite's own limit fails as a full disk does.
        await store.database.ask(partial(steps.read, "PRAGMA max_page_count = 60"))
        with pytest.raises(StateError, match="full; nothing was written"):
            await store.commit(write(intents=[certificate(n, der=b"\0" * 700) for n in range(2000)]), lease)
        assert await store.intents() == []
        assert (await store.about()).sequence == 0
        assert await store.commit(write(intents=[certificate(1)]), lease) == 1
        await store.close()

    run(fill())


def test_readers_do_not_wait_for_a_writer_and_see_whole_commits(filled, run):
    reader = run(open_sqlite(filled, create=NEW, read_only=True))
    with closing(sqlite3.connect(filled, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM certificates")
        assert len(run(reader.intents())) == 400
        other.execute("COMMIT")
    assert run(reader.intents()) == []
    run(reader.close())


def test_a_reader_cannot_write(filled, run):
    reader = run(open_sqlite(filled, create=NEW, read_only=True))
    with pytest.raises(StateError, match="reading only"):
        run(reader.acquire("project", holder="alice", now=NOW, ttl=60))
    run(reader.close())


def test_a_state_on_a_read_only_disk_can_be_read(filled, run, tmp_path):
    """A plan needs no leave to write; a mount says so even to root, where there is leave to mount."""
    mounted = tmp_path / "mounted"
    mounted.mkdir(mode=0o700)
    bind = subprocess.run(["mount", "--bind", filled.parent, mounted], capture_output=True)
    if bind.returncode:
        filled.parent.chmod(0o500)
        mounted = filled.parent
    else:
        subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
    try:
        reader = run(open_sqlite(mounted / filled.name, create=NEW, read_only=True))
        assert len(run(reader.intents())) == 400
        run(reader.close())
    finally:
        filled.parent.chmod(0o700)
        if not bind.returncode:
            subprocess.run(["umount", mounted], check=True)


def test_a_state_that_was_removed_or_replaced_takes_no_more_commits(filled, run):
    store = run(open_sqlite(filled, create=NEW))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    copy = filled.with_name("copy")
    shutil.copy(filled, copy)
    copy.replace(filled)
    with pytest.raises(StateError, match="replaced while it was open"):
        run(store.commit(write(), lease))
    filled.unlink()
    with pytest.raises(StateError, match="removed"):
        run(store.commit(write(), lease))
    run(store.close())


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "ext4", "fuse.fuse-overlayfs", "overlay"])
def test_network_file_systems_are_known_by_the_mount_they_are_on(kind):
    mounts = (
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
        f"30 27 0:45 /export /srv/pki rw,relatime shared:7 - {kind} server:/export rw\n"
    )
    assert statefile.filesystem(os.makedev(0, 45), mounts) == kind
    assert statefile.filesystem(os.makedev(0, 46), mounts) == ""
    assert bool(statefile.NETWORK.fullmatch(kind)) == (kind in {"nfs4", "cifs", "fuse.sshfs"})


def test_the_loop_turns_while_the_store_waits_for_another_writer(filled, run):
    async def wait():
        store = await open_sqlite(filled, create=NEW)
        turned = 0
        with closing(sqlite3.connect(filled, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(store.acquire("project", holder="alice", now=NOW, ttl=60))
            while turned < 100:
                await asyncio.sleep(0)
                turned += 1
            assert not waiting.done()
            other.execute("COMMIT")
        assert (await waiting).epoch > 0
        await store.close()

    run(wait())


def test_a_lease_of_a_process_that_died_on_this_host_is_free_at_once(filled, run):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    store = run(open_sqlite(filled, create=NEW))
    lease = run(store.acquire("project", holder="crashed", now=NOW, ttl=600))
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute("UPDATE leases SET pid = ?", (child.pid,))
    with pytest.raises(LeaseHeld):
        run(store.acquire("project", holder="alice", now=NOW + 1, ttl=600))
    child.stdin.close()
    child.wait(60)
    assert run(store.acquire("project", holder="alice", now=NOW + 1, ttl=600)).epoch == lease.epoch + 1
    run(store.close())


def test_nobody_can_say_that_a_process_of_another_host_is_dead():
    gone = Lease("project", "bob", "elsewhere", 2**22 + 1, 1, NOW, NOW + 60)
    assert not is_dead(gone)
    assert is_dead(evolve(gone, host=here()))
    assert not is_dead(evolve(gone, host=here(), pid=os.getpid()))
    assert not is_dead(evolve(gone, host=here(), pid=1))


_WRITER = """
import asyncio, sys
from pathlib import Path
from pkicode.adapters.store import open_sqlite
from tests.state.samples import NEW, NOW, certificate, write
async def main():
    store = await open_sqlite(Path(sys.argv[1]), create=NEW)
    lease = await store.acquire(sys.argv[2], holder="child", now=NOW, ttl=600)
    first = int(sys.argv[3])
    for number in range(first, first + int(sys.argv[4])):
        print(await store.commit(write(intents=[certificate(number)]), lease), flush=True)
asyncio.run(main())
"""


def writer(path: Path, lease: str, first: int, count: int) -> subprocess.Popen:
    command = [sys.executable, "-c", _WRITER, str(path), lease, str(first), str(count)]
    return subprocess.Popen(command, env=_PROCESS, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_process_was_told_is_there(path, run):
    child = writer(path, "project", 0, 10**6)
    told = [int(child.stdout.readline()) for _ in range(20)]
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    told += [int(line) for line in child.stdout if line.endswith("\n")]
    child.stdout.close()
    store = run(open_sqlite(path, create=NEW))
    count = len(run(store.intents()))
    assert count in (told[-1], told[-1] + 1)  # the last may have been committed and not told
    assert run(store.about()).sequence == count == len(run(store.audit(limit=10**6)))
    assert run(store.acquire("project", holder="next", now=NOW, ttl=60)).epoch == 2
    run(store.close())


def test_two_processes_make_one_state_and_write_to_it_in_turn(path, run):
    children = [writer(path, "project", 0, 50), writer(path, "publish", 1000, 50)]
    told = [int(line) for child in children for line in child.communicate(timeout=120)[0].split()]
    assert sorted(told) == list(range(1, 101))
    store = run(open_sqlite(path, create=NEW))
    assert len(run(store.intents())) == 100
    run(store.close())
    assert [one.name for one in path.parent.iterdir()] == ["state.db"]


@pytest.mark.invariant(7)
def test_of_two_processes_that_want_one_lease_the_second_is_refused(path, run):
    store = run(open_sqlite(path, create=NEW))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    command = [sys.executable, "-c", _WRITER, str(path), "project", "0", "1"]
    child = subprocess.run(command, env=_PROCESS, capture_output=True, text=True)
    assert child.returncode
    assert "LeaseHeld: alice" in child.stderr
    assert run(store.commit(write(intents=[certificate(0)]), lease)) == 1
    run(store.close())


def test_rows_of_a_template_survive_the_process_that_wrote_them(path, run):
    store = run(open_sqlite(path, create=NEW))
    lease = run(store.acquire("project", holder="alice", now=NOW, ttl=60))
    number = run(store.template("body", lease=lease))
    run(store.commit(write(held=[(held("a", number), "{}")]), lease))
    run(store.close())
    again = run(open_sqlite(path, create=NEW, read_only=True))
    assert run(again.templates()) == {number: "body"}
    assert run(again.held()) == [held("a", number, version=1)]
    run(again.close())

"""Copies of a sealed keystore, and the way back: whole or not at all, and never over a key that they lack."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from pkicode.adapters.sealed import SealedKeyStore
from pkicode.model.problem import KeyStoreError
from pkicode.ports import NewKey
from tests.guards.tree import ROOT
from tests.kinds.site import NOW
from tests.quick import PASSPHRASE, quick_key_file, using

MAKER = """
import asyncio, select, sys
from pathlib import Path
from pkicode.ports import NewKey
from tests.keys.test_keycopy import opened

async def main():
    store, number = opened(Path(sys.argv[1])), 0
    # Until somebody closes our standard input.
    while not select.select([sys.stdin], [], [], 0)[0]:
        await store.create([NewKey(f"cert.c{number}-{each}@1", "ec-p256") for each in range(20)])
        number += 1
    await store.close()

asyncio.run(main())
"""


def opened(path: Path, secret: bytes = PASSPHRASE) -> SealedKeyStore:
    async def passphrase() -> bytes:
        return secret

    return SealedKeyStore(path, passphrase)


def with_store(path: Path, use: Callable[[SealedKeyStore], Awaitable[object]], secret: bytes = PASSPHRASE):
    return using(opened(path, secret), use)


def made(path: Path, *labels: str) -> None:
    with_store(path, lambda store: store.create([NewKey(label, "ec-p256") for label in labels]))


def labels(path: Path) -> list[str]:
    return list(with_store(path, lambda store: store.labels()))


def backup(path: Path, target: Path, secret: bytes = PASSPHRASE) -> int:
    return with_store(path, lambda store: store.backup(target), secret)


def restore(path: Path, source: Path, secret: bytes = PASSPHRASE):
    return with_store(path, lambda store: store.restore(source, NOW), secret)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A keystore with two keys."""
    (tmp_path / "private").mkdir(mode=0o700)
    quick_key_file(tmp_path / "private/keys.db")
    made(tmp_path / "private/keys.db", "ca.root@1", "cert.portal@1")
    return tmp_path / "private/keys.db"


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    assert backup(path, tmp_path / "copy.db") == 2
    return tmp_path / "copy.db"


def test_a_copy_is_for_its_owner_sealed_and_the_same_keys(path: Path, copy: Path, tmp_path: Path) -> None:
    assert copy.stat().st_mode & 0o777 == 0o600
    keys = with_store(path, lambda store: store.export(["ca.root@1", "cert.portal@1"]))
    # The scalar of a P-256 key in PKCS #8 (RFC 5915).
    assert not [one for one in keys if one[36:68] in copy.read_bytes()]
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    assert restore(tmp_path / "elsewhere/keys.db", copy) == (2, None)
    assert with_store(tmp_path / "elsewhere/keys.db", lambda s: s.export(["ca.root@1", "cert.portal@1"])) == keys
    assert (tmp_path / "elsewhere/keys.db").stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["copy.db", "elsewhere", "private"]


def test_copies_that_are_made_while_another_process_makes_keys_are_whole(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKER, str(path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    counts: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environ) as process:
        while len(set(counts)) < 4 and process.poll() is None:
            counts.append(backup(path, tmp_path / f"{len(counts)}.db"))
        process.communicate()
    assert process.returncode == 0
    assert counts == sorted(counts)
    # All twenty of a commit, or none.
    assert {(one - 2) % 20 for one in counts} == {0}


def test_a_copy_is_not_made_over_a_file_with_a_wrong_passphrase_or_of_a_damaged_key(path: Path, copy: Path) -> None:
    with pytest.raises(KeyStoreError, match="is there already"):
        backup(path, copy)
    target = copy.with_name("other.db")
    with pytest.raises(KeyStoreError, match="does not open the keystore"):
        backup(path, target, b"wrong")
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE keys SET sealed = randomblob(length(sealed)) WHERE label = 'ca.root@1'")
        file.commit()
    with pytest.raises(KeyStoreError, match=r"the key ca\.root@1 was altered"):
        backup(path, target)
    with pytest.raises(KeyStoreError, match="there is no keystore"):
        backup(path.with_name("none.db"), target)
    with pytest.raises(KeyStoreError, match="No such file or directory"):
        backup(path, path.parent / "none/copy.db")
    assert not target.exists()
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []


def test_nothing_is_put_over_a_keystore_with_newer_keys(path: Path, copy: Path) -> None:
    made(path, "cert.portal@2")
    before = path.read_bytes()
    with pytest.raises(KeyStoreError, match=r"does not know cert.portal@2; nothing was changed"):
        restore(path, copy)
    assert path.read_bytes() == before


def test_a_key_of_the_same_name_that_is_another_one_is_not_lost_either(path: Path, copy: Path) -> None:
    path.unlink()
    quick_key_file(path)
    made(path, "ca.root@1")
    with pytest.raises(KeyStoreError, match=r"does not know ca.root@1"):
        restore(path, copy)


@pytest.mark.parametrize("damage", ["noise", "truncated", "altered"])
def test_a_damaged_keystore_is_replaced_and_kept(path: Path, copy: Path, damage: str) -> None:
    if damage == "altered":
        with closing(sqlite3.connect(path)) as file:
            file.execute("UPDATE keys SET sealed = randomblob(length(sealed))")
            file.commit()
    else:
        data = path.read_bytes()
        path.write_bytes(os.urandom(len(data)) if damage == "noise" else data[:5000])
    before = path.read_bytes()
    aside = path.with_name(f"keys.db.before-{NOW}")
    assert restore(path, copy) == (2, aside)
    assert aside.read_bytes() == before
    assert with_store(path, lambda store: store.verify()) == []
    assert labels(path) == ["ca.root@1", "cert.portal@1"]


def test_a_keystore_that_others_may_read_is_not_taken_for_a_damaged_one(path: Path, copy: Path) -> None:
    made(path, "cert.portal@2")
    path.chmod(0o644)
    with pytest.raises(KeyStoreError, match="may be read or written by others"):
        restore(path, copy)
    path.chmod(0o600)
    assert "cert.portal@2" in labels(path)


def test_a_backup_opens_with_the_passphrase_of_its_day(path: Path, copy: Path) -> None:
    with_store(path, lambda store: store.rewrap(b"another passphrase"))
    with pytest.raises(KeyStoreError, match=r"does not open the backup .*; nothing was changed"):
        restore(path, copy, b"another passphrase")
    assert labels(path) == ["ca.root@1", "cert.portal@1"]
    path.unlink()
    restore(path, copy)
    assert with_store(path, lambda store: store.verify()) == []


def test_a_backup_that_is_damaged_or_none_changes_nothing(path: Path, copy: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(copy)) as file:
        file.execute("UPDATE keys SET sealed = randomblob(length(sealed)) WHERE label = 'ca.root@1'")
        file.commit()
    with pytest.raises(KeyStoreError, match=r"the key ca\.root@1 was altered"):
        restore(path, copy)
    (tmp_path / "state.db").write_bytes(b"")
    with pytest.raises(KeyStoreError, match="is not a keystore"):
        restore(path, tmp_path / "state.db")
    shutil.copy(path, tmp_path / "later.db")
    (tmp_path / "noise.db").write_bytes(os.urandom(9000))
    with pytest.raises(KeyStoreError, match="not a keystore, or damaged"):
        restore(path, tmp_path / "noise.db")
    assert path.read_bytes() == (tmp_path / "later.db").read_bytes()
    assert sorted(one.name for one in path.parent.iterdir() if "journal" not in one.name) == ["keys.db"]


def _with_a_trigger(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TRIGGER x AFTER INSERT ON keys BEGIN DELETE FROM keys WHERE id = new.id; END")


def test_a_trigger_in_a_backup_or_a_keystore_is_nobodys_but_a_strangers(path: Path, copy: Path) -> None:
    """It would take each key away as it is stored: a CA key that certificates were made for."""
    sound = copy.with_name("sound.db")
    shutil.copy(copy, sound)
    _with_a_trigger(copy)
    with pytest.raises(KeyStoreError, match="tables or triggers that no pkicode makes"):
        restore(path, copy)
    assert labels(path) == ["ca.root@1", "cert.portal@1"]
    _with_a_trigger(path)
    with pytest.raises(KeyStoreError, match="tables or triggers that no pkicode makes"):
        made(path, "cert.other@1")
    # It may have keys that no backup has.
    with pytest.raises(KeyStoreError, match="tables or triggers that no pkicode makes"):
        restore(path, sound)


@pytest.mark.parametrize("what", ["fifo", "folder"])
def test_what_is_no_file_is_not_waited_for(path: Path, tmp_path: Path, what: str) -> None:
    source = tmp_path / what
    os.mkfifo(source) if what == "fifo" else source.mkdir()
    with pytest.raises(KeyStoreError, match="not a regular file"):
        restore(path, source)


@pytest.mark.parametrize("target", [".", "/"])
def test_a_folder_is_no_name_for_a_copy(path: Path, target: str) -> None:
    with pytest.raises(KeyStoreError, match="is a folder"):
        backup(path, Path(target))


def test_a_keystore_that_was_replaced_twice_in_a_second_is_kept_twice(path: Path, copy: Path) -> None:
    asides = {restore(path, copy)[1] for _ in range(3)}
    assert len(asides) == 3
    assert all(labels(one) == ["ca.root@1", "cert.portal@1"] for one in asides)


def test_a_stick_that_knows_no_links_gets_its_copy_and_is_never_written_over(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_of: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    # What link(2) says on FAT.
    monkeypatch.setattr(os, "link", refused)
    assert backup(path, tmp_path / "stick.db") == 2
    assert [one.name for one in tmp_path.iterdir() if "stick" in one.name] == ["stick.db"]
    with pytest.raises(KeyStoreError, match="is there already"):
        backup(path, tmp_path / "stick.db")
    assert labels(tmp_path / "stick.db") == ["ca.root@1", "cert.portal@1"]


def test_a_keystore_where_there_are_no_links_is_kept_as_a_copy(
    path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_of: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    before = path.read_bytes()
    monkeypatch.setattr(os, "link", refused)
    asides = [restore(path, copy)[1] for _ in range(2)]
    assert [one.read_bytes() for one in asides] == [before, copy.read_bytes()]
    assert {one.stat().st_mode & 0o777 for one in asides} == {0o600}
    assert labels(path) == ["ca.root@1", "cert.portal@1"]


def test_what_a_killed_copy_left_goes_with_the_next_and_what_lives_stays(path: Path, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    target = tmp_path / "copy[1].db"
    draft = f".{target.name}.draft"
    left = [f"{draft}.{gone.pid}", f"{draft}.{gone.pid}-journal"]
    dated = [f".{target.name}.{one}" for one in ("261130", "20261130", "2026.20261130", gone.pid, os.getpid())]
    others = [*dated, f"{draft}.{os.getppid()}", f"{draft}.{gone.pid}.txt", f".copy1.db.draft.{gone.pid}"]
    for name in (*left, *others, f"{draft}.{os.getpid()}"):
        (tmp_path / name).write_bytes(b"sealed")
    assert backup(path, target) == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["private", target.name, *others])


def test_a_full_disk_is_that_of_the_copy(path: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(stick)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        with pytest.raises(KeyStoreError) as refused:
            backup(path, stick / "copy.db")
        assert refused.value.message == f"keystore {stick}/copy.db: the disk is full; nothing was stored"
        assert list(stick.iterdir()) == []
    finally:
        subprocess.run(["umount", str(stick)], check=True)

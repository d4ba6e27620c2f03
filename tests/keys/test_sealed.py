"""The sealed keystore: what it keeps, what it refuses, and that nothing is lost when a process dies."""

import asyncio
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pkicode.adapters.sealed import SealedKeyStore
from pkicode.model.problem import KeyStoreError
from pkicode.ports import MintedKey, NewKey
from pkicode.x509 import keys as x509_keys
from tests.oracles import openssl, openssl_bytes
from tests.quick import PASSPHRASE, quick_key_file, using

there = pytest.mark.usefixtures("_quick")
"""Begins with a keystore that opens at once; the other tests make theirs, or are about what it costs."""


def passphrase(value: bytes = PASSPHRASE) -> Callable[[], Awaitable[bytes]]:
    async def read() -> bytes:
        return value

    return read


async def refuse() -> bytes:
    raise AssertionError("nobody should have asked for the passphrase")


def with_store(path: Path, use, ask: Callable[[], Awaitable[bytes]] | None = None):
    """What `use(store)` returns; the store is opened and closed around it, as a command does."""
    return using(SealedKeyStore(path, ask or passphrase()), use)


def made(path: Path, *labels: str, alg: str = "ec-p256"):
    return with_store(path, lambda store: store.create([NewKey(label, alg) for label in labels]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "keys.db"


@pytest.fixture
def _quick(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    quick_key_file(path)


def test_exported_keys_of_every_algorithm_are_read_by_openssl_and_are_those_that_were_promised(path: Path) -> None:
    async def use(store: SealedKeyStore):
        facts = await store.create([NewKey(f"cert.{alg}@1", alg) for alg in x509_keys.ALGORITHMS])
        return facts, await store.export([fact.label for fact in facts])

    facts, exported = with_store(path, use)
    assert [fact.alg for fact in facts] == list(x509_keys.ALGORITHMS)
    for fact, pkcs8 in zip(facts, exported, strict=True):
        assert x509_keys.spki(x509_keys.load_pkcs8(pkcs8)) == fact.spki
        if fact.alg.startswith("ml-"):  # tests/x509/test_keys.py asks an OpenSSL that knows them
            continue
        openssl("pkey", "-inform", "DER", "-check", "-noout", stdin=pkcs8)
        assert openssl_bytes("pkey", "-inform", "DER", "-pubout", "-outform", "DER", stdin=pkcs8) == fact.spki


def test_a_signer_signs_what_openssl_verifies(path: Path, tmp_path: Path) -> None:
    [facts] = made(path, "ca.root@1")
    signer = with_store(path, lambda store: store.signer("ca.root@1"))
    (tmp_path / "tbs").write_bytes(b"to be signed")
    (tmp_path / "signature").write_bytes(signer.sign(b"to be signed"))
    public = openssl("pkey", "-pubin", "-inform", "DER", stdin=facts.spki)
    (tmp_path / "public").write_text(public)
    said = openssl(
        "dgst", "-sha256", "-verify", tmp_path / "public", "-signature", tmp_path / "signature", tmp_path / "tbs"
    )
    assert "Verified OK" in said
    assert signer.facts == facts


def test_creating_again_gives_the_same_key_and_only_makes_what_is_missing(path: Path) -> None:
    first = made(path, "a@1", "b@1")
    again = made(path, "b@1", "c@1", "a@1", "c@1")
    assert [again[2], again[0]] == list(first)
    assert again[1] == again[3]
    assert with_store(path, lambda store: store.labels()) == ["a@1", "b@1", "c@1"]


@there
def test_a_label_is_never_made_again_with_another_algorithm(path: Path) -> None:
    [before] = made(path, "a@1")
    with pytest.raises(KeyStoreError, match="a@1 is there already, as ec-p256 and not ed25519"):
        made(path, "b@1", "a@1", alg="ed25519")
    assert with_store(path, lambda store: store.find(["a@1", "b@1"])) == {"a@1": before}


def test_looking_needs_no_passphrase_and_makes_no_file(path: Path) -> None:
    assert with_store(path, lambda store: store.find(["a@1"]), refuse) == {}
    assert with_store(path, lambda store: store.labels(), refuse) == []
    assert not path.parent.exists()
    [facts] = made(path, "a@1")
    assert with_store(path, lambda store: store.find(["a@1", "b@1"]), refuse) == {"a@1": facts}


@there
def test_the_passphrase_is_asked_for_once(path: Path) -> None:
    asked = []

    async def ask() -> bytes:
        asked.append(True)
        return PASSPHRASE

    async def use(store: SealedKeyStore) -> None:
        await asyncio.gather(
            store.create([NewKey("a@1", "ec-p256")]), store.mint(), store.create([NewKey("b@1", "ed25519")])
        )
        await store.signer("a@1")

    with_store(path, use, ask)
    assert asked == [True]


@there
def test_keys_minted_elsewhere_are_kept_and_open(path: Path) -> None:
    async def use(store: SealedKeyStore):
        mint = pickle.loads(pickle.dumps(await store.mint()))
        minted = mint([NewKey(f'cert.fleet["{number}"]@1', "ec-p256") for number in range(20)])
        facts = await store.keep(minted)
        assert list(facts) == [key.facts for key in minted]
        return facts, await store.export([fact.label for fact in facts])

    facts, exported = with_store(path, use)
    for fact, pkcs8 in zip(facts, exported, strict=True):
        assert x509_keys.spki(x509_keys.load_pkcs8(pkcs8)) == fact.spki


@there
def test_keys_are_minted_by_a_pool_of_processes(path: Path) -> None:
    process = start(
        path,
        """
        from pkicode.adapters.workers import Workers
        async with Workers(2) as workers:
            mint = await store.mint()
            batches = [[NewKey(f"cert.x{batch}-{n}@1", "ec-p256") for n in range(10)] for batch in range(6)]
            for minted in await asyncio.gather(*(workers.run(mint, batch) for batch in batches)):
                await store.keep(minted)
        """,
    )
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(with_store(path, lambda store: store.labels())) == 60
    assert with_store(path, lambda store: store.verify()) == []


@there
def test_a_minted_key_never_replaces_the_one_that_is_there(path: Path) -> None:
    [first] = made(path, "a@1")

    async def use(store: SealedKeyStore):
        mint = await store.mint()
        assert mint
        return await store.keep(mint([NewKey("a@1", "ec-p256"), NewKey("b@1", "ec-p256")]))

    kept = with_store(path, use)
    assert kept[0] == first
    assert [fact.label for fact in kept] == ["a@1", "b@1"]


@there
def test_a_key_sealed_for_another_keystore_is_not_kept(path: Path, tmp_path: Path) -> None:
    async def mint(store: SealedKeyStore):
        function = await store.mint()
        assert function
        return function([NewKey("a@1", "ec-p256")])

    foreign = with_store(tmp_path / "other" / "keys.db", mint)
    with pytest.raises(KeyStoreError, match="a@1"):
        with_store(path, lambda store: store.keep(foreign))
    assert with_store(path, lambda store: store.labels()) == []


@there
@pytest.mark.parametrize("wrong", [PASSPHRASE[:-1], PASSPHRASE + b"\n"])
def test_a_wrong_passphrase_is_one_clear_error_without_the_passphrase(path: Path, wrong: bytes) -> None:
    made(path, "a@1")
    with pytest.raises(KeyStoreError, match="the passphrase does not open") as caught:
        with_store(path, lambda store: store.export(["a@1"]), passphrase(wrong))
    assert "[keystore.X] passphrase" in caught.value.help
    assert wrong.decode() not in caught.value.message + caught.value.help


def test_an_empty_passphrase_is_refused_before_a_file_is_made(path: Path) -> None:
    with pytest.raises(KeyStoreError, match="is empty"):
        with_store(path, lambda store: store.create([NewKey("a@1", "ec-p256")]), passphrase(b""))
    assert not path.exists()


def test_a_key_that_is_not_there_is_named_and_no_keystore_is_made(path: Path) -> None:
    for method in ("signer", "export"):
        argument = "a@1" if method == "signer" else ["a@1"]
        with pytest.raises(KeyStoreError, match="holds no key a@1"):
            with_store(path, lambda store, m=method, a=argument: getattr(store, m)(a), refuse)
    assert not path.exists()


@there
@pytest.mark.parametrize(
    ("change", "label"),
    [
        ("UPDATE keys SET sealed = randomblob(length(sealed)) WHERE label = 'a@1'", "a@1"),
        ("UPDATE keys SET sealed = x'' WHERE label = 'a@1'", "a@1"),
        ("UPDATE keys SET spki = (SELECT spki FROM keys WHERE label = 'b@1') WHERE label = 'a@1'", "a@1"),
        ("UPDATE keys SET label = 'z@1' WHERE label = 'a@1'", "z@1"),
        ("UPDATE keys SET alg = 'ed25519' WHERE label = 'a@1'", "a@1"),
        ("UPDATE keys SET sealed = (SELECT sealed FROM keys WHERE label = 'b@1') WHERE label = 'a@1'", "a@1"),
    ],
)
def test_an_altered_row_is_named_and_its_key_is_neither_used_nor_vouched_for(
    path: Path, change: str, label: str
) -> None:
    alg = "ed25519" if "alg" in change else "ec-p256"

    async def use(store: SealedKeyStore) -> None:
        await store.create([NewKey("a@1", "ec-p256"), NewKey("b@1", "ec-p256")])
        alter(path, change)
        for attempt in (
            store.export([label]),
            store.signer(label),
            store.create([NewKey(label, alg)]),
            store.rewrap(b"new"),
        ):
            with pytest.raises(KeyStoreError, match=f"the key {label} in the keystore .* was altered"):
                await attempt
        assert await store.verify() == [f"the key {label} was altered"]
        assert await store.export(["b@1"])

    with_store(path, use)


@pytest.mark.parametrize(
    "change",
    ["n = 16", "n = 2", "n = 1073741824", "n = 131071", "r = 1", "p = 1000", "salt = x'00'", "proof = x''"],
)
def test_an_altered_header_opens_nothing_and_costs_nothing(path: Path, change: str) -> None:
    made(path, "a@1")
    alter(path, f"UPDATE header SET {change}")
    with pytest.raises(KeyStoreError, match="the passphrase does not open"):
        with_store(path, lambda store: store.export(["a@1"]))


def test_verify_finds_nothing_in_a_sound_keystore_and_nothing_where_there_is_none(path: Path) -> None:
    assert with_store(path, lambda store: store.verify(), refuse) == []
    made(path, "a@1", "b@1")
    assert with_store(path, lambda store: store.verify()) == []


@there
def test_verify_finds_a_key_that_is_not_the_private_half_of_its_public_key(path: Path) -> None:
    async def use(store: SealedKeyStore):
        mint = await store.mint()
        assert mint
        one, two = mint([NewKey("a@1", "ec-p256"), NewKey("b@1", "ec-p256")])
        swapped = mint.envelope.seal_key(one.facts, mint.envelope.open_key(two))
        await store.keep([swapped])
        return await store.verify()

    assert with_store(path, use) == ["the key a@1 is not the private half of its public key"]


@there
def test_a_new_passphrase_opens_the_same_keys_and_the_old_one_nothing(path: Path) -> None:
    made(path, *(f"cert.x{number}@1" for number in range(5)))
    before = with_store(path, lambda store: store.export(["cert.x3@1"]))
    old_seals = rows(path, "SELECT sealed FROM keys")

    async def use(store: SealedKeyStore):
        assert await store.rewrap(b"a new passphrase") == 5
        await store.create([NewKey("later@1", "ed25519")])
        return await store.export(["cert.x3@1"])

    assert with_store(path, use) == before
    assert (
        with_store(path, lambda store: store.export(["cert.x3@1", "later@1"]), passphrase(b"a new passphrase"))[:1]
        == before
    )
    with pytest.raises(KeyStoreError, match="does not open"):
        with_store(path, lambda store: store.export(["cert.x3@1"]))
    content = path.read_bytes()
    assert all(seal not in content for (seal,) in old_seals)


@there
def test_a_process_that_slept_through_a_new_passphrase_stores_nothing_under_the_old_one(path: Path) -> None:
    made(path, "a@1")

    async def use(sleeper: SealedKeyStore) -> None:
        mint = await sleeper.mint()
        assert mint
        minted = mint([NewKey("b@1", "ec-p256")])
        other = SealedKeyStore(path, passphrase())
        await other.rewrap(b"new")
        await other.close()
        for attempt in (sleeper.keep(minted), sleeper.create([NewKey("b@1", "ec-p256")]), sleeper.export(["a@1"])):
            with pytest.raises(KeyStoreError, match="was changed by another process"):
                await attempt
        assert await sleeper.labels() == ["a@1"]

    with_store(path, use)


def test_nothing_to_rewrap_is_said_and_an_empty_new_passphrase_is_refused(path: Path) -> None:
    with pytest.raises(KeyStoreError, match="there is no keystore"):
        with_store(path, lambda store: store.rewrap(b"new"), refuse)
    made(path, "a@1")
    with pytest.raises(KeyStoreError, match="is empty"):
        with_store(path, lambda store: store.rewrap(b""))


def test_the_file_is_private_from_its_creation_whatever_the_umask_says(path: Path) -> None:
    before = os.umask(0)
    try:
        made(path, "a@1")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in path.parent.iterdir())


@there
@pytest.mark.parametrize(("place", "mode"), [("file", 0o640), ("file", 0o604), ("folder", 0o755), ("folder", 0o710)])
def test_a_keystore_that_others_may_reach_is_refused_with_the_chmod_that_mends_it(
    path: Path, place: str, mode: int
) -> None:
    made(path, "a@1")
    open_door = path if place == "file" else path.parent
    open_door.chmod(mode)
    with pytest.raises(KeyStoreError, match="read or written by others") as caught:
        with_store(path, lambda store: store.find(["a@1"]))
    assert caught.value.help.startswith("run `chmod ")
    subprocess.run(caught.value.help.removeprefix("run `").removesuffix("`").split(), check=True)
    assert with_store(path, lambda store: store.find(["a@1"]))


@there
def test_a_link_in_place_of_the_keystore_is_refused(path: Path, tmp_path: Path) -> None:
    made(path, "a@1")
    moved = path.rename(path.with_name("elsewhere.db"))
    path.symlink_to(moved)
    with pytest.raises(KeyStoreError, match="not a regular file"):
        with_store(path, lambda store: store.labels())


@pytest.mark.parametrize("content", [b"not a database at all, just words" * 100, b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_keystore_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyStoreError, match="keystore"):
        made(path, "a@1")
    assert path.read_bytes() == content


def test_another_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    alter(path, "CREATE TABLE treasure (x)")
    path.chmod(0o600)
    with pytest.raises(KeyStoreError, match="is a database, but not a keystore"):
        made(path, "a@1")


@there
def test_a_keystore_of_a_newer_version_is_refused(path: Path) -> None:
    made(path, "a@1")
    alter(path, "PRAGMA user_version = 2")
    with pytest.raises(KeyStoreError, match="newer pkicode"):
        made(path, "a@1")


@there
def test_a_truncated_keystore_is_an_error_and_not_an_empty_keystore(path: Path) -> None:
    made(path, *(f"cert.x{number}@1" for number in range(200)))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(KeyStoreError, match="it is damaged"):
        with_store(path, lambda store: store.export([f"cert.x{number}@1" for number in range(200)]))


@there
def test_a_full_disk_stores_nothing_and_says_so(path: Path) -> None:
    made(path, "a@1")

    async def use(store: SealedKeyStore) -> None:
        await store.labels()
        await store._call(lambda: store._file._connection.execute("PRAGMA max_page_count = 1"))
        with pytest.raises(KeyStoreError, match="the disk is full; nothing was stored"):
            await store.create([NewKey(f"b{number}@1", "ec-p256") for number in range(200)])

    with_store(path, use)
    assert with_store(path, lambda store: store.labels()) == ["a@1"]


@there
def test_no_private_key_stands_in_the_file_or_in_any_text_about_it(path: Path) -> None:
    made(path, "a@1", alg="ed25519")

    async def use(store: SealedKeyStore):
        mint = await store.mint()
        assert mint
        minted = mint([NewKey("b@1", "ed25519")])
        return (
            repr(store) + repr(mint) + repr(minted) + repr(await store.signer("a@1")),
            mint.envelope.key,
            await store.export(["a@1"]),
        )

    text, key, [pkcs8] = with_store(path, use)
    for secret in (PASSPHRASE, key, pkcs8[-32:]):
        assert secret not in path.read_bytes()
        assert repr(secret)[2:-1] not in text
        assert secret.hex() not in text


@there
def test_a_process_killed_after_keep_has_lost_nothing(path: Path) -> None:
    outcome = run_and_die(
        path,
        """
        minted = (await store.mint())([NewKey(f"b{n}@1", "ec-p256") for n in range(50)])
        await store.keep(minted)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert outcome == -signal.SIGKILL
    labels = with_store(path, lambda store: store.labels())
    assert len(labels) == 50
    assert len(with_store(path, lambda store: store.export(labels))) == 50


@pytest.mark.parametrize(
    "statement", ["BEGIN IMMEDIATE", "INSERT INTO keys", "COMMIT", "INSERT OR IGNORE", "CREATE TABLE keys"]
)
def test_a_process_killed_inside_a_transaction_leaves_a_keystore_that_works(path: Path, statement: str) -> None:
    outcome = run_and_die(
        path,
        f"""
        import sqlite3
        real = sqlite3.connect
        def trace(text):
            if text.startswith({statement!r}):
                os.kill(os.getpid(), signal.SIGKILL)
        def connect(*args, **options):
            connection = real(*args, **options)
            connection.set_trace_callback(trace)
            return connection
        sqlite3.connect = connect
        await store.create([NewKey("b@1", "ec-p256")])
        """,
    )
    assert outcome == -signal.SIGKILL
    [facts] = made(path, "b@1")
    assert with_store(path, lambda store: store.verify()) == []
    assert facts.label == "b@1"


@there
def test_a_process_killed_in_the_middle_of_rewrap_leaves_the_old_passphrase_in_force(path: Path) -> None:
    made(path, *(f"a{number}@1" for number in range(30)))
    outcome = run_and_die(
        path,
        """
        await store.mint()
        def trace(text):
            if text.startswith("UPDATE header"):
                os.kill(os.getpid(), signal.SIGKILL)
        await store._call(lambda: store._here()._connection.set_trace_callback(trace))
        await store.rewrap(b"new")
        """,
    )
    assert outcome == -signal.SIGKILL
    assert with_store(path, lambda store: store.verify()) == []
    assert len(with_store(path, lambda store: store.labels())) == 30


def test_two_processes_that_begin_at_once_share_one_keystore(path: Path) -> None:
    script = """
        await store.create([NewKey(f"{label}@1", "ec-p256") for label in ["shared", sys.argv[2]]])
        print((await store.find(["shared@1"]))["shared@1"].spki.hex())
    """
    processes = [start(path, script, name) for name in ("left", "right", "middle")]
    spkis = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(spkis) == 1
    assert with_store(path, lambda store: store.labels()) == ["left@1", "middle@1", "right@1", "shared@1"]
    assert with_store(path, lambda store: store.verify()) == []


def test_a_minted_key_is_shown_without_its_seal() -> None:
    from pkicode.ports import KeyFacts

    assert "sealed" not in repr(MintedKey(KeyFacts("a@1", "ec-p256", b""), b"sealed-bytes"))


def alter(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def rows(path: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def start(path: Path, body: str, *args: str) -> subprocess.Popen:
    head = f"""
        import asyncio, os, signal, sys
        from pathlib import Path
        from pkicode.adapters.sealed import SealedKeyStore
        from pkicode.ports import NewKey
        async def passphrase():
            return {PASSPHRASE!r}
        async def main():
            store = SealedKeyStore(Path(sys.argv[1]), passphrase)
    """
    script = (
        textwrap.dedent(head)
        + textwrap.indent(textwrap.dedent(body), "    ")
        + "\n    await store.close()\nasyncio.run(main())"
    )
    return subprocess.Popen([sys.executable, "-c", script, str(path), *args], stdout=subprocess.PIPE)


def run_and_die(path: Path, body: str) -> int:
    process = start(path, body)
    process.communicate(timeout=60)
    return process.returncode

"""Keys that a program of the user's own holds: what it is asked, what of its answers is believed, what ends it."""

import asyncio
import os
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from pkicode.adapters.command import CommandKeyStore
from pkicode.adapters.talking import Talking
from pkicode.model.problem import KeyStoreError
from pkicode.ports import NewKey
from pkicode.project import open_project
from pkicode.x509 import keys as x509_keys
from tests.files.processes import ends
from tests.guards.tree import ROOT
from tests.kinds import site
from tests.kinds.site import Site
from tests.quick import quick_keystore, using

PROGRAM = [sys.executable, "-m", "tests.keys.signing_command"]


def opened(folder: Path, how: str = "", *, command: list[str] | None = None, seconds: float = 30) -> CommandKeyStore:
    ours = [*PROGRAM, str(folder / "keys"), *([how] if how else [])]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return CommandKeyStore("kms", Talking(command or ours, root=folder, environ=environ, seconds=seconds))


async def signs(store: CommandKeyStore, label: str = "ca.root@1", alg: str = "ec-p256") -> bytes:
    await store.create([NewKey(label, alg)])
    signer = await store.signer(label)
    return await asyncio.to_thread(signer.sign, b"to be signed")


@pytest.mark.parametrize("alg", x509_keys.SIGNING)
def test_a_command_makes_keys_and_signs_with_them(tmp_path: Path, alg: str) -> None:
    async def use(store: CommandKeyStore):
        [facts] = await store.create([NewKey("ca.root@1", alg)])
        assert await store.create([NewKey("ca.root@1", alg)]) == [facts]
        assert await store.find(["ca.root@1", "ca.other@1"]) == {"ca.root@1": facts}
        assert await store.labels() == ["ca.root@1"]
        assert await store.mint() is None
        signer = await store.signer("ca.root@1")
        assert (signer.portable(), signer.deterministic) == (None, not alg.startswith("ec-"))
        x509_keys.verify(facts.spki, alg, b"x" * 5000, await asyncio.to_thread(signer.sign, b"x" * 5000))
        assert await store.verify() == []

    using(opened(tmp_path), use)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("refuse", "says: the quota is used up"),
        ("end", "ended with exit code 3 instead of answering"),
        ("garbage", "wrote what is no JSON object on one line"),
        ("nested", "wrote what is no JSON object on one line"),
        ("twice", "wrote more than one answer"),
        ("endless", "wrote more than 1048576 bytes on a line"),
        ("late", "answered another question"),
        ("wrong", "what was signed with the key ca.root@1 does not verify with its public key"),
        ("empty", "answers with no signature"),
    ],
)
def test_what_is_no_answer_is_told_and_the_next_question_is_asked_anew(tmp_path: Path, how: str, told: str) -> None:
    async def use(store: CommandKeyStore):
        with pytest.raises(KeyStoreError, match=told):
            await signs(store)
        assert await store.labels() == ["ca.root@1"]

    using(opened(tmp_path, how), use)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    async def use(store: CommandKeyStore):
        with pytest.raises(KeyStoreError, match=r"gave no answer in 3 s"):
            await signs(store)

    using(opened(tmp_path, "hang", seconds=3), use)
    for pid in (tmp_path / "pids").read_text().split():
        assert ends(int(pid))


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="could not be started or written to: No such file"):
        using(opened(tmp_path, command=["no-such-signer"]), lambda store: store.labels())


def test_a_question_and_an_answer_may_be_larger_than_a_pipe(tmp_path: Path) -> None:
    labels = [f"cert.{'x' * 60}{number}@1" for number in range(1200)]

    async def use(store: CommandKeyStore):
        await store.create([NewKey(one, "ed25519") for one in labels[:600]])
        return await store.find(labels)

    assert list(using(opened(tmp_path), use)) == labels[:600]


def test_a_label_keeps_its_algorithm(tmp_path: Path) -> None:
    using(opened(tmp_path), signs)
    with pytest.raises(KeyStoreError, match=r"is there already, as ec-p256 and not ed25519"):
        using(opened(tmp_path), lambda store: store.create([NewKey("ca.root@1", "ed25519")]))


def test_private_keys_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match=r"never leaves \[keystore.kms\]"):
        using(opened(tmp_path), lambda store: store.export(["ca.root@1"]))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ('{"keys": [{"label": "ca.other@1", "spki": "%s"}]}', "other keys than it was asked for"),
        ('{"keys": [{"label": "ca.root@1", "spki": "%s"}, {"label": "ca.root@1", "spki": "%s"}]}', "other keys"),
        ('{"keys": [{"label": "ca.root@1", "spki": "AAAA"}]}', "no public key that we use"),
        ('{"keys": [{"label": "ca.root@1", "spki": 7}]}', "no public key that we use"),
        ('{"keys": ["ca.root@1"]}', "no public key that we use"),
        ('{"keys": {}}', "other keys than it was asked for"),
        ('{"error": 7}', "says: 7"),
        ("[]", "answered another question"),
    ],
)
def test_what_is_told_of_keys_is_read_with_care(tmp_path: Path, told: str, message: str) -> None:
    spki = b64encode(x509_keys.spki(x509_keys.generate("ec-p256"))).decode()
    line = told.replace("%s", spki).replace("{", '{"id": 1, ', 1) if told.startswith("{") else told
    (tmp_path / "line").write_text(line + "\n")
    command = ["sh", "-c", "read question && cat line && cat > rest"]
    with pytest.raises(KeyStoreError, match=message):
        using(opened(tmp_path, command=command), lambda store: store.find(["ca.root@1"]))


def test_a_program_ends_when_its_keystore_is_closed(tmp_path: Path) -> None:
    using(
        opened(tmp_path, command=["sh", "-c", 'read q && echo \'{"id":1,"labels":[]}\'; cat; touch ended']),
        lambda store: store.labels(),
    )
    assert (tmp_path / "ended").exists()


def test_plan_starts_no_command(quick_path: Path) -> None:
    quick_keystore(quick_path)
    text = site.BASE.replace("[ca.root]\n", '[ca.root]\nkey = { store = "kms" }\n')
    text = text.replace("[ca.issuing]\n", '[ca.issuing]\nkey = { store = "kms" }\n')
    marker = quick_path / "started"
    text += f'[keystore.kms]\ntype = "command"\ncommand = ["touch", "{marker}"]\n'
    here = Site(quick_path).write(base=text)
    assert here.plan().changes
    assert not marker.exists()
    with pytest.raises(KeyStoreError, match="ended with exit code 0 instead of answering"):
        here.apply()
    assert marker.exists()


def test_a_pki_whose_cas_are_kept_by_a_command(quick_path: Path) -> None:
    quick_keystore(quick_path)
    words = ", ".join(f'"{one}"' for one in ["env", f"PYTHONPATH={ROOT}", *PROGRAM, str(quick_path / "kms")])
    text = (
        site.BASE.replace("[ca.root]\n", '[ca.root]\nkey = { store = "kms" }\n')
        .replace("[ca.issuing]\n", '[ca.issuing]\nkey = { store = "kms", alg = "rsa-2048" }\n')
        .replace('eku = ["serverAuth"]\n', 'eku = ["serverAuth"]\nkey = { store = "main" }\n')
        .replace("path_len = 0", 'path_len = 0\nocsp = { url = "http://ocsp.corp.example" }')
    )
    text += f'[keystore.kms]\ntype = "command"\ncommand = [{words}]\n'
    leaf = '[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\noutput = { chain = "out/portal.pem" }\n'
    here = Site(quick_path).write(leaf, base=text)
    assert here.apply().exit_code == 0
    here.verify("cert.portal")
    assert here.later(61).apply().exit_code == 0
    here.verify("cert.portal")
    project = open_project(here.root / "pki.toml", environ={}, now=here.now)
    assert project.upkeep.verify_keys("kms") == []
    assert "ca.root@1" in {one.label for one in project.upkeep.keys("kms")}
    with pytest.raises(KeyStoreError, match="is no sealed file"):
        project.upkeep.rewrap("kms", b"x")

"""What ports.KeyStore promises, of all three keystores: a sealed file, a token, and a command that signs."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from attrs import evolve

from pkicode.adapters.command import CommandKeyStore
from pkicode.adapters.pkcs11 import Pkcs11KeyStore
from pkicode.adapters.sealed import SealedKeyStore
from pkicode.adapters.talking import Talking
from pkicode.adapters.token import Token
from pkicode.config import pkcs11_uri
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyStore, NewKey
from pkicode.x509 import keys as x509_keys
from tests.guards.tree import ROOT
from tests.quick import PASSPHRASE, quick_keystore, using
from tests.softhsm import PIN, SoftHsm


async def no_secret() -> bytes:
    raise AssertionError("nobody should have asked for the secret")


def answering(secret: bytes) -> Callable[[], Awaitable[bytes]]:
    async def read() -> bytes:
        return secret

    return read


@pytest.fixture(params=["file", "pkcs11", "command"])
def opened(request: pytest.FixtureRequest, quick_path: Path) -> Callable[..., KeyStore]:
    """Opens one and the same keystore, as often as it is called; `locked` without its secret."""
    if request.param == "file":
        quick_keystore(quick_path)
    if request.param == "pkcs11":
        hsm, token = request.getfixturevalue("hsm"), request.getfixturevalue("token")

    def call(*, locked: bool = False) -> KeyStore:
        if request.param == "file":
            return SealedKeyStore(quick_path / ".pkicode/keys.db", no_secret if locked else answering(PASSPHRASE))
        if request.param == "pkcs11":
            assert isinstance(hsm, SoftHsm)
            on = Token("[keystore.it]", pkcs11_uri.parse(f"pkcs11:token={token}"), str(hsm.module))
            return Pkcs11KeyStore("[keystore.it]", on, no_secret if locked else answering(PIN.encode()), {})
        command = [sys.executable, "-m", "tests.keys.signing_command", str(quick_path / "kms")]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        return CommandKeyStore("it", Talking(command, root=quick_path, environ=environ, seconds=30))

    return call


def test_creating_is_idempotent_and_in_the_order_asked(opened) -> None:
    wanted = [NewKey(label, "ec-p256") for label in ("ca.b@1", "ca.a@1", "ca.b@1")]
    first = using(opened(), lambda store: store.create(wanted))
    assert [one.label for one in first] == ["ca.b@1", "ca.a@1", "ca.b@1"]
    assert first[0] == first[2] != first[1]
    assert using(opened(), lambda store: store.create(wanted)) == first


def test_what_is_public_is_found_without_a_secret(opened) -> None:
    label = 'cert.fleet["ä \\" b"]@12'
    [facts] = using(opened(), lambda store: store.create([NewKey(label, "ed25519")]))

    async def use(store: KeyStore):
        assert await store.find([label, "ca.gone@1"]) == {label: facts}
        assert await store.find([]) == {}
        assert await store.labels() == [label]
        assert await store.about()

    using(opened(locked=True), use)


@pytest.mark.parametrize("alg", ["ec-p256", "rsa-2048", "ed25519"])
def test_a_signer_signs_as_its_facts_say_and_the_same_again_where_it_is_deterministic(opened, alg: str) -> None:
    async def use(store: KeyStore):
        [facts] = await store.create([NewKey("ca.root@1", alg)])
        signer = await store.signer("ca.root@1")
        assert signer.facts == facts
        one, two = [await asyncio.to_thread(signer.sign, b"to be signed") for _ in range(2)]
        x509_keys.verify(facts.spki, alg, b"to be signed", one)
        if signer.deterministic:
            assert one == two
        portable = signer.portable()
        assert portable is None or x509_keys.spki(x509_keys.load_pkcs8(portable)) == facts.spki

    using(opened(), use)


def test_a_label_keeps_its_algorithm_for_ever(opened) -> None:
    using(opened(), lambda store: store.create([NewKey("ca.root@1", "ec-p256")]))
    with pytest.raises(KeyStoreError, match=r"ca.root@1 is there already, as ec-p256 and not ec-p384"):
        using(opened(), lambda store: store.create([NewKey("ca.root@1", "ec-p384")]))


def test_a_key_that_is_not_there_has_no_signer(opened) -> None:
    using(opened(), lambda store: store.create([NewKey("ca.root@1", "ec-p256")]))
    with pytest.raises(KeyStoreError, match=r"holds no key ca.root@2"):
        using(opened(), lambda store: store.signer("ca.root@2"))


def test_a_sound_keystore_has_nothing_to_tell(opened) -> None:
    using(opened(), lambda store: store.create([NewKey("ca.root@1", "ec-p384"), NewKey("ca.issuing@1", "rsa-2048")]))
    assert using(opened(), lambda store: store.verify()) == []


def test_keys_are_minted_by_a_worker_or_made_where_they_stay(opened) -> None:
    async def use(store: KeyStore):
        mint = await store.mint()
        if mint is None:
            with pytest.raises(KeyStoreError, match="came from elsewhere"):
                await store.keep([])
            return
        minted = mint([NewKey("ca.root@1", "ec-p256")])
        assert await store.keep(minted) == [one.facts for one in minted]

    using(opened(), use)


def test_what_is_destroyed_is_gone_and_another_key_is_not_destroyed(opened) -> None:
    async def use(store: KeyStore):
        first, second = await store.create([NewKey("ca.a@1", "ec-p256"), NewKey("ca.b@1", "ec-p256")])
        wrong = evolve(first, spki=second.spki)
        if isinstance(store, CommandKeyStore):
            with pytest.raises(KeyStoreError, match="keeps its keys itself"):
                await store.destroy([first])
            return
        with pytest.raises(KeyStoreError, match="another one than it was"):
            await store.destroy([wrong])
        assert await store.labels() == ["ca.a@1", "ca.b@1"]
        await store.destroy([first])
        await store.destroy([first])
        assert await store.labels() == ["ca.b@1"]
        assert await store.verify() == []
        with pytest.raises(KeyStoreError):
            await store.signer("ca.a@1")

    using(opened(), use)

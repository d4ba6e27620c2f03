"""The PKCS #11 keystore on a real token: what it makes, what it finds, what it refuses, and what it survives."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from pkcs11.constants import TokenFlag

from pkicode.adapters.pkcs11 import Pkcs11KeyStore
from pkicode.adapters.token import Token, refuse_a_pad, refuse_the_last_try
from pkicode.config import pkcs11_uri
from pkicode.model.problem import KeyStoreError
from pkicode.ports import KeyFacts, NewKey, Signer
from pkicode.x509 import keys as x509_keys
from tests.guards.tree import ROOT
from tests.oracles import openssl
from tests.quick import using
from tests.softhsm import PIN, SoftHsm

NAME = "[keystore.hsm]"
ALGS = ("ec-p256", "ec-p384", "ec-p521", "rsa-2048", "rsa-3072", "ed25519", "ed448")


def opened(
    hsm: SoftHsm, uri: str, *, pin: str = PIN, keys: Mapping[str, str] | None = None, module: Path | None = None
) -> Pkcs11KeyStore:
    async def read() -> bytes:
        return pin.encode()

    on = Token(
        "[keystore.hsm]", pkcs11_uri.parse(uri if ":" in uri else f"pkcs11:token={uri}"), str(module or hsm.module)
    )
    return Pkcs11KeyStore("[keystore.hsm]", on, read, keys or {})


def made(hsm: SoftHsm, token: str, *labels: str, alg: str = "ec-p256") -> list[KeyFacts]:
    return using(opened(hsm, token), lambda store: store.create([NewKey(one, alg) for one in labels]))


def assert_signs(signer: Signer, folder: Path, message: bytes = b"to be signed") -> None:
    """OpenSSL accepts what it signs."""
    signature = signer.sign(message)
    x509_keys.verify(signer.facts.spki, signer.facts.alg, message, signature)
    for name, data in (("message", message), ("signature", signature), ("public", signer.facts.spki)):
        (folder / name).write_bytes(data)
    digest = x509_keys.signature_hash(signer.facts.alg)
    said = openssl(
        "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", folder / "public", "-rawin",
        *(["-digest", digest] if digest else []), "-in", folder / "message", "-sigfile", folder / "signature",
    )  # fmt: skip
    assert "Signature Verified Successfully" in said


@pytest.mark.parametrize("alg", ALGS)
def test_a_key_is_made_on_the_token_and_signs_what_openssl_accepts(hsm: SoftHsm, token: str, tmp_path: Path, alg: str):
    async def use(store: Pkcs11KeyStore):
        (facts,) = await store.create([NewKey("ca.root@1", alg)])
        return facts, await store.signer("ca.root@1"), await store.find(["ca.root@1"])

    async def main():
        store = opened(hsm, token)
        try:
            facts, signer, found = await use(store)
            assert (facts.label, facts.alg, facts) == ("ca.root@1", alg, signer.facts)
            assert found == {"ca.root@1": facts}
            assert signer.deterministic is not alg.startswith("ec-")
            assert signer.portable() is None
            assert await store.mint() is None
            await asyncio.to_thread(assert_signs, signer, tmp_path)
        finally:
            await store.close()

    asyncio.run(main())


def test_pkcs11_tool_shows_keys_that_never_leave(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1", 'cert.fleet["ä b"]@12')
    shown = hsm.tool(token, "--list-objects", "--type", "privkey")
    assert shown.count("Private Key Object") == 2
    assert shown.count("Access:     sensitive, always sensitive, never extractable, local") == 2
    assert shown.count("Usage:      sign\n") == 2
    assert 'label:      cert.fleet["ä b"]@12' in shown


def test_making_a_key_again_gives_the_one_that_is_there(hsm: SoftHsm, token: str) -> None:
    assert made(hsm, token, "ca.root@1", "ca.root@1") == made(hsm, token, "ca.root@1") * 2
    assert hsm.tool(token, "--list-objects", "--type", "privkey").count("Private Key Object") == 1


def test_labels_are_seen_without_a_pin_and_foreign_objects_are_left_out(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1", "ca.issuing@2")
    hsm.tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "vpn", "--id", "aa")

    async def nobody() -> bytes:
        raise AssertionError("nobody should have asked for the PIN")

    store = Pkcs11KeyStore(
        "[keystore.hsm]",
        Token("[keystore.hsm]", pkcs11_uri.parse(f"pkcs11:token={token}"), str(hsm.module)),
        nobody,
        {},
    )
    assert using(store, lambda store: store.labels()) == ["ca.issuing@2", "ca.root@1"]


def test_a_foreign_key_whose_label_is_no_utf8_is_left_out(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1")
    hsm.tool(
        token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", os.fsdecode(b"Schl\xfcssel"), "--id", "aa"
    )
    assert using(opened(hsm, token), lambda store: store.labels()) == ["ca.root@1"]
    assert using(opened(hsm, token), lambda store: store.verify()) == []


def test_a_label_keeps_its_algorithm(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1")
    with pytest.raises(KeyStoreError, match=r"is there already, as ec-p256 and not rsa-2048"):
        made(hsm, token, "ca.root@1", alg="rsa-2048")
    hsm.tool(token, "--keypairgen", "--key-type", "EC:secp256k1", "--label", "ca.other@1", "--id", "bb")
    with pytest.raises(KeyStoreError, match="is none that we use: of another curve"):
        made(hsm, token, "ca.other@1")


def test_two_keys_of_one_label_are_an_error_until_it_is_said_which(hsm: SoftHsm, token: str, tmp_path: Path) -> None:
    for identity in ("01", "02"):
        hsm.tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "ca.root@1", "--id", identity)
    with pytest.raises(KeyStoreError, match=r"the token holds 2 private keys for ca.root@1") as told:
        made(hsm, token, "ca.root@1")
    assert 'keys = { "ca.root@1" = "pkcs11:id=..." }' in told.value.help
    store = opened(hsm, token, keys={"ca.root@1": "pkcs11:id=%02"})
    (facts,) = using(store, lambda store: store.create([NewKey("ca.root@1", "ec-p256")]))
    shown = hsm.tool(
        token, "--read-object", "--type", "pubkey", "--id", "02", "--output-file", str(tmp_path / "public")
    )
    assert (tmp_path / "public").read_bytes() == facts.spki, shown


def test_two_public_keys_of_one_identity_are_an_error(hsm: SoftHsm, token: str, tmp_path: Path) -> None:
    made(hsm, token, "ca.root@1")
    shown = hsm.tool(token, "--list-objects", "--type", "pubkey")
    identity = shown.partition("ID:")[2].split()[0]
    other = x509_keys.spki(x509_keys.generate("ec-p256"))
    (tmp_path / "other").write_bytes(other)
    hsm.tool(
        token, "--write-object", str(tmp_path / "other"), "--type", "pubkey", "--id", identity, "--label", "planted"
    )
    with pytest.raises(KeyStoreError, match=r"2 public keys of the private key's CKA_ID for ca.root@1"):
        using(opened(hsm, token), lambda store: store.signer("ca.root@1"))


def test_an_exchanged_public_key_is_found_by_verify(hsm: SoftHsm, token: str, tmp_path: Path) -> None:
    made(hsm, token, "ca.root@1", "ca.issuing@1")
    shown = hsm.tool(token, "--list-objects", "--type", "pubkey")
    identity = shown.partition("ca.root@1")[2].partition("ID:")[2].split()[0]
    hsm.tool(token, "--delete-object", "--type", "pubkey", "--label", "ca.root@1")
    (tmp_path / "other").write_bytes(x509_keys.spki(x509_keys.generate("ec-p256")))
    hsm.tool(
        token, "--write-object", str(tmp_path / "other"), "--type", "pubkey", "--id", identity, "--label", "ca.root@1"
    )
    found = using(opened(hsm, token), lambda store: store.verify())
    assert found == ["what was signed with the key ca.root@1 does not verify with its public key"]


def test_half_a_key_is_no_key(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1", "ca.issuing@1")
    hsm.tool(token, "--delete-object", "--type", "privkey", "--label", "ca.root@1")
    hsm.tool(token, "--delete-object", "--type", "pubkey", "--label", "ca.issuing@1")
    with pytest.raises(KeyStoreError, match=r"a public key without its private key for ca.root@1"):
        made(hsm, token, "ca.root@1")
    with pytest.raises(KeyStoreError, match=r"no public keys of the private key's CKA_ID for ca.issuing@1"):
        made(hsm, token, "ca.issuing@1")


def test_a_key_that_is_there_already_is_adopted_and_never_made(hsm: SoftHsm, token: str, tmp_path: Path) -> None:
    hsm.tool(token, "--keypairgen", "--key-type", "RSA:2048", "--label", "Old Root", "--id", "0a0b")
    keys = {"ca.root@1": "pkcs11:object=Old%20Root;id=%0A%0B", "ca.gone@1": "pkcs11:id=%FF"}

    async def use(store: Pkcs11KeyStore):
        (facts,) = await store.create([NewKey("ca.root@1", "rsa-2048")])
        assert facts.label == "ca.root@1"
        assert await store.labels() == ["ca.root@1"]
        await asyncio.to_thread(assert_signs, await store.signer("ca.root@1"), tmp_path)
        assert await store.verify() == ["[keystore.hsm] holds no key ca.gone@1"]
        with pytest.raises(KeyStoreError, match=r"no key on the token is what .* says of ca.gone@1"):
            await store.create([NewKey("ca.gone@1", "ec-p256")])

    using(opened(hsm, token, keys=keys), use)
    assert hsm.tool(token, "--list-objects", "--type", "privkey").count("Private Key Object") == 1


def test_one_key_is_not_adopted_twice(hsm: SoftHsm, token: str) -> None:
    hsm.tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "old", "--id", "01")
    store = opened(hsm, token, keys={"ca.root@1": "pkcs11:id=%01", "ca.issuing@1": "pkcs11:object=old"})
    wanted = [NewKey(label, "ec-p256") for label in ("ca.root@1", "ca.issuing@1")]
    with pytest.raises(KeyStoreError, match=r"ca.issuing@1 and ca.root@1 are one key on the token"):
        using(store, lambda store: store.create(wanted))


@pytest.mark.parametrize("kind", ["EC:prime256v1", "RSA:2048", "EC:edwards25519"])
def test_a_key_that_wants_its_pin_each_time_gets_it(hsm: SoftHsm, token: str, kind: str, tmp_path: Path) -> None:
    generate = ("--keypairgen", "--key-type", kind, "--always-auth")
    hsm.tool(token, *generate, "--label", "ca.root@1", "--id", "01")

    async def use(store: Pkcs11KeyStore) -> None:
        signer = await store.signer("ca.root@1")
        for _ in range(2):
            await asyncio.to_thread(assert_signs, signer, tmp_path)
        assert await store.verify() == []

    using(opened(hsm, token), use)


def test_a_key_that_may_not_sign_is_told(hsm: SoftHsm, token: str) -> None:
    code = (
        "import pkcs11; from pkcs11 import KeyType, MechanismFlag as may\n"
        f"session = pkcs11.lib({str(hsm.module)!r}).get_token(token_label={token!r}).open(rw=True, user_pin={PIN!r})\n"
        "session.generate_keypair(KeyType.RSA, 2048, store=True, id=b'1', label='ca.root@1', capabilities=may.DECRYPT)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **hsm.environ}, check=True, timeout=60)
    with pytest.raises(KeyStoreError, match=r"the key ca.root@1 on the token may not sign"):
        using(opened(hsm, token), lambda store: store.signer("ca.root@1"))


def test_verify_finds_keys_that_could_leave(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1")
    generate = ("--keypairgen", "--key-type", "EC:prime256v1", "--extractable")
    hsm.tool(token, *generate, "--label", "ca.weak@1", "--id", "01")
    found = using(opened(hsm, token), lambda store: store.verify())
    assert "the key ca.weak@1 may be taken off the token" in found
    assert not [one for one in found if "ca.root" in one]


def test_a_key_that_could_leave_is_used_only_if_it_is_adopted(hsm: SoftHsm, token: str) -> None:
    generate = ("--keypairgen", "--key-type", "EC:prime256v1", "--extractable")
    hsm.tool(token, *generate, "--label", "ca.root@1", "--id", "01")
    with pytest.raises(KeyStoreError, match=r"the key ca.root@1 may be taken off the token"):
        made(hsm, token, "ca.root@1")
    store = opened(hsm, token, keys={"ca.root@1": "pkcs11:id=%01"})
    assert using(store, lambda store: store.create([NewKey("ca.root@1", "ec-p256")]))


def test_private_keys_are_not_exported(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1")
    with pytest.raises(KeyStoreError, match=r"the private key of ca.root@1 never leaves \[keystore.hsm\]"):
        using(opened(hsm, token), lambda store: store.export(["ca.root@1"]))


def test_a_key_that_is_not_there_is_told(hsm: SoftHsm, token: str) -> None:
    with pytest.raises(KeyStoreError, match=r"\[keystore.hsm\] holds no key ca.root@1"):
        using(opened(hsm, token), lambda store: store.signer("ca.root@1"))


def test_a_missing_token_is_told_beside_those_that_are_there(hsm: SoftHsm, token: str) -> None:
    with pytest.raises(KeyStoreError, match=r"no token matches the URI of \[keystore.hsm\]") as told:
        made(hsm, "nowhere", "ca.root@1")
    assert "the module shows `" in (told.value.help or "")


def test_two_tokens_of_one_label_are_told_apart_by_their_serials(hsm: SoftHsm) -> None:
    first, second = hsm.token("twin"), hsm.token("twin")
    with pytest.raises(KeyStoreError, match=r"2 tokens match the URI of \[keystore.hsm\]") as told:
        made(hsm, "twin", "ca.root@1")
    assert first in told.value.help
    assert second in told.value.help
    made(hsm, f"pkcs11:token=twin;serial={second}", "ca.root@1")
    store = opened(hsm, f"pkcs11:token=twin;serial={first}")
    assert using(store, lambda store: store.labels()) == []


@pytest.mark.parametrize(
    ("attribute", "matches"),
    [
        ("model=SoftHSM%20v2", True),
        ("model=Other", False),
        ("manufacturer=SoftHSM%20project", True),
        ("manufacturer=Other", False),
        ("library-manufacturer=SoftHSM", True),
        ("library-manufacturer=Other", False),
        ("library-description=Implementation%20of%20PKCS11", True),
        ("library-version=1.0", False),
        ("slot-manufacturer=SoftHSM%20project", True),
        ("slot-description=Other", False),
        ("slot-id=123456", False),
        ("serial=00", False),
    ],
)
def test_every_attribute_of_the_uri_must_match(hsm: SoftHsm, token: str, attribute: str, matches: bool) -> None:
    store = opened(hsm, f"pkcs11:token={token};{attribute}")
    if matches:
        assert using(store, lambda store: store.labels()) == []
    else:
        with pytest.raises(KeyStoreError, match="no token matches"):
            using(store, lambda store: store.labels())


def test_a_module_that_cannot_be_loaded_is_told(hsm: SoftHsm, token: str, tmp_path: Path) -> None:
    (tmp_path / "no.so").write_bytes(b"not a library")
    with pytest.raises(KeyStoreError, match=r"the module .*no.so cannot be loaded"):
        using(opened(hsm, token, module=tmp_path / "no.so"), lambda store: store.labels())


def test_a_module_that_does_not_start_is_told(hsm: SoftHsm, token: str, tmp_path: Path) -> None:
    # A copy is another module for the loader, and its tokens are nowhere.
    (tmp_path / "softhsm.so").write_bytes(hsm.module.read_bytes())
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/nowhere\n")
    code = (
        "from pkicode.adapters.token import Token; from pkicode.config.pkcs11_uri import parse\n"
        f"Token('[keystore.hsm]', parse('pkcs11:token=x'), {str(tmp_path / 'softhsm.so')!r}).run(print)"
    )
    environ = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert "softhsm.so does not start: GeneralError" in done.stderr


def test_a_token_that_was_away_is_opened_again(hsm: SoftHsm, token: str, tmp_path: Path) -> None:
    async def main():
        store = opened(hsm, token)
        await store.create([NewKey("ca.root@1", "ec-p256")])
        signer = await store.signer("ca.root@1")
        hsm.remove()
        try:
            with pytest.raises(KeyStoreError, match="no token matches"):
                await asyncio.to_thread(signer.sign, b"to be signed")
            with pytest.raises(KeyStoreError, match="no token matches"):
                await store.create([NewKey("ca.root@1", "ec-p256")])
        finally:
            hsm.put_back()
        await asyncio.to_thread(assert_signs, signer, tmp_path)
        await store.close()

    asyncio.run(main())
    assert hsm.tool(token, "--list-objects", "--type", "privkey").count("Private Key Object") == 1


def test_a_key_that_was_exchanged_while_the_token_was_away_does_not_sign(hsm: SoftHsm, token: str) -> None:
    async def main():
        store = opened(hsm, token)
        await store.create([NewKey("ca.root@1", "ec-p256")])
        signer = await store.signer("ca.root@1")
        hsm.tool(token, "--delete-object", "--type", "privkey", "--label", "ca.root@1")
        hsm.tool(token, "--delete-object", "--type", "pubkey", "--label", "ca.root@1")
        hsm.tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "ca.root@1", "--id", "01")
        with pytest.raises(KeyStoreError, match="is another one than before"):
            await asyncio.to_thread(signer.sign, b"to be signed")
        await store.close()

    asyncio.run(main())


def test_a_forked_process_opens_a_session_of_its_own(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1")

    async def main():
        store = opened(hsm, token)
        signer = await store.signer("ca.root@1")
        await asyncio.to_thread(signer.sign, b"before")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, signer.sign(b"in the child"))
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            signature = await asyncio.to_thread(pipe.read)
        await asyncio.to_thread(os.waitpid, child, 0)
        x509_keys.verify(signer.facts.spki, "ec-p256", b"in the child", signature)
        mine = await asyncio.to_thread(signer.sign, b"after")
        x509_keys.verify(signer.facts.spki, "ec-p256", b"after", mine)
        await store.close()

    asyncio.run(main())


def test_many_threads_may_sign_at_once(hsm: SoftHsm, token: str) -> None:
    made(hsm, token, "ca.root@1")

    async def main():
        store = opened(hsm, token)
        signer = await store.signer("ca.root@1")
        found: list[bytes] = []

        def sign() -> None:
            found.extend(signer.sign(b"to be signed") for _ in range(50))

        threads = [threading.Thread(target=sign) for _ in range(8)]
        for one in threads:
            one.start()
        await asyncio.to_thread(lambda: [one.join() for one in threads])
        assert len(set(found)) == 400
        for signature in found:
            x509_keys.verify(signer.facts.spki, "ec-p256", b"to be signed", signature)
        await store.close()

    asyncio.run(main())


def test_two_keystores_on_one_token_share_its_login(hsm: SoftHsm, token: str, tmp_path: Path) -> None:
    async def main():
        one, other = opened(hsm, token), opened(hsm, token)
        await one.create([NewKey("ca.root@1", "ec-p256")])
        signer = await other.signer("ca.root@1")
        await one.close()
        await asyncio.to_thread(assert_signs, signer, tmp_path)
        wrong = opened(hsm, token, pin="another-pin")
        with pytest.raises(KeyStoreError, match="open in this process with another PIN"):
            await wrong.signer("ca.root@1")
        await wrong.close()
        await other.close()

    asyncio.run(main())


def test_no_pin_is_tried_where_one_more_wrong_one_locks_the_token() -> None:
    refuse_the_last_try("hsm", TokenFlag.USER_PIN_COUNT_LOW)
    with pytest.raises(KeyStoreError, match="locks with the next wrong PIN"):
        refuse_the_last_try("hsm", TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.LOGIN_REQUIRED)


def test_no_pin_is_tried_on_a_token_that_wants_it_typed_on_a_pad() -> None:
    refuse_a_pad("hsm", TokenFlag.LOGIN_REQUIRED)
    with pytest.raises(KeyStoreError, match="wants its PIN typed on a pad"):
        refuse_a_pad("hsm", TokenFlag.PROTECTED_AUTHENTICATION_PATH | TokenFlag.LOGIN_REQUIRED)

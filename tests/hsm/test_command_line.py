"""pkicode on a token, as people run it; pkcs11-spy writes down every call that reaches the token."""

import hashlib
from pathlib import Path

import pytest

from pkicode.ports import Want
from tests.cli.running import spawn
from tests.hsm.site import LEAVES, on_token, text, with_pin
from tests.kinds.site import Site
from tests.oracles import openssl
from tests.softhsm import PIN, SoftHsm

_SPIES = ("/usr/lib/pkcs11/pkcs11-spy.so", "/usr/lib/*/pkcs11-spy.so", "/usr/lib64/pkcs11/pkcs11-spy.so")


@pytest.fixture
def applied(hsm: SoftHsm, token: str, quick_path: Path) -> Site:
    site = on_token(quick_path, hsm, token)
    ran = spawn(site.root, "apply", "-y", "--allow-clock")
    assert ran.code == 0, ran.err
    return site


def test_keys_are_listed_without_a_pin_and_verified_with_it(applied: Site) -> None:
    ran = spawn(applied.root, "keystore", "verify", "hsm")
    assert (ran.code, ran.out) == (0, "Every key of keystore hsm opens.\n"), ran.err
    (applied.root / ".pkicode/pin").unlink()
    ran = spawn(applied.root, "keystore", "list", "hsm", "--format", "json")
    assert [one["label"] for one in ran.json] == ["ca.issuing@1", "ca.root@1", 'ocsp.issuing["g1"]@1']
    ran = spawn(applied.root, "keystore", "verify", "hsm")
    assert ran.code == 1
    assert "the secret in" in ran.err


def test_keystore_attest_tells_what_the_token_says_of_each_key(applied: Site, hsm: SoftHsm, token: str) -> None:
    ran = spawn(applied.root, "keystore", "attest", "hsm", "--format", "json")
    assert [one["label"] for one in ran.json] == ["ca.issuing@1", "ca.root@1", 'ocsp.issuing["g1"]@1'], ran.err
    for one in ran.json:
        assert (one["sensitive"], one["always_sensitive"], one["never_extractable"], one["local"]) == (True,) * 4
        assert one["extractable"] is False
    root = ran.json[1]
    public = applied.root / "root.pub"
    hsm.tool(token, "--read-object", "--type", "pubkey", "--id", root["id"], "--output-file", str(public))
    assert root["spki"] == hashlib.sha256(public.read_bytes()).hexdigest()


def test_keystore_attest_shows_a_key_that_was_brought_there(applied: Site, hsm: SoftHsm, token: str) -> None:
    key = applied.root / "brought.der"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-outform", "DER", "-out", key)
    public = applied.root / "brought.pub"
    openssl("pkey", "-inform", "DER", "-in", key, "-pubout", "-outform", "DER", "-out", public)
    for kind, path in (("privkey", key), ("pubkey", public)):
        told = ("--write-object", str(path), "--type", kind, "--id", "0b", "--label", "ca.old@1", "--usage-sign")
        hsm.tool(token, *told)
    shown = spawn(applied.root, "keystore", "attest", "hsm").out.split("\n\n")
    old = next(one for one in shown if "ca.old@1" in one)
    assert "local              no" in old
    assert "never extractable  no" in old
    assert "id                 0b" in old


def test_a_key_that_could_leave_is_told_with_its_mend(applied: Site, hsm: SoftHsm, token: str) -> None:
    generate = ("--keypairgen", "--key-type", "EC:prime256v1", "--extractable")
    hsm.tool(token, *generate, "--label", "ca.weak@1", "--id", "01")
    ran = spawn(applied.root, "keystore", "verify", "hsm")
    assert ran.code == 1
    assert "the key ca.weak@1 may be taken off the token\n" in ran.out
    assert "keystore hsm is not as it should be" in ran.err


def test_the_passphrase_of_a_token_cannot_be_changed(applied: Site) -> None:
    # Nobody is asked for a passphrase that has no use.
    ran = spawn(applied.root, "keystore", "rewrap", "hsm", "--allow-clock")
    assert ran.code == 1
    assert "passphrase:" not in ran.err
    assert "[keystore.hsm] is no sealed file" in ran.err


def test_the_key_of_a_ca_is_not_exported(applied: Site) -> None:
    ran = spawn(applied.root, "export", "ca.root", "--key", "root.key", "--allow-clock")
    assert ran.code == 1
    assert "the private key of ca.root@1 never leaves [keystore.hsm]" in ran.err
    assert not (applied.root / "root.key").exists()


def test_info_tells_which_token_it_is_without_a_pin(applied: Site, hsm: SoftHsm, token: str) -> None:
    (applied.root / ".pkicode/pin").unlink()
    ran = spawn(applied.root, "keystore", "info", "hsm")
    assert ran.code == 0, ran.err
    assert f"token     {token}\n" in ran.out
    assert f"serial    {hsm.serials(token).pop()}\n" in ran.out
    assert "keys      3\n" in ran.out
    assert spawn(applied.root, "keystore", "info", "main", "--format", "json").json["type"] == "file"


def test_status_says_whether_the_keys_of_the_cas_are_there(applied: Site, hsm: SoftHsm, token: str) -> None:
    def told() -> tuple[str, str]:
        ran = spawn(applied.root, "status", "--refresh", "keystores", "--format", "json")
        (check,) = [one for one in ran.json["checks"] if (one["check"], one["subject"]) == ("keystore", "hsm")]
        return check["level"], check["message"]

    assert told() == ("ok", "holds the keys of 2 CAs on duty")
    with_pin(applied.root, "planted-Wrong-Pin")
    assert spawn(applied.root, "keystore", "verify", "hsm").code == 1
    assert told() == ("warning", "a wrong PIN was tried")
    assert "warning   a wrong PIN was tried\n" in spawn(applied.root, "keystore", "info", "hsm").out
    for kind in ("pubkey", "privkey"):
        hsm.tool(token, "--delete-object", "--type", kind, "--label", "ca.root@1")
    assert told() == (
        "critical",
        "does not hold the key of ca.root@1; until it does, nothing revokes the 1 valid certificate that it signed",
    )
    hsm.remove()
    try:
        assert told() == ("critical", "no token matches the URI of [keystore.hsm]")
    finally:
        hsm.put_back()


@pytest.fixture
def spied(hsm: SoftHsm, token: str, quick_path: Path) -> tuple[Site, dict[str, str]]:
    """The PKI on a token behind pkcs11-spy, and the environment in which it writes spy.log."""
    spies = [path for pattern in _SPIES for path in Path("/").glob(pattern[1:])]
    if not spies:
        pytest.skip("needs pkcs11-spy of opensc")
    site = on_token(quick_path, hsm, token)
    site.write(LEAVES, base=text(hsm, token).replace(str(hsm.module), str(spies[0])))
    return site, {"PKCS11SPY": str(hsm.module), "PKCS11SPY_OUTPUT": str(site.root / "spy.log")}


def test_a_wrong_pin_reaches_the_token_once(spied: tuple[Site, dict[str, str]]) -> None:
    site, environ = spied
    with_pin(site.root, "planted-Wrong-Pin")
    ran = spawn(site.root, "apply", "-y", "--allow-clock", **environ)
    assert ran.code == 1
    assert "the token of [keystore.hsm] refuses the PIN" in ran.err
    log = (site.root / "spy.log").read_text()
    assert log.count("C_Login\n") == 1
    assert "CKR_PIN_INCORRECT" in log
    assert site.open().inventory(Want()) == []
    assert "planted" not in ran.out + ran.err


def test_an_apply_logs_in_once_and_has_one_session_at_a_time(spied: tuple[Site, dict[str, str]]) -> None:
    site, environ = spied
    ran = spawn(site.root, "apply", "-y", "--allow-clock", **environ)
    assert ran.code == 0, ran.err
    assert PIN not in ran.out + ran.err
    log = (site.root / "spy.log").read_text()
    assert log.count("C_Login\n") == log.count("C_Logout\n") == 1
    # One that sees what is public, and the one that is logged in, which takes its place.
    assert log.count("C_OpenSession\n") == log.count("C_CloseSession\n") <= 2
    assert log.count("C_GenerateKeyPair\n") == 3

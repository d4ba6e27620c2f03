"""The machine of a ceremony with its keys on a token: made there, signed there, and asked for by nobody else."""

from pathlib import Path

import pytest

from pkicode.ceremony.bundle import decode_request, decode_response, encode
from pkicode.config.language import Secret
from pkicode.model.problem import KeyStoreError
from pkicode.project.offline import Offline, on_token
from tests.ceremony.two import PORTAL, TEXT, Two, two_machines
from tests.cli.running import spawn
from tests.softhsm import PIN, SoftHsm


@pytest.fixture
def two(quick_path: Path) -> Two:
    return two_machines(quick_path)


def opened(hsm: SoftHsm, token: str, folder: Path, **adopted: str) -> Offline:
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(PIN + "\n")
    pin = Secret(file="pin")
    return Offline(on_token(f"pkcs11:token={token}", hsm.module, pin, adopted, root=folder, environ={}))


def played(two: Two, offline: Offline, label: str = "ca.root@1", alg: str = "ec-p384") -> None:
    """Both rounds of the first ceremony."""
    (two.site.root / "ceremony").mkdir()
    (two.site.root / f"ceremony/{label}.csr").write_bytes(offline.init(label, alg))
    while two.apply().exit_code == 7:
        request = decode_request(encode(two.site.open().ceremonies.export()))
        two.receive(decode_response(encode(offline.answer(request, two.site.now))))
    assert two.site.plan().changes == ()
    two.site.verify("cert.portal")


@pytest.mark.parametrize("alg", ["ec-p384", "rsa-3072", "ed25519"])
def test_a_root_whose_key_is_on_a_token_signs_at_the_ceremony(hsm: SoftHsm, token: str, two: Two, alg: str) -> None:
    two.site.write(PORTAL, base=TEXT.replace("ec-p384", alg))
    played(two, opened(hsm, token, two.vault), alg=alg)
    shown = hsm.tool(token, "--list-objects", "--type", "privkey")
    assert "ca.root@1" in shown
    assert "sensitive, always sensitive, never extractable, local" in shown


def test_a_key_that_was_there_before_and_wants_its_pin_each_time_is_named(hsm: SoftHsm, token: str, two: Two) -> None:
    hsm.tool(token, "--keypairgen", "--key-type", "EC:secp384r1", "--label", "Old Root", "--id", "01", "--always-auth")
    offline = opened(hsm, token, two.vault, **{"ca.root@1": "pkcs11:object=Old%20Root;id=%01"})
    two.site.write(PORTAL, base=TEXT)
    played(two, offline)
    assert hsm.tool(token, "--list-objects", "--type", "privkey").count("Private Key Object") == 1


def test_another_token_signs_nothing(hsm: SoftHsm, token: str, two: Two) -> None:
    hsm.token(f"{token}b")
    two.site.write(PORTAL, base=TEXT)
    (two.site.root / "ceremony").mkdir()
    card = opened(hsm, token, two.vault).init("ca.root@1", "ec-p384")
    (two.site.root / "ceremony/ca.root@1.csr").write_bytes(card)
    two.apply()
    request, other = two.export(), opened(hsm, f"{token}b", two.vault)
    with pytest.raises(KeyStoreError, match=r"`--token` holds no key ca\.root@1"):
        other.answer(request, two.site.now)
    other.init("ca.root@1", "ec-p384")
    with pytest.raises(KeyStoreError, match="another key here than the one that is to sign"):
        other.answer(request, two.site.now)


def test_the_commands_take_a_token_and_its_pin_from_a_file_the_environment_or_a_command(
    hsm: SoftHsm, token: str, two: Two
) -> None:
    two.site.write(PORTAL, base=TEXT)
    (two.site.root / "ceremony").mkdir()
    (two.vault / "pin").touch(mode=0o600)
    (two.vault / "pin").write_text(PIN + "\n")
    where = ("--token", f"pkcs11:token={token}", "--module", str(hsm.module))

    def offline(*arguments: str, code: int = 0, **environ: str) -> str:
        ran = spawn(two.vault, *arguments, **hsm.environ, **environ)
        assert ran.code == code, ran.err
        assert PIN not in ran.out + ran.err
        return ran.out + ran.err

    said = offline("ceremony", "init", "ca.root@1", *where, "--pin-file", "pin")
    assert "The key ca.root@1 is on the token." in said
    (two.vault / "ca.root@1.csr").rename(two.site.root / "ceremony/ca.root@1.csr")
    two.apply()
    (two.vault / "request.json").write_bytes(encode(request := two.export()))
    sign = ("ceremony", "sign", "request.json", *where, "--words", request.words)
    offline(*sign, "--pin-env", "PIN", "--out", "one.json", PIN=PIN)
    offline(*sign, "--pin-command", "cat pin", "--out", "two.json")
    for name in ("one.json", "two.json"):
        assert decode_response((two.vault / name).read_bytes()).request == request
    refused = (
        (("--pin-env", "PIN", "--pin-file", "pin"), "the PIN comes from one place"),
        (("--keystore", "keys.db"), "one place has the keys"),
        (("--passphrase-file", "pin"), "--passphrase-file belongs to --keystore"),
        (("--key", "ca.root@1"), "`--key ca.root@1` names no key"),
        (("--pin-env", "NOBODY"), "NOBODY is not set"),
    )
    for more, why in refused:
        assert why in offline(*sign, *more, "--out", "three.json", code=1)
    bad = ("--token", f"pkcs11:token={token}?pin-value={PIN}", "--module", str(hsm.module))
    assert "stands in a PKCS #11 URI" in offline("ceremony", "init", "ca.root@2", *bad, "--pin-file", "pin", code=1)
    (two.vault / "pin").write_text("wrong-Pin\n")
    assert "refuses the PIN" in offline(*sign, "--pin-file", "pin", "--out", "three.json", code=1)
    assert not (two.vault / "three.json").exists()

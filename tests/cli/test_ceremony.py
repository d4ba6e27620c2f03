"""Ceremony commands: what they print, write and refuse; what they mean for a PKI is in tests/ceremony."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ceremony.two import PORTAL, TEXT
from tests.cli.running import NOW, Ran
from tests.quick import PASSPHRASE, quick_key_file, quick_keystore

Run = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with an offline root, and its other machine in `vault`."""
    root = tmp_path / "pki"
    root.mkdir()
    quick_keystore(root)
    (root / "pki.toml").write_text(TEXT + PORTAL, "utf-8")
    vault = root / "vault"
    vault.mkdir(mode=0o700)
    quick_key_file(vault / "keys.db")
    (vault / "pass").write_bytes(PASSPHRASE + b"\n")
    return root


KEYS = ("--keystore", "vault/keys.db", "--passphrase-file", "vault/pass")


@pytest.fixture
def reserved(run: Run, folder: Path) -> Path:
    """The root is reserved."""
    (folder / "ceremony").mkdir()
    assert run("ceremony", "init", "ca.root@1", *KEYS, "--out", "ceremony/ca.root@1.csr").code == 0
    assert run("apply", "-y", "--allow-clock").code == 7
    return folder


def words(ran: Ran) -> str:
    return next(line.removeprefix("words: ") for line in ran.out.splitlines() if line.startswith("words: "))


def test_ceremony_init_makes_a_key_and_its_card(run: Run, folder: Path) -> None:
    ran = run("ceremony", "init", "ca.root@1", *KEYS)
    assert (ran.code, ran.out.split(".")[0]) == (0, "The key ca")
    assert (folder / "ca.root@1.csr").read_text().startswith("-----BEGIN CERTIFICATE REQUEST-----")
    again = run("ceremony", "init", "ca.root@1", *KEYS)
    assert again.code == 1
    assert "ca.root@1.csr is there already" in again.err
    wrong = run("ceremony", "init", "ca.root@2", "--alg", "ml-kem-768", *KEYS)
    assert "`ml-kem-768` is no algorithm that signs" in wrong.err


def test_a_pin_command_that_is_none_is_told_in_a_line(run: Run, folder: Path) -> None:
    done = run("ceremony", "init", "ca.root@1", "--token", "pkcs11:token=x", "--pin-command", "cat 'pin")
    assert done.code == 1
    assert "--pin-command is no command: No closing quotation" in done.err
    assert "does not expect" not in done.err


def test_ceremony_export_writes_what_waits_and_its_words(run: Run, reserved: Path) -> None:
    ran = run("ceremony", "export", "request.json")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("certificate  ca.root@1  by ca.root@1\n")
    assert "to be back by 2026-12-23T09:00:00Z" in ran.out
    assert len(words(ran).split()) == 16
    again = run("ceremony", "export", "request.json")
    assert (again.code, "is there already" in again.err) == (1, True)


def test_ceremony_export_of_nothing_is_an_error(run: Run, folder: Path) -> None:
    ran = run("ceremony", "export", "request.json")
    assert ran.code == 1
    assert "nothing waits for a ceremony" in ran.err
    assert not (folder / "request.json").exists()


def test_ceremony_show_says_everything_without_any_key(run: Run, reserved: Path) -> None:
    exported = run("ceremony", "export", "request.json")
    shown = run("ceremony", "show", "request.json")
    assert shown.code == 0, shown.err
    assert words(exported) in shown.out
    assert "  subject                CN=Site Root R1,O=Site\n" in shown.out
    told = run("ceremony", "show", "request.json", "--format", "json").json
    assert (told["format"], told["words"]) == ("pkicode.ceremony", words(exported))
    [item] = told["items"]
    assert (item["address"], item["issuer"], item["lint"]) == ("ca.root", "ca.root@1", [])
    assert {"name": "subject", "value": "CN=Site Root R1,O=Site"} in item["says"]
    altered = (reserved / "request.json").read_bytes().replace(b"ca.root@1", b"ca.toor@1")
    (reserved / "altered.json").write_bytes(altered)
    assert "or was altered" in run("ceremony", "show", "altered.json").err


def test_ceremony_sign_shows_asks_for_the_words_and_overwrites_nothing(run: Run, reserved: Path) -> None:
    told = words(run("ceremony", "export", "request.json"))
    sign = ("ceremony", "sign", "request.json", *KEYS, "--out", "response.json")
    wrong = run(*sign, "--words", told.replace(told[:5], "babab"))
    assert (wrong.code, "these are not the words" in wrong.err) == (1, True)
    assert not (reserved / "response.json").exists()
    ran = run(*sign, "--words", told)
    assert ran.code == 0, ran.err
    assert "subject                CN=Site Root R1,O=Site\n" in ran.out
    transcript = (reserved / "response.json.txt").read_text()
    assert told in transcript
    assert f"signed    {NOW} by this machine's clock" in transcript
    before = (reserved / "response.json").read_bytes()
    again = run(*sign, "--words", told)
    assert (again.code, "is there already" in again.err) == (1, True)
    assert (reserved / "response.json").read_bytes() == before


def test_ceremony_sign_refuses_a_file_that_was_altered_and_a_clock_that_is_wrong(
    run: Run, reserved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = words(run("ceremony", "export", "request.json"))
    good = (reserved / "request.json").read_bytes()
    sign = ("ceremony", "sign", "request.json", *KEYS, "--out", "response.json", "--words", told)
    (reserved / "request.json").write_bytes(good.replace(b"ca.root", b"ca.riot"))
    assert "or was altered" in run(*sign).err
    (reserved / "request.json").write_bytes(good)
    monkeypatch.setenv("PKICODE_NOW", "2019-01-01T00:00:00Z")
    ran = run(*sign)
    assert "this clock says 2019-01-01T00:00:00Z" in ran.err
    assert not (reserved / "response.json").exists()
    assert run(*sign, "--allow-clock").code == 0


def test_a_file_without_end_and_one_that_nobody_writes_are_no_request(run: Run, folder: Path) -> None:
    (folder / "huge.json").touch()
    os.truncate(folder / "huge.json", 1 << 42)
    os.mkfifo(folder / "fifo.json")
    for name, reason in (("huge.json", "octets, more than"), ("fifo.json", "was altered")):
        for ran in (
            run("ceremony", "sign", name, *KEYS, "--out", "r.json"),
            run("ceremony", "import", name, "--allow-clock"),
        ):
            assert ran.code == 1
            assert reason in ran.err


def test_ceremony_sign_with_a_wrong_passphrase_signs_nothing(run: Run, reserved: Path) -> None:
    told = words(run("ceremony", "export", "request.json"))
    (reserved / "vault/pass").write_text("wrong\n")
    ran = run("ceremony", "sign", "request.json", *KEYS, "--out", "response.json", "--words", told)
    assert ran.code == 1
    assert "passphrase" in ran.err
    assert not (reserved / "response.json").exists()


def test_ceremony_import_takes_it_back_once(run: Run, reserved: Path) -> None:
    told = words(run("ceremony", "export", "request.json"))
    assert run("ceremony", "sign", "request.json", *KEYS, "--out", "response.json", "--words", told).code == 0
    assert run("ceremony", "import", "response.json").code == 64, "the clock is frozen"
    ran = run("ceremony", "import", "response.json", "--allow-clock")
    assert (ran.code, ran.out) == (0, "imported ca.root@1\nApply goes on from here.\n")
    again = run("ceremony", "import", "response.json", "--allow-clock")
    assert (again.code, "imported already" in again.err) == (1, True)
    assert "reserve" in run("apply", "-y", "--allow-clock").out


def test_a_plan_says_what_is_reserved_and_what_waits(run: Run, reserved: Path) -> None:
    shown = run("plan").out
    assert "? ca.root@1" in shown
    assert "reserved, and waits for a ceremony: `pkicode ceremony export`; until 2026-12-23T09:00:00Z" in shown
    assert "? ca.issuing@1" in shown
    assert "ca.root comes first" in shown
    told = run("plan", "--format", "json").json
    assert {(one["address"], one["action"], one["status"]) for one in told["actions"]} >= {
        ("ca.root", "reserve", "waiting")
    }


def test_ceremony_rehearse_says_what_the_real_one_asks_for(run: Run, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    ran = run("ceremony", "rehearse")
    assert ran.code == 0, ran.err
    assert "asks for passphrase and words" in ran.out
    assert ran.out.endswith("Rehearsed: 2 ceremonies, with keys that are gone; nothing was changed.\n")
    assert sorted(folder.rglob("*")) == before


def test_ceremony_rehearse_of_a_rollover_wants_a_ca_and_a_later_day(run: Run, folder: Path) -> None:
    nobody = run("ceremony", "rehearse", "--rollover", "ca.rot", "--at", "+1y")
    assert (nobody.code, "there is no [ca.rot]" in nobody.err) == (1, True)
    past = run("ceremony", "rehearse", "--rollover", "root")
    assert (past.code, "is not after it" in past.err, "say --at +5y" in past.err) == (1, True, True)
    assert [path.name for path in folder.iterdir() if path.name == "ceremony"] == []


def test_an_offline_keystore_is_not_said_to_open_and_is_copied_as_a_folder(run: Run, reserved: Path) -> None:
    verified = run("keystore", "verify", "vault")
    assert verified.code == 0, verified.err
    told = "Every card of keystore vault is signed by its key.  The keys are elsewhere, and were not tried.\n"
    assert verified.out == told
    refused = run("keystore", "backup", "cards.db", "--keystore", "vault")
    assert refused.code == 1
    assert "[keystore.vault] is offline" in refused.err
    assert "copy the folder of the cards" in refused.err


def test_of_several_keystores_the_one_sealed_file_is_backed_up_and_others_are_asked_for(run: Run, folder: Path) -> None:
    unnamed = run("keystore", "verify")
    assert unnamed.code == 64
    assert "there are several keystores: give its name; declared: " in unnamed.err
    asked = run("keystore", "destroy", "ca.root@1", "-y", "--allow-clock")
    assert (asked.code, "give --keystore NAME" in asked.err) == (64, True)
    copied = run("keystore", "backup", "copy.db")
    assert (copied.code, (folder / "copy.db").exists()) == (0, True), copied.err

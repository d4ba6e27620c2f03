"""`pkicode revoke`: revokes now, publishes, and writes the block back where it belongs."""

import tomllib
from pathlib import Path

import pytest

from tests.cli.running import CONFIG
from tests.oracles import revoked_serials

LATER = "2026-11-24T09:00:00Z"


@pytest.fixture
def pki(run, applied, monkeypatch):
    """The command in a folder where everything was applied a day ago."""
    monkeypatch.setenv("PKICODE_NOW", LATER)
    return run


def revoke(run, *arguments):
    return run("revoke", *arguments, "--allow-clock")


def entries(folder: Path, file: str = "pki.toml") -> list[dict]:
    return tomllib.loads((folder / file).read_text("utf-8"))["revoke"]


def serial(run, address: str) -> str:
    return next(one["serial_number"] for one in run("inventory", "--format", "json").json if one["address"] == address)


def test_revoke_acts_publishes_writes_back_and_is_adopted(pki, folder):
    gone = serial(pki, "cert.portal")
    commented = CONFIG.replace("[cert.portal]", "# the front door\n[cert.portal]  # keep") + "# the end\n"
    (folder / "pki.toml").write_text(commented, "utf-8")
    ran = revoke(pki, "cert.portal", "--reason", "keyCompromise", "--id", "INC-1", "--note", "laptop stolen")
    assert (ran.code, ran.out) == (0, "Revoked: cert.portal@1.   2 lists signed.\n")
    assert "wrote the entry INC-1 into" in ran.err
    assert revoked_serials((folder / "public/crl/issuing-g1.crl").read_bytes()) == [gone]
    text = (folder / "pki.toml").read_text("utf-8")
    assert text.startswith(commented)
    assert "issued_before = 2026-11-24T09:00:00Z" in text
    (entry,) = entries(folder)
    assert (entry["id"], entry["reason"], entry["note"]) == ("INC-1", "keyCompromise", "laptop stolen")
    plan = pki("plan", "--format", "json").json
    assert {one["kind"] for one in plan["actions"]} == {"cert", "output"}
    assert pki("apply", "-y", "--allow-clock").code == 0
    assert pki("plan", "-e").code == 0
    assert "by revoke.INC-1" in pki("explain", "cert.portal").out
    assert pki("explain", "revoke.INC-1").out.startswith("revoke.INC-1: acted on   declared at pki.toml:")
    (event,) = [one for one in pki("audit", "log", "--format", "json").json if one["action"] == "revoke"]
    assert event["detail"]["note"] == "laptop stolen"
    row = next(one for one in pki("inventory", "--format", "json").json if one["status"] == "revoked")
    assert (row["revoked_at"], row["reason"]) == (LATER, "keyCompromise")
    assert "keyCompromise" in pki("inventory").out


def test_lines_end_as_the_others_of_the_file_do(pki, folder):
    (folder / "pki.toml").write_bytes(CONFIG.replace("\n", "\r\n").encode())
    for number in ("1", "2"):
        assert revoke(pki, "cert.portal", "--reason", "superseded", "--id", number).code == 0
    text = (folder / "pki.toml").read_bytes()
    assert text.startswith(CONFIG.replace("\n", "\r\n").encode())
    assert text.count(b"\n") == text.count(b"\r\n") > CONFIG.count("\n")
    assert [one["id"] for one in entries(folder)] == ["1", "2"]


@pytest.mark.parametrize(
    ("selector", "written"),
    [
        ("cert.portal@1", {"cert": "cert.portal", "generation": 1}),
        ('cert.app["api"]', {"cert": 'cert.app["api"]'}),
        ("SERIAL", {}),
        ("ca.issuing@1", {"ca": "issuing", "generation": 1}),
        ("spki:" + "ab" * 32, {"spki": "ab" * 32}),
    ],
)
def test_revoke_pins_what_it_was_given(pki, folder, selector, written):
    if selector == "SERIAL":
        selector = serial(pki, "cert.portal")
        written = {"serial": selector}
    ran = revoke(pki, selector, "--reason", "superseded", "--format", "json", "--allow", "ca-revoke=issuing")
    assert (ran.code, ran.json["format"]) == (0, "pkicode.revoked")
    (entry,) = entries(folder)
    assert written.items() <= entry.items()
    assert entry["wait"] is False
    plan = pki("plan", "--format", "json", "--allow", "ca-revoke=issuing").json
    assert "revoke" not in {one["kind"] for one in plan["actions"]}
    assert pki("state", "verify").code == 0


def test_the_entry_goes_where_the_others_stand(pki, folder):
    (folder / "incidents").mkdir()
    old = '# kept\n[[revoke]]\nid = "R-0" # why\nserial = "7a3f"\nreason = "superseded"\n'
    (folder / "incidents/2026.toml").write_text(old, "utf-8")
    (folder / "pki.toml").write_text('include = ["incidents/*.toml"]\n' + CONFIG, "utf-8")
    assert revoke(pki, "cert.portal", "--reason", "keyCompromise").code == 0
    text = (folder / "incidents/2026.toml").read_text("utf-8")
    assert text.startswith(old + "\n[[revoke]]\n")
    assert "revoke" not in tomllib.loads((folder / "pki.toml").read_text("utf-8"))
    assert len(entries(folder, "incidents/2026.toml")) == 2
    assert pki("validate").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cert.nobody", "--reason", "superseded"], "cert.nobody has no unexpired certificate"),
        (["cert.app", "--reason", "superseded"], "cert.app is a fan-out"),
        (["7a3f", "--reason", "superseded"], "`7a3f` selects no unexpired certificate"),
        (["nonsense", "--reason", "superseded"], "`nonsense` is not an address"),
        (["crl.root", "--reason", "superseded"], "not the address of a CA or a certificate"),
        (["ca.issuing", "--reason", "superseded"], "say which generation of ca.issuing"),
        (["spki:ab", "--reason", "superseded"], "`ab` is not 64 hexadecimal digits"),
        (["7a3f", "--reason", "superseded", "--ca", "nobody"], "there is no [ca.nobody]"),
        (["cert.portal", "--reason", "certificateHold"], "`certificateHold` is refused"),
        (["cert.portal", "--reason", "bored"], "`bored` is no reason of RFC 5280"),
        (["cert.portal", "--reason", "compromised"], "did you mean `keyCompromise`?"),
        (["cert.portal", "--reason", "CACompromise"], "did you mean `cACompromise`?"),
        (["cert.portal", "--reason", "superseded", "--id", "no id"], "`no id` is not an id"),
    ],
)
def test_revoke_refuses_what_it_cannot_pin_and_does_nothing(pki, folder, arguments, said):
    before = (folder / "pki.toml").read_bytes()
    ran = revoke(pki, *arguments)
    assert ran.code == 1
    assert said in ran.err
    assert "= help: " in ran.err
    assert (folder / "pki.toml").read_bytes() == before
    assert {one["status"] for one in pki("inventory", "--format", "json").json} == {"good"}


def test_revoke_obeys_the_brakes(pki, folder):
    ran = revoke(pki, "ca.issuing@1", "--reason", "cACompromise")
    assert ran.code == 6
    assert "4 live certificates below it" in ran.err
    (folder / "pki.toml").write_text(CONFIG + "[policy]\nmax_actions = { revoke = 2 }\n", "utf-8")
    assert revoke(pki, "cert.app", "--all-keys", "--reason", "superseded").code == 6
    assert revoke(pki, "cert.app", "--all-keys", "--reason", "superseded", "--allow", "revoke=3").code == 0
    assert entries(folder)[0]["all_keys"] is True


def test_revoke_works_although_the_rest_of_the_file_cannot_be_planned(pki, folder):
    """A fleet that lost its rows, or a certificate that would outlive its CA, is no reason to leave a thief a key."""
    (folder / "pki.toml").write_text(CONFIG.replace('["api", "billing", "search"]', '["new"]'), "utf-8")
    assert pki("plan").code == 1
    assert revoke(pki, "cert.portal", "--reason", "keyCompromise").code == 0


def test_one_id_is_one_decision(pki):
    assert revoke(pki, "cert.portal", "--reason", "superseded", "--id", "R-1").code == 0
    assert "already" in revoke(pki, 'cert.app["api"]', "--reason", "superseded", "--id", "R-1").err


def test_what_was_revoked_before_is_told_as_that(pki):
    assert revoke(pki, "cert.portal@1", "--reason", "superseded").code == 0
    ran = revoke(pki, "cert.portal@1", "--reason", "superseded", "--id", "R-2")
    told = "Revoked: cert.portal@1 already before, with the first date and reason.   0 lists signed.\n"
    assert (ran.code, ran.out) == (0, told)
    # The key leaked after all: that is news.
    worse = revoke(pki, "cert.portal@1", "--reason", "keyCompromise", "--id", "R-3")
    assert worse.out == "Revoked: cert.portal@1.   1 list signed.\n"


def test_what_was_issued_in_this_second_is_pinned_by_its_generation(run, applied, folder):
    assert revoke(run, "cert.portal", "--reason", "keyCompromise").code == 0
    assert entries(folder)[0]["generation"] == 1
    assert run("apply", "-y", "--allow-clock").code == 0
    assert revoke(run, "cert.portal", "--reason", "keyCompromise").code == 1


def test_a_file_that_cannot_be_written_leaves_the_revocation_and_shows_the_block(pki, folder):
    """`revoke = [...]` cannot be added to without changing it."""
    inline = 'revoke = [{ id = "R-0", serial = "7a3f", reason = "superseded" }]\n' + CONFIG
    (folder / "pki.toml").write_text(inline, "utf-8")
    ran = revoke(pki, "cert.portal", "--reason", "keyCompromise", "--id", "INC-1")
    assert ran.code == 1
    assert "revoked and published, but" in ran.err
    assert "[[revoke]]" in ran.err
    assert 'id = "INC-1"' in ran.err
    assert (folder / "pki.toml").read_text("utf-8") == inline
    assert len(revoked_serials((folder / "public/crl/issuing-g1.crl").read_bytes())) == 1


def test_a_target_that_is_down_is_told_and_the_entry_is_written(pki, folder):
    (folder / "public").rename(folder / "aside")
    (folder / "public").write_text("in the way")
    ran = revoke(pki, "cert.portal", "--reason", "keyCompromise", "--id", "INC-1")
    assert ran.code == 1
    assert "revoked, but not everything was published" in ran.err
    assert entries(folder)[0]["id"] == "INC-1"

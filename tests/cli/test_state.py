"""inventory, export, state, audit, keystore: commands on what was done."""

import csv
import io
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest

from tests.cli.running import CONFIG, ONE_MORE, spawn
from tests.oracles import openssl, openssl_bytes


def _tamper(folder, statement):
    with closing(sqlite3.connect(folder / ".pkicode" / "state.db")) as database, database:
        assert database.execute(statement).rowcount == 1


def test_inventory_is_a_table_for_people_and_json_and_csv_for_scripts(run, applied):
    table = run("inventory").out.splitlines()
    assert table[0].split() == [
        "address", "generation", "ca", "serial_number", "not_after", "status", "revoked_at", "reason",
    ]  # fmt: skip

    assert len(table) == 7
    told = run("inventory", "--format", "json").json
    assert len(told) == 6
    rows = list(csv.DictReader(io.StringIO(run("inventory", "--format", "csv").out)))
    assert [row["serial_number"] for row in rows] == [one["serial_number"] for one in told]
    portal = next(one for one in told if one["address"] == "cert.portal")
    assert portal["sans"] == ["dns:portal.corp.example"]
    assert portal["ca"] == "issuing@1"


def test_inventory_can_be_asked_for_a_part(run, applied, monkeypatch):
    assert len(run("inventory", "--ca", "issuing", "--format", "json").json) == 4
    assert len(run("inventory", "--ca", "ca.issuing", "--format", "json").json) == 4
    assert run("inventory", "--status", "revoked", "--format", "json").json == []
    assert len(run("inventory", "--expiring", "91d", "--format", "json").json) == 4
    assert run("inventory", "--expiring", "soon").code == 64
    monkeypatch.setenv("PKICODE_NOW", "2027-03-01")
    assert len(run("inventory", "--status", "expired", "--format", "json").json) == 4
    assert run("inventory", "--expiring", "30d", "--format", "json").json == []


def test_inventory_of_an_empty_folder_is_empty(run):
    assert run("inventory", "--format", "json").json == []
    assert run("inventory", "--format", "csv").out.startswith("address,generation,")
    assert len(run("inventory", "--format", "csv").out.splitlines()) == 1


def test_inventory_is_written_in_portions_and_reads_as_one(run, folder):
    """3,000 hosts: more than are made into text at once."""
    names = ", ".join(f'"h{place:04}"' for place in range(3000))
    fleet = f'[cert.fleet]\nprofile = "server"\nfor_each = {{ values = [{names}] }}\n'
    fleet += 'dns = ["${each.value}.corp.example"]\n'
    (folder / "pki.toml").write_text(CONFIG.replace("[cert.portal]", f"{fleet}[cert.portal]", 1), "utf-8")
    assert run("apply", "-y", "--allow-clock", "--jobs", "1").code == 0
    told = run("inventory", "--format", "json").json
    assert len({one["serial_number"] for one in told}) == len(told) > 3000
    rows = [*csv.DictReader(io.StringIO(run("inventory", "--format", "csv").out))]
    assert [one["address"] for one in rows] == [one["address"] for one in told]
    assert len(run("inventory", "--status", "good", "--format", "json").json) == len(told)


def test_export_writes_files_that_openssl_reads_and_keeps_the_key_private(run, applied):
    (applied / "password").write_text("correct horse\n")
    files = ("--chain", "c.pem", "--key", "k.pem", "--p12", "p.p12", "--p12-password-file", "password")
    ran = run("export", "cert.portal", *files, "--allow-clock")
    assert ran.code == 0, ran.err
    assert (applied / "c.pem").read_text() == (applied / "out" / "portal.pem").read_text()
    public = openssl("pkey", "-in", applied / "out/portal.key", "-pubout")
    assert openssl("pkey", "-in", applied / "k.pem", "-pubout") == public
    bundle = openssl("pkcs12", "-in", applied / "p.p12", "-passin", "pass:correct horse", "-nodes")
    assert bundle.count("-----BEGIN CERTIFICATE-----") == 2
    assert {stat.S_IMODE((applied / name).stat().st_mode) for name in ("k.pem", "p.p12")} == {0o600}


def test_export_gives_the_chain_on_stdout_and_overwrites_nothing(run, applied):
    ran = run("export", "cert.portal", "--allow-clock")
    assert ran.out == (applied / "out" / "portal.pem").read_text()
    (applied / "k.pem").write_text("somebody's")
    refused = run("export", "cert.portal", "--key", "k.pem", "--allow-clock")
    assert refused.code == 1
    assert "is there already" in refused.err
    assert (applied / "k.pem").read_text() == "somebody's"


def test_export_of_an_unknown_address_says_so(run, applied):
    ran = run("export", "cert.absent", "--allow-clock")
    assert ran.code == 1
    assert "cert.absent" in ran.err


def test_state_info_tells_whose_state_it_is(run, applied):
    assert "corp" in run("state", "info").out
    told = run("state", "info", "--format", "json").json
    assert told["project"] == "corp"
    assert told["sequence"] > 0
    assert told["counts"]["cert"] == 4
    assert told["writing"] == []


@pytest.mark.parametrize(
    "arguments",
    [["state", "info"], ["state", "verify"], ["audit", "verify"], ["state", "backup", "x"]],
)
def test_commands_on_the_state_say_when_there_is_none(run, arguments):
    ran = run(*arguments)
    assert ran.code == 1
    assert "pkicode apply" in ran.err


def test_state_verify_finds_what_was_altered(run, applied):
    assert run("state", "verify").out == "The state is sound.\n"
    _tamper(applied, "UPDATE certificates SET der = x'00' WHERE address = 'cert.portal'")
    ran = run("state", "verify")
    assert ran.code == 1
    assert "restore" in ran.err
    assert run("state", "verify", "--format", "json").json["sound"] is False


def test_state_backup_is_private_and_state_restore_puts_it_back(run, applied):
    assert run("state", "backup", "copy.db").code == 0
    assert stat.S_IMODE((applied / "copy.db").stat().st_mode) == 0o600
    before = run("inventory", "--format", "json").json
    ran = run("state", "restore", "copy.db", "--allow-clock")
    assert ran.code == 0, ran.err
    assert run("inventory", "--format", "json").json == before
    assert run("plan", "-e").code == 0


def test_state_restore_refuses_to_lose_certificates(run, applied):
    assert run("state", "backup", "copy.db").code == 0
    (applied / "pki.toml").write_text(CONFIG + ONE_MORE)
    assert run("apply", "-y", "--allow-clock").code == 0
    ran = run("state", "restore", "copy.db", "--allow-clock")
    assert ran.code == 1
    assert len(run("inventory", "--format", "json").json) == 7


def test_state_restore_warns_of_certificates_that_only_the_journal_knows(run, applied):
    assert run("state", "backup", "copy.db").code == 0
    (applied / "pki.toml").write_text(CONFIG + ONE_MORE)
    assert run("apply", "-y", "--allow-clock").code == 0
    issued = run("inventory", "--format", "json").json
    (serial,) = (one["serial_number"] for one in issued if one["address"] == "cert.new")
    for path in (applied / ".pkicode").glob("state.db*"):
        path.unlink()
    ran = run("state", "restore", "copy.db", "--allow-clock")
    assert ran.code == 0
    assert f"the journal holds a certificate that is not in the inventory: serial {serial}, " in ran.err
    assert "`pkicode state adopt` records what only the journal knows" in ran.err


@pytest.fixture
def behind(run, applied):
    """The state of before [cert.new] was issued, copied back by hand; the serial number of that one."""
    shutil.copy2(applied / ".pkicode/state.db", applied / "copy.db")
    (applied / "pki.toml").write_text(CONFIG + ONE_MORE)
    assert run("apply", "-y", "--allow-clock").code == 0
    issued = run("inventory", "--format", "json").json
    shutil.copy2(applied / "copy.db", applied / ".pkicode/state.db")
    return next(one["serial_number"] for one in issued if one["address"] == "cert.new")


def test_apply_tells_of_an_older_state_and_state_adopt_is_the_way_on(run, behind):
    ran = run("apply", "-y", "--allow-clock")
    assert (ran.code, f"does not know: serial {behind}, new.corp.example" in ran.err) == (1, True)
    assert "pkicode state adopt" in ran.err
    assert "W0502" in run("plan").out
    assert "`pkicode state adopt` records what only the journal knows" in run("state", "verify").err

    told = run("state", "adopt", "--dry-run")
    assert (told.code, "cert.new@1" in told.out, behind in told.out) == (0, True, True)
    assert run("state", "adopt", "--allow-clock").code == 64, "nobody can be asked"
    assert run("state", "adopt", "-y").code == 64, "the clock is frozen"
    ran = run("state", "adopt", "-y", "--allow-clock")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "Only the journal knows 1 certificate of this state:")
    assert run("state", "verify").out == "The state is sound.\n"
    assert run("state", "adopt", "-y", "--allow-clock").out.startswith("Nothing to record")
    assert run("revoke", behind, "--reason", "superseded", "--allow-clock").code == 0
    assert run("apply", "-y", "--allow-clock").code == 0
    found = [one for one in run("inventory", "--format", "json").json if one["address"] == "cert.new"]
    assert [(one["generation"], one["status"]) for one in found] == [(1, "revoked"), (2, "good")]


def test_state_adopt_tells_scripts_the_same(run, behind):
    (told,) = run("state", "adopt", "--dry-run", "--format", "json").json["certificates"]
    assert (told["address"], told["generation"], told["serial_number"]) == ("cert.new", 1, behind)
    done = run("state", "adopt", "-y", "--allow-clock", "--format", "json").json
    assert done["certificates"] == [told]
    assert (done["going_on"], done["keyless"], done["revoked"], done["revoked_cas"]) == ([], [], [], [])


def test_state_lock_show_is_empty_between_applies(run, applied):
    assert run("state", "lock", "show").out == "No lease is held.\n"
    assert run("state", "lock", "show", "--format", "json").json == []


def test_state_lock_break_of_a_free_lease_says_that_nobody_holds_it(run, applied):
    ran = run("state", "lock", "break", "--allow-clock")
    assert ran.code == 1
    assert "nobody holds" in ran.err


def test_state_lock_break_lets_the_next_apply_in(run, applied):
    # A holder on another host, whose death nobody here can see.
    _tamper(applied, "UPDATE leases SET holder = 'ann', host = 'elsewhere', pid = 1, expires = 4000000000 "
                     "WHERE name = 'project'")  # fmt: skip
    (lease,) = run("state", "lock", "show", "--format", "json").json
    assert lease["holder"] == "ann"
    assert "ann" in run("state", "lock", "show").out
    assert run("state", "lock", "break", "--allow-clock").code == 0
    assert run("state", "lock", "show", "--format", "json").json == []


def test_audit_log_tells_what_was_done_oldest_first(run, applied):
    told = run("audit", "log", "--format", "json").json
    assert [one["sequence"] for one in told] == sorted(one["sequence"] for one in told)
    assert any(one["action"].startswith("issue") for one in told)
    page = run("audit", "log", "--after", told[0]["sequence"], "--limit", "1", "--format", "json")
    assert page.json == [told[1]]
    assert "ca.root" in run("audit", "log").out


def test_audit_verify_finds_a_rewritten_event(run, applied):
    assert run("audit", "verify").out == "The audit chain is unbroken.\n"
    _tamper(applied, "UPDATE events SET actor = 'nobody' WHERE sequence = (SELECT max(sequence) - 1 FROM events)")
    assert run("audit", "verify").code == 1


def test_keystore_list_gives_labels_without_a_passphrase(run, applied):
    (applied / ".pkicode" / "passphrase").unlink()
    lines = run("keystore", "list").out.splitlines()
    assert [line.split() for line in lines if "ca.root" in line] == [["ca.root@1", "ec-p256", "in", "use", "ca.root@1"]]
    assert len(lines) == 7
    told = run("keystore", "list", "soft", "--format", "json").json
    assert [one["label"] for one in told] == [line.split()[0] for line in lines[1:]]
    assert {(one["use"], one["since"]) for one in told} == {("in use", None)}
    assert run("keystore", "list", "hard").code == 64


def test_keystore_destroy_takes_only_what_is_removable(run, applied, monkeypatch):
    assert run("keystore", "destroy", "cert.portal@1", "--allow-clock").code == 64, "nobody can be asked"
    ran = run("keystore", "destroy", "cert.portal@1", "-y", "--allow-clock")
    assert (ran.code, "is in use (cert.portal@1); nothing was destroyed" in ran.err) == (1, True)
    for now in ("2027-02-15T09:00:00Z", "2027-05-15T09:00:00Z"):
        monkeypatch.setenv("PKICODE_NOW", now)
        assert run("apply", "-y", "--allow-clock").code == 0
    shown = run("keystore", "list").out.splitlines()
    assert next(line.split()[2:] for line in shown if "cert.portal@1" in line) == ["removable", "since", "2027-02-15"]
    ran = run("keystore", "destroy", "cert.portal@1", "-y", "--keystore", "soft", "--allow-clock")
    assert (ran.code, ran.out) == (0, "Destroyed: 1.\n")
    assert "cert.portal@1" not in run("keystore", "list").out
    assert "key.destroy" in run("audit", "log").out


def test_keystore_attest_is_of_tokens(run, applied):
    ran = run("keystore", "attest")
    assert (ran.code, "[keystore.soft] is no token" in ran.err) == (1, True)
    assert run("keystore", "attest", "hard").code == 64


def test_keystore_info_says_which_file_it_is_without_a_passphrase(run, applied):
    (applied / ".pkicode" / "passphrase").unlink()
    told = run("keystore", "info", "--format", "json").json
    assert told == {"type": "file", "file": str(applied / ".pkicode/keys.db"), "is there": "yes", "keys": "6"}
    assert "keys      6\n" in run("keystore", "info", "soft").out


def test_keystore_verify_opens_every_key(run, applied):
    assert run("keystore", "verify").out == "Every key of keystore soft opens.\n"
    (applied / ".pkicode" / "passphrase").write_text("another one\n")
    ran = run("keystore", "verify")
    assert ran.code == 1
    assert "passphrase" in ran.err


def test_keystore_backup_copies_what_is_there_and_opens_it(run, applied):
    ran = run("keystore", "backup", "copy.db")
    assert ran.code == 0, ran.err
    assert ran.out.endswith(f"/copy.db, and opened: {len(run('keystore', 'list', '--format', 'json').json)} keys.\n")
    assert (applied / "copy.db").stat().st_mode & 0o777 == 0o600
    again = run("keystore", "backup", "copy.db")
    assert (again.code, "is there already" in again.err) == (1, True)


def test_keystore_restore_brings_lost_keys_back_and_says_so_in_the_audit(run, applied):
    run("keystore", "backup", "copy.db")
    (applied / ".pkicode/keys.db").unlink()
    assert run("keystore", "list", "--format", "json").json == []
    ran = run("keystore", "restore", "copy.db", "--allow-clock")
    assert ran.code == 0, ran.err
    assert run("keystore", "verify").out == "Every key of keystore soft opens.\n"
    assert run("plan", "-e").code == 0
    assert [one["action"] for one in run("audit", "log", "--format", "json").json][-1] == "keystore.restore"
    again = run("keystore", "restore", "copy.db", "--allow-clock")
    assert "what was there before is kept in" in again.out
    missing = run("keystore", "restore", "none.db", "--allow-clock")
    assert (missing.code, "there is no backup" in missing.err) == (1, True)


def test_keystore_rewrap_changes_the_passphrase(run, applied):
    (applied / "new").write_text("the new passphrase\n")
    ran = run("keystore", "rewrap", "--new-passphrase-file", "new", "--allow-clock")
    assert ran.code == 0, ran.err
    assert run("keystore", "verify").code == 1
    (applied / ".pkicode" / "passphrase").write_text("the new passphrase\n")
    assert run("keystore", "verify").code == 0


def test_keystore_rewrap_refuses_an_empty_passphrase(run, applied):
    (applied / "new").write_text("\n")
    assert run("keystore", "rewrap", "--new-passphrase-file", "new", "--allow-clock").code == 1
    assert run("keystore", "verify").code == 0


@pytest.mark.parametrize("arguments", [["inventory"], ["state", "info"], ["audit", "log"], ["show", "cert.portal"]])
def test_no_command_tells_a_secret(applied, arguments):
    secret = (applied / ".pkicode" / "passphrase").read_text().strip()
    key = openssl_bytes("pkey", "-in", applied / "out" / "portal.key", "-outform", "DER").hex()
    ran = spawn(applied, "-v", *arguments)
    assert ran.code == 0
    assert secret not in ran.out + ran.err
    assert key not in ran.out + ran.err


@pytest.fixture
def aged(run, applied, folder, monkeypatch):
    """A year later, portal renewed; what ended may go."""
    text = (folder / "pki.toml").read_text("utf-8")
    (folder / "pki.toml").write_text(f'{text}\n[state]\nkeep = "90d"\n', "utf-8")
    monkeypatch.setenv("PKICODE_NOW", "2027-12-01")
    assert run("apply", "-y", "--allow-clock").code == 0


def test_state_prune_says_what_it_would_move_and_moves_it(run, aged, folder):
    told = run("state", "prune", "--dry-run")
    assert told.out.startswith("To move, ended before 2027-09-02T00:00:00Z and needed by nothing: ")
    assert told.out.endswith(" issued.\n")
    before = run("inventory", "--format", "json").json
    ran = run("state", "prune", "-y", "--allow-clock")
    assert ran.code == 0
    assert "-000001.parquet: copy it to where your backups are." in ran.out
    after = run("inventory", "--format", "json").json
    assert len(before) - len(after) == sum(int(word) for word in told.out.split() if word.isdecimal())
    assert run("state", "verify").code == 0
    again = run("state", "prune", "-y", "--allow-clock")
    assert again.out.startswith("Nothing to move: whatever ended before 2027-09-02T00:00:00Z is archived")
    assert run("plan", "-e").code == 0


def test_state_prune_speaks_json(run, aged):
    told = run("state", "prune", "--dry-run", "--allow-clock", "--format", "json").json
    assert (told["archives"], told["certificates"] > 0) == ([], True)
    done = run("state", "prune", "-y", "--allow-clock", "--format", "json").json
    assert {**done, "archives": []} == told
    assert len(done["archives"]) == 1


def test_state_prune_asks_and_needs_to_be_told_how_long(run, applied, folder):
    ran = run("state", "prune", "-y", "--allow-clock")
    assert (ran.code, 'keep = "2y"' in ran.err) == (1, True)
    text = (folder / "pki.toml").read_text("utf-8")
    (folder / "pki.toml").write_text(f'{text}\n[state]\nkeep = "7d"\n', "utf-8")
    assert "`7d` is less than 30d" in run("validate").out


def test_state_prune_that_nobody_can_be_asked_about_is_refused(run, aged):
    ran = run("state", "prune", "--allow-clock")
    assert (ran.code, "nobody can be asked here" in ran.err) == (64, True)
    assert run("state", "prune", "--dry-run", "--allow-clock").out.startswith("To move")

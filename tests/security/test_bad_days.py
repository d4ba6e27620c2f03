"""What goes wrong on a bad day, through the command: one error with its mend, the right exit code, nothing lost."""

import os
import resource
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pkicode.ports import Certificate, Want
from tests.cli.running import COMMAND, Ran, environment, spawn
from tests.kinds.site import BASE, Site
from tests.security.conftest import LEAVES

FLEET = """
[cert.fleet]
profile = "server"
for_each = { csv = "fleet.csv", key = "host" }
dns = ["${each.host}.corp.example"]
on_remove = "revoke"
"""
LONG = '[profile.long]\nissuer = "issuing"\neku = ["serverAuth"]\nvalidity = "6y"\n'
DUE = "2027-01-23T09:00:00Z"
"""Every leaf is to be renewed."""


@pytest.fixture
def applied(site: Site) -> Site:
    (site.root / "fleet.csv").write_text("host\n" + "".join(f"h{number}\n" for number in range(12)))
    site.write(LEAVES + FLEET)
    assert site.apply().exit_code == 0
    return site


def kept(site: Site, *, but: tuple[str, ...] = ("state.db",)) -> dict[str, bytes | str]:
    """Everything in the folder and beside it; a lease that was taken and given back leaves its epoch in the state."""
    names = ("state.db-shm", "state.db-wal", *but)  # a database's own side files are its business
    return {
        str(path): path.read_bytes() if path.is_file() else "folder"
        for path in sorted(site.root.parent.rglob("*"))
        if path.name not in names
    }


def apply(site: Site, now: str = DUE) -> Ran:
    return spawn(site.root, "apply", "-y", "--allow-clock", PKICODE_NOW=now)


def assert_told(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    errors = [line for line in ran.err.splitlines() if line.startswith("error")]
    assert 1 <= len(errors) <= 2, ran.err
    assert "= help:" in ran.err
    for word in words:
        assert word in ran.err


def test_a_wrong_passphrase_signs_nothing_and_says_where_it_is_read(applied: Site) -> None:
    (applied.root / ".pkicode/passphrase").write_text("not the one\n")
    before = kept(applied)
    assert_told(apply(applied), 1, "the passphrase does not open the keystore", "[keystore.X] passphrase")
    assert kept(applied) == before
    assert sum(one.status == "issued" for one in _inventory(applied)) == 17


def test_no_passphrase_at_all_is_told(applied: Site) -> None:
    base = BASE.replace('{ file = ".pkicode/passphrase", create = true }', '{ env = "PKICODE_KEYS" }')
    applied.write(LEAVES + FLEET, base=base)
    assert_told(apply(applied), 1, "PKICODE_KEYS is not set", "set PKICODE_KEYS")


def test_a_key_folder_that_others_may_enter_is_refused(applied: Site) -> None:
    (applied.root / ".pkicode").chmod(0o755)
    (applied.root / ".pkicode/keys.db").chmod(0o644)
    assert_told(apply(applied), 1, "chmod")


def test_a_state_of_another_env_is_refused(applied: Site) -> None:
    applied.write(LEAVES + FLEET + '[env.prod.project]\nname = "site"\n')
    before = kept(applied, but=())
    ran = spawn(applied.root, "--env", "prod", "apply", "-y", "--allow-clock", PKICODE_NOW=DUE)
    assert_told(ran, 1, "is of env `default`, not `prod`", "--env")
    assert kept(applied, but=()) == before


def test_a_state_of_a_newer_pkicode_is_refused(applied: Site) -> None:
    with closing(sqlite3.connect(applied.root / ".pkicode/state.db")) as database, database:
        database.execute("UPDATE meta SET value = '999' WHERE key = 'schema'")
    before = kept(applied, but=())
    assert_told(apply(applied), 1, "has schema 999", "upgrade pkicode")
    assert_told(spawn(applied.root, "plan"), 1, "has schema 999", "upgrade pkicode")
    assert kept(applied, but=()) == before


@pytest.mark.parametrize("size", [0, 100, 4096, 20_000])
def test_a_truncated_state_is_refused(size: int, applied: Site) -> None:
    path = applied.root / ".pkicode/state.db"
    os.truncate(path, size)
    for extra in ("-wal", "-shm"):
        Path(f"{path}{extra}").unlink(missing_ok=True)
    before = kept(applied, but=())
    assert_told(apply(applied), 1, str(path), "restore")
    assert kept(applied, but=()) == before


@pytest.mark.invariant(13)
def test_an_altered_history_is_found(applied: Site) -> None:
    with closing(sqlite3.connect(applied.root / ".pkicode/state.db")) as database, database:
        database.execute("UPDATE events SET actor = 'somebody else' WHERE sequence = 3")
    ran = spawn(applied.root, "audit", "verify")
    assert ran.code == 1
    assert "3" in ran.out
    assert spawn(applied.root, "state", "verify").code == 1


def test_a_full_disk_loses_nothing(applied: Site) -> None:
    """A limit on the size of files is what a full disk is to a process: a write that is not done."""
    before = {one.serial for one in _inventory(applied)}

    def small() -> None:
        limit = (applied.root / ".pkicode/journal.log").stat().st_size + 1000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    done = subprocess.run(
        [*COMMAND, "apply", "-y", "--allow-clock"],
        cwd=applied.root,
        env=environment(PKICODE_NOW=DUE),
        capture_output=True,
        text=True,
        preexec_fn=small,
        timeout=120,
    )
    ran = Ran(done.returncode, done.stdout, done.stderr)
    assert_told(ran, 1)
    assert before <= {one.serial for one in _inventory(applied)}
    assert spawn(applied.root, "state", "verify").code == 0
    assert apply(applied, "2027-01-23T09:01:00Z").code == 0
    assert spawn(applied.root, "state", "verify").code == 0
    assert spawn(applied.root, "plan", "-e", PKICODE_NOW="2027-01-23T09:01:00Z").code == 0


def test_a_clock_that_was_moved_back_is_refused(applied: Site) -> None:
    before = kept(applied)
    ran = apply(applied, "2026-11-23T08:00:00Z")
    assert_told(ran, 1, "this clock says 2026-11-23T08:00:00Z", "set the clock")
    assert kept(applied) == before


def test_a_leaf_that_would_outlive_its_issuer_is_refused(applied: Site) -> None:
    applied.write(LEAVES + FLEET + '[cert.long]\nprofile = "long"\ndns = ["l.corp.example"]\n' + LONG)
    before = kept(applied)
    assert_told(apply(applied), 1, "cert.long would outlive its issuer", "pki.toml:")
    assert kept(applied) == before


def test_a_name_outside_the_constraints_is_refused(applied: Site) -> None:
    applied.write(LEAVES + FLEET + '[cert.far]\nprofile = "server"\ndns = ["far.example.org"]\n')
    before = kept(applied)
    assert_told(apply(applied), 1, "far.example.org", "error[E0408]", "pki.toml:")
    assert kept(applied) == before


@pytest.mark.invariant(12)
@pytest.mark.parametrize("left", ["", "host\n", "host\nh1\n"], ids=["emptied", "header only", "truncated"])
def test_an_emptied_or_truncated_source_revokes_nothing_above_the_brake(left: str, applied: Site) -> None:
    (applied.root / "fleet.csv").write_text(left)
    before, sequence = kept(applied), applied.open().upkeep.info().about.sequence
    ran = apply(applied, "2026-11-24T09:00:00Z")
    assert_told(ran, 1)
    assert "fleet" in ran.err
    assert kept(applied) == before
    assert {one.status for one in _inventory(applied)} == {"issued"}
    assert applied.open().upkeep.info().about.sequence == sequence


def _inventory(site: Site) -> Sequence[Certificate]:
    return site.open().inventory(Want())


@pytest.mark.parametrize("at", ["+99999999999y", "+7990y", "9999-12-31", "0001-01-01", "-1d", "yesterday"])
def test_a_time_that_cannot_be_planned_for_is_a_usage_error(at: str, site: Site) -> None:
    ran = spawn(site.root, "plan", "--at", at)
    assert ran.code == 64
    assert "Traceback" not in ran.err

"""Files that somebody removed or would have overwritten: an error that says how to mend it, and nothing made anew."""

import os
import subprocess
from pathlib import Path

import pytest

from pkicode.adapters import loop
from pkicode.model.problem import PkicodeError, StateError
from pkicode.ports import Want
from pkicode.project.moving import migrate
from tests.kinds.site import Site

PORTAL = """
[cert.portal]
profile = "server"
dns = ["portal.corp.example"]
"""


def test_a_state_that_is_gone_is_not_begun_anew_while_the_journal_knows_of_certificates(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    site.open().upkeep.backup(site.root / "copy.db")
    for path in (site.root / ".pkicode").glob("state.db*"):
        path.unlink()
    with pytest.raises(StateError, match=r"state\.db is gone"):
        site.plan()
    with pytest.raises(StateError, match=r"state\.db is gone"):
        site.apply()
    with pytest.raises(StateError, match=r"state\.db is gone"):
        site.open().upkeep.verify()
    assert not (site.root / ".pkicode/state.db").exists()
    site.open().upkeep.restore(site.root / "copy.db")
    assert site.plan().changes == ()


def test_keys_whose_state_and_journal_are_gone_sign_for_no_new_state_unasked(site: Site) -> None:
    site.write(PORTAL)
    site.apply()
    for name in ("state.db*", "journal.log"):
        for path in (site.root / ".pkicode").glob(name):
            path.unlink()
    with pytest.raises(StateError, match=r"keys\.db has the key of ca\.") as caught:
        site.plan()
    assert "pkicode state restore BACKUP" in str(caught.value.help)
    for _ in range(2):
        with pytest.raises(StateError, match=r"keys\.db has the key of ca\."):
            site.apply()
    assert not (site.root / ".pkicode/state.db").exists()
    loop.run(migrate(site.open().state))
    site.apply()
    site.verify("cert.portal")


def test_an_overlay_with_a_state_of_its_own_does_not_take_the_keys_of_another(site: Site) -> None:
    stage = '[env.stage.state]\nurl = "sqlite:///.pkicode/stage/state.db"\n'
    site.write(PORTAL + stage)
    site.apply()
    with pytest.raises(StateError, match="has the key of ca"):
        site.open(env="stage").apply()
    own = '[env.stage.keystore.main]\npath = ".pkicode/stage/keys.db"\n'
    site.write(PORTAL + stage + own)
    assert [one.code for one in site.open(env="stage").apply().problems] == ["E0513"]
    site.write(PORTAL + stage + own + '[env.stage.publish.web]\nurl = "stage"\n')
    assert site.open(env="stage").apply().problems == ()


def test_a_passphrase_that_is_gone_is_not_made_anew_while_its_keystore_is_there(site: Site) -> None:
    site.apply()
    passphrase = site.root / ".pkicode/passphrase"
    kept = passphrase.read_bytes()
    passphrase.unlink()
    site.write(PORTAL)
    with pytest.raises(PkicodeError, match="passphrase cannot be read"):
        site.apply()
    assert not passphrase.exists()
    passphrase.write_bytes(kept)
    passphrase.chmod(0o600)
    site.apply()
    site.verify("cert.portal")


@pytest.mark.parametrize("name", ["pki.toml", "key.pem", "."])
def test_a_plan_is_saved_over_a_plan_only(site: Site, name: str) -> None:
    (site.root / "key.pem").write_text("somebody's only key")
    before = {path: path.read_bytes() for path in site.root.iterdir() if path.is_file()}
    plan, project = site.plan(), site.open()
    with pytest.raises(PkicodeError, match="is no plan file"):
        project.save(plan, site.root / name)
    assert {path: path.read_bytes() for path in site.root.iterdir() if path.is_file()} == before
    project.save(plan, site.root / "plan.json")
    assert project.save(plan, site.root / "plan.json") == project.load(site.root / "plan.json").document["plan_id"]


def test_what_a_killed_plan_left_goes_with_the_next_and_dated_copies_stay(site: Site) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    # In a container the next process may have the number of the killed one.
    left = [site.root / f".plan.json.draft.{number}" for number in (gone.pid, os.getpid())]
    stays = [site.root / f".plan.json.{one}" for one in ("261130", "20261130", gone.pid)]
    for one in (*left, *stays):
        one.write_bytes(b"x")
    site.open().save(site.plan(), site.root / "plan.json")
    assert [one.exists() for one in (*left, *stays)] == [False, False, True, True, True]


def test_who_applies_may_have_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    site = Site(tmp_path).write(PORTAL)
    site.open(environ={"USER": "j\udcf6rg"}).apply()
    assert len(site.open().inventory(Want())) == 3
    assert "j\\udcf6rg" in {event.actor for event in site.open().upkeep.audit(0, 100)}

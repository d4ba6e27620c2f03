"""A rehearsal plays every step with throw-away keys, and leaves nothing behind."""

from pathlib import Path

import pytest

from pkicode.model.instants import DAY, rfc3339
from pkicode.model.problem import PkicodeError
from pkicode.project.rehearsal import begins, rehearse
from tests.ceremony.two import PORTAL, TEXT, Two
from tests.kinds.site import BASE, Site


def rehearsed(site: Site, folder: Path, **later: object) -> tuple[int, list[str]]:
    told: list[str] = []
    folder.mkdir(mode=0o700)
    return rehearse(site.open().config, folder, site.now, told.append, **later), told


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_rehearsal_takes_the_ceremonies_that_the_real_one_takes(two: Two, tmp_path: Path) -> None:
    rounds, told = rehearsed(two.site, tmp_path / "away")
    assert rounds == 2
    text = "\n".join(told)
    assert "`pkicode ceremony init ca.root@1 --alg ec-p384 --keystore FILE`" in text
    assert "takes ca.root@1\n" in text
    assert "takes ca.issuing@1, crl.root@1\n" in text
    assert "subject                CN=Site Root R1,O=Site" in text
    assert text.endswith("has nothing to wait for any more")


def test_nothing_of_the_project_is_touched(two: Two, ready: Two, tmp_path: Path) -> None:
    for number, site in enumerate((two.site, ready.site)):
        before = files(site.root)
        assert rehearsed(site, tmp_path / f"away-{number}")[0] == 2
        assert files(site.root) == before


def test_tokens_commands_and_databases_are_stood_in_for(two: Two, tmp_path: Path) -> None:
    more = '[state]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n'
    base = TEXT.replace(
        'type = "file"\npassphrase = { file = ".pkicode/passphrase", create = true }',
        'type = "command"\ncommand = ["/nowhere/signer"]',
    )
    assert base != TEXT
    two.site.write(more, base=base)
    assert rehearsed(two.site, tmp_path / "away")[0] == 2


def test_what_would_fail_then_fails_now(two: Two, tmp_path: Path) -> None:
    denied = '[policy.deny]\nkey_algs = ["ec-p384"]\n'
    two.site.write(PORTAL + denied, base=TEXT)
    with pytest.raises(PkicodeError, match="ec-p384"):
        rehearsed(two.site, tmp_path / "away")


def test_without_an_offline_ca_there_is_nothing_to_rehearse(two: Two, tmp_path: Path) -> None:
    two.site.write(base=BASE)
    with pytest.raises(PkicodeError, match="no CA is offline"):
        rehearsed(two.site, tmp_path / "away")


ROLLING = TEXT.replace("path_len = 1", "path_len = 2")
"""With room for a bridge from one root to the next."""


def test_the_rollover_of_a_project_that_is_there_begins_when_that_was_made(ready: Two, tmp_path: Path) -> None:
    ready.site.write(PORTAL, base=ROLLING)
    first = ready.site.now
    ready.site.later(200)
    project = ready.site.open()
    assert begins(project) == first
    before = files(ready.site.root)
    told: list[str] = []
    (tmp_path / "away").mkdir(mode=0o700)
    later = {"at": project.clock(), "rollover": ["root", "issuing"]}
    assert rehearse(project.config, tmp_path / "away", first, told.append, **later) == 5
    between, _, rolled = "\n".join(told).partition(f"{rfc3339(ready.site.now)}:\n")
    # What is due in between is signed on its day.
    assert f"{rfc3339(first + 180 * DAY)}: what was due was signed in the same way" in between
    assert "ca.root@2" not in between
    assert "`pkicode ceremony init ca.root@2 --alg ec-p384 --keystore FILE`" in rolled
    assert "takes ca.issuing@2, ca.root@2\n" in rolled
    assert "takes ca.root@2 by ca.root@1, " in rolled
    assert "| certificate  ca.root@2  signed by ca.root@1" in rolled
    assert "CN=Site Root R2,O=Site" in rolled
    assert rolled.endswith("the next ceremony is due")
    assert files(ready.site.root) == before


def test_a_rollover_of_nobody_or_in_the_past_is_told_before_anything_is_played(two: Two, tmp_path: Path) -> None:
    with pytest.raises(PkicodeError, match=r"there is no \[ca\.rot\]"):
        rehearsed(two.site, tmp_path / "typo", at=two.site.now + 300 * DAY, rollover=["rot"])
    with pytest.raises(PkicodeError, match="is not after it"):
        rehearsed(two.site, tmp_path / "past", at=two.site.now)

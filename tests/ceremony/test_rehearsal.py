"""A rehearsal plays every step with throw-away keys, and leaves nothing behind."""

from pathlib import Path

import pytest

from pkicode.model.problem import PkicodeError
from pkicode.project.rehearsal import rehearse
from tests.ceremony.two import PORTAL, TEXT, Two
from tests.kinds.site import BASE, Site


def rehearsed(site: Site, folder: Path) -> tuple[int, list[str]]:
    told: list[str] = []
    folder.mkdir(mode=0o700)
    return rehearse(site.open().config, folder, site.now, told.append), told


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

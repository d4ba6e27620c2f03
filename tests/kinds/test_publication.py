"""What is published is decided by what the target holds, not by what state remembers of it."""

import shutil
from pathlib import Path

import pytest

from tests.kinds.site import BASE, Site
from tests.quick import quick_keystore


def files(site: Site, folder: str) -> dict[str, bytes]:
    root = site.root / folder
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_another_target_gets_every_file(site: Site) -> None:
    site.apply()
    before = files(site, "public")
    site.write(base=BASE.replace('url = "public"', 'url = "elsewhere"'))
    assert site.apply().counts == {"publish": 1}
    assert files(site, "elsewhere") == before


def test_lost_and_altered_files_are_put_back_with_the_next_crl(site: Site) -> None:
    site.apply()
    before = files(site, "public")
    (site.root / "public/bundle/trust.pem").write_bytes(b"of somebody else")
    (site.root / "public/ca/root-g1.cer").unlink()
    (site.root / "public/ca/root-g1.pem").unlink()
    (site.root / "public/ca/root-g1.pem").symlink_to("/etc/hostname")
    (site.root / "public/ca/issuing-g1.cer").write_bytes(before["ca/issuing-g1.cer"] + b"and more")
    site.later(1).apply()
    after = files(site, "public")
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        "crl/root-g1.crl", "crl/issuing-g1.crl", "index.json",
    }  # fmt: skip


@pytest.fixture
def other(tmp_path: Path) -> Site:
    """Another project of the same names, with keys of its own, that publishes to the same folder."""
    (tmp_path / "other").mkdir()
    quick_keystore(tmp_path / "other")
    return Site(tmp_path / "other")


def shared(site: Site, folder: Path) -> Site:
    return site.write(base=BASE.replace('url = "public"', f'url = "file://{folder}"'))


def test_a_target_of_another_pki_is_not_taken_from_it(site: Site, other: Site, tmp_path: Path) -> None:
    folder = tmp_path / "public"
    shared(site, folder).apply()
    before = files(site, str(folder))
    applied = shared(other, folder).apply()
    (problem,) = applied.problems
    assert (applied.exit_code, problem.code, problem.address) == (8, "E0513", "publish.web")
    assert "ca/root-g1.cer is valid there" in problem.message
    assert (applied.counts["issue"], applied.counts["sign"]) == (2, 2)
    assert files(site, str(folder)) == before
    # Whose it is goes on, and the other one as soon as nothing is there that anybody relies on.
    assert not site.later(1).apply().problems
    assert [one.code for one in other.later(1).apply().problems] == ["E0513"]
    shutil.rmtree(folder)
    assert not other.apply().problems


@pytest.mark.parametrize("left", ["ca/root-g1.cer", "crl/issuing-g1.crl", "bundle/trust.pem"])
def test_each_kind_of_file_tells_whose_a_target_is(site: Site, other: Site, tmp_path: Path, left: str) -> None:
    folder = tmp_path / "public"
    shared(site, folder).apply()
    for path in [one for one in folder.rglob("*") if one.is_file() and not one.match(left)]:
        path.unlink()
    (problem,) = shared(other, folder).apply().problems
    assert f"{left} is valid there" in problem.message
    # Of the state whose it is, one file is enough.
    assert not site.later(1).apply().problems


def test_what_nobody_relies_on_any_more_is_replaced(site: Site, other: Site, tmp_path: Path) -> None:
    folder = tmp_path / "public"
    shared(site, folder).apply()
    shutil.rmtree(folder / "ca")
    shutil.rmtree(folder / "bundle")
    (folder / "ca").mkdir()
    (folder / "ca/root-g1.cer").write_bytes(b"<html>")
    assert not shared(other.later(30), folder).apply().problems


def test_files_of_a_ca_that_the_state_let_go_of_are_its_own(site: Site) -> None:
    """The only CA gets another name; the bundle there has the old one, which is valid and forgotten."""
    alone = BASE[: BASE.index("[ca.issuing]")]
    site.write(base=alone).apply()
    assert not site.write(base=alone.replace("ca.root", "ca.top").replace("Site Root", "Top")).apply().problems
    assert (site.root / "public/ca/top-g1.cer").exists()

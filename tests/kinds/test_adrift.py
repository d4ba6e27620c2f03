"""Published files that somebody removed or altered: found where it is asked for, and put back."""

import json
from pathlib import Path

import pytest

from pkicode.model.change import ReasonCode
from pkicode.model.problem import PkicodeError, StalePlan
from tests.kinds.site import Site, told

CRL = "public/crl/issuing-g1.crl"
PORTAL = '[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\n'


@pytest.fixture
def applied(site: Site) -> Site:
    site.write(PORTAL)
    site.apply()
    return site


def test_nobody_looks_unless_asked(applied: Site) -> None:
    (applied.root / CRL).unlink()
    assert applied.plan().changes == ()
    assert told(applied.plan(published=True).changes) == ["publish publish.web@1 drift-published"]


def test_what_is_as_it_was_published_plans_nothing(applied: Site) -> None:
    assert applied.plan(published=True).changes == ()
    assert applied.apply(published=True).counts == {}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, f"{CRL.removeprefix('public/')} is gone"),
        (lambda path: path.write_bytes(b"another"), f"{CRL.removeprefix('public/')} is not as published"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "crl/issuing-g1.crl is not as published"),
    ],
    ids=["gone", "altered", "a link to what never ends"],
)
def test_a_file_is_put_back_as_it_was(applied: Site, harm, said: str) -> None:
    before = {path: path.read_bytes() for path in (applied.root / "public").rglob("*") if path.is_file()}
    harm(applied.root / CRL)
    (change,) = applied.plan(published=True).changes
    assert [(one.code, one.detail) for one in change.reasons] == [(ReasonCode.DRIFT_PUBLISHED, said)]
    assert applied.apply(published=True).counts == {"publish": 1}
    assert {path: path.read_bytes() for path in (applied.root / "public").rglob("*") if path.is_file()} == before
    assert not (applied.root / CRL).is_symlink()
    assert applied.plan(published=True).changes == ()
    applied.verify("cert.portal")


def test_all_that_is_gone_is_counted(applied: Site) -> None:
    there = [path for path in (applied.root / "public").rglob("[!.]*") if path.is_file()]
    for path in there:
        path.unlink()
    (change,) = applied.plan(published=True).changes
    assert change.reasons[0].detail == f"{len(there)} files are gone"


def test_a_plan_that_looked_is_applied_after_another_look(applied: Site, tmp_path: Path) -> None:
    (applied.root / CRL).unlink()
    project, path = applied.open(), tmp_path / "plan.json"
    project.save(project.plan(published=True), path)
    reasons = json.loads(path.read_text())["actions"][0]["reasons"]
    assert [one["code"] for one in reasons] == ["drift-published"]
    assert project.apply(project.load(path)).counts == {"publish": 1}
    assert (applied.root / CRL).is_file()
    # It is there again: what the plan says is no longer so.
    with pytest.raises(StalePlan):
        applied.apply(plan=applied.open().load(path))


def test_what_is_left_out_is_not_put_back(applied: Site) -> None:
    (applied.root / CRL).unlink()
    assert applied.apply(published=True, except_=["publish.*"]).counts == {}
    assert not (applied.root / CRL).exists()
    assert applied.apply(published=True, only=["publish.*"]).counts == {"publish": 1}


def test_a_target_that_cannot_be_read_is_an_error_and_not_called_gone(applied: Site) -> None:
    folder = applied.root / "public/crl"
    folder.rename(applied.root / "aside")
    folder.write_text("no folder")
    with pytest.raises(PkicodeError):
        applied.plan(published=True)

"""Published files that somebody removed or altered: found where it is asked for, and put back."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pkicode.model.change import ReasonCode
from pkicode.model.problem import StalePlan
from pkicode.project.checks import Level
from tests.kinds.site import BASE, Site, told

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


def test_a_target_that_cannot_be_read_is_not_called_gone_and_stops_nothing_else(applied: Site) -> None:
    folder = applied.root / "public/crl"
    folder.rename(applied.root / "aside")
    folder.write_text("no folder")
    applied.write(PORTAL + PORTAL.replace("portal", "mail"))
    publish = next(one for one in applied.plan(published=True).changes if one.address.kind == "publish")
    assert "it cannot be read: publish target" in publish.reasons[0].detail
    done = applied.apply(published=True)
    assert ([one.code for one in done.problems], done.counts) == (["E0510"], {"issue": 1})


def test_what_a_target_is_to_hold_no_more_may_go(applied: Site) -> None:
    applied.write(PORTAL, base=BASE.replace('url = "public"', 'url = "public"\ncontent = ["ca", "crl"]'))
    applied.apply()
    (applied.root / "public/bundle/trust.pem").unlink()
    assert applied.plan(published=True).changes == ()
    status = applied.open().vitals.status(published=True)
    assert "web bundle/trust.pem" not in {one.subject for one in status.checks}
    applied.write(PORTAL).apply()
    (applied.root / "public/bundle/trust.pem").unlink()
    assert told(applied.plan(published=True).changes) == ["publish publish.web@1 drift-published"]


def test_a_list_that_is_newer_than_the_state_is_told_and_stays(applied: Site, tmp_path: Path) -> None:
    applied.write(PORTAL + 'on_remove = "revoke"\n').apply()
    shutil.copy(applied.root / ".pkicode/state.db", tmp_path / "backup")
    applied.write("").later(0.1).apply()
    there = (applied.root / CRL).read_bytes()
    for path in (applied.root / ".pkicode").glob("state.db*"):
        path.unlink()
    shutil.copy(tmp_path / "backup", applied.root / ".pkicode/state.db")
    applied.write(PORTAL + 'on_remove = "revoke"\n').later(0.1)
    [change] = applied.plan(published=True).changes
    name = CRL.removeprefix("public/")
    assert f"{name} is number 2, which the state does not know, and stays" in change.reasons[0].detail
    applied.apply(published=True)
    assert (applied.root / CRL).read_bytes() == there


def test_one_pipe_hides_no_other_file_from_status(applied: Site) -> None:
    (applied.root / CRL).unlink()
    os.mkfifo(applied.root / CRL)
    (applied.root / "public/index.json").unlink()
    status = applied.open().vitals.status(published=True)
    wrong = {one.subject: one.message for one in status.checks if one.level is Level.CRITICAL}
    assert wrong.keys() == {f"web {CRL.removeprefix('public/')}", "web index.json"}

"""A saved plan is an expectation: after any edit or other change, exit 4 and nothing done (decisions 21)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pkicode.model.instants import DAY
from pkicode.model.problem import StalePlan
from pkicode.plan.planfile import canonical, identify
from pkicode.ports import Want
from tests.cli.running import spawn
from tests.kinds.site import Site
from tests.oracles import openssl
from tests.security.conftest import LEAVES

NEW = '[cert.new]\nprofile = "server"\ndns = ["new.corp.example"]\n'
CSR = '[cert.host]\nprofile = "server"\ndns = ["host.corp.example"]\ncsr = { dir = "csr", file = "host.csr" }\n'


def csr(site: Site) -> None:
    (site.root / "csr").mkdir(exist_ok=True)
    args = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=host")
    openssl(*args, "-keyout", site.root / "host.key", "-out", site.root / "csr/host.csr")


@pytest.fixture
def saved(site: Site) -> Path:
    """LEAVES applied; a plan is saved that would issue [cert.new] and [cert.host]."""
    site.apply()
    csr(site)
    site.write(LEAVES + NEW + CSR)
    path = site.root / "saved.plan"
    project = site.open()
    project.save(project.plan(), path)
    return path


def apply(site: Site, path: Path) -> int:
    project = site.open()
    return project.apply(project.load(path)).exit_code


def standing(site: Site) -> tuple[object, ...]:
    """What must not move when nothing is done."""
    serials = [one.serial for one in site.open().inventory(Want())]
    outside = ("public", "out", ".pkicode/keys.db", ".pkicode/journal.log")
    files = {
        path: path.read_bytes()
        for name in outside
        for path in [site.root / name, *(site.root / name).rglob("*")]
        if path.is_file()
    }
    return site.open().upkeep.info().about.sequence, serials, files


def test_the_plan_as_it_was_saved_is_applied(site: Site, saved: Path) -> None:
    assert apply(site, saved) == 0
    assert not site.plan().changes


def _action(document: Any, address: str) -> Any:
    return next(one for one in document["actions"] if one["address"] == address)


def _other_name(document: Any) -> None:
    _action(document, "cert.new")["after"]["sans"] = ["dns:evil.corp.example"]


def _one_left_out(document: Any) -> None:
    document["actions"] = [one for one in document["actions"] if one["address"] != "cert.new"]


def _one_put_in(document: Any) -> None:
    document["actions"].append(_action(document, "cert.new") | {"address": "cert.evil"})


def _longer_life(document: Any) -> None:
    document["expires_at"] = "2099-01-01T00:00:00Z"
    _action(document, "cert.new")["after"]["validity"] = "9000d"


def _allowances(document: Any) -> None:
    document["allow"] = {"issue": "9999"}


def _other_lineage(document: Any) -> None:
    document["state"]["lineage"] = "00" * 16


def _gutted(document: Any) -> None:
    for part in ("inputs", "state", "templates", "scope"):
        del document[part]


def _bent(document: Any) -> None:
    document["actions"][0] = {"address": 5}


EDITS = [_gutted, _bent, _other_name, _one_left_out, _one_put_in, _longer_life, _allowances, _other_lineage]


@pytest.mark.parametrize("forged", [False, True], ids=["digest as it was", "digest made anew"])
@pytest.mark.parametrize("edit", EDITS, ids=lambda one: one.__name__.strip("_"))
def test_an_edited_plan_is_refused(edit: Callable[[Any], None], forged: bool, site: Site, saved: Path) -> None:
    document = json.loads(saved.read_bytes())
    edit(document)
    if forged:
        document["plan_id"] = identify(document)
    if forged and edit is _allowances:
        pytest.skip("an honest plan with --allow: policy, not the digest, decides")
    saved.write_bytes(canonical(document))
    before = standing(site)
    with pytest.raises(StalePlan):
        apply(site, saved)
    assert standing(site) == before


def _config_changed(site: Site) -> None:
    site.write(LEAVES + NEW.replace("new.corp", "other.corp") + CSR)


def _csr_changed(site: Site) -> None:
    csr(site)


def _expired(site: Site) -> None:
    site.now += DAY + 1


def _applied_by_others(site: Site) -> None:
    site.apply()


def _half_of_it_done(site: Site) -> None:
    site.apply(only=["cert.new"])


WORLD = [_config_changed, _csr_changed, _expired, _applied_by_others, _half_of_it_done]


@pytest.mark.parametrize("change", WORLD, ids=lambda one: one.__name__.strip("_"))
def test_a_plan_for_another_world_is_refused(change: Callable[[Site], None], site: Site, saved: Path) -> None:
    change(site)
    before = standing(site)
    with pytest.raises(StalePlan):
        apply(site, saved)
    assert standing(site) == before


def test_a_plan_is_applied_once(site: Site, saved: Path) -> None:
    apply(site, saved)
    before = standing(site)
    with pytest.raises(StalePlan):
        apply(site, saved)
    assert standing(site) == before


def test_a_plan_from_the_future_is_refused(site: Site) -> None:
    site.apply()
    project = site.open()
    project.save(project.plan(at=site.now + 61 * DAY), site.root / "future.plan")
    before = standing(site)
    with pytest.raises(StalePlan, match="more than plan_ttl ahead"):
        apply(site, site.root / "future.plan")
    assert standing(site) == before


def test_a_plan_of_another_state_is_refused(site: Site, saved: Path) -> None:
    for path in (site.root / ".pkicode").glob("state.db*"):
        path.unlink()
    site.write(LEAVES)
    (site.root / ".pkicode/journal.log").rename(site.root / "journal.old")
    (site.root / ".pkicode/keys.db").rename(site.root / "keys.old")
    site.apply()
    site.write(LEAVES + NEW + CSR)
    with pytest.raises(StalePlan, match="lineage"):
        apply(site, saved)


def test_the_command_exits_4_and_names_the_differences(site: Site, saved: Path) -> None:
    site.write(LEAVES + NEW.replace("new.corp", "other.corp") + CSR)
    before = standing(site)
    ran = spawn(site.root, "apply", "saved.plan", "--allow-clock")
    assert ran.code == 4
    assert "nothing was done" in ran.err
    assert "pki.toml changed" in ran.err
    assert "cert.new: after differ" in ran.err
    assert standing(site) == before

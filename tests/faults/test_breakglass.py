"""`pkicode revoke` killed at any instant: what it revoked stays revoked, and pki.toml is whole (invariant 8)."""

from pathlib import Path

import pytest

from pkicode.model.faults import FaultPoint
from pkicode.project.breakglass import Asked
from tests.faults import corp
from tests.faults.corp import Ground
from tests.faults.run import Fault, crash
from tests.oracles import revoked_serials

POINTS = (FaultPoint.REVOKED, *corp.LISTING, FaultPoint.ENTRY_STAGED)
ASKED = Asked("cert.portal", "keyCompromise", id="INC-1")


@pytest.mark.invariant(8)
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_revocation_is_finished_by_the_next_apply(
    point: FaultPoint, applied: Ground, quick_path: Path
) -> None:
    site = corp.before(corp.OUTPUT, quick_path / "corp", applied)
    site.write(base=corp.FIRST.text)
    crash(site.root, site.now, Fault(point), ASKED)
    assert (site.root / "pki.toml").read_text() == site.text
    site.now += 60
    plan = site.plan()
    assert [one.code for one in plan.problems] == ["W0441"]
    assert site.apply().exit_code == 0
    (gone,) = [one for one in corp.inventory(site) if one.status == "revoked"]
    assert (gone.address, gone.generation, gone.revoked_at) == ("cert.portal", 1, site.now - 60)
    assert [gone.serial] == [serial for crl in site.crls() for serial in revoked_serials(crl)]
    corp.assert_sound(site, corp.FIRST)
    # A draft that was left behind is in nobody's way.
    done = site.open().revoke(Asked('cert.app["api"]', "superseded", id="R-1"))
    assert done.written_to == site.root / "pki.toml"
    assert 'id = "R-1"' in (site.root / "pki.toml").read_text()


def test_one_that_is_not_killed_writes_its_entry_and_the_next_plan_adopts_it(applied: Ground, quick_path: Path) -> None:
    site = corp.before(corp.OUTPUT, quick_path / "corp", applied)
    site.write(base="# kept\n" + corp.FIRST.text)
    # Two lists tell of it, each signed once: the CRL and the OCSP answers of ca.issuing.
    assert site.open().revoke(ASKED).counts == {"revoke": 1, "sign": 2, "publish": 1}
    text = (site.root / "pki.toml").read_text()
    assert text.startswith("# kept\n" + corp.FIRST.text)
    # It is not revoked or listed again; the answer about what replaces it is new.
    assert [str(one.address.kind) for one in site.plan().changes] == ["cert", "ocsp", "publish", "output"]
    assert site.apply().exit_code == 0
    corp.assert_sound(site, corp.FIRST)


@pytest.mark.invariant(8)
@pytest.mark.parametrize("point", [*corp.ISSUING, *corp.HANDING_OUT])
def test_at_no_instant_is_there_a_new_key_before_the_compromise_is_published(
    point: FaultPoint, applied: Ground, quick_path: Path
) -> None:
    site = corp.before(corp.COMPROMISE, quick_path / "corp", applied)
    (old,) = [one for one in corp.inventory(site) if one.address == "cert.portal"]
    crash(site.root, site.now, Fault(point))
    assert [old.serial] == [serial for crl in site.crls() for serial in revoked_serials(crl)]


@pytest.mark.parametrize("point", [*corp.ISSUING, *corp.HANDING_OUT])
def test_at_no_instant_is_what_was_superseded_revoked_before_its_files_are_replaced(
    point: FaultPoint, applied: Ground, quick_path: Path
) -> None:
    site = corp.before(corp.SUPERSEDED, quick_path / "corp", applied)
    crash(site.root, site.now, Fault(point))
    assert [serial for crl in site.crls() for serial in revoked_serials(crl)] == []
    assert {one.status for one in corp.inventory(site)} <= {"issued", "intent"}

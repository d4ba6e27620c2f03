"""A key from its making to its end: what needs it, since when nothing does, and that nothing else is ever destroyed."""

import asyncio
from pathlib import Path

import pytest

from pkicode.adapters.keyfile import find_key_file
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import rfc3339
from pkicode.model.keyuse import KeyUse, Use
from pkicode.model.problem import KeyStoreError
from pkicode.ports import NewKey, Want
from pkicode.project import open_project
from tests.cli.running import spawn
from tests.kinds.site import BASE, Site
from tests.quick import quick_keystore

POINTS = (FaultPoint.KEYS_CONDEMNED,)
"""What destroying keys passes, and no apply."""
PORTAL = (
    '[cert.portal]\nprofile = "server"\ndns = ["portal.corp.example"]\nvalidity = "60d"\nrenew = { jitter = "0%" }\n'
)
ROTATING = BASE.replace(
    'subject = { cn = "Site Issuing", o = "Site" }\nvalidity = "5y"',
    'subject = { cn = "Site Issuing ${generation}", o = "Site" }\nvalidity = "200d"\n'
    'rotate = { every = "60d", prepublish = "5d" }',
)


class Killed(Exception):
    """Ends the process, as far as this test goes."""


@pytest.fixture
def site(quick_path: Path) -> Site:
    """Applied once: two CAs and a leaf."""
    quick_keystore(quick_path)
    made = Site(quick_path).write(PORTAL)
    made.apply()
    return made


def keys(site: Site) -> dict[str, KeyUse]:
    return {one.label: one for one in site.open().upkeep.keys("main")}


def used(site: Site) -> dict[str, Use]:
    return {label: one.use for label, one in keys(site).items()}


def destroy(site: Site, *labels: str) -> None:
    site.open().upkeep.destroy_keys("main", labels)


def test_what_has_a_current_certificate_is_in_use(site: Site) -> None:
    assert used(site) == dict.fromkeys(["ca.issuing@1", "ca.root@1", "cert.portal@1"], Use.IN_USE)
    assert keys(site)["cert.portal@1"].why == "cert.portal@1"


def test_a_key_that_was_followed_is_retired_then_kept_and_then_removable(site: Site) -> None:
    site.later(41).apply()
    assert used(site)["cert.portal@2"] is Use.IN_USE
    old = keys(site)["cert.portal@1"]
    assert (old.use, old.since) == (Use.RETIRED, site.now)
    assert old.why.startswith("a certificate for it is valid until")
    site.later(20).apply()
    assert keys(site)["cert.portal@1"].why.startswith("kept until")
    site.later(9).apply()
    assert used(site)["cert.portal@1"] is Use.RETIRED
    site.later(1).apply()
    assert used(site)["cert.portal@1"] is Use.REMOVABLE


def test_a_clock_that_is_ahead_makes_no_key_removable(site: Site) -> None:
    site.later(41).apply()
    site.later(3650)
    assert used(site)["cert.portal@1"] is Use.RETIRED
    with pytest.raises(KeyStoreError, match="nothing was destroyed"):
        destroy(site, "cert.portal@1")


def test_what_lapsed_under_a_name_that_is_declared_is_in_use(site: Site) -> None:
    site.later(365)
    assert used(site)["cert.portal@1"] is Use.IN_USE


def test_a_name_that_was_taken_out_needs_its_key_while_its_certificate_lives(site: Site) -> None:
    site.write().apply()
    assert keys(site)["cert.portal@1"].why.startswith("a certificate until")
    site.later(61).apply()
    assert used(site)["cert.portal@1"] is Use.RETIRED
    site.later(30).apply()
    assert used(site)["cert.portal@1"] is Use.REMOVABLE


def test_the_key_of_a_ca_is_needed_while_anything_it_signed_or_it_itself_lives(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "rotating"
    root.mkdir()
    quick_keystore(root)
    rotating = Site(root).write(PORTAL, base=ROTATING)
    rotating.apply()
    seen: dict[Use, list[int]] = {use: [] for use in Use}
    for day in range(10, 221, 10):
        rotating.later(10).apply()
        one = keys(rotating)["ca.issuing@1"]
        seen[one.use].append(day)
        signed = rotating.open().inventory(Want(ca="issuing", ca_generation=1, unexpired_at=rotating.now))
        assert (one.use is Use.IN_USE) == bool(signed)
    assert seen[Use.RETIRED]
    assert (max(seen[Use.RETIRED]), min(seen[Use.REMOVABLE])) == (190, 200), "its own certificate ends on day 200"
    destroy(rotating, "ca.issuing@1")
    rotating.later(1)
    assert rotating.apply().exit_code == 0
    rotating.verify("cert.portal")


def test_a_key_that_no_certificate_is_for_is_not_in_the_state_and_stays(site: Site) -> None:
    async def make() -> None:
        store = site.open().keystore("main")
        await store.create([NewKey("cert.other@1", "ec-p256")])
        await store.close()

    asyncio.run(make())
    assert used(site)["cert.other@1"] is Use.UNKNOWN
    with pytest.raises(KeyStoreError, match=r"cert.other@1 is not in the state"):
        destroy(site, "cert.other@1")


def test_only_what_is_removable_is_destroyed_and_all_of_it_or_nothing(site: Site) -> None:
    site.later(41).apply()
    site.later(30).apply()
    for kept, why in (("cert.portal@2", "in use"), ("ca.root@1", "in use"), ("cert.none@1", "there is no key")):
        with pytest.raises(KeyStoreError, match=why):
            destroy(site, "cert.portal@1", kept)
    assert "cert.portal@1" in keys(site)
    before = len(site.open().upkeep.audit(0, 1000))
    destroy(site, "cert.portal@1", "cert.portal@1")
    assert "cert.portal@1" not in keys(site)
    [event] = site.open().upkeep.audit(before, 1000)
    assert (event.action, event.subject) == ("key.destroy", "cert.portal@1")
    assert site.apply().exit_code == 0
    assert site.open().upkeep.verify_keys("main") == []


def test_of_a_destroyed_key_nothing_is_left_in_the_file(site: Site) -> None:
    site.later(41).apply()
    site.later(30).apply()
    path = site.root / ".pkicode/keys.db"
    file = find_key_file(path)
    assert file is not None
    sealed = file.select(["cert.portal@1"])["cert.portal@1"].sealed
    file.close()
    assert sealed in path.read_bytes()
    destroy(site, "cert.portal@1")
    assert sealed not in path.read_bytes()


def test_killed_after_the_event_the_key_is_there_and_is_destroyed_when_asked_again(site: Site) -> None:
    site.later(41).apply()
    site.later(30).apply()

    def die(point: FaultPoint) -> None:
        if point in POINTS:
            raise Killed

    project = open_project(site.root / "pki.toml", environ={}, now=site.now, reach=die)
    with pytest.raises(Killed):
        project.upkeep.destroy_keys("main", ["cert.portal@1"])
    assert used(site)["cert.portal@1"] is Use.REMOVABLE
    destroy(site, "cert.portal@1")
    assert "cert.portal@1" not in keys(site)


def test_nothing_is_destroyed_while_somebody_applies(site: Site) -> None:
    site.later(41).apply()
    site.later(30).apply()
    site.write(PORTAL, base=BASE + '[state]\nlock_timeout = "1s"\n')
    codes: list[int] = []

    def show(_: object) -> None:
        asked = ("keystore", "destroy", "cert.portal@1", "-y", "--allow-clock")
        codes.append(spawn(site.root, *asked, PKICODE_NOW=rfc3339(site.now)).code)

    site.open().apply(show=show)
    assert codes == [5]
    assert "cert.portal@1" in keys(site)


def test_nothing_is_restored_while_somebody_applies_and_a_copy_is_made(site: Site) -> None:
    site.later(41)
    site.write(PORTAL, base=BASE + '[state]\nlock_timeout = "1s"\n')
    codes: list[int] = []

    def show(_: object) -> None:
        for asked in (("backup", "copy.db"), ("restore", "copy.db", "--allow-clock")):
            codes.append(spawn(site.root, "keystore", *asked, PKICODE_NOW=rfc3339(site.now)).code)

    site.open().apply(show=show)
    assert codes == [0, 5]
    assert "cert.portal@2" in keys(site)

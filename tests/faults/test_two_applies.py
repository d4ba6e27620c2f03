"""Two applies at once: one waits or exits 5; and whoever slept through its lease can do no harm (invariants 7, 9)."""

from pathlib import Path

import pytest

from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY
from tests.cli.running import spawn
from tests.faults import corp
from tests.faults.corp import Ground
from tests.faults.run import Fault, asleep, ended, start, wake
from tests.keys import test_key_life
from tests.kinds.site import Site
from tests.retention import long

WITHIN_PUBLISHING = FaultPoint.PUBLISH_STAGED
"""There a process holds the lock of the target's folder: the other one waits for it, and says so after 30 s."""
NEVER = Fault(FaultPoint.REVOKED)
"""Nothing is revoked here: an apply that nobody stops."""

DELEGATE_AFTER = 'ocsp.issuing["g1"]@3'


@pytest.fixture
def site(applied: Ground, quick_path: Path) -> Site:
    """All leaves are due."""
    return corp.before(corp.RENEWAL, quick_path / "corp", applied)


def seen(site: Site) -> dict[str, bytes]:
    """What readers see: published files, and outputs through their links."""
    folders = (site.root / "public", site.root / "out")
    files = [one for folder in folders for one in folder.rglob("*") if one.is_file() and ".gen" not in one.parts]
    return {str(one): one.read_bytes() for one in files if one.name != ".pkicode.lock"}


@pytest.mark.invariant(7)
def test_a_second_apply_exits_5_says_who_is_at_work_and_the_first_one_finishes(site: Site) -> None:
    site.write(base=corp.RENEWAL.text + '[state]\nlock_timeout = "1s"\n')
    with asleep(site.root, site.now, FaultPoint.INTENTS_STORED) as first:
        before = corp.inventory(site)
        second = spawn(site.root, "apply", "-y", "--allow-clock", PKICODE_NOW="2027-01-23T09:00:01Z")
        assert second.code == 5
        assert f"process {first.pid}" in second.err
        assert "state lock break" in second.err
        assert corp.inventory(site) == before
        assert wake(first) == 0
    corp.assert_sound(site, corp.RENEWAL)
    assert len([one for one in corp.inventory(site) if one.generation == 2 and one.address.startswith("cert.")]) == 4


@pytest.mark.invariant(7)
def test_a_second_apply_waits_and_then_has_nothing_to_do(site: Site) -> None:
    site.write(base=corp.RENEWAL.text + '[state]\nlock_timeout = "30s"\n')
    with asleep(site.root, site.now, FaultPoint.SIGNED) as first:
        second = start(site.root, site.now, NEVER)
        assert wake(first) == 0
        assert ended(second) == 0
    corp.assert_sound(site, corp.RENEWAL)
    assert len([one for one in corp.inventory(site) if one.generation == 2 and one.address.startswith("cert.")]) == 4


@pytest.mark.invariant(7)
@pytest.mark.invariant(9)
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(one, marks=pytest.mark.heavy) if one is WITHIN_PUBLISHING else one
        for one in FaultPoint
        if one not in (FaultPoint.REVOKED, FaultPoint.ENTRY_STAGED, *long.POINTS, *test_key_life.POINTS)
    ],
)
def test_who_slept_through_its_lease_commits_nothing_and_puts_nothing_older_over_newer(
    point: FaultPoint, site: Site
) -> None:
    with asleep(site.root, site.now, point) as sleeper:
        # Far enough for everything to be due again: what the sleeper holds is older than what is there.
        site.now += 61 * DAY
        assert site.apply().exit_code == (8 if point is WITHIN_PUBLISHING else 0)
        state, readers = corp.end_state(site), seen(site)
        assert wake(sleeper) == 1
        assert (site.root / "told").read_text().startswith("LeaseLost: ")
    after = corp.end_state(site)
    # Who wakes between two lists makes a key for a delegate before it sees that its lease is lost.  That key has signed
    # nothing and takes nobody's place; the next delegate takes it up.
    keys = {*state.pop("keys")}
    assert keys <= {*after.pop("keys")} <= keys | {DELEGATE_AFTER}
    assert after == state
    assert seen(site) == readers
    site.apply()
    corp.assert_sound(site, corp.RENEWAL)

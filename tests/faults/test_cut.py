"""A connection to PostgreSQL that ends at any statement of an apply, or a server that does, is no harm (issue 4).

The apply opens it again and goes on; nothing is lost, nothing is doubled, and the next plan is empty.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from pkicode.model.faults import FaultPoint
from tests.cutting import Cut, Cutting, cutting
from tests.faults import corp
from tests.faults.corp import Ground
from tests.kinds.site import Site
from tests.postgres import Postgres, running

RUNS = 30

pytestmark = [pytest.mark.parametrize("applied", ["postgres"], indirect=True)]


def through(site: Site, proxy: Cutting) -> None:
    """From now on the site reaches its database by way of the proxy."""
    site.state = site.state.replace(f":{proxy.server_port}/", f":{proxy.port}/")
    site.write(base=site.text.partition("[state]\n")[0])


@pytest.fixture(scope="session")
def uninterrupted(applied: Ground, quick_folder: Path) -> Callable[[corp.Occasion], tuple[Cutting, dict[str, object]]]:
    """What an apply says to the server, and where it ends."""

    @cache
    def told(occasion: corp.Occasion) -> tuple[Cutting, dict[str, object]]:
        assert applied.done is not None
        site = corp.before(occasion, quick_folder / f"{applied.folder.name}-said-{occasion.name}", applied)
        with cutting(applied.done.postgres.port) as proxy:
            through(site, proxy)
            assert site.apply().exit_code == 0
            counted = proxy.counted
            end = corp.end_state(site)
        proxy.counted = counted
        return proxy, end

    return told


def cuts(said: Cutting, runs: int) -> Sequence[Cut]:
    """Spread over the whole apply, by turns before and after the server has heard."""
    return [Cut(1 + number * said.counted // runs, heard=bool(number % 2)) for number in range(runs)]


def commits(said: Cutting) -> Sequence[Cut]:
    """Each COMMIT whose answer is lost, and each that never reaches the server."""
    there = [number for number, text in said.texts.items() if text.startswith(b"COMMIT") and number <= said.counted]
    return [Cut(number, heard) for number in there for heard in (False, True)]


def assert_no_harm(cut: Cut, occasion: corp.Occasion, folder: Path, applied: Ground, end: dict[str, object]) -> None:
    assert applied.done is not None
    site = corp.before(occasion, folder, applied)
    with cutting(applied.done.postgres.port, cut) as proxy:
        through(site, proxy)
        assert site.apply().exit_code == 0, cut
        assert proxy.done, f"{cut} did not come to pass"
        corp.assert_sound(site, occasion)
        assert corp.end_state(site) == end, cut


@pytest.mark.invariant(2)
@pytest.mark.invariant(13)
@pytest.mark.parametrize("runs", [6, pytest.param(RUNS, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("occasion", [corp.RENEWAL, corp.COMPROMISE], ids=lambda one: one.name)
def test_a_connection_that_is_cut_at_any_statement_changes_nothing(
    runs: int, occasion: corp.Occasion, applied: Ground, uninterrupted, quick_path: Path
) -> None:
    said, end = uninterrupted(occasion)
    for number, cut in enumerate(cuts(said, runs)):
        assert_no_harm(cut, occasion, quick_path / str(number), applied, end)


@pytest.mark.invariant(2)
@pytest.mark.invariant(13)
@pytest.mark.parametrize("some", [9, pytest.param(1, marks=pytest.mark.heavy)])
def test_a_commit_whose_answer_is_lost_is_done_once(
    some: int, applied: Ground, uninterrupted, quick_path: Path
) -> None:
    said, end = uninterrupted(corp.FIRST)
    for number, cut in enumerate(commits(said)[::some]):
        assert_no_harm(cut, corp.FIRST, quick_path / str(number), applied, end)


def again(own: Postgres, crashed: object) -> None:
    own.crash() if crashed else own.stop()
    own.start()


@pytest.mark.invariant(11)
@pytest.mark.parametrize("point", [FaultPoint.SIGNED, FaultPoint.CRL_SIGNED], ids=str)
@pytest.mark.parametrize("crashed", [False, True], ids=["restarted", "crashed"])
def test_a_server_that_restarts_within_an_apply_is_waited_for(
    point: FaultPoint, crashed: bool, applied: Ground, quick_path: Path
) -> None:
    """On a disk, where what a server promised has to be there when it comes back."""
    # Waiting for it takes processor time, of which the loop would be accused; it dies with the thread that started it.
    with running(on_disk=True) as own, ThreadPoolExecutor(1) as elsewhere:
        ground = corp.built(quick_path / "applied", own)
        site = corp.before(corp.RENEWAL, quick_path / "corp", ground)
        restarted: list[Postgres] = []

        def reach(here: FaultPoint) -> None:
            if here is point and not restarted:
                restarted.append(own)
                elsewhere.submit(again, own, crashed).result()

        assert corp.opened(site, reach).apply().exit_code == 0
        assert restarted == [own]
        corp.assert_sound(site, corp.RENEWAL)

"""`state prune`: what ended long ago leaves for an archive, and nobody can tell from plans, lists or answers."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from cryptography import x509

import pkicode
from pkicode.adapters.journal import Journal
from pkicode.model.event import Event
from pkicode.model.faults import FaultPoint
from pkicode.model.instants import DAY
from pkicode.model.problem import LeaseLost, PkicodeError, StateError
from pkicode.ports import Certificate, Want
from pkicode.project import open_project
from pkicode.project.retention import Removable
from tests.faults.corp import BASE as ANSWERED
from tests.faults.run import PRUNE, Fault, crash, ended, start
from tests.kinds.site import Site, told
from tests.quick import quick_keystore
from tests.retention import long
from tests.state.older import PORTAL, warned

DAYS = (0, 4, 11, 40, 100, 400)


def prune(site: Site) -> tuple[Removable, Sequence[Path]]:
    return site.open().upkeep.prune(lambda _event: None)


def inventory(site: Site) -> dict[tuple[str, str], Certificate]:
    return {(one.issuer_key, one.serial): one for one in site.open().inventory(Want())}


def generations(site: Site) -> set[tuple[str, int]]:
    return {(one.address, one.generation) for one in inventory(site).values()}


def plans(site: Site) -> list[tuple[list[str], int | None]]:
    found = [site.plan(at=site.now + day * DAY) for day in DAYS]
    return [(told(plan.changes), plan.next_due) for plan in found]


def lists(site: Site) -> dict[str, set[int]]:
    """What the published CRLs show."""
    paths = sorted((site.root / "public/crl").rglob("*.crl"))
    found = {str(one.relative_to(site.root)): x509.load_der_x509_crl(one.read_bytes()) for one in paths}
    return {name: {one.serial_number for one in crl} for name, crl in found.items()}


def test_archive_and_inventory_together_hold_what_the_inventory_held(site):
    before = inventory(site)
    going, paths = prune(site)
    after = inventory(site)
    archived = {(row["issuer_key"], row["serial"]): row for path in paths for row in pq.read_table(path).to_pylist()}
    assert archived.keys() == before.keys() - after.keys() == set(going.ids)
    assert len(archived) > 20
    for which, row in archived.items():
        one = before[which]
        assert row["der"] == one.der
        assert (row["address"], row["generation"], row["status"]) == (one.address, one.generation, one.status)
        assert int(row["not_after"].timestamp()) == one.not_after < going.before
        assert (row["revoked_by"] is None) == (one.revoked_at is None)
    assert all(after[which] == before[which] for which in after)


def test_what_is_needed_stays(site):
    before = inventory(site)
    prune(site)
    after = inventory(site)
    gone = [one for which, one in before.items() if which not in after]
    assert {one.address.split(".")[0] for one in gone} == {"cert", "ocsp"}
    entries = site.open().inventory(Want(matched_by="STAYS"))
    assert entries, "what an entry of pki.toml was about"
    assert {one.address for one in after.values()} >= {"ca.root", "ca.issuing", "cert.portal", 'cert.app["api"]'}
    assert 'cert.app["search"]' in {one.address for one in gone}, "rows that were removed long ago"
    assert 'cert.app["search"]' not in {one.address for one in after.values()}
    assert not site.open().inventory(Want(matched_by="GOES"))


def test_plans_lists_and_answers_go_on_as_if_nothing_had_left(site, other):
    prune(site)
    gone = generations(other) - generations(site)
    assert plans(site) == plans(other)
    for day in DAYS[1:4]:
        for one in (site, other):
            one.now = long.TODAY + day * DAY
            assert one.apply().exit_code == 0
            assert one.plan().changes == ()
        assert lists(site).keys() == lists(other).keys()
        assert [len(one) for one in lists(site).values()] == [len(one) for one in lists(other).values()]
        assert generations(other) - generations(site) == gone


def test_a_name_that_comes_back_goes_on_counting(site):
    prune(site)
    site.write(long.BOTH + long.STAYS + long.KEEP, base=long.BASE)
    (change,) = [one for one in site.plan().changes if str(one.address) == 'cert.app["search"]']
    assert change.generation > 1
    assert site.apply().exit_code == 0


def test_there_is_nothing_to_do_the_second_time(site):
    going, paths = prune(site)
    assert going.ids
    assert len(paths) == 1
    again, none = prune(site)
    assert (again.ids, none) == ((), ())
    site.now += 60 * DAY
    assert site.apply().exit_code == 0
    _, more = prune(site)
    assert [one.name for one in more] == [paths[0].name.replace("000001", "000002")]


def test_the_state_is_sound_afterwards_and_says_what_happened(site):
    going, (path,) = prune(site)
    assert site.open().upkeep.verify() == []
    event = site.open().upkeep.audit(0, 10_000)[-1]
    assert (event.action, event.subject) == ("archive", path.name)
    assert f'"count": {len(going.ids)}' in event.detail
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_altered_archive_is_found(site):
    _, (path,) = prune(site)
    path.write_bytes(path.read_bytes()[:-8] + b"12345678")
    assert site.open().upkeep.verify() == [f"the archive {path} is not what was written"]


def test_a_receipt_that_names_a_file_elsewhere_has_none_read(site):
    if site.state:
        pytest.skip("a planted receipt is put into the file")
    prune(site)
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as state:
        state.execute("UPDATE archives SET file = '/dev/zero'")
        state.commit()
    [found] = site.open().upkeep.verify()
    assert found.startswith("a receipt names the archive /dev/zero, which is no file of ")
    with pytest.raises(PkicodeError, match="is not there"):
        pkicode.open(site.root / "pki.toml").archive()


def test_more_that_is_gone_than_was_archived_is_found(site):
    if site.state:
        pytest.skip("a planted deletion is made in the file")
    prune(site)
    (victim,) = [one for one in inventory(site).values() if one.address == "cert.portal"][:1]
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as state:
        state.execute("DELETE FROM matches WHERE serial = ?", (victim.serial,))
        state.execute("DELETE FROM revocations WHERE serial = ?", (victim.serial,))
        state.execute("DELETE FROM certificates WHERE serial = ?", (victim.serial,))
        state.commit()
    found = site.open().upkeep.verify()
    assert len(found) == 1
    assert "not in the inventory, but only" in found[0] or "is not in the inventory" in found[0]


@pytest.mark.parametrize("point", long.POINTS)
def test_killed_at_any_instant_it_ends_the_same_when_run_again(site, other, point):
    before = inventory(site)
    crash(site.root, site.now, Fault(point), PRUNE)
    site.now += 60
    left = inventory(site).keys()
    assert (left == before.keys()) is (point is not FaultPoint.PRUNED)
    prune(site)
    prune(other)
    assert inventory(site).keys() == inventory(other).keys()
    (path,) = (site.root / ".pkicode/archive").iterdir()
    gone = before.keys() - inventory(site).keys()
    assert {(row["issuer_key"], row["serial"]) for row in pq.read_table(path).to_pylist()} == gone
    assert site.open().upkeep.verify() == []


def test_a_backup_from_before_can_be_restored_and_pruned_again(site, tmp_path):
    before = inventory(site)
    site.open().upkeep.backup(tmp_path / "backup.db")
    prune(site)
    site.open().upkeep.restore(tmp_path / "backup.db")
    assert inventory(site) == before
    prune(site)
    assert len(inventory(site)) < len(before)
    assert site.open().upkeep.verify() == []


def test_a_clock_that_is_ahead_sends_nothing_away_that_is_valid(site):
    right = site.open().upkeep.removable()
    site.now += 3650 * DAY
    assert site.open().upkeep.removable() == right


def test_without_keep_nothing_is_ever_removed(site):
    site.write(long.ONE + long.STAYS, base=long.BASE)
    with pytest.raises(PkicodeError, match="does not say how long"):
        prune(site)


def test_a_full_disk_or_a_file_in_the_way_loses_nothing(site):
    before = inventory(site)
    (site.root / ".pkicode/archive").write_text("not a folder")
    with pytest.raises(StateError, match="nothing left the inventory"):
        prune(site)
    assert inventory(site) == before


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" + bytes(40) + b"PAR1"])
def test_a_file_that_somebody_changes_before_it_is_read_back_loses_nothing(site, damage):
    before = inventory(site)
    (folder := site.root / ".pkicode/archive").mkdir(mode=0o700)

    def changed(point: FaultPoint) -> None:
        if point is FaultPoint.ARCHIVE_STAGED:
            next(folder.iterdir()).write_bytes(damage)

    project = open_project(site.root / "pki.toml", environ={}, now=site.now, reach=changed)
    with pytest.raises(StateError, match="does not hold what was written; nothing left the inventory"):
        project.upkeep.prune(lambda _event: None)
    assert inventory(site) == before


def test_whoever_writes_the_database_has_no_file_put_elsewhere(site):
    if site.state:
        pytest.skip("a planted fact is put into the file")
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as state:
        state.execute("UPDATE meta SET value = '../../ab' || value WHERE key = 'lineage'")
        state.commit()
    before = {*site.root.parent.rglob("*")}
    with pytest.raises(StateError, match="was altered"):
        prune(site)
    assert {one.name for one in {*site.root.parent.rglob("*")} - before} <= {"state.db-wal", "state.db-shm"}


def test_whoever_writes_the_database_has_no_archive_overwritten_that_holds_more(site):
    if site.state:
        pytest.skip("a planted deletion is made in the file")
    _, (path,) = prune(site)
    whole = path.read_bytes()
    with closing(sqlite3.connect(site.root / ".pkicode/state.db")) as state:
        state.execute("DELETE FROM archives")
        state.commit()
    site.later(60)
    assert site.apply().exit_code == 0
    before = inventory(site)
    with pytest.raises(StateError, match="neither the inventory nor a receipt has"):
        prune(site)
    assert (path.read_bytes(), inventory(site)) == (whole, before)


def test_revoked_certificates_stay_while_a_list_shows_them(site):
    kept = inventory(site)
    listed = {serial for crl in lists(site).values() for serial in crl}
    prune(site)
    there = {int(one.serial, 16) for one in inventory(site).values()}
    assert {int(one.serial, 16) for one in kept.values()} & listed <= there


def test_many_are_moved_a_file_at_a_time(site, other):
    events: list[Event] = []
    going, paths = site.open().upkeep.prune(events.append, at_once=5)
    assert len(paths) == -(-len(going.ids) // 5)
    assert [(one.done, one.total) for one in events][-1] == (len(going.ids), len(going.ids))
    assert sum(pq.read_table(one).num_rows for one in paths) == len(going.ids)
    assert site.open().upkeep.verify() == []
    assert plans(site) == plans(other)


def test_who_slept_while_another_pruned_overwrites_none_of_its_archives(site):
    """Between two files: the next number was another one's meanwhile."""
    if site.state:
        pytest.skip("a lease in the file ends by the clock of who wants it")
    before = inventory(site)

    def meanwhile(point: FaultPoint) -> None:
        if point is FaultPoint.PRUNED:
            assert ended(start(site.root, site.now + 120, Fault(FaultPoint.HOOK_RUN), PRUNE)) == 0

    project = open_project(site.root / "pki.toml", environ={}, now=site.now, reach=meanwhile)
    with pytest.raises(LeaseLost):
        project.upkeep.prune(lambda _event: None, at_once=5)
    archives = sorted((site.root / ".pkicode/archive").glob("*.parquet"))
    assert len(archives) == 2
    archived = [(row["issuer_key"], row["serial"]) for path in archives for row in pq.read_table(path).to_pylist()]
    assert sorted(archived) == sorted(before.keys() - inventory(site).keys())
    assert site.open().upkeep.verify() == []


def test_an_old_list_that_somebody_publishes_again_brings_back_nothing_that_was_archived(site):
    text = long.ONE + long.STAYS + long.KEEP
    victim = max((one for one in inventory(site).values() if one.address == 'cert.app["api"]'), key=lambda o: o.created)
    entry = (
        f'[[revoke]]\nid = "LATE"\nserial = "{victim.serial}"\nca = "issuing"\nreason = "superseded"\nwait = false\n'
    )
    site.write(text + entry, base=long.BASE)
    assert site.apply().exit_code == 0
    published = site.root / "public/crl/issuing-g1.crl"
    old = published.read_bytes()
    site.write(text, base=long.BASE)
    for _ in range(4):
        assert site.later(15).apply().exit_code == 0
    prune(site)
    assert (victim.issuer_key, victim.serial) not in inventory(site)
    published.write_bytes(old)
    site.later(8)
    events: list[Event] = []
    assert site.open().apply(emit=events.append).exit_code == 0
    assert not [one for one in events if one.failed]
    assert int(victim.serial, 16) not in lists(site)["public/crl/issuing-g1.crl"]


def test_the_frame_of_the_archive_has_what_left_the_frame_of_the_inventory(site):
    pki = pkicode.open(site.root / "pki.toml")
    before = pki.inventory()
    assert pki.archive().empty
    _, (path,) = prune(site)
    together = pd.concat([pki.archive(), pki.inventory()]).sort_values("serial_number", ignore_index=True)
    pd.testing.assert_frame_equal(together, before.sort_values("serial_number", ignore_index=True))
    path.rename(path.with_suffix(".gone"))
    with pytest.raises(PkicodeError, match="is not there"):
        pki.archive()


def test_a_revocation_that_no_list_has_shown_stays_until_one_has(site):
    """RFC 5280 section 3.3: it leaves after it stood on a list from beyond the certificate's end."""
    text = long.ONE + long.STAYS + long.KEEP
    victim = max(
        (one for one in inventory(site).values() if one.address == 'cert.app["api"]'), key=lambda one: one.created
    )
    entry = (
        f'[[revoke]]\nid = "LATE"\nserial = "{victim.serial}"\nca = "issuing"\nreason = "superseded"\nwait = false\n'
    )
    site.write(text + entry, base=long.BASE)
    crash(site.root, site.now, Fault(FaultPoint.REVOKED))
    site.write(text, base=long.BASE).later(60)
    assert site.apply(only=("cert.app",)).exit_code == 0
    prune(site)
    assert site.apply().exit_code == 0
    assert int(victim.serial, 16) in lists(site)["public/crl/issuing-g1.crl"]
    site.later(10)
    assert site.apply().exit_code == 0
    prune(site)
    assert (victim.issuer_key, victim.serial) not in inventory(site)
    assert site.open().upkeep.verify() == []


def test_what_was_archived_is_not_what_only_the_journal_knows(quick_path: Path) -> None:
    quick_keystore(quick_path)
    site = Site(quick_path)
    site.write(f'{PORTAL}[state]\nkeep = "30d"\n', base=ANSWERED)
    for days in (*[30] * 8, 16):
        assert site.later(days).apply().exit_code == 0
    assert site.later(400).apply(only=["crl.*"]).exit_code == 0
    going, archives = site.open().upkeep.prune(lambda _: None)
    newest = next(Journal(site.root / ".pkicode/journal.log").backwards())
    assert newest not in [one.der for one in site.open().inventory(Want())]
    assert (len(archives), going.statuses["issued"] > 5) == (1, True)
    assert warned(site) == []
    assert site.open().upkeep.adoptable().is_empty
    assert site.open().upkeep.verify() == []
    assert site.apply().exit_code == 0

"""What a crash leaves open, looked at between the crash and the next apply, also when pki.toml changed meanwhile."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509

from pkicode.model.faults import FaultPoint
from tests.faults import corp
from tests.faults.corp import Ground
from tests.faults.run import Fault, crash
from tests.kinds.site import Site
from tests.oracles import revoked_serials

LEAF_BATCH = 1
"""On the occasion of a renewal [cert.app], with two rows, comes first by its name."""

RENAMED = (corp.LEAVES + corp.OLD).replace(".corp.example", ".eu.corp.example")


@pytest.fixture
def site(applied: Ground, quick_path: Path) -> Site:
    """All leaves are due."""
    return corp.before(corp.RENEWAL, quick_path / "corp", applied)


def intents(site: Site) -> Sequence[tuple[str, bytes]]:
    return [(one.serial, one.der) for one in corp.inventory(site) if one.status == "intent"]


def journal(site: Site) -> dict[str, x509.Certificate]:
    return {f"{one.serial_number:x}": one for one in map(x509.load_der_x509_certificate, corp.journal(site))}


@pytest.mark.invariant(1)
def test_before_the_first_signature_the_exact_bytes_to_be_signed_are_durable(site: Site) -> None:
    before = corp.journal(site)
    crash(site.root, site.now, Fault(FaultPoint.SIGNED, LEAF_BATCH))
    open_now = intents(site)
    assert len(open_now) == 2
    issued = {one.serial for one in corp.inventory(site) if one.status == "issued"}
    assert set(journal(site)) == issued
    assert corp.journal(site) == before


@pytest.mark.invariant(3)
def test_what_is_signed_is_what_was_stored_to_be_signed(site: Site) -> None:
    crash(site.root, site.now, Fault(FaultPoint.JOURNALLED, LEAF_BATCH))
    stored = dict(intents(site))
    signed = journal(site)
    assert {serial: signed[serial].tbs_certificate_bytes for serial in stored} == stored
    site.now += 60
    site.apply()
    there = {one.serial: x509.load_der_x509_certificate(one.der) for one in corp.inventory(site)}
    assert {serial: there[serial].tbs_certificate_bytes for serial in stored} == stored


@pytest.mark.invariant(5)
def test_the_same_certificate_is_finished_and_not_another_one_made(site: Site) -> None:
    crash(site.root, site.now, Fault(FaultPoint.INTENTS_STORED, LEAF_BATCH))
    reserved = {serial for serial, _ in intents(site)}
    site.now += 60
    assert dict(site.apply().resumed) == {"issued": 2}
    current = {one.serial for one in corp.inventory(site) if one.address.startswith("cert.app") and one.generation == 2}
    assert current == reserved


@pytest.mark.invariant(4)
def test_a_signed_certificate_that_nobody_wants_any_more_is_still_on_record(site: Site) -> None:
    crash(site.root, site.now, Fault(FaultPoint.JOURNALLED, LEAF_BATCH))
    left = {serial for serial, _ in intents(site)}
    site.write(RENAMED, base=corp.BASE)
    site.now += 60
    assert dict(site.apply().resumed) == {"issued": 2}
    status = {one.serial: one.status for one in corp.inventory(site)}
    assert {status[serial] for serial in left} == {"issued"}
    names = {one.address: one.sans for one in corp.inventory(site) if one.generation == 3}
    assert all(".eu.corp.example" in one for one in names.values())
    corp.assert_sound(site, corp.RENEWAL)


@pytest.mark.invariant(4)
def test_an_intent_that_configuration_no_longer_asks_for_counts_as_issued_and_is_revoked(site: Site) -> None:
    crash(site.root, site.now, Fault(FaultPoint.INTENTS_STORED, LEAF_BATCH))
    left = {serial for serial, _ in intents(site)}
    site.write(RENAMED, base=corp.BASE)
    site.now += 60
    assert dict(site.apply().resumed) == {"unknown": 2}
    assert not intents(site)
    assert not left & set(journal(site)), "it was signed although nobody asks for it"
    assert left == {serial for crl in site.crls() for serial in revoked_serials(crl)}
    assert not site.plan().changes


@pytest.mark.invariant(5)
def test_resuming_is_itself_resumed(site: Site) -> None:
    for point in (FaultPoint.INTENTS_STORED, FaultPoint.SIGNED, FaultPoint.JOURNALLED):
        crash(site.root, site.now, Fault(point))
    site.now += 60
    assert site.apply().exit_code == 0
    corp.assert_sound(site, corp.RENEWAL)
    assert {one.generation for one in corp.inventory(site) if one.address.startswith("cert.")} == {1, 2}


@pytest.mark.invariant(13)
def test_every_change_has_its_audit_row_and_a_crash_breaks_no_chain(site: Site) -> None:
    crash(site.root, site.now, Fault(FaultPoint.ISSUED))
    assert site.open().upkeep.verify_audit() == []
    actions = [one.action for one in site.open().upkeep.audit(0, 1000)]
    assert actions[-2:] == ["issue.intent", "issue.issued"]


@pytest.mark.invariant(5)
@pytest.mark.parametrize("point", [FaultPoint.INTENTS_STORED, FaultPoint.SIGNED, FaultPoint.JOURNALLED], ids=str)
@pytest.mark.parametrize("applied", ["postgres"], indirect=True)
def test_another_machine_without_that_journal_finishes_the_same_certificates(point: FaultPoint, site: Site) -> None:
    before = corp.journal(site)
    crash(site.root, site.now, Fault(point, LEAF_BATCH))
    open_now, made = intents(site), corp.journal(site) - before
    # What the other machine has: keys and pki.toml, and what it signed itself, which is nothing.
    (site.root / ".pkicode/journal.log").rename(site.root / "elsewhere.log")
    site.now += 60
    assert site.apply().exit_code == 0
    assert not intents(site)
    ended = {one.serial: one for one in corp.inventory(site)}
    assert {ended[serial].status for serial, _ in open_now} == {"issued"}
    assert made <= {one.der for one in ended.values()}
    assert site.open().upkeep.verify() == []
    assert not site.plan().changes

"""A crash where the keys are ML-DSA: whatever may have been signed twice is burnt and replaced (invariant 5)."""

from collections import Counter
from pathlib import Path

import pytest
from cryptography import x509

from pkicode.model.faults import FaultPoint
from pkicode.revocation import crl
from pkicode.x509.tbs import facts_of
from tests.faults import corp
from tests.faults.corp import inventory, journal, opened
from tests.faults.run import Fault, crash
from tests.kinds.site import NOW, Site
from tests.quick import quick_keystore

TEXT = (
    corp.BASE.replace("path_len = 1", 'path_len = 1\nkey = { alg = "ml-dsa-44" }')
    .replace("path_len = 0", 'path_len = 0\nkey = { alg = "ml-dsa-44" }')
    .replace('eku = ["serverAuth"]', 'eku = ["serverAuth"]\nkey = { alg = "ml-dsa-44" }')
) + corp.LEAVES
BURNING = {FaultPoint.INTENTS_STORED, FaultPoint.SIGNED}
"""Where nobody knows whether a signature left the process."""


def prepared(folder: Path) -> Site:
    folder.mkdir(parents=True)
    quick_keystore(folder)
    return Site(folder, now=NOW).write(base=TEXT)


@pytest.fixture(scope="module")
def reached(quick_folder: Path) -> Counter[FaultPoint]:
    """How often an apply that nobody interrupts passes each point."""
    passed: list[FaultPoint] = []
    assert opened(prepared(quick_folder / "lattices-uninterrupted"), passed.append).apply().exit_code == 0
    return Counter(passed)


@pytest.mark.invariant(4)
@pytest.mark.invariant(5)
@pytest.mark.invariant(13)
@pytest.mark.parametrize("point", [*corp.ISSUING, *corp.SIGNING])
def test_after_a_crash_every_serial_is_signed_once_or_revoked(
    point: FaultPoint, reached: Counter[FaultPoint], quick_path: Path
) -> None:
    assert reached[point]
    for nth in range(1, reached[point] + 1):
        site = prepared(quick_path / str(nth))
        crash(site.root, site.now, Fault(point, nth))
        site.now += 60
        applied = site.apply()
        assert applied.exit_code == 0
        assert bool(applied.resumed["unknown"]) == (point in BURNING)
        assert not site.plan().changes
        assert site.open().upkeep.verify() == []
        assert_sound(site)


def assert_sound(site: Site) -> None:
    """Every certificate in force verifies up to the root; every burnt serial is on its issuer's list, and no other."""
    there = inventory(site)
    signed = [x509.load_der_x509_certificate(one) for one in journal(site)]
    assert max(Counter((one.issuer, one.serial_number) for one in signed).values()) == 1
    burnt = {one.serial for one in there if one.status != "issued"}
    assert {one.status for one in there} <= {"issued", "unknown", "revoked"}
    by_key = {one.spki: one for one in there if one.address.startswith("ca.") and one.status == "issued"}
    listed: set[str] = set()
    for authority in by_key.values():
        name = authority.address.removeprefix("ca.")
        data = (site.root / f"public/crl/{name}-g1.crl").read_bytes()
        crl.verify(data, facts_of(authority.der))
        listed |= {f"{one.serial:x}" for one in crl.read(data, limit=1 << 20).entries}
    assert listed == burnt
    for one in there:
        if one.status == "issued":
            loaded = x509.load_der_x509_certificate(one.der)
            loaded.verify_directly_issued_by(x509.load_der_x509_certificate(by_key[one.issuer_key].der))
    names = {one.address for one in there if one.status == "issued"}
    leaves = {"cert.portal", 'cert.app["api"]', 'cert.app["search"]'}
    assert names == {"ca.root", "ca.issuing", 'ocsp.issuing["g1"]', *leaves}


def test_a_burnt_root_is_followed_by_one_of_the_same_key_and_both_can_be_told_apart(quick_path: Path) -> None:
    site = prepared(quick_path / "root")
    crash(site.root, site.now, Fault(FaultPoint.SIGNED, 1))
    site.now += 60
    assert site.apply().exit_code == 0
    roots = [one for one in inventory(site) if one.address == "ca.root"]
    assert sorted(one.status for one in roots) == ["issued", "revoked"]
    assert len({one.spki for one in roots}) == 1
    [trusted] = x509.load_pem_x509_certificates((site.root / "public/bundle/trust.pem").read_bytes())
    assert [f"{trusted.serial_number:x}"] == [one.serial for one in roots if one.status == "issued"]

"""A process that dies while a token signs: ECDSA out there is not repeatable, so that what was reserved is burnt.

A burnt serial counts as issued: it becomes unknown and is revoked (invariants 4 and 5), and the next apply issues anew.
What the journal holds is issued as it is, and what a key signs repeatably is finished.
"""

import base64
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509

from pkicode.model.faults import FaultPoint as At
from pkicode.ports import Certificate, Want
from pkicode.project import open_project
from tests.faults.run import Fault
from tests.hsm.dying import die
from tests.hsm.site import on_token
from tests.kinds.site import Site
from tests.oracles import revoked_serials
from tests.softhsm import SoftHsm

POINTS = (
    At.KEYS_MADE, At.INTENTS_STORED, At.SIGNED, At.JOURNALLED, At.ISSUED,
    At.CRL_SIGNED, At.CRL_STORED, At.OCSP_SIGNED, At.OCSP_STORED, At.PUBLISH_STAGED, At.PUBLISHED,
)  # fmt: skip
BURNT = (At.INTENTS_STORED, At.SIGNED)
"""Where a serial is durable, and its signature is not."""


@pytest.fixture(scope="module")
def reached(hsm: SoftHsm, quick_folder: Path) -> Callable[[str], Counter[At]]:
    """How often a first apply passes each point."""

    @cache
    def told(alg: str) -> Counter[At]:
        hsm.token(f"reached-{alg}")
        site = on_token(quick_folder / f"reached-{alg}", hsm, f"reached-{alg}", alg=alg)
        passed: list[At] = []
        assert (
            open_project(site.root / "pki.toml", environ={}, now=site.now, reach=passed.append).apply().exit_code == 0
        )
        return Counter(passed)

    return told


def inventory(site: Site) -> list[Certificate]:
    return list(site.open().inventory(Want()))


def assert_sound(site: Site) -> None:
    """Nothing signed is unknown to the state, nothing is signed twice, and OpenSSL accepts what is in force."""
    there = inventory(site)
    assert {one.status for one in there} <= {"issued", "revoked"}
    lines = (site.root / ".pkicode/journal.log").read_bytes().splitlines(keepends=True)
    journalled = {base64.b64decode(line) for line in lines if line.endswith(b"\n")}
    serials = Counter(x509.load_der_x509_certificate(one).serial_number for one in journalled)
    assert max(serials.values()) == 1
    assert journalled <= {one.der for one in there}
    assert {one.der for one in there if one.status == "issued"} <= journalled
    assert site.open().upkeep.verify() == []
    assert site.open().upkeep.verify_keys("hsm") == []
    assert not site.plan().changes
    for address in ("cert.portal", "cert.old"):
        site.verify(address)
    listed = {serial for crl in site.crls() for serial in revoked_serials(crl)}
    assert {one.serial for one in there if one.status == "revoked"} <= listed


def test_an_apply_may_end_after_each_key_that_the_token_made(reached: Callable[[str], Counter[At]]) -> None:
    """Of the root, the issuing CA and its delegate; the other two are of leaves, and in a file."""
    assert reached("ec-p256")[At.KEYS_MADE] == 5


@pytest.mark.invariant(4)
@pytest.mark.invariant(5)
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("alg", ["ec-p256", "ed25519"])
def test_after_a_crash_with_a_token_key_the_next_apply_ends_well(
    hsm: SoftHsm, quick_path: Path, reached: Callable[[str], Counter[At]], point: At, alg: str
) -> None:
    times = reached(alg)[point]
    # The first is a root's, the last a leaf's or the last list's.
    for nth in sorted({1, times}):
        label = f"crash-{alg}-{point}-{nth}"
        hsm.token(label)
        site = on_token(quick_path / str(nth), hsm, label, alg=alg)
        die(site.root, site.now, Fault(point, nth), hsm)
        site.now += 60
        assert site.apply().exit_code == 0
        assert_sound(site)
        gone = [one for one in inventory(site) if one.status == "revoked"]
        assert bool(gone) == (point in BURNT and alg == "ec-p256")
        # One attempt, one generation: keys are made once, whatever is burnt.
        keys = [one.label for one in site.open().upkeep.keys("hsm")]
        assert len(keys) == len(set(keys))

"""A process that dies while the next root is made, or cross-signed, leaves nothing lost and nothing doubled."""

from collections import Counter
from pathlib import Path

import pytest
from cryptography import x509

from pkicode.model.faults import FaultPoint as At
from pkicode.model.instants import DAY
from pkicode.ports import Want
from tests.faults.corp import journal
from tests.faults.run import Fault, crash
from tests.kinds.site import BASE, NOW, Site
from tests.quick import quick_keystore

TEXT = BASE.replace('cn = "Site Root"', 'cn = "Site Root R${generation}"').replace(
    "path_len = 1", 'path_len = 2\nrotate = { every = "100d" }'
)
ALLOW = {"root-change": "root"}
ISSUING = (At.INTENTS_STORED, At.SIGNED, At.JOURNALLED, At.ISSUED)
CASES = [
    Fault(At.KEYS_MADE),
    *(Fault(point, nth) for point in ISSUING for nth in (1, 2)),
    *(Fault(point, nth) for point in (At.CRL_SIGNED, At.CRL_STORED) for nth in (1, 2)),
    Fault(At.PUBLISHED),
]


def end_state(site: Site) -> object:
    there = site.open().inventory(Want())
    files = sorted(str(one.relative_to(site.root)) for one in (site.root / "public").rglob("*") if one.is_file())
    rows = sorted((one.address, one.generation, one.status, one.ca, one.ca_generation) for one in there)
    return rows, [one for one in files if not Path(one).name.startswith(".")], site.open().explain("ca.root").lines


@pytest.mark.parametrize("fault", CASES, ids=lambda one: f"{one.point}-{one.nth}")
def test_the_next_root_and_its_cross_certificate_survive_a_crash(fault: Fault, tmp_path: Path) -> None:
    ends = []
    for name in ("whole", "broken"):
        folder = tmp_path / name
        folder.mkdir()
        quick_keystore(folder)
        site = Site(folder).write(base=TEXT)
        site.apply()
        site.now = NOW + 100 * DAY
        if name == "broken":
            crash(folder, site.now, fault, allow=ALLOW)
        # Leave is needed again only where the root itself was not begun.
        assert site.apply(allow=ALLOW).exit_code == 0
        ends.append(end_state(site))
        assert site.plan(allow=ALLOW).changes == ()
    assert ends[0] == ends[1]
    there = site.open().inventory(Want())
    assert {one.der for one in there} == journal(site)
    serials = Counter((one.issuer_key, one.serial) for one in there)
    assert max(serials.values()) == 1
    assert {one.status for one in there} == {"issued"}
    cross = x509.load_der_x509_certificate((site.root / "public/ca/root-g2-by-root-g1.cer").read_bytes())
    old = x509.load_der_x509_certificate((site.root / "public/ca/root-g1.cer").read_bytes())
    cross.verify_directly_issued_by(old)
    assert site.open().upkeep.verify() == []

"""Drift: what is served against what was issued, by the SHA-256 of certificates."""

import json
from operator import attrgetter

import pandas as pd
import pytest
from attrs import evolve

from pkicode.frames.compare import drift
from pkicode.frames.inventory import FIELDS, batches, inventory_frame
from pkicode.frames.scan import scan
from pkicode.scanner.certificate import facts
from pkicode.scanner.finding import Endpoint, Target
from tests.scan_pki.presented import issuing, leaf, root, sent
from tests.views.test_tables import GOOD
from tests.x509.pki import DAY, NOW

FIRST, SECOND, OTHER, FOREIGN = leaf(serial=11), leaf(serial=12), leaf(serial=13), leaf(root(), serial=14)


def issued(made, address, generation=1, *, status="issued", ends=NOW + 90 * DAY):
    """A row of the inventory for a certificate."""
    shown = facts(made.der)
    return evolve(
        GOOD, address=address, generation=generation, serial=shown.serial_number, subject=shown.subject,
        sans=json.dumps(shown.sans), not_before=shown.not_before, not_after=ends, status=status, sha256=shown.sha256,
    )  # fmt: skip


def inventory(*rows):
    return inventory_frame(batches(map(attrgetter(*FIELDS), rows)), now=NOW)


def served(*made):
    return scan(
        Endpoint(Target(f"10.0.0.{at}", f"10.0.0.{at}", 443), NOW, "tls", chains=sent(one, issuing()))
        for at, one in enumerate(made)
    )


def told(found):
    return [(one.drift, "" if pd.isna(one.address) else one.address, one.targets) for one in found.itertuples()]


DTYPES = {
    "drift": "category", "address": "string", "generation": "Int64", "sha256": "string", "subject": "string",
    "not_after": "datetime64[s, UTC]", "targets": "object",
}  # fmt: skip


@pytest.mark.parametrize(("scanned", "known"), [((), ()), ((), (FIRST,)), ((FIRST,), ()), ((FIRST,), (FIRST,))])
def test_drift_has_its_columns_and_dtypes_whatever_is_in_it(scanned, known):
    found = drift(served(*scanned), inventory(*(issued(one, "cert.portal") for one in known)))
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == DTYPES
    assert len(found) == (scanned != known)


def test_what_is_issued_and_not_served_is_drift():
    found = drift(served(FIRST), inventory(issued(FIRST, "cert.portal"), issued(OTHER, 'cert.mesh["a"]')))
    assert told(found) == [("not-served", 'cert.mesh["a"]', ())]
    assert found["not_after"][0] == pd.Timestamp(NOW + 90 * DAY, unit="s", tz="UTC")


def test_what_is_served_and_of_nobody_is_drift_at_each_of_its_targets():
    found = drift(served(FIRST, FOREIGN, FOREIGN), inventory(issued(FIRST, "cert.portal")))
    assert told(found) == [("unknown", "", ("10.0.0.1:443", "10.0.0.2:443"))]
    assert found["subject"][0] == "CN=server"
    assert found["sha256"][0] == facts(FOREIGN.der).sha256


def test_an_older_generation_that_is_still_served_is_drift():
    rows = issued(FIRST, "cert.portal"), issued(SECOND, "cert.portal", 2)
    assert told(drift(served(FIRST, SECOND), inventory(*rows))) == [("superseded", "cert.portal", ("10.0.0.0:443",))]
    assert [one[0] for one in told(drift(served(FIRST), inventory(*rows)))] == ["superseded", "not-served"]
    assert told(drift(served(SECOND), inventory(*rows))) == []


def test_a_revoked_certificate_that_is_served_is_drift():
    found = drift(served(FIRST), inventory(issued(FIRST, "cert.portal", status="revoked")))
    assert told(found) == [("revoked", "cert.portal", ("10.0.0.0:443",))]


def test_expired_and_revoked_certificates_need_not_be_served():
    rows = issued(FIRST, "cert.a", ends=NOW - 1), issued(SECOND, "cert.b", status="revoked")
    assert told(drift(served(), inventory(*rows))) == []


def test_only_what_is_expected_has_to_be_served():
    rows = issued(FIRST, "cert.portal"), issued(SECOND, 'cert.mesh["a"]'), issued(OTHER, 'cert.mesh["b"]')
    known = inventory(*rows)
    assert [one[1] for one in told(drift(served(), known, expect=["cert.mesh"]))] == [
        'cert.mesh["a"]', 'cert.mesh["b"]',
    ]  # fmt: skip
    assert [one[1] for one in told(drift(served(), known, expect=['cert.mesh["b"]']))] == ['cert.mesh["b"]']
    assert told(drift(served(), known, expect=[])) == []


def test_a_ca_is_no_certificate_that_hosts_serve():
    rows = [issued(issuing(), "ca.issuing")]
    assert told(drift(served(), inventory(*rows))) == []
    assert told(drift(served(issuing()), inventory(*rows))) == []

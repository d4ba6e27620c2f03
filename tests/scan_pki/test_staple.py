"""Staples: what a client that looks at them would think, with answers that pkicode's own responder signs."""

from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pkicode.model.instants import as_datetime
from pkicode.scanner.finding import Grade
from tests.scan_pki.presented import SERVER, issuing, judged, leaf, root, store
from tests.x509.pki import DAY, NOW


@cache
def stapled():
    return leaf()


def response(
    certificate=None, *, by=None, status=ocsp.OCSPCertStatus.GOOD, digest=None, since=NOW - 3600, until=NOW + DAY
) -> bytes:
    """An OCSP response, signed by the issuer itself."""
    ca = issuing()
    signer = by or ca
    issuer, about = (
        x509.load_der_x509_certificate(ca.der),
        x509.load_der_x509_certificate((certificate or stapled()).der),
    )
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    made = ocsp.OCSPResponseBuilder().add_response(
        cert=about, issuer=issuer, algorithm=digest or hashes.SHA1(), cert_status=status,
        this_update=as_datetime(since), next_update=as_datetime(until) if until else None,
        revocation_time=as_datetime(NOW - DAY) if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    ).responder_id(ocsp.OCSPResponderEncoding.NAME, x509.load_der_x509_certificate(signer.der))  # fmt: skip
    return made.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def staple(data: bytes, *chain, **more):
    return judged(*(chain or (stapled(), issuing())), staple=data, **more)[0]["Staple"]


@pytest.mark.parametrize(
    ("made", "grade", "value"),
    [
        (response, Grade.GOOD, "good"),
        (lambda: response(digest=hashes.SHA256()), Grade.GOOD, "good"),
        (lambda: response(status=ocsp.OCSPCertStatus.REVOKED), Grade.BAD, "revoked"),
        (lambda: response(status=ocsp.OCSPCertStatus.UNKNOWN), Grade.BAD, "unknown"),
        (lambda: response(until=None), Grade.WARNING, "endless"),
        (lambda: response(until=NOW - 1), Grade.BAD, "invalid"),
        (lambda: response(since=NOW + DAY), Grade.BAD, "invalid"),
        (lambda: response(leaf(serial=99)), Grade.BAD, "invalid"),
        (lambda: response(by=root()), Grade.BAD, "invalid"),
        (lambda: response()[:-1], Grade.BAD, "invalid"),
        (lambda: b"\x30\x03\x0a\x01\x03", Grade.BAD, "invalid"),
        (lambda: b"\x00" * 100_000, Grade.BAD, "invalid"),
    ],
)
def test_a_staple_is_what_a_client_makes_of_it(made, grade, value):
    finding = staple(made())
    assert (finding.grade, finding.value) == (grade, value)


def test_a_stale_staple_says_that_it_is_stale_by_whichever_hash():
    for digest in (hashes.SHA1(), hashes.SHA256()):
        assert "stale" in staple(response(until=NOW - 1, digest=digest)).detail


def test_a_revoked_certificate_says_since_when_and_why():
    detail = staple(response(status=ocsp.OCSPCertStatus.REVOKED)).detail
    assert "keyCompromise" in detail
    assert "2026-11-17" in detail


def test_a_root_that_signed_the_leaf_itself_verifies_its_staple():
    assert staple(b"", leaf(root())).grade is Grade.SKIPPED
    finding = staple(response(), stapled(), stores=[store(root())])
    assert (finding.grade, finding.value) == (Grade.UNKNOWN, "unverified")
    assert staple(response(), stapled(), stores=[store(issuing())]).value == "good"


def test_who_must_staple_and_does_not_is_refused_by_clients():
    must = leaf(profile=SERVER.__class__(eku=("serverAuth",), must_staple=True))
    finding = staple(b"", must, issuing())
    assert (finding.grade, finding.value) == (Grade.BAD, "must-staple")
    assert staple(response(must), must, issuing()).grade is Grade.GOOD

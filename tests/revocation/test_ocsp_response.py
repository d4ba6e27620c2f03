"""OCSP responses against their oracles: cryptography's builder octet for octet, OpenSSL and GnuTLS as clients."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from pkicode.model.instants import DAY, as_datetime
from pkicode.model.reason import REASONS
from pkicode.revocation import ocsp_response
from pkicode.revocation.ocsp_request import cert_id
from pkicode.revocation.ocsp_response import GOOD, MALFORMED, TRY_LATER, UNAUTHORIZED, Standing, verified
from pkicode.x509 import keys
from pkicode.x509.profile import Profile
from tests.oracles import Refused, ocsptool, openssl
from tests.revocation.asked import GONE, LEAF, NOW, Ca, ca, leaf_key, load

HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}
instants = st.integers(min_value=0, max_value=4_102_444_800)
standings = st.just(GOOD) | st.builds(Standing, instants, st.sampled_from([None, *REASONS]))


def response(standing: Standing = GOOD, algorithm: str = "sha1", *, made: int = NOW, by: Ca | None = None) -> bytes:
    by = by or ca()
    form = by.maker.form
    tbs = form.tbs(algorithm, LEAF, standing, this_update=made, next_update=made + 4 * DAY)
    return form.response(tbs, keys.sign(by.delegate, tbs))


def built(standing: Standing, algorithm: str, made: int) -> ocsp.OCSPResponse:
    """The same answer by cryptography."""
    told = None if standing.reason in (None, "unspecified") else x509.ReasonFlags(standing.reason)
    asked = cert_id(ca().issuer, LEAF, algorithm)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        asked.issuer_name,
        asked.issuer_key,
        LEAF,
        HASHES[algorithm],
        ocsp.OCSPCertStatus.GOOD if standing.revoked_at is None else ocsp.OCSPCertStatus.REVOKED,
        as_datetime(made),
        as_datetime(made + 4 * DAY),
        None if standing.revoked_at is None else as_datetime(standing.revoked_at),
        told,
    )
    delegate = load(ca().maker.delegate)
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, delegate).certificates([delegate])
    return builder.sign(ca().delegate, hashes.SHA256())  # type: ignore[arg-type]


def without_produced(tbs: bytes) -> bytes:
    """cryptography writes its own clock into producedAt: the fifteen octets after the responder's hash."""
    start = tbs.index(b"\x18\x0f") + 2
    return tbs[:start] + bytes(15) + tbs[start + 15 :]


@given(standings, st.sampled_from(sorted(HASHES)), st.integers(min_value=0, max_value=4_102_444_800))
def test_what_is_signed_is_what_cryptography_would_sign(standing: Standing, algorithm: str, made: int) -> None:
    theirs = built(standing, algorithm, made)
    tbs = ca().maker.form.tbs(algorithm, LEAF, standing, this_update=made, next_update=made + 4 * DAY)
    assert without_produced(tbs) == without_produced(theirs.tbs_response_bytes)
    again = ca().maker.form.response(theirs.tbs_response_bytes, theirs.signature)
    assert again == theirs.public_bytes(Encoding.DER)


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("standing", [GOOD, GONE], ids=["good", "revoked"])
def test_openssl_accepts_an_answer(algorithm: str, standing: Standing, tmp_path: Path) -> None:
    folder = ca().write(tmp_path)
    (folder / "answer").write_bytes(response(standing, algorithm))
    told = openssl(
        *("ocsp", f"-{algorithm}", "-issuer", folder / "ca.pem", "-cert", folder / "leaf.pem", "-no_nonce"),
        *(
            "-respin",
            folder / "answer",
            "-CAfile",
            folder / "ca.pem",
            "-attime",
            str(NOW),
            "-validity_period",
            "99999999",
        ),
    )
    assert f"leaf.pem: {'good' if standing is GOOD else 'revoked'}" in told
    if standing is GONE:
        assert "Reason: keyCompromise" in told


@pytest.mark.parametrize("standing", [GOOD, GONE], ids=["good", "revoked"])
def test_gnutls_reads_the_same_from_an_answer(standing: Standing, tmp_path: Path) -> None:
    file = tmp_path / "answer"
    file.write_bytes(response(standing))
    told = ocsptool("--response-info", "--load-response", file)
    assert f"Certificate Status: {'good' if standing is GOOD else 'revoked'}" in told


@pytest.mark.parametrize(
    ("der", "status"),
    [(MALFORMED, "MALFORMED_REQUEST"), (TRY_LATER, "TRY_LATER"), (UNAUTHORIZED, "UNAUTHORIZED")],
)
def test_errors_are_those_of_the_standard(der: bytes, status: str) -> None:
    assert ocsp.load_der_ocsp_response(der).response_status.name == status


def test_an_answer_that_says_nothing_that_can_be_said_is_refused() -> None:
    form = ca().maker.form
    with pytest.raises(ValueError, match="nextUpdate must lie after"):
        form.tbs("sha1", LEAF, GOOD, this_update=NOW, next_update=NOW)
    with pytest.raises(ValueError, match="not a reason an answer may give"):
        form.tbs("sha1", LEAF, Standing(NOW, "certificateHold"), this_update=NOW, next_update=NOW + 1)


@pytest.mark.parametrize("algorithm", HASHES)
def test_a_client_learns_what_the_answer_says(algorithm: str) -> None:
    asked = cert_id(ca().issuer, LEAF, algorithm)
    answer = verified(response(GONE, algorithm), asked, ca().maker.ca, now=NOW)
    assert (answer.status, answer.revoked_at, answer.reason) == ("revoked", GONE.revoked_at, "keyCompromise")
    assert (answer.this_update, answer.next_update, answer.responder) == (NOW, NOW + 4 * DAY, "CN=OCSP")
    assert verified(response(GOOD, algorithm), asked, ca().maker.ca, now=NOW).status == "good"


def other_delegate(profile: Profile) -> Ca:
    """A CA whose delegate has another certificate."""
    key = keys.generate("ec-p256")
    from pkicode.revocation.pack import Maker

    return Ca(ca().key, key, Maker("corp-g1", ca().maker.ca, ca().issue(profile, 9, key, "host.corp.example")))


def test_what_a_client_must_not_rely_on_is_refused() -> None:
    asked, above = cert_id(ca().issuer, LEAF, "sha1"), ca().maker.ca
    good = response()
    stranger = Ca(ca().key, leaf_key(), ca().maker)
    wrong = {
        "stale": (good, NOW + 5 * DAY),
        "of the future": (good, NOW - DAY // 2),
        "another certificate": (response(algorithm="sha256"), NOW),
        "signature does not verify": (response(by=stranger), NOW),
        "not for signing": (response(by=other_delegate(Profile(eku=("serverAuth",)))), NOW),
        "certificate just issued is wrong": (response(by=ca("Another CA")), NOW),
        "valid from": (response(made=NOW + 28 * DAY), NOW + 30 * DAY),
        "malformedRequest": (MALFORMED, NOW),
        "more than": (good + bytes(ocsp_response.LIMIT), NOW),
        "parsing": (good[:-1], NOW),
    }
    for why, (der, now) in wrong.items():
        with pytest.raises(ValueError, match=f"(?i){why}"):
            verified(der, asked, above, now=now)


def test_an_altered_answer_is_refused_wherever_it_was_altered() -> None:
    asked, good = cert_id(ca().issuer, LEAF, "sha1"), response()
    for place in range(len(good)):
        altered = bytearray(good)
        altered[place] ^= 1 + place % 128
        with pytest.raises(ValueError, match=r"\w"):
            verified(bytes(altered), asked, ca().maker.ca, now=NOW)


def test_openssl_refuses_the_answer_of_another_ca(tmp_path: Path) -> None:
    folder = ca().write(tmp_path)
    (folder / "answer").write_bytes(response(by=ca("Another CA")))
    with pytest.raises(Refused, match=r"[Rr]esponse [Vv]erify [Ff]ailure"):
        openssl(
            *("ocsp", "-issuer", folder / "ca.pem", "-cert", folder / "leaf.pem", "-no_nonce"),
            *("-respin", folder / "answer", "-CAfile", folder / "ca.pem", "-attime", str(NOW)),
        )

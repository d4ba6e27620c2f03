"""Profiles: each wrong combination is named once, with its rule or the word that was meant."""

import pytest

from pkicode.x509.constraints import Constraints
from pkicode.x509.profile import Profile
from tests.x509.pki import CA

WRONG = [
    (Profile(usage=("digitalSignatur",)), "did you mean `digitalSignature`"),
    (Profile(usage=("digitalsignature",)), "did you mean `digitalSignature`"),
    (Profile(usage=("digitalSignature", "xyz")), "write one of digitalSignature"),
    (Profile(usage=("digitalSignature", "digitalSignature")), "twice"),
    (Profile(usage=()), "at least one"),
    (Profile(eku=("serverauth",)), "did you mean `serverAuth`"),
    (Profile(eku=("1.2.x",)), "object identifier"),
    (Profile(policies=("any",)), "policies: `any` is not an object identifier"),
    (Profile(is_ca=True, usage=("keyCertSign",)), "a CA needs cRLSign"),
    (Profile(is_ca=True, usage=CA, path_len=-1), "negative"),
    (Profile(usage=("digitalSignature", "cRLSign")), "belongs to a CA only"),
    (Profile(path_len=0), "only a CA has one"),
    (Profile(constraints=Constraints()), "only a CA has them"),
    (Profile(is_ca=True, usage=CA, constraints=Constraints(permit_dns=(".a.example",))), "permit_dns"),
    (Profile(usage=("keyEncipherment",), eku=("codeSigning",)), "codeSigning` goes with usage digitalSignature"),
    (Profile(eku=("timeStamping", "serverAuth")), "stands alone"),
    (Profile(ocsp_nocheck=True), "only an OCSP responder"),
    (Profile(is_ca=True, usage=CA, must_staple=True), "only a server"),
    (Profile(usage=("digitalSignature", "encipherOnly")), "without keyAgreement"),
    (Profile(is_ca=True, usage=CA, no_rev_avail=True), "never a CA's"),
    (Profile(no_rev_avail=True, crl_urls=("http://a.example/crl",)), "no CRL and no OCSP URL"),
    (Profile(no_rev_avail=True, ocsp_urls=("http://a.example/",)), "no CRL and no OCSP URL"),
    (Profile(no_rev_avail=True, must_staple=True), "no OCSP answer to staple"),
    (Profile(crl_urls=("crl",)), "not a URL"),
]


@pytest.mark.parametrize(("profile", "reason"), WRONG)
def test_a_wrong_profile_is_told_once_with_the_reason(profile, reason):
    (problem,) = profile.check()
    assert reason in problem


@pytest.mark.parametrize(
    "profile",
    [
        Profile(),
        Profile(is_ca=True, usage=CA, path_len=0),
        Profile(usage=("digitalSignature", "keyEncipherment"), eku=("serverAuth", "clientAuth")),
        Profile(eku=("OCSPSigning",), ocsp_nocheck=True),
        Profile(eku=("timeStamping",)),
        Profile(no_rev_avail=True, ca_issuer_urls=("http://a.example/ca",)),
        Profile(eku=("1.3.6.1.4.1.99999.1",), policies=("2.23.140.1.2.1",), must_staple=True),
    ],
)
def test_a_right_profile_has_nothing_to_tell(profile):
    assert profile.check() == []


@pytest.mark.parametrize(
    ("usage", "alg", "fits"),
    [
        ("keyEncipherment", "rsa-3072", True),
        ("keyEncipherment", "ec-p256", False),
        ("keyEncipherment", "ed25519", False),
        ("keyAgreement", "ec-p384", True),
        ("keyAgreement", "rsa-2048", False),
        ("keyAgreement", "ed448", False),
        ("digitalSignature", "ed448", True),
        ("nonRepudiation", "ec-p521", True),
        ("digitalSignature", "ml-dsa-65", True),
        ("keyEncipherment", "ml-dsa-65", False),
        ("keyAgreement", "ml-dsa-87", False),
        ("keyEncipherment", "ml-kem-768", True),
        ("digitalSignature", "ml-kem-768", False),
        ("keyAgreement", "ml-kem-1024", False),
    ],
)
def test_a_usage_fits_the_key_or_is_told(usage, alg, fits):
    problems = Profile(usage=(usage,)).check(alg)
    assert problems == [] if fits else f"{alg} cannot do `{usage}`" in problems[0]


def test_a_key_that_only_deciphers_is_no_ca_s():
    [problem] = Profile(is_ca=True, usage=("keyCertSign", "cRLSign")).check("ml-kem-768")
    assert problem.startswith("key: ml-kem-768 signs nothing")

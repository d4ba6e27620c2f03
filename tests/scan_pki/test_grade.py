"""The letter, by the rating guide: its three scores, what caps it, and what lifts it above A."""

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import rsa

from pkicode.config.forms import SUITE_KINDS
from pkicode.config.scans import ScanPolicy
from pkicode.scanner import policy
from pkicode.scanner.finding import Cipher, Endpoint, Finding, Grade
from pkicode.scanner.grade import LETTERS, rate
from pkicode.x509 import keys
from tests.scan_pki.presented import TARGET, foreign, issuing, leaf, sent
from tests.x509.pki import NOW


def suite(name: str, version: str = "TLSv1.2", *, bits: int = 256) -> Cipher:
    forward = version == "TLSv1.3" or "DHE_" in name
    aead = "GCM" in name or "POLY1305" in name or "CCM" in name
    return Cipher(version, 1, 0, name, "", bits, forward, aead, "good")


MODERN = (
    suite("TLS_AES_256_GCM_SHA384", "TLSv1.3"),
    suite("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
)
GOOD = Endpoint(
    TARGET, NOW, "tls", versions=("TLSv1.2", "TLSv1.3"), ciphers=MODERN, chains=sent(leaf(), issuing()),
    findings=(Finding("PKI", "ChainValidation", Grade.GOOD, "ok", ""),),
)  # fmt: skip


def with_suites(*more: Cipher) -> Endpoint:
    return evolve(GOOD, ciphers=(*MODERN, *more))


def with_findings(*more: Finding) -> Endpoint:
    return evolve(GOOD, findings=(*GOOD.findings, *more))


def found(family: str, check: str, grade: Grade = Grade.BAD, value: str = "") -> Endpoint:
    return with_findings(Finding(family, check, grade, value, ""))


LONG_HSTS = Finding("HTTP", "HSTS", Grade.GOOD, "max-age=31536000", "")


def test_a_modern_server_has_an_a_and_its_scores():
    rating = rate(GOOD)
    assert (rating.letter, rating.protocol, rating.key_exchange, rating.cipher) == ("A", 100, 90, 100)
    assert rating.score == 97
    assert rating.reasons == ()


def test_what_speaks_no_tls_or_was_not_asked_has_no_letter():
    assert rate(Endpoint(TARGET, NOW, "closed")).letter == ""
    assert rate(evolve(GOOD, ciphers=())).letter == ""


@pytest.mark.parametrize(
    ("endpoint", "letter"),
    [
        (evolve(GOOD, versions=("TLSv1.2",), ciphers=MODERN[1:]), "A-"),
        (evolve(GOOD, versions=("TLSv1.3",), ciphers=MODERN[:1]), "A"),
        (evolve(GOOD, versions=("TLSv1.0", "TLSv1.2", "TLSv1.3")), "B"),
        (evolve(GOOD, versions=("SSLv3", "TLSv1.2", "TLSv1.3")), "B"),
        (evolve(GOOD, versions=("TLSv1.0", "TLSv1.1")), "C"),
        (evolve(GOOD, versions=("SSLv2", "TLSv1.2")), "F"),
        (found("HTTP", "HSTS", Grade.GOOD, "max-age=31536000; includeSubDomains"), "A+"),
        (found("HTTP", "HSTS", Grade.GOOD, "Max-Age = 15552000"), "A+"),
        (found("HTTP", "HSTS", Grade.WARNING, "max-age=15551999"), "A"),
        (found("HTTP", "HSTS", Grade.WARNING, "none"), "A"),
        (with_findings(LONG_HSTS, Finding("TLSHandshake", "FallbackSCSV", Grade.GOOD, "yes", "")), "A+"),
        (with_findings(LONG_HSTS, Finding("TLSHandshake", "FallbackSCSV", Grade.WARNING, "no", "")), "A"),
        (with_suites(suite("TLS_RSA_WITH_RC4_128_SHA", "TLSv1.0", bits=128)), "B"),
        (with_suites(suite("TLS_RSA_WITH_RC4_128_SHA", bits=128)), "C"),
        (with_suites(suite("TLS_RSA_WITH_3DES_EDE_CBC_SHA", bits=112)), "C"),
        (with_suites(suite("TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLSv1.0", bits=112)), "A"),
        (with_suites(suite("TLS_RSA_WITH_AES_128_CBC_SHA", bits=128)), "A"),
        (with_suites(suite("TLS_RSA_WITH_NULL_SHA256", bits=0)), "F"),
        (with_suites(suite("TLS_DH_anon_WITH_AES_256_GCM_SHA384")), "F"),
        (with_suites(suite("TLS_RSA_EXPORT_WITH_RC4_40_MD5", "TLSv1.0", bits=40)), "F"),
        (evolve(GOOD, versions=("TLSv1.2",), ciphers=(suite("TLS_RSA_WITH_AES_256_GCM_SHA384"),)), "B"),
        (evolve(GOOD, versions=("TLSv1.2",), ciphers=(suite("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),)), "B"),
        (found("TLSHandshake", "DHSize", Grade.GOOD, "4096"), "A"),
        (found("TLSHandshake", "DHSize", Grade.WARNING, "1024"), "B"),
        (found("TLSHandshake", "DHSize", Grade.BAD, "512"), "F"),
        (found("TLSHandshake", "DHSize", Grade.UNKNOWN, "timeout"), "A"),
        (found("PKI", "ChainValidation", Grade.GOOD), "A"),
        (found("PKI", "HostName"), "M"),
        (found("PKI", "ChainExpiration"), "T"),
        (evolve(GOOD, findings=(Finding("PKI", "ChainValidation", Grade.BAD, "self-signed", ""),)), "T"),
        (found("Vulnerabilities", "Heartbleed"), "F"),
        (found("Vulnerabilities", "Heartbleed", Grade.UNKNOWN), "A"),
        (found("Vulnerabilities", "ROBOT"), "F"),
        (found("Vulnerabilities", "POODLE"), "C"),
        (found("TLSSession", "SecureRenegotiation"), "A-"),
        (found("TLSHandshake", "DHSize", Grade.WARNING, "1536 2048"), "B"),
        (evolve(GOOD, chains=sent(leaf(alg="rsa-2048"), issuing())), "A"),
    ],
)  # fmt: skip
def test_a_letter_is_what_the_guide_says(endpoint, letter):
    assert rate(endpoint).letter == letter


def test_a_letter_says_what_holds_it_down_worst_first():
    worst = evolve(with_suites(suite("TLS_RSA_WITH_RC4_128_SHA", bits=128)), versions=("TLSv1.0", "TLSv1.2"))
    rating = rate(worst)
    assert rating.letter == "C"
    assert "RC4" in rating.reasons[0]
    assert "TLS 1.0" in rating.reasons[1]


def test_a_weak_key_lowers_score_and_letter():
    weak = evolve(GOOD, chains=sent(foreign(key=rsa.generate_private_key(65537, 1024))))
    assert (rate(weak).letter, rate(weak).key_exchange) == ("B", 80)
    strong = evolve(GOOD, chains=sent(foreign(key=keys.generate("rsa-4096"))))
    assert rate(strong).key_exchange == 100


def test_a_score_below_the_caps_decides():
    old = tuple(suite("TLS_RSA_WITH_DES_CBC_SHA", version, bits=56) for version in ("SSLv3", "TLSv1.0"))
    rating = rate(evolve(GOOD, versions=("SSLv3", "TLSv1.0"), ciphers=old))
    assert (rating.protocol, rating.cipher, rating.score) == (85, 20, 60)
    assert rating.letter == "C"


def test_letters_are_ordered_best_first():
    assert LETTERS.index("A+") < LETTERS.index("A-") < LETTERS.index("F") < LETTERS.index("T") < LETTERS.index("M")


NAMES = {
    "RC4": "TLS_ECDHE_RSA_WITH_RC4_128_SHA", "3DES": "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "CBC": "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "SHA1": "TLS_RSA_WITH_AES_128_CBC_SHA",
    "MD5": "TLS_RSA_WITH_RC4_128_MD5", "NULL": "TLS_RSA_WITH_NULL_SHA256",
    "EXPORT": "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", "ANON": "TLS_ECDH_anon_WITH_AES_128_CBC_SHA",
    "RSA": "TLS_RSA_WITH_AES_256_GCM_SHA384",
}  # fmt: skip


def test_every_kind_of_suites_that_pki_toml_knows_is_found():
    assert set(NAMES) == set(SUITE_KINDS)


@pytest.mark.parametrize("kind", SUITE_KINDS)
def test_a_forbidden_kind_is_told_and_a_modern_suite_is_of_none(kind):
    (_, finding) = policy.findings(with_suites(suite(NAMES[kind])), ScanPolicy(forbid=(kind,)))
    assert (finding.grade, finding.value) == (Grade.BAD, NAMES[kind])
    (_, finding) = policy.findings(GOOD, ScanPolicy(forbid=(kind,)))
    assert finding.grade is Grade.GOOD


def test_a_suite_is_forbidden_by_its_name_in_any_case():
    forbidden = ScanPolicy(forbid=("TLS_aes_256_gcm_sha384",))
    assert policy.findings(GOOD, forbidden)[1].value == "TLS_AES_256_GCM_SHA384"


def test_a_version_that_is_too_old_is_bad():
    old = evolve(GOOD, versions=("SSLv3", "TLSv1.0", "TLSv1.2"))
    finding = policy.findings(old, ScanPolicy())[0]
    assert (finding.grade, finding.value) == (Grade.BAD, "SSLv3 TLSv1.0")
    assert policy.findings(GOOD, ScanPolicy())[0].grade is Grade.GOOD
    assert policy.findings(GOOD, ScanPolicy(min_version="TLSv1.3"))[0].value == "TLSv1.2"


def test_without_tls_there_is_no_policy():
    assert policy.findings(Endpoint(TARGET, NOW, "closed"), ScanPolicy()) == ()
    assert policy.findings(GOOD, ScanPolicy())[1].grade is Grade.SKIPPED

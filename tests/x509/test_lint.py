"""Lint: for each rule bytes that break it, and no finding where nothing is broken; pkilint as a second opinion."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pkicode.model.instants import NO_EXPIRY
from pkicode.model.problem import Severity
from pkicode.x509 import der, extensions, keys, names, tbs
from pkicode.x509.constraints import Constraints
from pkicode.x509.lint import OWN_RULES, SHARED_RULES, Linter, lint, reading
from pkicode.x509.profile import Profile
from tests.x509.pki import CA, DAY, NOW, make

ISSUER = make(Profile(is_ca=True, usage=CA), cn="Test Root", ends=NOW + 3650 * DAY)
FACTS = ISSUER.facts
SPKI = keys.spki(keys.generate("ec-p256"))
RSA = keys.spki(keys.generate("rsa-2048"))
EXTENSIONS = {
    "basic": extensions.basic_constraints(None),
    "usage": extensions.key_usage(("digitalSignature",)),
    "ca usage": extensions.key_usage(CA),
    "aki": extensions.authority_key_identifier(FACTS.ski),
    "ski": extensions.subject_key_identifier(tbs.ski(SPKI)),
    "san": extensions.subject_alt_name((names.san("dns", "a.example"),), critical=False),
}
LEAF = tuple(EXTENSIONS[name] for name in ("usage", "aki", "ski", "san"))
AUTHORITY = tuple(EXTENSIONS[name] for name in ("basic", "ca usage", "aki", "ski"))


def body(*extra, base=LEAF, without=(), **fields):
    """A TBS by hand: a good leaf, with extensions added or left out and fields replaced."""
    kept = [each for each in base if each not in without]
    parts = {
        "version": der.tlv(0xA0, der.integer(2)),
        "serial": der.integer(1 << 158),
        "algorithm": keys.signature_algorithm("ec-p256"),
        "issuer": FACTS.dn,
        "validity": der.tlv(0x30, der.utc_or_generalized(NOW), der.utc_or_generalized(NOW + DAY)),
        "subject": names.subject_der((("o", "Corp"),)),
        "spki": SPKI,
        "extensions": der.tlv(0xA3, der.tlv(0x30, *kept, *extra)),
    }
    return der.tlv(0x30, *(parts | fields).values())


def extension(oid, value, *, critical=False):
    return der.tlv(0x30, der.oid(oid), der.TRUE if critical else b"", der.tlv(0x04, value))


def named(*values):
    return extension("2.5.29.17", der.tlv(0x30, *values))


def attribute(oid, tag, value):
    return der.tlv(0x30, der.tlv(0x31, der.tlv(0x30, der.oid(oid), der.tlv(tag, value))))


def validity(*times):
    return {"validity": der.tlv(0x30, *times)}


def utc(text):
    return der.tlv(0x17, text)


def generalized(text):
    return der.tlv(0x18, text)


USAGE, AKI, SKI, SAN = LEAF
SAN_CRITICAL = extensions.subject_alt_name((names.san("dns", "a.example"),), critical=True)
SEQUENCE, NULL = der.tlv(0x30), der.tlv(0x05)
URL = der.tlv(0x86, b"http://a.example/")
POINT = der.tlv(0x30, der.tlv(0xA0, der.tlv(0xA0, URL)))
ML_DSA_WITH_PARAMETERS = der.tlv(
    0x30, der.tlv(0x30, der.oid("2.16.840.1.101.3.4.3.17"), NULL), der.bit_string(bytes(1312))
)
"""RFC 9881 section 2: the parameters field is absent."""
BREAKING = [
    ("version_is_3", body(version=der.tlv(0xA0, der.integer(1)))),
    ("signature_algorithm_is_the_issuers", body(algorithm=keys.signature_algorithm("ec-p384"))),
    ("issuer_is_copied_from_its_certificate", body(issuer=names.subject_der((("cn", "Test root"),)))),
    ("serial_is_positive_and_short", body(serial=der.integer(0))),
    ("serial_is_positive_and_short", body(serial=der.integer(-5))),
    ("serial_is_positive_and_short", body(serial=der.integer(1 << 159))),
    ("serial_is_positive_and_short", body(serial=b"\x02\x02\x00\x05")),
    ("validity_is_two_times_in_order", body(**validity(utc(b"260101000000Z"), utc(b"250101000000Z")))),
    ("validity_is_two_times_in_order", body(**validity(utc(b"260101000000Z")))),
    ("validity_is_two_times_in_order", body(**validity(utc(b"2601010000Z"), utc(b"270101000000Z")))),
    ("validity_is_two_times_in_order", body(**validity(utc(b"260101000000+0100"), utc(b"270101000000Z")))),
    ("validity_is_two_times_in_order", body(**validity(utc(b"260101000000Z"), generalized(b"20491231235959Z")))),
    ("validity_is_two_times_in_order", body(**validity(utc(b"260101000000Z"), generalized(b"20510101000000.5Z")))),
    ("validity_is_two_times_in_order", body(**validity(utc(b"260230000000Z"), utc(b"270101000000Z")))),
    ("ca_has_a_subject", body(SAN_CRITICAL, base=AUTHORITY, subject=SEQUENCE)),
    ("subject_or_alternative_name", body(without=[SAN], subject=SEQUENCE)),
    ("subject_is_well_formed", body(subject=attribute("2.5.4.10", 0x14, b"Teletex"))),
    ("subject_is_well_formed", body(subject=attribute("2.5.4.10", 0x0C, b""))),
    ("subject_is_well_formed", body(subject=attribute("2.5.4.10", 0x0C, b"a" * 65))),
    ("subject_is_well_formed", body(subject=attribute("2.5.4.10", 0x0C, b"a\nb"))),
    ("subject_is_well_formed", body(subject=attribute("2.5.4.10", 0x0C, b"\xff"))),
    ("subject_is_well_formed", body(subject=attribute("2.5.4.6", 0x0C, b"FI"))),
    ("subject_is_well_formed", body(subject=attribute("2.5.4.10", 0x13, b"a*b"))),
    ("subject_is_well_formed", body(subject=der.tlv(0x30, der.tlv(0x31)))),
    ("email_in_subject_is_an_alternative_name_too", body(subject=names.subject_der((("email", "a@b.example"),)))),
    ("public_key_is_of_a_known_algorithm", body(spki=der.tlv(0x30, SPKI[2:-1]))),
    ("public_key_is_of_a_known_algorithm", body(spki=ML_DSA_WITH_PARAMETERS)),
    *(
        ("key_usage_fits_the_key", body(extensions.key_usage((usage,)), without=[USAGE], spki=keys.sample_spki(alg)))
        for alg, usages in {
            "ml-dsa-44": ("keyEncipherment", "dataEncipherment", "keyAgreement"),
            "ml-kem-768": ("digitalSignature", "nonRepudiation", "dataEncipherment", "keyAgreement"),
        }.items()
        for usage in usages
    ),
    ("each_extension_stands_once", body(USAGE)),
    ("criticality_is_as_the_section_says", body(extension("2.5.29.15", bytes.fromhex("03020780")), without=[USAGE])),
    ("criticality_is_as_the_section_says", body(extension("2.5.29.35", AKI[-24:], critical=True), without=[AKI])),
    ("no_unknown_extension_is_critical", body(extension("1.2.3.4", NULL, critical=True))),
    ("authority_key_identifier_is_the_issuers", body(without=[AKI])),
    ("authority_key_identifier_is_the_issuers", body(extensions.authority_key_identifier(b"other"), without=[AKI])),
    ("key_usage_says_something", body(without=[USAGE])),
    ("key_usage_says_something", body(extension("2.5.29.15", b"\x03\x01\x00", critical=True), without=[USAGE])),
    ("key_usage_says_something", body(extension("2.5.29.15", b"\x03\x02\x00\x80", critical=True), without=[USAGE])),
    ("key_usage_of_a_ca_signs_certificates_and_crls", body(EXTENSIONS["basic"])),
    (
        "encipher_and_decipher_only_go_with_key_agreement",
        body(extensions.key_usage(("digitalSignature", "decipherOnly")), without=[USAGE]),
    ),
    ("policies_are_there_once", body(extensions.certificate_policies(("1.2.3", "1.2.3")))),
    ("policies_are_there_once", body(extensions.certificate_policies(()))),
    ("only_a_ca_signs_certificates", body(EXTENSIONS["ca usage"], without=[USAGE])),
    ("basic_constraints_are_well_formed", body(extension("2.5.29.19", bytes.fromhex("3003010100"), critical=True))),
    ("basic_constraints_are_well_formed", body(extension("2.5.29.19", bytes.fromhex("3003020100"), critical=True))),
    (
        "basic_constraints_are_well_formed",
        body(extension("2.5.29.19", bytes.fromhex("30060101ff0201ff"), critical=True), base=AUTHORITY[1:]),
    ),
    ("name_constraints_are_a_ca_s", body(extensions.name_constraints(bytes.fromhex("3007a0053003820161")))),
    ("name_constraints_are_well_formed", body(extensions.name_constraints(SEQUENCE), base=AUTHORITY)),
    (
        "name_constraints_are_well_formed",
        body(extensions.name_constraints(bytes.fromhex("300aa0083006820161800105")), base=AUTHORITY),
    ),
    (
        "name_constraints_are_well_formed",
        body(extensions.name_constraints(bytes.fromhex("300ea00c300a87080a000000ff00ff00")), base=AUTHORITY),
    ),
    (
        "name_constraints_are_well_formed",
        body(extensions.name_constraints(bytes.fromhex("300aa0083006870401020304")), base=AUTHORITY),
    ),
    ("purposes_are_there_once", body(extension("2.5.29.37", SEQUENCE))),
    ("purposes_are_there_once", body(extensions.extended_key_usage(("serverAuth", "serverAuth")))),
    ("distribution_points_say_where", body(extension("2.5.29.31", SEQUENCE))),
    ("distribution_points_say_where", body(extension("2.5.29.31", der.tlv(0x30, SEQUENCE)))),
    ("distribution_points_say_where", body(extensions.crl_distribution_points(("https://a.example/",)))),
    ("information_access_says_where", body(extension("1.3.6.1.5.5.7.1.1", SEQUENCE))),
    ("information_access_says_where", body(extensions.authority_info_access((), ("ftp://a.example/",)))),
    ("subject_key_identifier_is_there", body(without=[SKI])),
    ("subject_key_identifier_is_there", body(SKI)),
    ("subject_key_identifier_is_there", body(extension("2.5.29.14", b"\x04\x00"), without=[SKI])),
    ("subject_key_identifier_is_there", body(spki=FACTS.spki)),
    ("alternative_names_are_critical_without_a_subject", body(subject=SEQUENCE)),
    ("alternative_names_are_critical_without_a_subject", body(SAN)),
    ("alternative_names_are_well_formed", body(named(), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0x82, b" ")), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0x82, b"A.example")), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0x82, b"a_b.example")), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0x82, b"10.0.0.1")), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0x86, b"relative")), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0x81, b"nobody")), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0x87, b"\x01\x02\x03")), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0x87, bytes(4))), without=[SAN])),
    ("alternative_names_are_well_formed", body(named(der.tlv(0xA3, b"")), without=[SAN])),
    ("alternative_names_are_there_once", body(named(*[der.tlv(0x82, b"a.example")] * 2), without=[SAN])),
    ("key_usage_fits_the_key", body(extensions.key_usage(("keyEncipherment",)), without=[USAGE])),
    ("key_usage_fits_the_key", body(extensions.key_usage(("keyAgreement",)), without=[USAGE], spki=RSA)),
    ("nocheck_is_an_ocsp_responders", body(extensions.ocsp_nocheck())),
    (
        "nocheck_is_an_ocsp_responders",
        body(extension("1.3.6.1.5.5.7.48.1.5", SEQUENCE), extensions.extended_key_usage(("OCSPSigning",))),
    ),
    ("time_stamping_stands_alone_and_critical", body(extensions.extended_key_usage(("timeStamping", "serverAuth")))),
    ("tls_features_are_numbers", body(extension("1.3.6.1.5.5.7.1.24", SEQUENCE))),
    (
        "no_revocation_information_is_consistent",
        body(extensions.no_rev_avail(), extension("2.5.29.31", der.tlv(0x30, POINT))),
    ),
    (
        "no_revocation_information_is_consistent",
        body(extensions.no_rev_avail(), extensions.authority_info_access(("http://a.example/",), ())),
    ),
    ("no_revocation_information_is_consistent", body(extensions.no_rev_avail(), base=AUTHORITY)),
    ("no_revocation_information_is_consistent", body(extension("2.5.29.56", SEQUENCE))),
    (
        "common_name_that_looks_like_a_host_is_an_alternative_name",
        body(subject=names.subject_der((("cn", "b.example"),))),
    ),
    (
        "common_name_that_looks_like_a_host_is_an_alternative_name",
        body(subject=names.subject_der((("cn", "10.0.0.1"),))),
    ),
]


@pytest.mark.parametrize(("rule", "tbs_bytes"), BREAKING)
def test_bytes_that_break_a_rule_are_found_by_that_rule_alone(rule, tbs_bytes):
    found = lint(tbs_bytes, FACTS)
    assert {finding.rule for finding in found} == {rule}, found
    assert all(finding.section and finding.message for finding in found)


def test_an_empty_issuer_is_found():
    nameless = evolve(FACTS, dn=SEQUENCE)
    assert [finding.rule for finding in lint(body(issuer=SEQUENCE), nameless)] == ["issuer_is_not_empty"]


def test_every_rule_is_broken_by_some_bytes_here():
    broken = {rule for rule, _ in BREAKING} | {"issuer_is_not_empty"}
    assert broken == {rule.name for rule in (*SHARED_RULES, *OWN_RULES)}


@pytest.mark.parametrize(
    "good",
    [
        body(),
        body(base=AUTHORITY),
        body(extension("2.5.29.31", der.tlv(0x30, POINT)), subject=names.subject_der((("cn", "A.example"),))),
        body(named(der.tlv(0x87, b"\x0a\0\0\x01")), without=[SAN], subject=names.subject_der((("cn", "10.0.0.1"),))),
        body(spki=RSA),
        body(extension("1.2.3.4", NULL)),
    ],
)
def test_good_bytes_have_no_finding(good):
    assert lint(good, FACTS) == []


@pytest.mark.parametrize(
    "damaged", [b"", b"\x30\x00", body()[:-1], body() + b"\0", body(extensions=b""), body(b"\x02\x01\x00")]
)
def test_bytes_that_are_no_certificate_are_one_error(damaged):
    (finding,) = lint(damaged, FACTS)
    assert (finding.rule, finding.severity) == ("structure", Severity.ERROR)


@given(st.integers(0, len(body()) - 1), st.integers(1, 255))
def test_no_octet_changed_makes_lint_fail_itself(place, change):
    damaged = bytearray(body())
    damaged[place] ^= change
    assert isinstance(lint(bytes(damaged), FACTS), list)


def test_what_is_remembered_of_one_certificate_is_never_said_of_another():
    linter = Linter()
    for _, tbs_bytes in BREAKING * 2:
        assert linter.lint(tbs_bytes, FACTS) == lint(tbs_bytes, FACTS)
    other = evolve(FACTS, ski=b"other")
    assert linter.lint(body(), FACTS) == []
    assert [finding.rule for finding in linter.lint(body(), other)] == ["authority_key_identifier_is_the_issuers"]


def told(data, **options):
    try:
        return reading.read(data, **options)
    except ValueError:
        return "refused"


LONG = body(subject=names.subject_der(tuple(("ou", "x" * 60 + str(each)) for each in range(3))))
SHARED = [reading.read(each)[0] for each in (body(), body(spki=RSA), body(base=AUTHORITY), LONG)]


@pytest.mark.parametrize("like", SHARED)
@given(
    st.sampled_from([body(), body(serial=b"\2\0"), body(spki=RSA), body(base=AUTHORITY), LONG]),
    st.lists(st.tuples(st.integers(0, len(body())), st.integers(0, 2), st.binary(max_size=2)), max_size=2),
)
def test_bytes_read_after_their_like_are_what_they_are_alone(like, data, changes):
    for place, gone, put in changes:
        data = data[:place] + put + data[place + gone :]
    alone, after = told(data), told(data, like=like)
    assert after == alone
    assert after == "refused" or (after[0] is like) == (after[0] == like)


PROFILES = [
    Profile(),
    Profile(
        eku=("serverAuth", "clientAuth"),
        must_staple=True,
        crl_urls=("http://a.example/crl",),
        ca_issuer_urls=("http://a.example/ca",),
        ocsp_urls=("http://a.example/",),
        policies=("1.3.6.1.4.1.99999.2",),
    ),
    Profile(eku=("OCSPSigning",), ocsp_nocheck=True),
    Profile(eku=("timeStamping",), no_rev_avail=True),
    Profile(
        is_ca=True,
        usage=CA,
        path_len=0,
        crl_urls=("http://a.example/crl",),
        constraints=Constraints(
            permit_dns=("a.example",),
            exclude_dns=("b.a.example",),
            permit_ip=("10.0.0.0/8",),
            permit_email=(".a.example",),
        ),
    ),
]
SANS = tuple(
    names.san(*each)
    for each in [
        ("dns", "a.example"),
        ("dns", "*.a.example"),
        ("ip", "10.0.0.1"),
        ("ip", "2001:db8::1"),
        ("rid", "1.3.6.1.4.1.99999"),
        ("email", "a@a.example"),
        ("uri", "spiffe://a.example/x"),
        ("upn", "u@a.example"),
        ("dirname", "CN=x"),
    ]
)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("alg", ["ec-p256", "ed25519", "rsa-2048", "ml-dsa-65"])
def test_what_our_own_forms_make_has_no_finding(profile, alg):
    made = make(profile, cn="a.example", sans=SANS, alg=alg, issuer=ISSUER, ends=NO_EXPIRY)
    assert lint(made.tbs, FACTS) == []
    assert lint(ISSUER.tbs, FACTS) == []


def _pkilint(certificate):
    from pkilint import loader
    from pkilint.pkix import certificate as pkix_certificate
    from pkilint.pkix import extension as pkix_extension
    from pkilint.pkix import name as pkix_name
    from pkilint.validation import ValidationFindingSeverity

    validator = pkix_certificate.create_pkix_certificate_validator_container(
        pkix_certificate.create_decoding_validators(
            pkix_name.ATTRIBUTE_TYPE_MAPPINGS, pkix_extension.EXTENSION_MAPPINGS
        ),
        [
            pkix_certificate.create_issuer_validator_container([]),
            pkix_certificate.create_validity_validator_container(),
            pkix_certificate.create_subject_validator_container([]),
            pkix_certificate.create_extensions_validator_container([]),
        ],
    )
    results = validator.validate(loader.load_certificate(certificate, "certificate").root)
    bad = {ValidationFindingSeverity.FATAL, ValidationFindingSeverity.ERROR, ValidationFindingSeverity.WARNING}
    return {
        each.finding.code for result in results for each in result.finding_descriptions if each.finding.severity in bad
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_pkilint_finds_no_error_either(profile):
    # Its rules for any PKI refuse wildcards and URI schemes it does not know; others of its linters take both.
    sans = tuple(each for each in SANS if "*" not in each[1] and "spiffe" not in each[1])
    made = make(profile, cn="a.example", sans=(*sans, names.san("uri", "https://a.example/x")), issuer=ISSUER)
    # A URI constraint is a host and no URI (RFC 5280 section 4.2.1.10), which pkilint 0.13 takes for a mistake.
    assert _pkilint(made.der) - ({"pkix.invalid_uri_syntax"} if profile.constraints else set()) == set()

"""Suites and groups against two other lists of them: OpenSSL's and tlslite-ng's."""

import subprocess

import pytest
from tlslite.constants import CipherSuite, GroupName, SignatureScheme
from tlslite.mathtls import RFC7919_GROUPS

from pkicode.tls import signatures
from pkicode.tls.groups import ffdhe_group, group_of, groups
from pkicode.tls.suites import offered, ssl2_suites, suite_of, suites

OWN = {
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_draft_00",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_draft_00",
    "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_draft_00",
}
"""Names of tlslite-ng for what IANA never named."""


def openssl_suites() -> dict[int, tuple[str, int, str]]:
    """Every suite of the openssl command: IANA's name, bits, key exchange."""
    done = subprocess.run(
        ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {}
    for line in done.stdout.splitlines():
        number, _, name, _, _, *rest = line.split()
        facts = dict(one.partition("=")[::2] for one in rest)
        bits = facts["Enc"].partition("(")[2].rstrip(")")
        found[int(number.replace("0x", "").replace(",", ""), 16)] = (name, int(bits or 0), facts["Kx"])
    return found


def test_every_suite_of_openssl_has_its_name_and_length_here():
    theirs = openssl_suites()
    assert len(theirs) > 100
    # OpenSSL counts 168 bits of 3DES, which a meet in the middle makes 112 (NIST SP 800-57 part 1).
    different = {
        name: suites()[number].bits
        for number, (name, bits, _) in theirs.items()
        if suites()[number].name != name or suites()[number].bits != (112 if bits == 168 else bits)
    }
    assert not different


def test_every_suite_of_openssl_has_its_key_exchange_here():
    wrong = {
        suites()[number].name
        for number, (_, _, kx) in openssl_suites().items()
        if (kx in {"ECDH", "DH", "ECDHEPSK", "DHEPSK", "any"}) != suites()[number].fs
    }
    assert not wrong


def test_every_suite_of_tlslite_has_its_name_here():
    theirs = {
        number: name
        for number, name in CipherSuite.ietfNames.items()
        if name not in OWN and not name.endswith("SCSV") and name.startswith("TLS_")
    }
    assert len(theirs) > 80
    assert {number: suites()[number].name.upper() for number in theirs} == {
        number: name.upper() for number, name in theirs.items()
    }


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("TLS_AES_128_GCM_SHA256", "strong"),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "strong"),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "good"),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", "weak"),
        ("TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256", "weak"),
        ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "weak"),
        ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", "insecure"),
        ("TLS_DH_anon_WITH_AES_256_GCM_SHA384", "insecure"),
        ("TLS_RSA_WITH_NULL_SHA256", "insecure"),
        ("TLS_SHA256_SHA256", "insecure"),
        ("TLS_RSA_WITH_DES_CBC_SHA", "insecure"),
        ("TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5", "insecure"),
    ],
)
def test_the_strength_of_a_suite_follows_from_its_name(name: str, strength: str):
    assert next(suite for suite in suites().values() if suite.name == name).strength == strength


def test_a_server_of_each_version_is_offered_every_suite_that_it_may_take():
    assert {*offered(0x0303), *offered(0x0304), 0} == suites().keys()
    assert not any(suite_of(number).aead for number in offered(0x0302))
    assert len(offered(0x0303)) > 300


def test_a_suite_that_nobody_knows_has_its_number_for_a_name():
    assert suite_of(0xABCD).name == "0xABCD"
    assert suite_of(0x010080) == ssl2_suites()[0x010080]


def test_every_group_of_tlslite_has_its_number_here():
    ours = {group.name.lower(): number for number, group in groups().items()}
    theirs = {name.lower(): number for name, number in vars(GroupName).items() if isinstance(number, int)}
    assert len(theirs) > 40
    assert {name: ours[name] for name in theirs} == theirs


def test_every_signature_scheme_of_tlslite_has_its_number_here():
    theirs = {name: pair[0] << 8 | pair[1] for name, pair in vars(SignatureScheme).items() if isinstance(pair, tuple)}
    ours = {name: number for number, name in signatures.NAMES.items()}
    assert len(theirs) > 20
    assert {name: ours[name] for name in theirs if name in ours} == {
        name: number for name, number in theirs.items() if name in ours
    }
    assert len(theirs.keys() & ours.keys()) > 20
    assert sorted(number for family in signatures.FAMILIES.values() for number in family) == sorted(ours.values())


def test_the_primes_of_rfc_7919_are_those_of_tlslite():
    names = {prime.bit_length(): group_of(ffdhe_group(prime)).name for _, prime in RFC7919_GROUPS}
    assert names == {bits: f"ffdhe{bits}" for bits in (2048, 3072, 4096, 6144, 8192)}
    assert not any(ffdhe_group(prime - 2) for _, prime in RFC7919_GROUPS)
    assert ffdhe_group(0) == ffdhe_group((1 << 1024) - 1) == 0


def test_groups_are_worth_half_their_bits():
    assert group_of(23).strength == 128
    assert group_of(19).strength == 96
    assert group_of(0x11EC).kind == "hybrid"
    assert group_of(0xBEEF).name == "0xBEEF"

"""Chains: trusted or not, why not, and what has no place in them; OpenSSL has the same opinion."""

from functools import cache

import pytest
from attrs import evolve

from pkicode.scanner.chain import Role, chains
from pkicode.scanner.finding import Cipher, Endpoint, Grade, Target
from pkicode.scanner.pki import Means, judge, same_everywhere
from pkicode.scanner.target import is_address
from pkicode.x509 import names
from pkicode.x509.profile import Profile
from tests.oracles import Refused, assert_verifies
from tests.scan_pki.presented import HOST, SERVER, TARGET, again, crossed, issuing, judged, leaf, root, sent, store
from tests.x509.pki import CA, DAY, NOW, make

NAMED = (names.san("dns", "portal.corp.example"),)


@pytest.fixture(scope="module")
def good():
    return leaf()


def test_a_good_chain_is_good_in_every_check(good):
    findings, reasons = judged(good, issuing())
    assert reasons == [""]
    assert {name: one.grade for name, one in findings.items()} == {
        "Certificates": Grade.GOOD, "ChainExpiration": Grade.GOOD, "ChainValidation": Grade.GOOD,
        "ChainOrder": Grade.GOOD, "HostName": Grade.GOOD, "Keys": Grade.GOOD, "Signatures": Grade.GOOD,
        "MultipleCerts": Grade.GOOD, "Staple": Grade.SKIPPED, "SCTs": Grade.SKIPPED,
    }  # fmt: skip
    assert all(one.family == "PKI" and one.detail for one in findings.values())


def test_where_no_chain_was_read_it_is_not_known_and_without_certificates_there_is_nothing_to_know():
    findings, reasons = judged()
    assert ({name: one.grade for name, one in findings.items()}, reasons) == ({"Certificates": Grade.UNKNOWN}, [])
    anonymous = Cipher("TLSv1.2", 1, 0x34, "TLS_DH_anon_WITH_AES_128_CBC_SHA", "DH", 128, True, False, "insecure")
    spoken = Endpoint(TARGET, NOW, "tls", ("TLSv1.2",), ciphers=(anonymous,))
    assert judge(spoken, Means(NOW)) == ((), ())
    assert judge(evolve(spoken, state="closed", ciphers=()), Means(NOW)) == ((), ())


def server_of(alg):
    return leaf(root(alg))


CASES = {
    "trusted": lambda: ([leaf(), issuing()], root(), ""),
    "root sent": lambda: ([leaf(), issuing(), root()], root(), ""),
    "misordered": lambda: ([leaf(), root(), issuing()], root(), ""),
    "missing": lambda: ([leaf()], root(), "unknown-issuer"),
    "root unknown": lambda: ([leaf(), issuing(), root()], root("ec-p384"), "untrusted-root"),
    "self-signed": lambda: ([make(SERVER, cn="x", sans=NAMED)], root(), "self-signed"),
    "expired": lambda: ([leaf(ends=NOW - 1), issuing()], root(), "expired"),
    "early": lambda: ([leaf(begins=NOW + 1), issuing()], root(), "not-yet-valid"),
    "of another key": lambda: ([leaf(), other_issuing()], root(), "unknown-issuer"),
    "not a CA": lambda: ([leaf(leaf(root())), leaf(root())], root(), "unknown-issuer"),
    "for clients": lambda: ([leaf(profile=Profile(eku=("clientAuth",))), issuing()], root(), "refused"),
    "too deep": lambda: ([leaf(below_issuing()), below_issuing(), issuing()], root(), "refused"),
    "rsa": lambda: ([server_of("rsa-2048")], root("rsa-2048"), ""),
}


def other_issuing():
    return make(Profile(is_ca=True, usage=CA, path_len=0), cn="Issuing", issuer=root(), ends=NOW + 365 * DAY)


@cache
def below_issuing():
    return make(Profile(is_ca=True, usage=CA), cn="Below", issuer=issuing(), ends=NOW + 100 * DAY)


@pytest.mark.parametrize("case", CASES)
def test_a_verdict_has_one_word_and_openssl_the_same_opinion(case):
    chain, trusted, word = CASES[case]()
    _, (reason,) = judged(*chain, stores=[store(trusted)])
    assert reason.partition(":")[0] == word
    options = {"chain": [one.der for one in chain[1:]], "root": trusted.der, "at": NOW, "purpose": "sslserver"}
    if word:
        with pytest.raises(Refused):
            assert_verifies(chain[0].der, **options)
    else:
        assert_verifies(chain[0].der, **options)


def test_one_store_that_trusts_is_enough_and_the_others_say_why_not(good):
    stores = [store(root("ec-p384"), name="web"), store(root(), name="own")]
    findings, reasons = judged(good, issuing(), stores=stores)
    assert [reason.partition(":")[0] for reason in reasons] == ["unknown-issuer", ""]
    assert (findings["ChainValidation"].grade, findings["ChainValidation"].detail) == (Grade.GOOD, "Trusted by own.")


def test_the_store_that_knows_the_root_says_what_is_wrong():
    stores = [store(root("ec-p384"), name="web"), store(root(), name="own")]
    findings, reasons = judged(leaf(ends=NOW - 3600), issuing(), stores=stores)
    assert [reason.partition(":")[0] for reason in reasons] == ["unknown-issuer", "expired"]
    assert findings["ChainValidation"].value == "expired"


def test_without_a_store_nobody_is_asked(good):
    findings, reasons = judged(good, issuing(), stores=[])
    assert reasons == []
    assert findings["ChainValidation"].value == "no-store"
    assert findings["ChainOrder"].grade is Grade.GOOD


def test_ed25519_is_not_judged_rather_than_refused():
    findings, (reason,) = judged(leaf(root("ed25519")), stores=[store(root("ed25519"))])
    assert reason.startswith("unjudged:")
    assert findings["ChainValidation"].grade is Grade.UNKNOWN


def test_a_certificate_without_names_is_for_nobody():
    findings, (reason,) = judged(leaf(sans=()), issuing())
    assert reason.startswith("nameless:")
    assert findings["HostName"].value == "mismatch"


def test_a_pinned_certificate_is_trusted():
    own = make(SERVER, cn="x", sans=NAMED, begins=NOW - DAY)
    _, reasons = judged(own, stores=[store(own)])
    assert reasons == [""]


def test_what_is_no_certificate_in_a_store_is_passed_over(good):
    own = store(b"\x30\x03\x02\x01\x00", root(), bytes(65_537))
    assert (len(own.roots), own.unread) == (1, 2)
    assert judged(good, issuing(), stores=[own])[1] == [""]


@pytest.mark.parametrize(
    ("chain", "grade", "value"),
    [
        (lambda: (leaf(), root(), issuing()), Grade.WARNING, "misordered"),
        (lambda: (leaf(), issuing(), root("ec-p384")), Grade.WARNING, "extra"),
        (lambda: (leaf(), issuing(), issuing()), Grade.WARNING, "extra"),
        (lambda: (leaf(), *[issuing()] * 40), Grade.WARNING, "extra"),
        (lambda: (leaf(),), Grade.BAD, "missing"),
        (lambda: (leaf(), issuing(), root()), Grade.GOOD, "ok"),
    ],
)
def test_what_is_missing_extra_or_misordered_is_told(chain, grade, value):
    finding = judged(*chain())[0]["ChainOrder"]
    assert (finding.grade, finding.value) == (grade, value)


@pytest.mark.parametrize("first", [True, False])
def test_an_issuer_that_was_renewed_may_be_sent_in_both_forms(first):
    """One name and one key, and only one of the two certificates is still valid."""
    expired = again(issuing(), Profile(is_ca=True, usage=CA), cn="Issuing", begins=NOW - 99 * DAY, ends=NOW - DAY)
    both = (expired, issuing()) if first else (issuing(), expired)
    _, (reason,) = judged(leaf(), *both)
    assert reason == ""
    findings, _ = judged(leaf(), *both)
    assert findings["ChainExpiration"].grade is findings["ChainOrder"].grade is Grade.GOOD
    assert judged(leaf(), expired)[1][0].startswith("expired:")


def test_a_certificate_for_an_address_alone_is_judged_by_it():
    _, (reason,) = judged(leaf(sans=("ip:192.0.2.7",)), issuing())
    assert reason == ""
    _, (reason,) = judged(leaf(sans=("uri:spiffe://corp.example/a",)), issuing())
    assert reason.startswith("nameless:")


def test_a_wildcard_is_judged_by_a_name_below_it():
    _, (reason,) = judged(leaf(sans=("dns:*.corp.example",)), issuing())
    assert reason == ""


def test_each_certificate_of_a_chain_has_its_role():
    (chain,) = chains(sent(leaf(), root(), root("ec-p384"), issuing()))
    assert [chain.role(position) for position in range(4)] == [Role.LEAF, Role.ROOT, Role.EXTRA, Role.INTERMEDIATE]
    assert chain.path == (0, 3, 1)


@pytest.mark.parametrize(
    ("ends", "grade", "value"),
    [
        (90 * DAY, Grade.GOOD, "ok"),
        (20 * DAY, Grade.WARNING, "soon"),
        (3600, Grade.WARNING, "soon"),
        (-1, Grade.BAD, "expired"),
    ],
)
def test_the_end_of_a_chain_is_told_in_time(ends, grade, value):
    finding = judged(leaf(begins=NOW - 90 * DAY, ends=NOW + ends), issuing())[0]["ChainExpiration"]
    assert (finding.grade, finding.value) == (grade, value)


def test_an_issuer_that_ends_first_is_what_is_told():
    late = judged(leaf(ends=NOW + 400 * DAY), issuing(), now=NOW + 366 * DAY)[0]["ChainExpiration"]
    assert (late.grade, late.value) == (Grade.BAD, "expired")
    assert "CN=Issuing" in late.detail


def test_a_certificate_of_a_week_is_not_told_of_all_its_life():
    week = leaf(begins=NOW, ends=NOW + 7 * DAY)
    assert judged(week, issuing())[0]["ChainExpiration"].grade is Grade.GOOD
    assert judged(week, issuing(), now=NOW + 5 * DAY)[0]["ChainExpiration"].value == "soon"


def test_several_chains_are_judged_and_the_worst_counts():
    rsa = sent(leaf(alg="rsa-2048", ends=NOW - 1), issuing(), slot=1)
    findings, reasons = judged(leaf(), issuing(), more=rsa)
    assert [reason.partition(":")[0] for reason in reasons] == ["", "expired"]
    assert findings["ChainValidation"].grade is Grade.BAD
    assert (findings["MultipleCerts"].value, findings["HostName"].grade) == ("2", Grade.GOOD)
    assert "ec-secp256r1, rsa" in findings["MultipleCerts"].detail


def test_certificates_that_sign_each_other_a_dozen_ways_are_judged_all_the_same():
    below = make(Profile(is_ca=True, usage=CA), cn="N0", begins=NOW - DAY)
    names_ = [(above, issuer) for above in range(3) for issuer in range(3) if above != issuer]
    tangle = [crossed(below.key, f"N{one}", f"N{other}", 1 + n) for n in range(2) for one, other in names_]
    findings, (reason,) = judged(leaf(below), *tangle)
    assert reason.startswith("unknown-issuer:")
    assert findings["ChainOrder"].grade is Grade.BAD
    trusted = judged(leaf(below), *tangle, stores=[store(below)])
    assert trusted[1] == [""]


def test_addresses_are_told_from_names():
    assert (is_address("192.0.2.7"), is_address("::1"), is_address("portal.example")) == (True, True, False)


def at(number, *chain):
    return Endpoint(Target(HOST, f"192.0.2.{number}", 443, "", HOST), NOW, "tls", chains=sent(*chain))


def test_a_host_that_serves_other_certificates_at_one_address_is_told():
    usual, other = leaf(serial=21), leaf(serial=22)
    same = same_everywhere([at(1, usual, issuing()), at(2, usual), Endpoint(TARGET, NOW, "closed")])
    assert (same.grade, same.value) == (Grade.GOOD, "same")
    different = same_everywhere([at(1, usual), at(2, other), at(3, usual)])
    assert (different.grade, different.value) == (Grade.WARNING, "different")
    assert "192.0.2.2" in different.detail
    assert "192.0.2.1" not in different.detail
    assert same_everywhere([at(1, usual)]).grade is Grade.SKIPPED

"""What is asked of targets: the words that say it, ours and CFSSL's."""

import pytest

from pkicode.scanner.choice import choose, made
from pkicode.scanner.registry import BY_NAME, DEEP, QUICK

OF_CFSSL = (
    "DNSLookup", "TCPDial", "TLSDial", "ChainExpiration", "ChainValidation", "MultipleCerts", "CipherSuite", "SigAlgs",
    "CertsBySigAlgs", "CertsByCiphers", "ECCurves", "SessionResume", "IntermediateCAs",
)  # fmt: skip
FAMILIES = ("Connectivity", "PKI", "TLSHandshake", "TLSSession")


@pytest.mark.parametrize("name", OF_CFSSL)
def test_every_scanner_of_cfssl_is_a_check(name):
    chosen = choose(scanner=name)
    assert len(chosen.keeps) == 1
    assert choose(scanner=name.lower()) == chosen


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_cfssl_is_one(name):
    assert len(choose(family=name).keeps) > 1


def test_deep_and_quick_are_what_the_registry_says():
    assert choose().lines == DEEP
    assert choose("quick").lines == QUICK
    assert (choose().is_whole, choose("quick").is_whole, choose("PKI").is_whole) == (True, False, False)


def test_a_probe_means_all_its_checks_and_a_check_asks_for_its_probe_alone():
    assert choose("weak-suites").keeps >= {"RC4", "SWEET32", "NULL"}
    assert [one.name for one in choose("RC4").lines] == ["suites", "certificates", "weak-suites"]
    assert choose("heartbleed, ROBOT").keeps == {"Heartbleed", "ROBOT"}


def test_who_only_wants_to_know_whether_somebody_is_there_asks_nothing_more():
    assert choose(family="Connectivity").lines == ()
    assert choose("TCPDial,DNSLookup").lines == ()


def test_a_fingerprint_is_taken_only_where_it_is_named_and_then_alone():
    assert all("JARM" not in made()[one.name] for one in (*DEEP, *QUICK))
    for chosen in (choose("JARM"), choose("jarm"), choose(scanner="JARM"), choose("JARM,TCPDial")):
        assert [one.name for one in chosen.lines] == ["jarm"]
    assert choose(family="Fingerprint").lines == BY_NAME
    assert [one.name for one in choose("ServerHello").lines] == ["server-hello"]
    assert [one.name for one in choose("JARM,RC4").lines] == ["suites", "certificates", "weak-suites", "jarm"]
    assert choose("quick", family="Fingerprint").lines == (*QUICK, *BY_NAME)


def test_a_quick_scan_of_a_family_stays_quick():
    chosen = choose("quick", family="PKI")
    assert chosen.lines == QUICK
    assert "HostName" in chosen.keeps
    assert "Versions" not in chosen.keeps


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (dict(checks="psychic"), "`psychic` is no check; there are quick, deep, ALPN"),
        (dict(family="Broad"), "`Broad` is no check"),
        (dict(family="PKI", scanner="TCPDial"), "`TCPDial` is no check of the family `PKI`"),
    ],
)
def test_a_name_that_nobody_knows_is_told_with_those_there_are(asked, said):
    with pytest.raises(ValueError, match=said):
        choose(**asked)

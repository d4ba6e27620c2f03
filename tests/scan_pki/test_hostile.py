"""Certificates of a stranger who means harm: a finding each, never an exception, never without an end."""

import ipaddress
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pkicode.scanner import certificate
from pkicode.scanner.certificate import LIMIT, MOST_SANS, facts
from pkicode.scanner.finding import Grade
from pkicode.x509 import der
from tests.scan_pki.presented import HOST, foreign, issuing, judged, leaf, root, sent
from tests.scan_pki.test_staple import response, stapled

BIDI = f"portal{chr(0x202E)}elpmaxe.proc"


@given(st.data())
def test_whatever_octets_change_there_is_a_finding(data):
    """Five octets of a good chain, its staple and its SCTs are something else."""
    octets = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=5)

    def damaged(good: bytes) -> bytes:
        changed = bytearray(good)
        for place, octet in data.draw(octets):
            changed[place % len(good)] = octet
        return bytes(changed)

    findings, reasons = judged(
        damaged(leaf_der()), damaged(issuing().der), staple=damaged(staple_der()), scts=(damaged(b"\0" * 60),)
    )
    assert len(findings) == 10
    assert len(reasons) == 1


def leaf_der() -> bytes:
    return stapled().der


@cache
def staple_der() -> bytes:
    return response()


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_malformed(octets):
    findings, (reason,) = judged(octets, issuing())
    assert reason.startswith("malformed:")
    assert findings["Certificates"].grade is findings["ChainExpiration"].grade is Grade.BAD
    assert findings["Keys"].grade is Grade.UNKNOWN


def test_a_certificate_bomb_is_not_opened():
    bomb = foreign(sans=[x509.DNSName("a" * 60 + f"{number}.example") for number in range(3000)])
    assert len(bomb) > LIMIT
    findings, (reason,) = judged(bomb, issuing())
    assert reason.startswith("malformed: it has")
    assert findings["Certificates"].grade is Grade.BAD


def test_a_thousand_names_are_counted_and_not_all_kept():
    many = foreign(sans=[x509.DNSName(f"{number}.example") for number in range(3000)] + [x509.DNSName(HOST)])
    assert (len(facts(many).sans), facts(many).sans_count) == (MOST_SANS, 3001)
    assert judged(many)[0]["Certificates"].grade is Grade.BAD


def test_a_chain_of_a_thousand_certificates_is_looked_at_in_part():
    findings, _ = judged(leaf(), *[issuing()] * 1000)
    assert "985 certificates beyond what anybody needs" in findings["ChainOrder"].detail


@pytest.mark.parametrize("name", ["portal.corp.example\x00.evil.test", BIDI, "a\x1b[2Jb.example", "a\nb.example"])
def test_a_name_that_deceives_is_bad(name):
    hidden = x509.DNSName._init_without_validation(name)
    finding = judged(foreign(sans=[x509.DNSName(HOST), hidden]))[0]["Certificates"]
    assert (finding.grade, finding.value) == (Grade.BAD, "deceptive")


def test_a_name_that_is_not_ascii_takes_only_its_own_extension_along():
    good = x509.load_der_x509_certificate(foreign(extensions=[x509.BasicConstraints(ca=True, path_length=None)]))
    marked = good.public_bytes(Encoding.DER).replace(HOST.encode(), b"\xff" + HOST.encode()[1:])
    shown = facts(marked)
    assert (shown.sans, shown.is_ca) == ((), True)
    assert shown.trouble == ("its extension 2.5.29.17 cannot be read",)


def test_a_hostile_subject_is_kept_and_cut_short_in_sentences():
    subject = f"{BIDI}{chr(27)}[31m"
    made = foreign(subject=subject)
    assert BIDI in facts(made).subject
    long = foreign(issuer_name="y" * 60)
    assert all(len(one.detail) < 1500 for one in judged(made, long)[0].values())
    assert certificate.short("z" * 60_000) == "z" * 120 + "..."


def test_a_negative_or_endless_serial_number_is_read():
    serial = der.integer(1 << 158)
    negative = facts(root().der.replace(serial, serial[:2] + b"\x81" + serial[3:]))
    assert negative.serial_number == f"-{(0x7F << 152):x}"
    assert len(judged(stapled().der.replace(serial, b"\x02\x15\x80" + serial[3:]), staple=response())[0]) == 10


def test_networks_as_addresses_name_nobody():
    network = x509.IPAddress(ipaddress.ip_network("0.0.0.0/0"))
    assert facts(foreign(sans=[network])).sans == ("ip:0.0.0.0/0",)
    assert judged(foreign(sans=[network]))[0]["HostName"].grade is Grade.BAD


def test_slots_and_positions_need_not_begin_at_nought():
    later = tuple(one.__class__(7, one.position + 3, one.der) for one in sent(leaf(), issuing()))
    findings, reasons = judged(more=later)
    assert reasons == [""]
    assert findings["SCTs"].value == "none"

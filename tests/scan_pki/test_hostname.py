"""RFC 9525: which hosts a certificate is for; OpenSSL has the same opinion where it follows the RFC."""

import ipaddress

import pytest
from cryptography import x509

from pkicode.scanner.certificate import facts
from pkicode.scanner.finding import Grade, Target
from pkicode.scanner.hostname import names
from tests.oracles import openssl, pem
from tests.scan_pki.presented import HOST, foreign, issuing, judged, leaf

SANS = ("dns:portal.corp.example", "dns:*.apps.corp.example", "dns:*.example", "ip:192.0.2.7", "ip:2001:db8::7")


@pytest.fixture(scope="module")
def named() -> bytes:
    others = [x509.DNSName(one[4:]) for one in SANS if one.startswith("dns:")]
    others += [x509.IPAddress(ipaddress.ip_address(one[3:])) for one in SANS if one.startswith("ip:")]
    return foreign(sans=others, subject="cn.corp.example")


@pytest.mark.parametrize(
    ("host", "is_named"),
    [
        ("portal.corp.example", True),
        ("PORTAL.corp.EXAMPLE", True),
        ("portal.corp.example.", True),
        ("corp.example", False),
        ("x.portal.corp.example", False),
        ("cn.corp.example", False),
        ("a.apps.corp.example", True),
        ("a.b.apps.corp.example", False),
        ("apps.corp.example", False),
        ("corp", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::7", True),
        ("2001:0db8:0::7", True),
        ("", False),
    ],
)
def test_a_host_is_named_or_not(named, host, is_named):
    assert names(facts(named), host) is is_named
    if host.rstrip(".") == host and host:
        option = "-checkip" if ":" in host or host[0].isdigit() else "-checkhost"
        said = openssl("x509", "-noout", option, host, stdin=pem(named))
        assert ("does match" in said) is is_named


def test_a_wildcard_for_a_whole_top_level_domain_is_none(named):
    assert not names(facts(named), "a.example")


@pytest.mark.parametrize(
    "san",
    ["portal.corp.example\x00.evil.test", "por*.corp.example", "*.*.example", "*", "portal.corp.example ", "192.0.2.7"],
)
def test_a_name_that_is_none_names_nobody(san):
    shown = facts(foreign(sans=[x509.DNSName(san)]))
    assert shown.sans == (f"dns:{san}",)
    assert not any(names(shown, host) for host in (HOST, "a.b.example", "192.0.2.7", "corp.example"))


@pytest.mark.parametrize(
    ("target", "grade"),
    [
        (Target(HOST, "192.0.2.7", 443, "", HOST), Grade.GOOD),
        (Target("other.example", "192.0.2.7", 443, "", "other.example"), Grade.BAD),
        (Target("192.0.2.7", "192.0.2.7", 443), Grade.SKIPPED),
        (Target("192.0.2.7", "192.0.2.7", 443, "", HOST), Grade.GOOD),
    ],
)
def test_the_name_that_was_asked_for_is_what_counts(target, grade):
    assert judged(leaf(), issuing(), target=target)[0]["HostName"].grade is grade


def test_an_address_is_named_by_an_address():
    finding = judged(leaf(sans=("ip:192.0.2.7",)), issuing(), target=Target("192.0.2.7", "192.0.2.7", 443))[0]
    assert finding["HostName"].grade is Grade.GOOD
